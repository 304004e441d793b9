"""Real threads and a real event loop around one cache, with an upstream made by hand."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.asynchronous import AsyncioRuntime
from penstock.call import Call, Outcome, Reply, Target, Timeouts
from penstock.errors import ServerError
from penstock.messages import ChatRequest, Message
from penstock.responses import ChatResponse, Choice, Chunk
from penstock.runtime import BlockingRuntime, Runtime, drive
from penstock_cache import CacheConfig, CacheStage
from penstock_cache.background import Jobs

TARGET = Target("openai", "gpt-4o")


def stage_of(runtime: Runtime, **settings: Any) -> CacheStage:
    services: Any = SimpleNamespace(runtime=runtime)  # all that a cache in memory asks for
    return CacheStage(CacheConfig(**settings), services)


def call_of(runtime: Runtime, text: str = "Hello", *, stream: bool = False) -> Call:
    return Call(
        id="id",
        request=ChatRequest(model="m", messages=(Message("user", text),), temperature=0, stream=stream),
        target=TARGET,
        runtime=runtime,
        timeouts=Timeouts(),
        started=runtime.now(),
    )


def answer(text: str) -> ChatResponse:
    return ChatResponse((Choice(text, finish_reason="stop"),))


class Source:
    """A live stream of words; `tick` is awaited before each."""

    def __init__(self, text: str, tick: Any) -> None:
        words = [Chunk(word + " ") for word in text.split()]
        self._chunks = iter([*words, Chunk(finish_reason="stop")])
        self._response = answer("".join(chunk.text for chunk in words))
        self._tick = tick
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        try:
            await self._tick()
        except BaseException:
            await self.aclose()
            raise
        for chunk in self._chunks:
            return chunk
        self.reply.finish(Outcome("ok", self._response))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.reply.finish(Outcome("abandoned"))


async def read(reply: Reply) -> str:
    text = ""
    try:
        if reply.chunks is None:
            assert isinstance(reply.response, ChatResponse)
            return reply.response.text
        async for chunk in reply.chunks:
            text += chunk.text
    finally:
        await reply.close()
    return text


# Threads


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Any) -> list[BaseException]:
    """Run `work(number)` in so many threads at once; what they raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait(20)
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


@pytest.mark.usefixtures("_hasty_threads")
@pytest.mark.parametrize("stream", [False, True])
def test_64_threads_make_one_request_for_each_key(stream: bool) -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    stage = stage_of(runtime)
    requests: Counter[str] = Counter()
    lock = threading.Lock()

    async def tick() -> None: ...

    async def upstream(call: Call) -> Reply:
        text = call.request.messages[0].content  # type: ignore[union-attr]
        with lock:
            requests[text] += 1  # type: ignore[index]
        await runtime.sleep(0.001)
        return (
            Source(f"answer to {text}", tick).reply
            if call.request.stream
            else Reply(answer(f"answer to {text} "))
        )

    async def ask(text: str, streamed: bool) -> str:
        return await read(await stage(call_of(runtime, text, stream=streamed), upstream))

    def work(number: int) -> None:
        dice = random.Random(number)
        for turn in range(12):
            text = f"question {turn}"
            streamed = stream and dice.random() < 0.7
            assert drive(ask(text, streamed)) == f"answer to {text} "

    assert in_threads(64, work) == []
    assert requests == Counter({f"question {turn}": 1 for turn in range(12)})
    stats = stage.stats()
    assert stats.misses == 12
    assert stats.hits + stats.coalesced == 64 * 12 - 12
    drive(stage.close())
    assert len(stage.flights) == 0


