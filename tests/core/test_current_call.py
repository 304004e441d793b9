"""Which call is running is known in every context, and only there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penstock import (
    AsyncClient,
    Call,
    ChatRequest,
    ChatResponse,
    Choice,
    Chunk,
    Client,
    ProviderSpec,
    Reply,
    Usage,
    hookimpl,
)
from penstock.call import Outcome, current
from penstock.config import Config
from penstock.runtime import drive
from penstock_testkit import faults

RESPONSE = ChatResponse(choices=(Choice(text="Hello!", finish_reason="stop"),), usage=Usage(5, 2))


class Watching:
    """A provider that notes which call it finds itself in, before and after it has waited."""

    base_url = "http://watching.invalid"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, int | None]] = []
        self.replies: list[Reply] = []

    def note(self, call: Call) -> None:
        found = current.get()
        attempt = None if found is None or found.attempt is None else found.attempt.number
        self.seen.append((call.id, None if found is None else found.id, attempt))

    async def send(self, call: Call) -> Reply:
        self.note(call)
        await call.runtime.sleep(0.001)
        self.note(call)
        await call.runtime.run_blocking(self.note, call)
        if not call.request.stream:
            return Reply(RESPONSE)
        self.replies.append(Reply(chunks=self.chunks(call, len(self.replies))))
        return self.replies[-1]

    async def chunks(self, call: Call, number: int) -> AsyncIterator[Chunk]:
        for text in ("one", "two", "three"):
            self.note(call)
            await call.runtime.sleep(0.001)
            yield Chunk(text=text)
        self.note(call)
        self.replies[number].finish(Outcome("ok", RESPONSE))

    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name="watching", config=Config, create=lambda config, services: self)]


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def options(watching: Watching) -> dict[str, Any]:
    return {"config": False, "environ": {}, "plugins": [("watching", watching)], "pipeline": ["retry"]}


def right(watching: Watching) -> bool:
    return bool(watching.seen) and all(inner == outer for inner, outer, _ in watching.seen)


def test_it_is_the_call_inside_and_none_outside(make_world: Callable[..., Any], watching: Watching) -> None:
    for colour in ("blocking", "async", "simulated"):
        world = make_world(colour, plugins=[("watching", watching)])
        world.chat(model="watching/m")
        assert current.get() is None
    assert len(watching.seen) == 9
    assert right(watching)
    assert {number for _, _, number in watching.seen} == {1}


def test_the_attempt_is_that_of_the_derived_call(make_world: Callable[..., Any], watching: Watching) -> None:
    world = make_world(
        plugins=[("watching", watching)],
        pipeline=["routing"],
        routes={"fast": {"targets": ["openai/m", "watching/m"]}},
    )
    world.client.stage("routing").drain("openai/*")
    world.chat(model="fast")
    assert right(watching)
    assert [number for _, _, number in watching.seen] == [1, 1, 1]


def test_an_attempt_outside_of_a_client_leaves_nothing_behind(
    options: dict[str, Any], watching: Watching
) -> None:
    with Client(**options) as client:
        call, proceed = client._engine.new_call(ChatRequest(model="watching/m", messages=()))
        drive(proceed(call))
    assert right(watching)
    assert current.get() is None


def test_many_calls_of_one_loop_keep_apart(options: dict[str, Any], watching: Watching) -> None:
    async def ask() -> None:
        async with AsyncClient(**options) as client:
            await asyncio.gather(*(client.chat("watching/m", str(number)) for number in range(50)))

    asyncio.run(ask())
    assert len(watching.seen) == 150
    assert right(watching)


def test_many_calls_of_one_simulation_keep_apart(make_world: Callable[..., Any], watching: Watching) -> None:
    world = make_world("simulated", plugins=[("watching", watching)])
    for number in range(50):
        world.runtime.spawn(world.client.chat("watching/m", str(number)))
    world.runtime.settle()
    assert len(watching.seen) == 150
    assert right(watching)
    assert current.get() is None


def test_many_threads_keep_apart(options: dict[str, Any], watching: Watching) -> None:
    with Client(**options) as client:
        threads = [threading.Thread(target=client.chat, args=("watching/m", "Hello")) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(watching.seen) == 48
    assert right(watching)


def test_between_the_chunks_of_two_streams_there_is_no_call(
    options: dict[str, Any], watching: Watching
) -> None:
    with Client(**options) as client:
        with client.stream("watching/m", "a") as first, client.stream("watching/m", "b") as second:
            for _ in zip(first, second, strict=False):
                assert current.get() is None
            second.read()
        assert current.get() is None
    assert right(watching)


def test_between_the_chunks_of_an_async_stream_there_is_no_call(
    options: dict[str, Any], watching: Watching
) -> None:
    async def read() -> None:
        async with AsyncClient(**options) as client:
            async with client.stream("watching/m", "a") as stream:
                async for _ in stream:
                    assert current.get() is None
            assert current.get() is None

    asyncio.run(read())
    assert right(watching)


def test_a_call_inside_a_call_gives_the_outer_one_back(options: dict[str, Any], watching: Watching) -> None:
    found: list[tuple[str | None, str]] = []

    class Inner:
        @hookimpl
        def penstock_pre_request(self, call: Call) -> None:
            if call.request.messages[-1].content == "outer":
                client.chat("watching/m", "inner")
                inside = current.get()
                found.append((None if inside is None else inside.id, call.id))

    options["plugins"] = [*options["plugins"], ("inner", Inner())]
    with Client(**options) as client:
        client.chat("watching/m", "outer")
    ((inside, outer),) = found
    assert inside == outer
    assert right(watching)


def test_a_call_that_is_dropped_half_way_leaves_the_call_of_whoever_drops_it_alone(
    make_world: Callable[..., Any],
) -> None:
    world = make_world("simulated", [faults.slow_first_token(30.0)], pipeline=[])
    task = world.runtime.spawn(world.client.chat("openai/m", "dropped"))
    while task.suspensions < 2:
        world.runtime._step()
    own: Any = object.__new__(Call)
    own.attempts = []
    token = current.set(own)
    task._coroutine.close()
    assert current.get() is own
    current.reset(token)
    task.done = True
