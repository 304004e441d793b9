"""The exact request counts once more, over real sockets: every transport against the simulator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock import (
    AsyncClient,
    AuthenticationError,
    Client,
    DeadlineExceeded,
    OverloadedError,
    RateLimitError,
    StreamInterrupted,
)
from penstock_testkit import Simulator, faults

Ask = Callable[..., Any]
KEY = "sk-test-0123456789"


@pytest.fixture(params=["blocking wire", "async wire", "blocking turbo", "async turbo"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One call against a server: `ask(server, stream=..., times=..., **parameters)`."""
    colour, transport = request.param.split()

    def blocking(server: Any, options: dict[str, Any], times: int, stream: bool, **parameters: Any) -> Any:
        answer, error = None, None
        with Client(False, **options) as client:
            for _ in range(times):
                try:
                    if stream:
                        with client.stream("openai/gpt-4o", "Hello", **parameters) as live:
                            answer = live.read()
                    else:
                        answer = client.chat("openai/gpt-4o", "Hello", **parameters)
                except Exception as caught:
                    error = caught
        if error is not None:
            raise error
        return answer

    async def asynchronous(
        server: Any, options: dict[str, Any], times: int, stream: bool, **parameters: Any
    ) -> Any:
        answer, error = None, None
        async with AsyncClient(False, **options) as client:
            for _ in range(times):
                try:
                    if stream:
                        async with client.stream("openai/gpt-4o", "Hello", **parameters) as live:
                            answer = await live.read()
                    else:
                        answer = await client.chat("openai/gpt-4o", "Hello", **parameters)
                except Exception as caught:
                    error = caught
        if error is not None:
            raise error
        return answer

    def ask(
        server: Any,
        *,
        times: int = 1,
        stream: bool = False,
        tables: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Any:
        options = {
            "environ": {},
            "transport": transport,
            "pipeline": ["retry"],
            "retry": {"base": 0.01, "throttle_base": 0.01},
            "providers": {"openai": {"api_key": KEY, "base_url": server.url}},
            **(tables or {}),
        }
        if colour == "blocking":
            return blocking(server, options, times, stream, **parameters)
        return asyncio.run(asynchronous(server, options, times, stream, **parameters))

    return ask


def test_always_503_is_three_requests(ask: Ask) -> None:
    with Simulator([faults.status(503)] * 9).serve() as server:
        with pytest.raises(OverloadedError):
            ask(server)
        assert server.count() == 3


def test_401_is_one_request(ask: Ask) -> None:
    with Simulator(api_key="another-key").serve() as server:
        with pytest.raises(AuthenticationError):
            ask(server)
        assert server.count() == 1


def test_a_retry_after_of_one_and_a_half_seconds_is_kept(ask: Ask) -> None:
    with Simulator([faults.status(429, retry_after=1.5)]).serve() as server:
        assert ask(server).text
        first, second = server.requests
        assert second.at - first.at >= 1.5


def test_a_retry_after_past_the_deadline_is_one_request_and_no_wait(ask: Ask) -> None:
    with Simulator([faults.status(429, retry_after=90)]).serve() as server:
        with pytest.raises(RateLimitError) as caught:
            ask(server, timeout=10)
        assert server.count() == 1
        assert caught.value.attempts[0].delay == 0


def test_a_cut_after_the_commit_point_is_one_request_with_the_partial_text(ask: Ask) -> None:
    with Simulator([faults.cut(after=2)]).serve() as server:
        with pytest.raises(StreamInterrupted) as caught:
            ask(server, stream=True)
        assert server.count() == 1
        assert caught.value.partial is not None
        assert caught.value.partial.text


def test_a_stream_broken_before_its_first_event_is_asked_again(ask: Ask) -> None:
    with Simulator([faults.reset(after=0), faults.reset()]).serve() as server:
        assert ask(server, stream=True).text
        assert server.count() == 3


def test_an_exhausted_budget_leaves_one_request_to_each_call(ask: Ask) -> None:
    tables = {"budget": {"capacity": 2, "per_call": 0, "per_second": 0}}
    with Simulator([faults.status(503)] * 99).serve() as server:
        with pytest.raises(OverloadedError) as caught:
            ask(server, times=5, tables=tables)
        assert server.count() == 5 + 2
        assert caught.value.tags == ("budget_exhausted",)


@pytest.mark.parametrize("stream", [False, True])
def test_a_dripping_server_cannot_outlast_the_total_time(ask: Ask, stream: bool) -> None:
    started = time.monotonic()
    with Simulator([faults.drip(0.2, size=1)], text="word " * 200).serve() as server:
        with pytest.raises(DeadlineExceeded):
            ask(server, stream=stream, timeout=1)
        assert server.count() == 1
    # Dripping to its end would take minutes: this only tells the limit from none.
    assert time.monotonic() - started < 30