@pytest.mark.usefixtures("_hasty_threads")
def test_threads_share_failures_and_go_on_after_them() -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    stage = stage_of(runtime)
    requests = 0
    lock = threading.Lock()
    outcomes: Counter[str] = Counter()

    async def upstream(call: Call) -> Reply:
        nonlocal requests
        with lock:
            requests += 1
            number = requests
        if number % 2:
            raise ServerError("down", status=500)
        return Reply(answer("up"))

    def work(number: int) -> None:
        for _ in range(50):
            try:
                reply = drive(stage(call_of(runtime, str(number % 4)), upstream))
            except ServerError:
                kind = "failed"
            else:
                assert reply.response.text == "up"  # type: ignore[union-attr]
                kind = "ok"
            with lock:
                outcomes[kind] += 1

    assert in_threads(32, work) == []
    assert sum(outcomes.values()) == 32 * 50
    assert outcomes["ok"] > 1000
    stats = stage.stats()
    assert stats.misses == requests
    assert len(stage.flights) == 0


@pytest.mark.usefixtures("_hasty_threads")
def test_threads_clearing_and_storing_at_once_lose_nothing() -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    stage = stage_of(runtime, max_entries=8)

    async def upstream(call: Call) -> Reply:
        return Reply(answer(str(call.request.messages[0].content)))  # type: ignore[union-attr]

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(60):
            text = f"q{dice.randrange(20)}"
            reply = drive(stage(call_of(runtime, text), upstream))
            assert reply.response.text == text  # type: ignore[union-attr]
            if dice.random() < 0.05:
                stage.clear()
            if dice.random() < 0.05:
                stage.invalidate("openai/*")

    assert in_threads(16, work) == []
    size = stage.store.size()
    assert size.entries <= 8
    assert stage.clear() == size.entries
    assert stage.store.size()[:2] == (0, 0)


# asyncio


def test_a_thousand_tasks_make_one_request_and_no_cancellation_spreads() -> None:
    async def main() -> None:
        runtime = AsyncioRuntime(None)  # type: ignore[arg-type]  # nothing is sent
        stage = stage_of(runtime)
        dice = random.Random(11)
        requests: Counter[str] = Counter()

        async def tick() -> None:
            await asyncio.sleep(0)

        async def upstream(call: Call) -> Reply:
            text = str(call.request.messages[0].content)  # type: ignore[union-attr]
            requests[text] += 1
            for _ in range(15):
                await asyncio.sleep(0)
            if call.request.stream:
                return Source(f"the answer to {text} in many words", tick).reply
            return Reply(answer(f"the answer to {text} in many words "))

        async def ask(number: int) -> str:
            for _ in range(dice.randrange(10)):
                await asyncio.sleep(0)
            text = f"question {number % 10}"
            got = await read(await stage(call_of(runtime, text, stream=number % 3 > 0), upstream))
            assert got == f"the answer to {text} in many words ", got
            return got

        tasks = [asyncio.create_task(ask(number)) for number in range(1000)]
        doomed = dice.sample(range(1000), 300)
        for number in doomed:
            if dice.random() < 0.1:
                await asyncio.sleep(0)
            tasks[number].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        died: Counter[str] = Counter()
        for number, result in enumerate(results):
            if isinstance(result, BaseException):
                assert isinstance(result, asyncio.CancelledError), result
                assert number in doomed
                died[f"question {number % 10}"] += 1
        assert sum(died.values()) > 100
        for text, count in requests.items():
            assert count <= 1 + died[text]
        await stage.close()
        assert len(stage.flights) == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_ten_thousand_calls_leave_nothing_behind() -> None:
    async def main() -> None:
        runtime = AsyncioRuntime(None)  # type: ignore[arg-type]  # nothing is sent
        stage = stage_of(runtime, max_entries=10)

        async def upstream(call: Call) -> Reply:
            await asyncio.sleep(0)
            return Reply(answer("fine"))

        witnesses: list[weakref.ref[Witness]] = []

        async def ask(number: int) -> None:
            call = call_of(runtime, f"question {number % 100}")
            call.facts["witness"] = witness = Witness()
            witnesses.append(weakref.ref(witness))
            await stage(call, upstream)

        await asyncio.gather(*(ask(number) for number in range(10_000)))
        gc.collect()
        assert sum(ref() is not None for ref in witnesses) == 0
        assert len(stage.flights) == 0
        assert stage.stats().entries == 10
        await stage.close()

    asyncio.run(main())


