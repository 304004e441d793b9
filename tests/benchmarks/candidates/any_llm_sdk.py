"""any-llm over its OpenAI provider, with its defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from any_llm import AnyLLM
from candidates.prompts import KEY, MODEL, check, check_stream, messages
from modes import Mode


class AnyLLMSDK:
    """`AnyLLM.create(...).completion`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _open(self, mode: Mode) -> Any:
        return AnyLLM.create("openai", api_key=KEY, api_base=f"{self._address}/{mode.path}/v1")

    def call(self, mode: Mode) -> Callable[[], None]:
        llm = self._open(mode)

        def call() -> None:
            check(llm.completion(model=MODEL, messages=messages(), temperature=0).choices[0].message.content)

        return call

    retried_call = call

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        call = self.call(mode)

        def failing() -> None:
            try:
                call()
            except Exception as error:
                if isinstance(error, ValueError):
                    raise
                return
            raise ValueError("an answer from an upstream that is down")

        return failing

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        llm = self._open(mode)

        async def call() -> None:
            answer = await llm.acompletion(model=MODEL, messages=messages(), temperature=0)
            check(answer.choices[0].message.content)

        return call

    def stream(self, mode: Mode) -> Callable[[], None]:
        llm = self._open(mode)

        def stream() -> None:
            chunks = llm.completion(model=MODEL, messages=messages(), temperature=0, stream=True)
            check_stream([c.delta.content for chunk in chunks for c in chunk.choices], mode)

        return stream

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        llm = self._open(mode)

        async def stream() -> None:
            chunks = await llm.acompletion(model=MODEL, messages=messages(), temperature=0, stream=True)
            check_stream([c.delta.content async for chunk in chunks for c in chunk.choices], mode)

        return stream

    def close(self) -> None:
        """It offers no way to close its client."""
