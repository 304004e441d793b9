"""Calls made by hand, for tests of the stage without a client."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.call import Attempt, Call, Reply, Target, Timeouts
from penstock.events import Event
from penstock.http import HttpHead
from penstock.messages import ChatRequest, Message
from penstock.responses import ChatResponse, Choice, Usage
from penstock.specs import Scope
from penstock_limiter import LimiterConfig, LimiterStage
from penstock_wire.headers import rate_limits


class HeaderReader:
    """A provider of which only the reading of headers is needed."""

    base_url = "http://provider.test"

    def rate_limits(self, head: HttpHead) -> Any:
        return rate_limits(head.headers, head.received)

    async def send(self, call: Call) -> Reply:
        raise AssertionError("nobody sends here")


class Bench:
    """
    A limiter stage on some runtime, and the calls that go through it.

    Attributes:
        events: every event, in order.
    """

    def __init__(self, runtime: Any, **config: Any) -> None:
        self.runtime = runtime
        self.events: list[Event] = []
        services: Any = SimpleNamespace(name="limiter", runtime=runtime, emit=self.events.append)
        self.config = LimiterConfig(**config)
        self.stage = LimiterStage(self.config, services)

    def place(self, target: str = "openai/gpt", config: LimiterConfig | None = None) -> Any:
        provider, _, model = target.partition("/")
        scope = Scope(
            config=config or self.config, route=None, target=Target(provider, model), provider=HeaderReader()
        )
        return self.stage.bind(scope)

    def call(self, target: str = "openai/gpt", text: str = "Hello", **values: Any) -> Call:
        provider, _, model = target.partition("/")
        now = self.runtime.now()
        request = ChatRequest(
            model=target, messages=(Message("user", text),), max_tokens=values.pop("max_tokens", None)
        )
        return Call(
            id="0",
            request=request,
            target=Target(provider, model),
            runtime=self.runtime,
            timeouts=Timeouts(),
            started=now,
            deadline=now + values.pop("timeout", 1e9),
            listeners=(self.events.append,),
            **values,
        )

    def kinds(self) -> list[str]:
        """The names of the events."""
        return [type(event).__name__ for event in self.events]

    @staticmethod
    def begin(call: Call, headers: dict[str, str] | None = None, status: int = 200) -> Attempt:
        """What the endpoint and the exchange note on a call."""
        attempt = Attempt(len(call.attempts) + 1, call.target, call.runtime.now())  # type: ignore[arg-type]  # it has one
        attempt.head = HttpHead(status, headers or {}, 0.0)
        call.attempts.append(attempt)
        call.attempt = attempt
        return attempt

    @staticmethod
    def answer(input_tokens: int | None = 5, output_tokens: int | None = 5) -> ChatResponse:
        """An answer with its usage."""
        return ChatResponse(choices=(Choice("Hi"),), usage=Usage(input_tokens, output_tokens))


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Makes a stage on a runtime."""
    return Bench
