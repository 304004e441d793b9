"""LiteLLM's functions and its Router, with their defaults; its in-memory cache where a cache is asked for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import asks the network for prices

import litellm
from candidates.prompts import KEY, MODEL, check, check_stream, messages, prompt
from litellm.caching.caching import Cache
from modes import Mode

litellm.suppress_debug_info = True


class LiteLLM:
    """`litellm.completion`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def functions(self, mode: Mode) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Blocking and async completion, arguments for this upstream included."""
        given = {"model": f"openai/{MODEL}", "api_key": KEY, "api_base": f"{self._address}/{mode.path}/v1"}
        return (
            lambda **more: litellm.completion(**given, temperature=0, **more),
            lambda **more: litellm.acompletion(**given, temperature=0, **more),
        )

    def call(self, mode: Mode) -> Callable[[], None]:
        completion, _ = self.functions(mode)
        return lambda: check(completion(messages=messages()).choices[0].message.content)

    retried_call = call

    def failing_call(self, mode: Mode) -> Callable[[], None]:
        completion, _ = self.functions(mode)

        def failing() -> None:
            try:
                completion(messages=messages())
            except Exception:  # the Router's refusals have no common class
                return
            raise ValueError("an answer from an upstream that is down")

        return failing

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        _, acompletion = self.functions(mode)

        async def call() -> None:
            check((await acompletion(messages=messages())).choices[0].message.content)

        return call

    def stream(self, mode: Mode, repeated: list[dict[str, Any]] | None = None) -> Callable[[], None]:
        completion, _ = self.functions(mode)

        def stream() -> None:
            chunks = completion(messages=repeated or messages(), stream=True, caching=repeated is not None)
            check_stream([c.delta.content for chunk in chunks for c in chunk.choices], mode)

        return stream

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        _, acompletion = self.functions(mode)

        async def stream() -> None:
            chunks = await acompletion(messages=messages(), stream=True)
            check_stream([c.delta.content async for chunk in chunks for c in chunk.choices], mode)

        return stream

    def close(self) -> None:
        """Clients stay in its own cache; ours for answers goes."""
        litellm.cache = None


class LiteLLMRouter(LiteLLM):
    """
    `litellm.Router` with one deployment: what has retries, cooldowns and routing.

    Only this one is asked for hits: the cache needs packages that LiteLLM alone does not require.
    """

    def functions(self, mode: Mode) -> tuple[Callable[..., Any], Callable[..., Any]]:
        given = {"model": f"openai/{MODEL}", "api_key": KEY, "api_base": f"{self._address}/{mode.path}/v1"}
        router = litellm.Router(model_list=[{"model_name": "fast", "litellm_params": given}])
        return (
            lambda **more: router.completion(model="fast", temperature=0, **more),
            lambda **more: router.acompletion(model="fast", temperature=0, **more),
        )

    def hit(self, mode: Mode) -> Callable[[], None]:
        litellm.cache = Cache()
        completion, _ = self.functions(mode)
        repeated = messages(prompt())
        return lambda: check(completion(messages=repeated, caching=True).choices[0].message.content)

    def async_hit(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        litellm.cache = Cache()
        _, acompletion = self.functions(mode)
        repeated = messages(prompt())

        async def hit() -> None:
            check((await acompletion(messages=repeated, caching=True)).choices[0].message.content)

        return hit

    def replay(self, mode: Mode) -> Callable[[], None]:
        litellm.cache = Cache()
        return self.stream(mode, messages(prompt()))
