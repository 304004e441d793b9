"""langchain-openai's chat model with its defaults; its in-memory cache where a cache is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from candidates.prompts import KEY, MODEL, check, check_stream, messages, prompt
from langchain_core.caches import InMemoryCache
from langchain_openai import ChatOpenAI
from modes import Mode
from openai import APIError


class LangChain:
    """`ChatOpenAI(...).invoke`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _open(self, mode: Mode, cache: InMemoryCache | None = None) -> ChatOpenAI:
        base_url = f"{self._address}/{mode.path}/v1"
        return ChatOpenAI(model=MODEL, api_key=KEY, base_url=base_url, temperature=0, cache=cache)

    def call(self, mode: Mode) -> Callable[[], None]:
        model = self._open(mode)
        return lambda: check(model.invoke(messages()).content)

    retried_call = call

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        model = self._open(mode)

        def failing() -> None:
            try:
                model.invoke(messages())
            except APIError:
                return
            raise ValueError("an answer from an upstream that is down")

        return failing

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        model = self._open(mode)

        async def call() -> None:
            check((await model.ainvoke(messages())).content)

        return call

    def stream(self, mode: Mode) -> Callable[[], None]:
        model = self._open(mode)
        return lambda: check_stream([chunk.content for chunk in model.stream(messages())], mode)

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        model = self._open(mode)

        async def stream() -> None:
            check_stream([chunk.content async for chunk in model.astream(messages())], mode)

        return stream

    def hit(self, mode: Mode) -> Callable[[], None]:
        model, repeated = self._open(mode, InMemoryCache()), messages(prompt())
        return lambda: check(model.invoke(repeated).content)

    def async_hit(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        model, repeated = self._open(mode, InMemoryCache()), messages(prompt())

        async def hit() -> None:
            check((await model.ainvoke(repeated)).content)

        return hit

    def close(self) -> None:
        """It offers no way to close its client."""
