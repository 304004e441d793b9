"""A reply ends once and gives back everything, whatever its layers, callbacks and decoders raise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import AsyncClient, Chunk, Reply
from penstock.call import Outcome
from penstock.events import CallFinished
from penstock.exchange import replay
from penstock.runtime import drive
from penstock_testkit import faults


class Source:
    """A live end that notes that it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        return Chunk(text="more")

    async def aclose(self) -> None:
        self.closed += 1
        self.reply.finish(Outcome("abandoned"))


class Jammed:
    """A layer that cannot be closed."""

    def __init__(self, inner: AsyncIterator[Chunk]) -> None:
        self._inner = inner

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        return await self._inner.__anext__()

    async def aclose(self) -> None:
        raise OSError("jammed")


def test_a_layer_that_cannot_be_closed_does_not_keep_the_layers_inside_open() -> None:
    source = Source()
    for _ in range(3):
        source.reply.map_stream(Jammed)
    with pytest.raises(OSError, match="jammed"):
        drive(source.reply.close())
    assert source.closed == 1
    assert source.reply.outcome is not None


def test_every_callback_runs_though_one_is_interrupted() -> None:
    source, told = Source(), []

    def interrupted(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    source.reply.on_finish(interrupted)
    source.reply.on_finish(lambda outcome: told.append(outcome.kind))
    with pytest.raises(KeyboardInterrupt):
        drive(source.reply.close())
    assert told == ["abandoned"]


@pytest.mark.parametrize("live", [True, False])
def test_a_callback_that_raises_is_logged_by_its_type_and_skipped(
    bench: Any, caplog: pytest.LogCaptureFixture, live: bool
) -> None:
    def quote(outcome: Outcome) -> None:
        raise ValueError(f"cannot count {outcome.response.text}")  # type: ignore[union-attr]

    reply = replay(bench.response) if live else Reply(bench.response)
    with caplog.at_level(logging.ERROR, "penstock"):
        reply.on_finish(quote)
        drive(reply.close())
    assert "raised ValueError; skipped" in caplog.text
    assert "Hello!" not in caplog.text


class Over:
    """An object with some attributes replaced."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Filter:
    """A stage whose layer refuses a chunk."""

    async def __call__(self, call: Any, proceed: Any) -> Reply:
        reply: Reply = await proceed(call)
        reply.on_finish(lambda outcome: call.facts.update(seen=outcome))
        reply.map_stream(self.refuse)
        return reply

    async def refuse(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        async for chunk in chunks:
            if chunk.finish_reason:
                raise ArithmeticError("refused")
            yield chunk


def test_a_stream_that_a_layer_breaks_has_failed(bench: Any) -> None:
    client = bench.client(bench.stage("filter", lambda config, services: Filter()))
    with client.stream("prompt/one", "Hello") as stream, pytest.raises(ArithmeticError):
        list(stream)
    outcome = stream._call.facts["seen"]
    assert (outcome.kind, type(outcome.error)) == ("failed", ArithmeticError)


def test_a_stream_that_a_layer_breaks_has_failed_in_asyncio_too(bench: Any) -> None:
    async def main() -> Outcome:
        options = bench.options(bench.stage("filter", lambda config, services: Filter()))
        async with AsyncClient(transport=SimpleNamespace(), **options) as client:
            async with client.stream("prompt/one", "Hello") as stream:
                with pytest.raises(ArithmeticError):
                    await stream.read()
            return stream._call.facts["seen"]  # type: ignore[no-any-return]

    outcome = asyncio.run(main())
    assert (outcome.kind, type(outcome.error)) == ("failed", ArithmeticError)


def test_an_asyncio_stream_that_is_dropped_is_ended(bench: Any) -> None:
    async def main() -> list[str]:
        options: Any = bench.options()
        ended: list[str] = []
        async with AsyncClient(transport=SimpleNamespace(), **options) as client:
            stream: Any = await client.stream("prompt/one", "Hello")
            stream._reply.on_finish(lambda outcome: ended.append(outcome.kind))
            with pytest.warns(ResourceWarning, match="neither read"):
                stream = None
            await asyncio.sleep(0)
        return ended

    assert asyncio.run(main()) == ["abandoned"]


def test_an_asyncio_stream_that_is_dropped_after_its_loop_is_ended(bench: Any) -> None:
    ended: list[str] = []

    async def main() -> Any:
        options = bench.options()
        async with AsyncClient(transport=SimpleNamespace(), **options) as client:
            stream: Any = await client.stream("prompt/one", "Hello")
            stream._reply.on_finish(lambda outcome: ended.append(outcome.kind))
            return stream

    streams = [asyncio.run(main())]
    with pytest.warns(ResourceWarning, match="neither read"):
        streams.clear()
    assert ended == ["abandoned"]


def test_a_fault_of_a_decoder_after_the_commit_point_is_no_abandoned_stream(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("blocking", [faults.drip(0.1)])
    codec = world.client.provider("openai")
    plain = codec.decoder

    def faulty(request: Any, head: Any) -> Any:
        decoder = plain(request, head)
        feed = decoder.feed

        def count(data: bytes) -> Any:
            if b"[DONE]" in data:
                raise KeyError("a fault")
            return feed(data)

        return Over(decoder, feed=count)

    monkeypatch.setattr(type(codec), "decoder", staticmethod(faulty))
    with pytest.raises(KeyError):
        world.stream()
    assert [(e.outcome.kind, type(e.outcome.error)) for e in world.events if isinstance(e, CallFinished)] == [
        ("failed", KeyError)
    ]
    assert world.transport.open == ()
