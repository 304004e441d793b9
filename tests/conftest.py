"""One scenario, three colours: the `world` fixture runs the same calls in each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from penstock import AsyncClient, Client, SimulatedClient
from penstock.asynchronous import AsyncioRuntime
from penstock.events import Event
from penstock.runtime import BlockingRuntime
from penstock.simulated import SimulatedRuntime
from penstock.testing import ManualClock
from penstock_testkit import SimulatedTransport, Simulator

settings.register_profile("penstock", deadline=None)  # tests assert no times
settings.load_profile("penstock")

COLOURS = ("blocking", "async", "simulated")
SEED = 7


class World:
    """
    A client of one colour in front of a simulated provider, on a clock that only sleeping moves.

    Attributes:
        simulator: counts and remembers what arrived.
        transport: knows what is still open.
        events: every event, in order.
        now: the clock.
    """

    def __init__(
        self,
        colour: str,
        faults: Any = (),
        *,
        simulator: Simulator | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        **arguments: Any,
    ) -> None:
        self.colour = colour
        self.simulator = simulator or Simulator(faults)
        self.transport = SimulatedTransport(self.simulator)
        self.events: list[Event] = []
        self._runner: asyncio.Runner | None = None
        clock = ManualClock()
        dice = random.Random(SEED).random
        options: dict[str, Any] = {
            "config": False,
            "environ": {},
            "providers": {"openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}},
            "pipeline": ["retry"],
            "listeners": [self.events.append],
            **arguments,
        }
        if colour == "blocking":
            self.runtime: Any = BlockingRuntime(
                self.transport, random=dice, clock=clock.now, sleep=clock.sleep
            )
            self.client: Any = Client(runtime=self.runtime, **options)
        elif colour == "async":
            self._runner = asyncio.Runner(loop_factory=loop_factory)
            times: dict[str, Any] = {"clock": clock.now, "sleep": clock.sleep_async}
            if loop_factory is not None:  # a loop with a clock of its own
                times = {"clock": self._runner.get_loop().time}
            self.runtime = AsyncioRuntime(self.transport, random=dice, **times)
            self.client = AsyncClient(runtime=self.runtime, **options)
        else:
            self.runtime = SimulatedRuntime(self.transport, seed=SEED)
            self.client = SimulatedClient(self.runtime, **options)
        self.transport.runtime = self.runtime
        self.now: Callable[[], float] = self.runtime.now

    def run(self, coroutine: Any) -> Any:
        """A coroutine of this colour, to its end; for blocking, the value itself."""
        if self.colour == "blocking":
            return coroutine
        return self._runner.run(coroutine) if self._runner is not None else self.client.run(coroutine)

    def chat(self, messages: Any = "Hello", model: str = "openai/gpt-4o-mini", **parameters: Any) -> Any:
        """One plain call."""
        return self.run(self.client.chat(model, messages, **parameters))

    def stream(
        self,
        messages: Any = "Hello",
        model: str = "openai/gpt-4o-mini",
        *,
        take: int | None = None,
        **parameters: Any,
    ) -> Any:
        """One streamed call: its chunks (at most `take`), and the stream itself."""
        if self.colour == "blocking":
            chunks = []
            with self.client.stream(model, messages, **parameters) as stream:
                for chunk in stream:
                    chunks.append(chunk)
                    if take is not None and len(chunks) >= take:
                        break
            return chunks, stream

        async def read() -> Any:
            chunks = []
            async with self.client.stream(model, messages, **parameters) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if take is not None and len(chunks) >= take:
                        break
            return chunks, stream

        return self.run(read())

    def embed(self, inputs: Any, model: str = "openai/text-embedding-3-small", **parameters: Any) -> Any:
        """One embedding call."""
        return self.run(self.client.embed(model, inputs, **parameters))

    @property
    def count(self) -> int:
        """Requests that reached the provider."""
        return self.simulator.count()

    def trace(self) -> list[tuple[Any, ...]]:
        """The events as plain values, to compare colours."""
        return [describe(event) for event in self.events]

    def close(self) -> None:
        """Close the client; nothing may be left open."""
        self.run(self.client.close())
        if self._runner is not None:
            self._runner.close()
        assert self.transport.open == ()


def describe(event: Event) -> tuple[Any, ...]:
    """An event as plain values."""
    name = type(event).__name__
    values: list[Any] = [name, round(event.at, 6)]
    for field in ("delay", "hint", "reason", "kind"):
        if hasattr(event, field):
            value = getattr(event, field)
            values.append(round(value, 6) if isinstance(value, float) else value)
    for field in ("attempt", "error", "outcome"):
        value = getattr(event, field, None)
        if field == "attempt" and value is not None:
            values += [value.number, str(value.target), type(value.error).__name__]
        elif field == "outcome" and value is not None:
            values += [value.kind, type(value.error).__name__]
        elif value is not None:
            values.append(type(value).__name__)
    return tuple(values)


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds of a colour, and closes them."""
    made: list[World] = []

    def make(colour: str = "blocking", faults: Any = (), **arguments: Any) -> World:
        made.append(World(colour, faults, **arguments))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture(params=COLOURS)
def world(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> Callable[..., World]:
    """Makes worlds of one colour; the test runs once in each."""
    return lambda faults=(), **arguments: make_world(request.param, faults, **arguments)