class Witness:
    """Lives as long as the call it is noted on."""


# Streams that other stages have had their hands in


class Rude(Source):
    """A source that breaks without saying so, as one of a careless plugin might."""

    closed = False

    async def __anext__(self) -> Chunk:
        await self._tick()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


def test_a_broken_stream_is_closed_whatever_its_source_did() -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    stage = stage_of(runtime)
    ticks = iter([None, ServerError("down")])

    async def tick() -> None:
        error = next(ticks)
        if error is not None:
            raise error

    source = Rude("three words here", tick)

    async def upstream(call: Call) -> Reply:
        return source.reply

    with pytest.raises(ServerError):
        drive(ask_once(stage, call_of(runtime, stream=True), upstream))
    assert source.closed
    assert len(stage.flights) == 0


async def ask_once(stage: CacheStage, call: Call, upstream: Any) -> str:
    return await read(await stage(call, upstream))


@pytest.mark.parametrize("kind", ["open", "abandoned"])
def test_a_stream_that_a_stage_inside_cut_short_is_given_and_not_kept(kind: str) -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    stage = stage_of(runtime)
    sources = []

    async def tick() -> None: ...

    async def upstream(call: Call) -> Reply:
        source = Source("three words here", tick)
        sources.append(source)

        async def first_two(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
            for _ in range(2):
                yield await anext(chunks)
            if kind == "abandoned":
                await source.aclose()

        source.reply.map_stream(first_two)
        return source.reply

    for _ in range(2):
        reply = drive(stage(call_of(runtime, stream=True), upstream))
        assert drive(read(reply)) == "three words "
        assert reply.outcome is not None
        assert reply.outcome.response is not None
        assert reply.outcome.response.text == "three words "  # type: ignore[union-attr]  # a chat answer
    assert [source.reply.outcome.kind for source in sources if source.reply.outcome] == ["abandoned"] * 2
    assert stage.stats().stores == 0
    assert len(stage.flights) == 0


# Work behind the scenes


def test_revalidations_are_bounded_and_the_rest_stays_stale() -> None:
    clock = [0.0]

    async def main() -> None:
        runtime = AsyncioRuntime(None, clock=lambda: clock[0])  # type: ignore[arg-type]  # nothing is sent
        stage = stage_of(runtime, mode="aggressive", ttl=10)
        started = 0
        gate = asyncio.Event()

        async def upstream(call: Call) -> Reply:
            nonlocal started
            started += 1
            if clock[0] > 0:
                await gate.wait()
            return Reply(answer("fine"))

        for number in range(40):
            await stage(call_of(runtime, str(number)), upstream)
        clock[0] = 20.0
        for _ in range(3):
            for number in range(40):
                await stage(call_of(runtime, str(number)), upstream)
        await asyncio.sleep(0)
        assert started == 40 + Jobs.MAX
        assert stage.stats().stale == 120
        gate.set()
        await stage.close()
        assert len(asyncio.all_tasks()) == 1
        assert len(stage.flights) == 0

    asyncio.run(main())


def test_work_that_never_began_is_dropped_when_the_cache_closes() -> None:
    async def main() -> None:
        jobs = Jobs(AsyncioRuntime(None))  # type: ignore[arg-type]  # nothing is sent
        dropped = []

        async def work() -> None:
            raise AssertionError("it began")

        assert jobs.start(work, lambda: dropped.append(1))
        await jobs.close()
        await asyncio.sleep(0)
        assert dropped == [1]
        assert not jobs.start(work, lambda: dropped.append(2))
        assert jobs.full
        await jobs.close()

    asyncio.run(main())


def test_without_a_thread_to_spare_there_is_no_job_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    jobs = Jobs(BlockingRuntime(None))  # type: ignore[arg-type]  # nothing is sent
    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def work() -> None: ...

    assert not jobs.start(work, lambda: None)
    assert not jobs._jobs
