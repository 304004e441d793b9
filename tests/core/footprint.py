"""
What a process pays for Penstock, in numbers that no other process disturbs; run by test_footprint.

    python footprint.py modules COLOUR BASE_URL      # imported: after `import penstock`, a client, a call
    python footprint.py calls                        # Python functions called for each call, by pipeline

Prints JSON. Functions written in C are not counted, nor is what a call does for the first time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

STAGES = ("guard", "cache", "routing", "cost", "retry", "breaker", "limiter")
TARGET = "openai/gpt-4o-mini"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant who answers in one sentence."},
    {"role": "user", "content": "What is a penstock, and what does its gate decide?"},
]
WARM, COUNTED = 30, 50
SHORT, LONG = 100, 200
"""Events of the streams whose difference is what an event costs."""
Calls = Callable[[int], None]


# Modules


def modules(colour: str, base_url: str) -> dict[str, list[str]]:
    """The modules in the process after each step, by step."""
    found = {"start": sorted(sys.modules)}
    import penstock

    found["import"] = sorted(sys.modules)
    options: dict[str, Any] = {
        "config": {
            "pipeline": list(STAGES),
            "providers": {"openai": {"api_key": "sk-test-0123456789", "base_url": base_url}},
        },
        "environ": {},
    }
    if colour == "blocking":
        with penstock.Client(**options) as client:
            found["client"] = sorted(sys.modules)
            client.chat(TARGET, MESSAGES, temperature=0)
            found["call"] = sorted(sys.modules)
        return found

    import asyncio

    async def call() -> None:
        client = penstock.AsyncClient(**options)
        found["client"] = sorted(sys.modules)
        async with client:
            await client.chat(TARGET, MESSAGES, temperature=0)
            found["call"] = sorted(sys.modules)

    asyncio.run(call())
    return found


# Calls


class Canned:
    """A transport that answers from memory: plain answers, and streams of so many events."""

    def __init__(self, events: int = 0) -> None:
        self._events = events

    async def send(self, request: Any, limits: Any) -> Any:
        """The answer, whatever is asked."""
        return _Exchange(self._events if request.stream else 0)

    async def close(self) -> None:
        """Nothing is open."""


class _Exchange:
    def __init__(self, events: int) -> None:
        from penstock.http import HttpHead

        kind = "text/event-stream" if events else "application/json"
        self.head = HttpHead(200, {"content-type": kind, "x-request-id": "req_1"}, 0.0)
        self._body = _stream(events) if events else _answer()

    async def read(self, due: float) -> bytes:
        body, self._body = self._body, b""
        return body

    async def read_all(self, due: float) -> bytes:
        return await self.read(due)

    async def close(self, *, reuse: bool = False) -> None:
        pass


def _answer() -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "A gated pipe."},
        "finish_reason": "stop",
    }
    return _json({"choices": [choice], "usage": {"prompt_tokens": 19, "completion_tokens": 4}})


def _stream(events: int) -> bytes:
    deltas = [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}] * (events - 1)
    choices = [*deltas, {"index": 0, "delta": {}, "finish_reason": "stop"}]
    return (
        b"".join(b"data: " + _json({"choices": [each]}) + b"\n\n" for each in choices) + b"data: [DONE]\n\n"
    )


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini", **value}).encode()


def options(stages: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Arguments of a client with these stages."""
    config: dict[str, Any] = {
        "pipeline": list(stages),
        "providers": {"openai": {"api_key": "sk-test-0123456789", "base_url": "http://canned.invalid/v1"}},
    }
    if "routing" in stages:
        config["routes"] = {"fast": {"targets": [TARGET]}}
    return {"config": config, "environ": {}, **more}


def fresh(number: int) -> list[dict[str, str]]:
    """Messages nobody has sent before."""
    return [MESSAGES[0], {"role": "user", "content": f"{number}: {MESSAGES[1]['content']}"}]


def called(calls: Calls) -> float:
    """Python functions called for each call, once everything is warm."""
    calls(WARM)
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call":
            count += 1

    sys.setprofile(profile)
    calls(COUNTED)
    sys.setprofile(None)
    return count / COUNTED


def blocking(stages: tuple[str, ...], events: int = 0, *, repeated: bool = False, **more: Any) -> float:
    """Calls, or streams of so many events, of a blocking client."""
    from penstock import Client
    from penstock.runtime import BlockingRuntime

    number = 0
    model = "fast" if "routing" in stages else TARGET
    with Client(**options(stages, runtime=BlockingRuntime(Canned(events)), **more)) as client:

        def calls(count: int) -> None:
            nonlocal number
            for _ in range(count):
                number += not repeated
                messages = fresh(number)
                if events:
                    with client.stream(model, messages, temperature=0) as stream:
                        for _ in stream:
                            pass
                else:
                    client.chat(model, messages, temperature=0)

        return called(calls)


def asynchronous(stages: tuple[str, ...], events: int = 0, *, repeated: bool = False) -> float:
    """The same of an async client; what the event loop itself calls is counted too."""
    import asyncio

    from penstock import AsyncClient
    from penstock.asynchronous import AsyncioRuntime

    number = 0
    model = "fast" if "routing" in stages else TARGET
    client = AsyncClient(**options(stages, runtime=AsyncioRuntime(Canned(events))))

    async def call(count: int) -> None:
        nonlocal number
        for _ in range(count):
            number += not repeated
            messages = fresh(number)
            if events:
                async with client.stream(model, messages, temperature=0) as stream:
                    async for _ in stream:
                        pass
            else:
                await client.chat(model, messages, temperature=0)

    with asyncio.Runner() as runner:
        found = called(lambda count: runner.run(call(count)))
        runner.run(client.close())
    return found


def calls() -> dict[str, float]:
    """Functions called, by what is called."""

    def listen(event: object) -> None:
        pass

    def event(measure: Callable[..., float], **more: Any) -> float:
        return (measure(STAGES, LONG, **more) - measure(STAGES, SHORT, **more)) / (LONG - SHORT)

    none, full = blocking(()), blocking(STAGES)
    found = {"no stage": none, "every stage": full}
    for stage in STAGES:
        found[f"{stage} alone adds"] = blocking((stage,)) - none
    found["a listener adds"] = blocking(STAGES, listeners=[listen]) - full
    found["four more listeners add"] = (
        blocking(STAGES, listeners=[listen] * 5) - full - found["a listener adds"]
    )
    found["cache hit"] = blocking(STAGES, repeated=True)
    found["event of a stream"] = event(blocking)
    found["event of a cached stream"] = event(blocking, repeated=True)
    found["async: no stage"] = asynchronous(())
    found["async: every stage"] = asynchronous(STAGES)
    found["async: cache hit"] = asynchronous(STAGES, repeated=True)
    found["async: event of a stream"] = event(asynchronous)
    return found


if __name__ == "__main__":
    json.dump(calls() if sys.argv[1] == "calls" else modules(*sys.argv[2:]), sys.stdout)
