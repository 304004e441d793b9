"""Counts by the server's own word, over real sockets in both colours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock import AsyncClient, Client
from penstock.call import Target
from penstock.errors import AuthenticationError, InvalidRequestError, MalformedResponse, PenstockError
from penstock.requests import chat_request
from penstock_cost import TokenCount
from penstock_testkit.raw_server import Connection, RawServer, Received, serve

KEY = "sk-test-0123456789"
Pages = dict[str, Callable[[dict[str, Any]], Any]]


def answering(pages: Pages) -> RawServer:
    def answer(connection: Connection, received: Received) -> None:
        path = received.line.split(" ")[1]
        if received.headers.get("authorization") != f"Bearer {KEY}":
            connection.answer(b'{"error": {"message": "no key"}}', status="401 Unauthorized")
        elif path not in pages:
            connection.answer(b'{"error": "not found"}', status="404 Not Found")
        else:
            result = pages[path](json.loads(received.body))
            connection.answer(result if isinstance(result, bytes) else json.dumps(result).encode())

    return RawServer(serve(answer))


LLAMA_CPP: Pages = {
    "/tokenize": lambda body: {"tokens": list(body.get("content", "").split())},
    "/apply-template": lambda body: {"prompt": "<s> " + " ".join(m["content"] for m in body["messages"])},
}
VLLM: Pages = {"/tokenize": lambda body: {"count": 7 * len(body["messages"]), "max_model_len": 4096}}


@pytest.fixture(params=["blocking", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., TokenCount]:
    """Counts a message at a server."""

    def go(server: RawServer, *, api: str = "chat", path: str = "/v1", key: str = KEY) -> TokenCount:
        provider = {"api_key": key, "base_url": f"{server.url}{path}", "api": api}
        options: dict[str, Any] = {
            "config": False,
            "environ": {},
            "providers": {"openai": provider},
            "pipeline": ["cost"],
        }
        wanted = chat_request("openai/m", "one two three", {}, stream=False)
        target = Target("openai", "m")
        if request.param == "blocking":
            with Client(**options) as client:
                found: TokenCount = client.stage("cost").count_exactly(
                    wanted, target, client.provider("openai")
                )
                return found

        async def count() -> TokenCount:
            async with AsyncClient(**options) as client:
                found: TokenCount = await client.stage("cost").count_exactly(
                    wanted, target, client.provider("openai")
                )
                return found

        return asyncio.run(count())

    return go


def test_vllm_counts_messages(ask: Callable[..., TokenCount]) -> None:
    with answering(VLLM) as server:
        assert ask(server) == TokenCount(7, "exact", "tokenize")
    assert len(server.requests) == 1


def test_llama_cpp_makes_the_prompt_and_counts_it(ask: Callable[..., TokenCount]) -> None:
    with answering(LLAMA_CPP) as server:
        assert ask(server) == TokenCount(4, "exact", "apply-template")


def test_a_prefix_in_front_of_the_version_is_kept(ask: Callable[..., TokenCount]) -> None:
    with answering({"/models/a/tokenize": lambda body: {"count": 3}}) as server:
        assert ask(server, path="/models/a/v1").tokens == 3


def test_the_responses_api_counts_its_input(ask: Callable[..., TokenCount]) -> None:
    seen: list[dict[str, Any]] = []

    def count(body: dict[str, Any]) -> dict[str, Any]:
        seen.append(body)
        return {"object": "response.input_tokens", "input_tokens": 11}

    with answering({"/v1/responses/input_tokens": count}) as server:
        assert ask(server, api="responses") == TokenCount(11, "exact", "input_tokens")
    assert "stream" not in seen[0]
    assert "store" not in seen[0]


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        ({}, InvalidRequestError),
        ({"/tokenize": lambda body: {"tokens": []}}, InvalidRequestError),
        ({"/tokenize": lambda body: {"count": "many"}}, InvalidRequestError),
        ({"/tokenize": lambda body: b"<html>"}, MalformedResponse),
        ({"/tokenize": lambda body: []}, MalformedResponse),
    ],
)
def test_a_server_that_cannot_count_says_so(
    ask: Callable[..., TokenCount], pages: Pages, error: type[PenstockError]
) -> None:
    with answering(pages) as server, pytest.raises(error):
        ask(server)


def test_a_refusal_is_the_provider_s_own_error(ask: Callable[..., TokenCount]) -> None:
    with answering(VLLM) as server, pytest.raises(AuthenticationError):
        ask(server, key="sk-wrong-0123456789")
