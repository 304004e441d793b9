"""The two hooks of a call, and what comes back from stages: order, replacement, mistakes."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import (
    ChatRequest,
    ChatResponse,
    Choice,
    Client,
    ConfigError,
    EmbedRequest,
    EmbedResponse,
    Reply,
    RequestRejected,
    UsageError,
    hookimpl,
)
from penstock.events import AttemptFinished, AttemptStarted, CallFinished
from penstock.exchange import replay


def only(hook: str, function: Any) -> Any:
    return SimpleNamespace(**{hook: hookimpl(function)})


def test_hooks_run_in_the_order_of_the_configuration(bench: Any) -> None:
    order: list[str] = []

    def plugin(name: str) -> Any:
        class Through:
            async def __call__(self, call: Any, proceed: Any) -> Any:
                return await proceed(call)

        made = bench.plugin([bench.stage(name, lambda config, services: Through())])
        made.penstock_pre_request = hookimpl(lambda: order.append(f"{name} before"))
        made.penstock_post_response = hookimpl(lambda response: order.append(f"{name} after"))
        if name != "first":
            del made.penstock_register_providers
        return made

    options: Any = {"pipeline": ["second", "first"], "transport": SimpleNamespace()}
    plugins = [(name, plugin(name)) for name in ("first", "second")]
    with Client(False, environ={}, plugins=plugins, **options) as client:
        client.chat("prompt/one", "Hello")
    assert order == ["second before", "first before", "second after", "first after"]


def test_a_hook_may_turn_a_call_to_another_model(bench: Any) -> None:
    def elsewhere(call: Any) -> Any:
        return replace(call.request, model="prompt/two")

    client = bench.client(penstock_pre_request=elsewhere)
    assert str(client.chat("prompt/one", "Hello").target) == "prompt/two"


def test_a_hook_may_refuse(bench: Any) -> None:
    def refuse(call: Any) -> Any:
        raise RequestRejected("not today")

    with pytest.raises(RequestRejected, match="not today"):
        bench.client(penstock_pre_request=refuse).chat("prompt/one", "Hello")


@pytest.mark.parametrize(
    "mistake",
    [
        lambda call: {"model": "prompt/two"},
        lambda call: replace(call.request, stream=not call.request.stream),
        lambda call: EmbedRequest(model="prompt/two", inputs=("a",)),
        lambda call: 1 / 0,
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_of_another_kind_is_not_taken(
    bench: Any, caplog: pytest.LogCaptureFixture, mistake: Any, streamed: bool
) -> None:
    client = bench.client(penstock_pre_request=lambda call: mistake(call))
    with caplog.at_level(logging.ERROR, "penstock"):
        if streamed:
            with client.stream("prompt/one", "Hello") as stream:
                assert stream.read().text == "Hello!"
        else:
            assert client.chat("prompt/one", "Hello").text == "Hello!"
    assert "of plugin 'bench' raised" in caplog.text


def test_a_response_of_another_kind_is_not_taken(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = bench.client(penstock_post_response=lambda response: response.text.upper())
    assert client.chat("prompt/one", "Hello").text == "Hello!"
    assert "of plugin 'bench' raised TypeError; skipped" in caplog.text


async def _asynchronous(call: Any) -> ChatRequest | None:
    return None


def _wrapper(call: Any) -> Any:
    yield


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (hookimpl(_asynchronous), "must be a plain function"),
        (hookimpl(wrapper=True)(_wrapper), "cannot be a wrapper"),
    ],
)
def test_a_hook_that_would_never_run_is_refused(bench: Any, hook: Any, reason: str) -> None:
    plugin = SimpleNamespace(penstock_pre_request=hook)
    with pytest.raises(ConfigError, match=f"'odd': penstock_pre_request {reason}"):
        Client(False, environ={}, plugins=[("odd", plugin)], transport=SimpleNamespace())


class Answering:
    """A stage that answers by itself."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def __call__(self, call: Any, proceed: Any) -> Any:
        return self._answer()


def test_a_stage_may_answer_a_streamed_call_with_a_finished_response(bench: Any) -> None:
    stage = Answering(lambda: Reply(bench.response))
    client = bench.client(bench.stage("answering", lambda config, services: stage))
    with client.stream("prompt/one", "Hello") as stream:
        assert [chunk.text for chunk in stream] == ["Hello!", ""]
    assert stream.answer.response == bench.response


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: None, "returned NoneType instead of a Reply"),
        (
            lambda: replay(ChatResponse((Choice(text="Hi"),))),
            "answered a ChatRequest that is not streamed with a live stream",
        ),
        (
            lambda: Reply(EmbedResponse(((0.5,),))),
            "answered a ChatRequest that is not streamed with EmbedResponse",
        ),
    ],
)
def test_a_stage_that_returns_the_wrong_thing_is_told(bench: Any, answer: Any, reason: str) -> None:
    events: list[Any] = []
    options = bench.options(bench.stage("answering", lambda config, services: Answering(answer)))
    client = Client(transport=SimpleNamespace(), listeners=[events.append], **options)
    with client, pytest.raises(UsageError, match=reason):
        client.chat("prompt/one", "Hello")
    assert [type(event) for event in events][-1] is CallFinished


def test_a_provider_that_returns_the_wrong_thing_is_named(bench: Any) -> None:
    class Silent(bench.Prompt):  # type: ignore[misc]
        async def send(self, call: Any) -> Any:
            return None

    events: list[Any] = []
    options = bench.options(provider=Silent)
    client = Client(transport=SimpleNamespace(), listeners=[events.append], **options)
    with client, pytest.raises(UsageError, match="prompt/one: the provider returned NoneType"):
        client.chat("prompt/one", "Hello")
    assert [type(event) for event in events[1:3]] == [AttemptStarted, AttemptFinished]
