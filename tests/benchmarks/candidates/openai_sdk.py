"""OpenAI's SDK with its defaults, two retries included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from candidates.prompts import KEY, MODEL, check, check_stream, messages
from modes import Mode
from openai import APIError, AsyncOpenAI, OpenAI


class OpenAISDK:
    """`chat.completions.create`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._clients: list[Any] = []

    def _open(self, kind: type[Any], mode: Mode) -> Any:
        client = kind(api_key=KEY, base_url=f"{self._address}/{mode.path}/v1")
        self._clients.append(client)
        return client

    def call(self, mode: Mode) -> Callable[[], None]:
        create = self._open(OpenAI, mode).chat.completions.create

        def call() -> None:
            answer = create(model=MODEL, messages=messages(), temperature=0)
            check(answer.choices[0].message.content)

        return call

    retried_call = call

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        call = self.call(mode)

        def failing() -> None:
            try:
                call()
            except APIError:
                return
            raise ValueError("an answer from an upstream that is down")

        return failing

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        create = self._open(AsyncOpenAI, mode).chat.completions.create

        async def call() -> None:
            answer = await create(model=MODEL, messages=messages(), temperature=0)
            check(answer.choices[0].message.content)

        return call

    def stream(self, mode: Mode) -> Callable[[], None]:
        create = self._open(OpenAI, mode).chat.completions.create

        def stream() -> None:
            with create(
                model=MODEL,
                messages=messages(),
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            ) as chunks:
                check_stream([c.delta.content for chunk in chunks for c in chunk.choices], mode)

        return stream

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        create = self._open(AsyncOpenAI, mode).chat.completions.create

        async def stream() -> None:
            async with await create(
                model=MODEL,
                messages=messages(),
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            ) as chunks:
                check_stream([c.delta.content async for chunk in chunks for c in chunk.choices], mode)

        return stream

    async def close(self) -> None:
        for client in self._clients:
            closing = client.close()
            if closing is not None:
                await closing
        self._clients.clear()
