"""Streams that break after their first token: raise, restart, continue."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import (
    CallError,
    ChatRequest,
    DeadlineExceeded,
    Message,
    Slot,
    StageSpec,
    StreamInterrupted,
    Target,
    hookimpl,
)
from penstock.call import Outcome
from penstock.config import StageConfig
from penstock.events import (
    AttemptFinished,
    CallFinished,
    Failover,
    StreamLost,
    StreamRecovered,
    TargetSkipped,
)
from penstock.responses import Chunk
from penstock_routing.continuation import ECHO_LENGTH, Continuation, continued
from penstock_testkit import Simulator, faults
from penstock_testkit.plan import Data, Reset

World = Callable[..., Any]
FULL = "One two three four five six seven eight nine ten."
A, B, C = (Target("openai", name) for name in "abc")


def model(request: Any, prompt: str) -> str:
    """A model that goes on from an assistant message at the end."""
    last = request.json["messages"][-1]
    return FULL.removeprefix(last["content"]) if last["role"] == "assistant" else FULL


def echoing(request: Any, prompt: str) -> str:
    """A server that repeats the text it was given to go on from; so does a model that begins again."""
    return FULL


def routed(world: World, script: Any, mode: str = "restart", *, text: Any = model, **options: Any) -> Any:
    targets = [{"target": f"openai/{name}", "prefill": True} for name in "abc"]
    options = {
        "pipeline": ["routing"],
        "routes": {"fast": {"targets": targets, "on_interrupt": mode}},
        "simulator": Simulator(script=script, text=text),
        **options,
    }
    return world(**options)


def models(world: Any) -> list[str]:
    return [request.model for request in world.simulator.requests]


def read(chunks: list[Chunk]) -> str:
    """What a reader that heeds resets has in the end."""
    text = ""
    for chunk in chunks:
        text = chunk.text if chunk.reset else text + chunk.text
    return text


def finished(world: Any) -> list[Outcome]:
    return [event.outcome for event in world.events if isinstance(event, CallFinished)]


def follow(world: Any, chunks: list[Chunk], **parameters: Any) -> None:
    """Read a stream to its end or break, keeping what it brought."""

    async def read_async() -> None:
        async with world.client.stream("fast", "Hello", **parameters) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401  (what came before a break must stay)

    if world.colour != "blocking":
        world.run(read_async())
        return
    with world.client.stream("fast", "Hello", **parameters) as stream:
        for chunk in stream:
            chunks.append(chunk)  # noqa: PERF402  (as above)


def broken_stream(world: Any, **parameters: Any) -> tuple[list[Chunk], StreamInterrupted]:
    """The chunks before the break, and the break."""
    chunks: list[Chunk] = []
    with pytest.raises(StreamInterrupted) as caught:
        follow(world, chunks, **parameters)
    return chunks, caught.value


def test_by_default_a_break_is_raised_with_what_had_arrived(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=3)]}, "raise")
    chunks, error = broken_stream(here)
    assert read(chunks) == error.partial.text == "One two three"  # type: ignore[union-attr]  # it has one
    assert models(here) == ["a"]


@pytest.mark.parametrize(
    "fault",
    [faults.cut(after=3), faults.reset(after=3), faults.error_event(500, after=3), faults.hang(after=3)],
)
def test_restart_resets_the_reader_and_begins_anew(world: World, fault: Any) -> None:
    here = routed(world, {"a": [fault]})
    chunks, stream = here.stream(model="fast")
    resets = [index for index, chunk in enumerate(chunks) if chunk.reset]
    assert len(resets) == 1
    assert "".join(chunk.text for chunk in chunks[: resets[0]]) == "One two three"
    assert read(chunks) == stream.answer.text == FULL
    assert stream.answer.target == B
    assert models(here) == ["a", "b"]
    assert [outcome.kind for outcome in finished(here)] == ["ok"]
    recovered = [e for e in here.events if isinstance(e, StreamRecovered)]
    assert [(e.before, e.after, e.mode) for e in recovered] == [(A, B, "restart")]
    assert len([e for e in here.events if isinstance(e, Failover)]) == 1
    stats = here.client.stage("routing").stats()["fast"]
    assert (stats.recovered, stats.lost) == (1, 0)


def test_a_stream_may_break_again_and_again(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=2)], "b": [faults.cut(after=4)]})
    chunks, stream = here.stream(model="fast")
    assert sum(chunk.reset for chunk in chunks) == 2
    assert read(chunks) == stream.answer.text == FULL
    assert models(here) == ["a", "b", "c"]


def test_when_no_target_takes_over_the_break_is_raised_and_nothing_reset(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=2)], "b": [faults.status(500)], "c": [faults.status(503)]})
    chunks, error = broken_stream(here)
    assert not any(chunk.reset for chunk in chunks)
    assert read(chunks) == error.partial.text == "One two"  # type: ignore[union-attr]  # it has one
    assert "not_recovered" in error.tags
    assert any("openai/c" in note for note in error.__notes__)
    assert [attempt.target for attempt in error.attempts] == [A, B, C]
    assert [outcome.kind for outcome in finished(here)] == ["failed"]
    assert [e.reason for e in here.events if isinstance(e, StreamLost)] == ["exhausted"]


def test_a_route_that_has_been_walked_to_its_end_has_nobody_left(world: World) -> None:
    here = routed(world, {name: [faults.cut(after=2)] for name in "abc"})
    _, error = broken_stream(here)
    assert models(here) == ["a", "b", "c"]
    assert error.target == C


def test_a_break_that_no_other_target_can_mend_is_raised(world: World) -> None:
    here = routed(world, {"a": [faults.error_event(400, after=2, kind="content_filter")]})
    broken_stream(here)
    assert models(here) == ["a"]
    assert [e.reason for e in here.events if isinstance(e, StreamLost)] == ["final"]


def after_finish(plan: Any, occasion: Any) -> Any:
    at = next(n for n, step in enumerate(plan) if isinstance(step, Data) and step.part == "finish") + 1
    return (*plan[:at], Reset(), *plan[at:])


@pytest.mark.parametrize("mode", ["restart", "continue"])
def test_an_answer_that_lacks_only_its_end_is_not_taken_over(world: World, mode: str) -> None:
    here = routed(world, {"a": [faults.Fault("reset after the finish reason", after_finish)]}, mode)
    chunks, error = broken_stream(here)
    assert read(chunks) == FULL
    assert error.partial is not None
    assert error.partial.finish_reason == "stop"
    assert models(here) == ["a"]
    assert [e.reason for e in here.events if isinstance(e, StreamLost)] == ["complete"]


def test_the_deadline_of_the_call_is_no_break(world: World) -> None:
    here = routed(world, {"a": [faults.drip(2.0)]})

    with pytest.raises(DeadlineExceeded) as caught:
        follow(here, [], timeout=5)
    assert models(here) == ["a"]
    assert caught.value.attempts[0].target == A


def test_a_long_stream_is_taken_over_after_the_time_of_a_plain_call(world: World) -> None:
    slow = faults.chain(faults.cut(after=8), faults.drip(20.0))
    here = routed(world, {"a": [slow]}, timeouts={"total": "100s", "first_token": "60s"})
    chunks, _ = here.stream(model="fast")
    assert here.now() > 100
    assert read(chunks) == FULL


@pytest.mark.parametrize("text", [model, echoing])
@pytest.mark.parametrize("after", [4, 7])
def test_continue_goes_on_from_the_text_and_repeats_nothing(world: World, text: Any, after: int) -> None:
    here = routed(world, {"a": [faults.cut(after=after)]}, "continue", text=text)
    chunks, stream = here.stream(model="fast")
    assert not any(chunk.reset for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == FULL
    assert stream.answer.text == FULL
    assert stream.answer.finish_reason == "stop"
    assert stream.answer.target == B
    asked = here.simulator.requests[1].json["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant"]
    assert asked[1]["content"] == " ".join(FULL.split()[:after])
    assert [e.mode for e in here.events if isinstance(e, StreamRecovered)] == ["continue"]


def test_continue_may_happen_more_than_once(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=3)], "b": [faults.cut(after=3)]}, "continue")
    chunks, stream = here.stream(model="fast")
    assert "".join(chunk.text for chunk in chunks) == stream.answer.text == FULL
    assert here.simulator.requests[2].json["messages"][-1]["content"] == "One two three four five six"
    assert models(here) == ["a", "b", "c"]


def test_a_continuation_that_breaks_for_good_raises_all_that_had_arrived(world: World) -> None:
    here = routed(world, {name: [faults.cut(after=2)] for name in "abc"}, "continue")
    chunks, error = broken_stream(here)
    assert read(chunks) == error.partial.text == "One two three four five six"  # type: ignore[union-attr]


def test_only_a_target_that_can_continues(world: World) -> None:
    targets = ["openai/a", "openai/b", {"target": "openai/c", "prefill": True}]
    here = routed(
        world,
        {"a": [faults.cut(after=4)]},
        routes={"fast": {"targets": targets, "on_interrupt": "continue"}},
    )
    chunks, _ = here.stream(model="fast")
    assert read(chunks) == FULL
    assert models(here) == ["a", "c"]
    assert [(e.target, e.reason) for e in here.events if isinstance(e, TargetSkipped)] == [(B, "prefill")]


def test_a_tool_call_is_not_continued(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=2)]}, "continue")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    broken_stream(here, tools=[tool], tool_choice="required")
    assert models(here) == ["a"]
    assert [e.reason for e in here.events if isinstance(e, StreamLost)] == ["not_text"]


def test_a_call_chooses_its_mode(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=2)]}, "raise")
    chunks, _ = here.stream(model="fast", routing={"on_interrupt": "restart"})
    assert sum(chunk.reset for chunk in chunks) == 1


class Wrapped:
    """What a stage may put around the chunks of each target; it must be closed."""

    open = 0

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks
        Wrapped.open += 1

    def __aiter__(self) -> Wrapped:
        return self

    async def __anext__(self) -> Chunk:
        return await self.chunks.__anext__()  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        Wrapped.open -= 1


class Wrapping:
    """A stage at each target, and the plugin that brings it."""

    @hookimpl
    def penstock_register_stages(self) -> list[StageSpec]:
        return [
            StageSpec(name="wrapping", config=StageConfig, create=lambda *_: self, slot=Slot("target", 1))
        ]

    async def __call__(self, call: Any, proceed: Any) -> Any:
        reply = await proceed(call)
        reply.map_stream(Wrapped)
        return reply


def test_what_stages_put_around_a_broken_stream_is_closed_before_the_next(world: World) -> None:
    Wrapped.open = 0
    left: list[int] = []

    def say(request: Any, prompt: str) -> str:
        left.append(Wrapped.open)
        return FULL

    here = routed(
        world,
        {"a": [faults.cut(after=2)], "b": [faults.cut(after=2)]},
        text=say,
        pipeline=["routing", "wrapping"],
        plugins=[("wrapping", Wrapping())],
    )
    chunks, _ = here.stream(model="fast")
    assert read(chunks) == FULL
    assert left == [0, 0, 0]
    assert Wrapped.open == 0


def test_a_stream_left_by_its_reader_is_closed_whoever_writes_it(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=2)]})
    here.stream(model="fast", take=5)
    assert here.transport.open == ()
    assert [outcome.kind for outcome in finished(here)] == ["abandoned"]
    kinds = [event.kind for event in here.events if isinstance(event, AttemptFinished)]
    assert kinds == ["failed", "abandoned"]


def test_the_same_breaks_give_the_same_events_in_every_colour(make_world: World) -> None:
    for mode in ("raise", "restart", "continue"):
        traces = []
        for colour in ("blocking", "async", "simulated"):
            here = routed(
                lambda **options: make_world(colour, **options),  # noqa: B023  (used at once)
                {"a": [faults.cut(after=4), faults.reset(after=1)], "b": [faults.status(500)]},
                mode,
                pipeline=["routing", "retry", "breaker"],
            )
            for _ in range(3):
                with contextlib.suppress(CallError):
                    here.stream(model="fast")
            traces.append(here.trace())
        assert traces[0] == traces[1] == traces[2]


SCRIPT = {"a": [faults.cut(after=3)], "b": [faults.status(503), faults.cut(after=4)], "c": [faults.drip(0.2)]}


async def call(world: Any) -> None:
    async with world.client.stream("fast", "Hello") as stream:
        async for _ in stream:
            await world.runtime.sleep(0.01)


def check_nothing_leaked(world: Any) -> None:
    assert world.transport.open == ()
    assert len(finished(world)) == 1
    names = [type(event).__name__ for event in world.events]
    assert names.count("AttemptStarted") == names.count("AttemptFinished")


@pytest.mark.parametrize("mode", ["restart", "continue"])
def test_cancelled_at_any_await_in_virtual_time_nothing_leaks(make_world: World, mode: str) -> None:
    cancelled = 0
    for point in range(1, 500):
        here = routed(
            lambda **options: make_world("simulated", **options), SCRIPT, mode, pipeline=["routing", "retry"]
        )

        def cancel_here(task: Any, point: int = point) -> None:
            if task.name == "main" and task.suspensions == point:
                task.cancel()

        here.runtime.on_suspend = cancel_here
        try:
            here.run(call(here))
        except CancelledError:
            cancelled += 1
        else:
            break
        here.runtime.on_suspend = None
        here.runtime.settle()
        check_nothing_leaked(here)
    assert cancelled > 20


@pytest.mark.parametrize("mode", ["restart", "continue"])
def test_cancelled_at_any_await_in_asyncio_nothing_leaks(make_world: World, mode: str) -> None:
    async def cancelled_after(world: Any, steps: int) -> bool:
        task = asyncio.ensure_future(call(world))
        for _ in range(steps):
            await asyncio.sleep(0)
            if task.done():
                break
        task.cancel()
        try:
            await task
        except CancelledError:
            return True
        return False

    for steps in range(1, 300):
        here = routed(lambda **options: make_world("async", **options), SCRIPT, mode)
        was_cancelled = here.run(cancelled_after(here, steps))
        if not was_cancelled:
            break
        if here.events:
            assert here.transport.open == ()
            assert len(finished(here)) <= 1


# The parts


@given(
    st.text(min_size=ECHO_LENGTH, max_size=60),
    st.text(max_size=40),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_an_echo_is_dropped_however_it_is_split(text: str, rest: str, cuts: list[int]) -> None:
    whole = text + rest
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    pieces = [whole[start:end] for start, end in itertools.pairwise(places)]
    unheard = Continuation(text)
    chunks = [unheard(Chunk(text=piece)) for piece in pieces]
    chunks.append(unheard(Chunk(finish_reason="stop")))
    assert "".join(chunk.text for chunk in chunks if chunk is not None) == rest
    assert chunks[-1] is not None


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.integers(0, 50), max_size=5))
def test_what_is_no_echo_is_passed_on_whole(text: str, rest: str, cuts: list[int]) -> None:
    if len(text) >= ECHO_LENGTH and rest.startswith(text):
        return
    places = sorted({0, len(rest), *(cut % (len(rest) + 1) for cut in cuts)})
    unheard = Continuation(text)
    chunks = [unheard(Chunk(text=rest[a:b])) for a, b in itertools.pairwise(places)]
    chunks.append(unheard(Chunk(finish_reason="stop")))
    assert "".join(chunk.text for chunk in chunks if chunk is not None) == rest


def test_reasoning_of_a_continuation_is_dropped() -> None:
    unheard = Continuation("The answer is")
    assert unheard(Chunk(reasoning="Hmm.")) is None
    assert unheard(Chunk(reasoning="Hmm.", text=" 42")) == Chunk(text=" 42")


def test_a_continuation_asks_for_no_more_than_is_left() -> None:
    request = ChatRequest(model="m", messages=(Message("user", "Hi"),), max_tokens=100)
    asked = continued(request, "x" * 40)
    assert asked.max_tokens == 90
    assert asked.messages == (Message("user", "Hi"), Message("assistant", "x" * 40))
    assert continued(request, "x" * 4000).max_tokens == 1


def test_a_prefill_of_the_caller_is_made_longer() -> None:
    request = ChatRequest(model="m", messages=(Message("user", "Hi"), Message("assistant", "Dear ")))
    assert continued(request, "Sir").messages == (Message("user", "Hi"), Message("assistant", "Dear Sir"))
