"""
Penstock: with every resilience stage, and as small as it can be installed.

"Full" is guard, cache (each call is looked up, missed and stored), routing (over a route), cost, retry,
breaker and limiter, and one listener. Differences from the defaults: the pools are as wide as the mode; where
half of all attempts fail on purpose, breaker and retry budget do not step in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from candidates.prompts import KEY, MODEL, check, check_stream, messages, prompt
from modes import Mode

from penstock import AsyncClient, CallError, Client

UNBOUNDED: dict[str, Any] = {"budget": {"capacity": 1e9}}


class Full:
    """Every stage, one target behind a route, one listener."""

    model = "fast"
    transport = "wire"
    config: dict[str, Any] = {"routes": {"fast": {"targets": [f"openai/{MODEL}"]}}}  # noqa: RUF012
    no_breaker: dict[str, Any] = {"breaker": {"consecutive_failures": 0, "failure_rate": 0}}  # noqa: RUF012

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Client | None = None
        self._async: AsyncClient | None = None
        self.heard = 0

    def listen(self, event: object) -> None:
        self.heard += 1

    def _arguments(self, mode: Mode, more: dict[str, Any] | None) -> dict[str, Any]:
        base_url = f"{self._address}/{mode.path}/v1"
        pools = {"pool_maxsize": max(100, mode.width), "limit": max(100, mode.width), "limit_per_host": 0}
        config = {
            "providers": {"openai": {"api_key": KEY, "base_url": base_url}},
            "transport": self.transport,
            self.transport: pools,
            **self.config,
            **(more or {}),
        }
        return {"config": config, "environ": {}, "listeners": [self.listen]}

    def open(self, mode: Mode, more: dict[str, Any] | None = None) -> Client:
        self._client = Client(**self._arguments(mode, more))
        return self._client

    def open_async(self, mode: Mode) -> AsyncClient:
        self._async = AsyncClient(**self._arguments(mode, None))
        return self._async

    def call(self, mode: Mode, more: dict[str, Any] | None = None) -> Callable[[], None]:
        client, model = self.open(mode, more), self.model
        return lambda: check(client.chat(model, messages(), temperature=0).text)

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        client, model = self.open_async(mode), self.model

        async def call() -> None:
            check((await client.chat(model, messages(), temperature=0)).text)

        return call

    def stream(self, mode: Mode, repeated: list[dict[str, Any]] | None = None) -> Callable[[], None]:
        client, model = self.open(mode), self.model

        def stream() -> None:
            with client.stream(model, repeated or messages(), temperature=0) as chunks:
                check_stream([chunk.text for chunk in chunks], mode)

        return stream

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        client, model = self.open_async(mode), self.model

        async def stream() -> None:
            async with client.stream(model, messages(), temperature=0) as chunks:
                check_stream([chunk.text async for chunk in chunks], mode)

        return stream

    def retried_call(self, mode: Mode) -> Callable[[], None]:
        return self.call(mode, {**UNBOUNDED, **self.no_breaker})

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        client, model = self.open(mode), self.model

        def call() -> None:
            try:
                client.chat(model, messages(), temperature=0)
            except CallError:
                return
            raise ValueError("an answer from an upstream that is down")

        return call

    def hit(self, mode: Mode) -> Callable[[], None]:
        client, model, repeated = self.open(mode), self.model, messages(prompt())
        return lambda: check(client.chat(model, repeated, temperature=0).text)

    def async_hit(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        client, model, repeated = self.open_async(mode), self.model, messages(prompt())

        async def hit() -> None:
            check((await client.chat(model, repeated, temperature=0)).text)

        return hit

    def replay(self, mode: Mode) -> Callable[[], None]:
        return self.stream(mode, messages(prompt()))

    def close(self) -> Awaitable[None] | None:
        if self._client is not None:
            self._client.close()
        client, self._client, self._async = self._async, None, None
        return client.close() if client is not None else None


class Turbo(Full):
    """The same over the transport of penstock-turbo."""

    transport = "turbo"


class Minimal(Full):
    """`pip install penstock penstock-openai penstock-retry`: no cache, so it has no hits."""

    model = f"openai/{MODEL}"
    config: dict[str, Any] = {}  # noqa: RUF012
    no_breaker: dict[str, Any] = {}  # noqa: RUF012
    hit = async_hit = replay = None  # type: ignore[assignment]
