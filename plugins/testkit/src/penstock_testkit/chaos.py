"""
The chaos stage: latency, errors and cut streams by rate and seed, to see one's own application survive.

It stands directly around the provider, so every other stage meets its faults like real ones: retries repeat
them, the breaker counts them, the limiter settles them. It is off until the configuration says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from penstock.call import Outcome, Reply
from penstock.config import Seconds, StageConfig
from penstock.errors import (
    CallError,
    ConnectError,
    OverloadedError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransferError,
)
from penstock.responses import Assembly

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.responses import Chunk
    from penstock.specs import Proceed, Services

Kind = Literal["connect", "reset", "server_error", "overloaded", "rate_limit"]


class ChaosConfig(StageConfig):
    """What goes wrong, and how often."""

    enabled: bool = Field(default=False, description="Inject faults; off by default.")
    seed: int = Field(default=0, description="The same seed draws the same faults for the same calls.")
    latency_rate: float = Field(default=0.0, ge=0, le=1, description="The share of attempts that is delayed.")
    latency: Seconds = Field(default=1.0, ge=0, description="The longest delay; each is uniform up to it.")
    error_rate: float = Field(default=0.0, ge=0, le=1, description="The share of attempts that fails.")
    errors: tuple[Kind, ...] = Field(
        default=("connect", "reset", "server_error", "overloaded", "rate_limit"),
        min_length=1,
        description="What they fail with, each as likely as the others.",
    )
    cut_rate: float = Field(default=0.0, ge=0, le=1, description="The share of streams that is cut.")
    cut_after: int = Field(default=3, ge=1, description="The most chunks a cut stream brings.")


class ChaosStage:
    """
    Injects faults directly around the provider.

    Args:
        config: what and how often.
        services: not needed; part of every stage's contract.
    """

    def __init__(self, config: ChaosConfig, services: Services) -> None:
        self.inner = _Chaos(config)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        return await proceed(call)


class _Chaos:
    def __init__(self, config: ChaosConfig) -> None:
        self._config = config
        # Dice of its own: chaos must not change what the jitter of retries draws.
        self._dice = random.Random(config.seed)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        config, dice = self._config, self._dice
        if dice.random() < config.latency_rate:
            await call.runtime.sleep(min(config.latency * dice.random(), call.remaining()))
        if dice.random() < config.error_rate:
            raise _error(dice.choice(config.errors))
        reply = await proceed(call)
        if reply.chunks is not None and dice.random() < config.cut_rate:
            return _Cut(reply, dice.randint(1, config.cut_after)).reply
        return reply


def _error(kind: Kind) -> CallError:
    match kind:
        case "connect":
            return ConnectError("chaos: not connected")
        case "reset":
            return TransferError("chaos: the connection was reset")
        case "server_error":
            return ServerError("chaos: the server failed", status=500)
        case "overloaded":
            return OverloadedError("chaos: the server is overloaded", status=503)
        case "rate_limit":
            return RateLimitError("chaos: too many requests", status=429)


class _Cut:
    """A live stream that breaks after some chunks, as a reply of its own with the outcome of a broken one."""

    def __init__(self, inner: Reply, chunks: int) -> None:
        self._inner = inner
        self._left = chunks
        self._assembly = Assembly()
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        if self._left == 0:
            error = StreamInterrupted("chaos: the stream was cut", partial=self._assembly.response())
            await self._inner.close()
            self.reply.finish(Outcome("failed", error.partial, error))
            raise error
        self._left -= 1
        try:
            chunk = await self._inner.chunks.__anext__()  # type: ignore[union-attr]  # it is a stream
        except BaseException:
            await self._inner.close()
            if self._inner.outcome is not None:  # whatever ended it before the cut came
                self.reply.finish(self._inner.outcome)
            raise
        self._assembly.add(chunk)
        return chunk

    async def aclose(self) -> None:
        """Stop; what had arrived is the outcome unless the stream was cut already."""
        await self._inner.close()
        self.reply.finish(Outcome("abandoned", self._assembly.response()))
