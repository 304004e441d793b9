"""pydantic-ai's direct requests, its thinnest interface, over its OpenAI chat model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from candidates.prompts import KEY, MODEL, SYSTEM, check, check_stream, prompt
from modes import Mode
from pydantic_ai.direct import model_request, model_request_stream, model_request_sync
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

SETTINGS = ModelSettings(temperature=0)


def _messages() -> list[ModelMessage]:
    return [ModelRequest(parts=[SystemPromptPart(SYSTEM), UserPromptPart(prompt())])]


class PydanticAI:
    """`direct.model_request`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _open(self, mode: Mode) -> OpenAIChatModel:
        provider = OpenAIProvider(base_url=f"{self._address}/{mode.path}/v1", api_key=KEY)
        return OpenAIChatModel(MODEL, provider=provider)

    def call(self, mode: Mode) -> Callable[[], None]:
        model = self._open(mode)
        return lambda: check(model_request_sync(model, _messages(), model_settings=SETTINGS).parts[0].content)

    retried_call = call

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        call = self.call(mode)

        def failing() -> None:
            try:
                call()
            except ModelAPIError:
                return
            raise ValueError("an answer from an upstream that is down")

        return failing

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        model = self._open(mode)

        async def call() -> None:
            answer = await model_request(model, _messages(), model_settings=SETTINGS)
            check(answer.parts[0].content)

        return call

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        model = self._open(mode)

        async def stream() -> None:
            parts: list[str | None] = []
            async with model_request_stream(model, _messages(), model_settings=SETTINGS) as events:
                async for event in events:
                    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                        parts.append(event.delta.content_delta)
                    elif isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                        parts.append(event.part.content)
            check_stream(parts, mode)

        return stream

    def close(self) -> None:
        """Its HTTP client is shared by all models and stays open."""
