"""Wrong use gets an error that names the mistake, and no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import (
    AsyncClient,
    Client,
    ConfigError,
    InvalidRequestError,
    Message,
    PluginNotFoundError,
    ServerError,
    Tool,
    UsageError,
)
from penstock.requests import parse_output


class Indescribable(BaseModel):
    then: Callable[[], None]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"request_id": 5}, "request_id must be"),
        ({"request_id": "a\n"}, "request_id must be"),
        ({"stream": True}, r"use client\.stream"),
        ({"cache": True}, "unknown parameter 'cache'; this client has no stage of that name"),
        ({"temperature": float("nan")}, "temperature: Input should be a finite number"),
        ({"tools": [Tool(name=5)]}, r"tools\[0\]\.name must be a text"),  # type: ignore[arg-type]
        ({"tools": [Tool("f", parameters="{}")]}, r"tools\[0\]\.parameters must be a JSON"),  # type: ignore[arg-type]
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": 5}}]},
            r"tools\[0\]\.function\.description must be a text",
        ),
        ({"schema": Indescribable}, "schema: Indescribable has no JSON Schema"),
        ({"timeout": "20s"}, "timeout must be seconds"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, r"messages\[0\]\.tool_calls must be a list"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, r"messages\[0\]\.role must be one of"),
        ({"messages": [Message("bot", "Hello")]}, r"messages\[0\]\.role must be one of"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_value_is_named_before_anything_is_sent(
    bench: Any, parameters: dict[str, Any], message: str
) -> None:
    class Unreachable(bench.Prompt):  # type: ignore[misc]
        async def send(self, call: Any) -> Any:
            raise AssertionError("sent")

    client = bench.client(provider=Unreachable)
    with pytest.raises(InvalidRequestError, match=message):
        client.chat("prompt/one", parameters.pop("messages", "Hello"), **parameters)


def test_none_says_nothing_to_a_stage(bench: Any) -> None:
    class Heard:
        async def __call__(self, call: Any, proceed: Any) -> Any:
            assert "heard" not in call.options
            return await proceed(call)

    client = bench.client(bench.stage("heard", lambda config, services: Heard()))
    assert client.chat("prompt/one", "Hello", heard=None).text == "Hello!"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"plugins": ["retry"]}, r"plugins must be pairs"),
        ({"plugins": [logging]}, r"plugins must be pairs"),
        ({"listeners": print}, "listeners must be a list of callables"),
        ({"listeners": [5]}, "listeners must be a list of callables"),
    ],
)
def test_a_wrong_argument_of_a_client_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Client(False, environ={}, **arguments)


def test_an_answer_that_is_nested_without_end_does_not_fit() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_output({}, "[" * 200_000)


def test_the_models_of_a_provider_that_is_not_there_name_what_to_install(bench: Any) -> None:
    with pytest.raises(PluginNotFoundError, match="pip install penstock-nowhere"):
        bench.client().models("nowhere")


def test_a_provider_whose_models_are_left_out_is_logged_with_the_reason(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Down(bench.Prompt):  # type: ignore[misc]
        async def send(self, call: Any) -> Any:
            raise ServerError("the list is on holiday; key sk-abcdefgh12345678")

    options = {**bench.options(provider=Down), "providers": {"prompt": {}}}
    client = Client(transport=SimpleNamespace(), **options)
    with client, caplog.at_level(logging.WARNING, "penstock"):
        assert client.models() == ()
    assert "models of prompt left out: the list is on holiday; key ***" in caplog.text


def test_an_asyncio_stream_that_was_not_opened_says_so(bench: Any) -> None:
    client = AsyncClient(transport=SimpleNamespace(), **bench.options())
    stream = client.stream("prompt/one", "Hello")
    for ask in ("answer", "target", "request_id", "attempts"):
        with pytest.raises(UsageError, match="not been opened"):
            getattr(stream, ask)
    asyncio.run(client.close())


def test_an_asyncio_stream_that_could_not_be_opened_says_so(bench: Any) -> None:
    async def main() -> None:
        async with AsyncClient(transport=SimpleNamespace(), **bench.options()) as client:
            stream = client.stream("prompt/one", "")
            with pytest.raises(InvalidRequestError):
                await stream
            with pytest.raises(UsageError, match="not been opened"):
                await anext(stream)
            await stream.close()

    asyncio.run(main())
