"""Single flight, in virtual time: who leads, who follows, and what becomes of the others when one goes."""

from __future__ import annotations

import random
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import (
    CallError,
    DeadlineExceeded,
    OverloadedError,
    ProviderError,
    StreamInterrupted,
)
from penstock.events import CacheLookup
from penstock_cache import CacheStage
from penstock_cache.flight import CANCELLED, UNTIL_LANDED, UNTIL_SHARED, Flights, Landing
from penstock_cache.streams import copy_of
from penstock_testkit import Simulator
from penstock_testkit.faults import chain, cut, drip, slow_first_token, status

Make = Callable[..., Any]
MODEL = "openai/gpt-4o-mini"


class Sim:
    """A simulated client with a cache, and the calls that run in it."""

    def __init__(
        self, make_world: Make, faults: Any = (), *, simulator: Simulator | None = None, **settings: Any
    ) -> None:
        self.world = make_world("simulated", faults, pipeline=["cache"], cache=settings, simulator=simulator)
        self.client = self.world.client
        self.runtime = self.world.runtime
        self.stage: CacheStage = self.client.stage("cache")

    def chat(self, text: str = "Hello", **parameters: Any) -> Any:
        return self.runtime.spawn(self.client.chat(MODEL, text, temperature=0, **parameters))

    def stream(self, text: str = "Hello", *, take: int = 10**9, pause: float = 0.0, **parameters: Any) -> Any:
        async def read() -> tuple[list[Any], list[float], Any]:
            chunks, times = [], []
            async with self.client.stream(MODEL, text, temperature=0, **parameters) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    times.append(self.runtime.now())
                    if len(chunks) >= take:
                        break
                    if pause:
                        await self.runtime.sleep(pause)
            return chunks, times, stream

        return self.runtime.spawn(read())

    def after(self, seconds: float, action: Callable[[], Any]) -> Any:
        async def later() -> Any:
            await self.runtime.sleep(seconds)
            return action()

        return self.runtime.spawn(later())

    def settle(self) -> None:
        """Run everything to its end; nothing may be left."""
        self.runtime.settle()
        assert len(self.stage.flights) == 0
        assert not self.stage.jobs._jobs
        assert self.world.transport.open == ()

    @property
    def count(self) -> int:
        return int(self.world.count)

    def results(self) -> Counter[tuple[str, str]]:
        return Counter(
            (event.result, event.reason) for event in self.world.events if isinstance(event, CacheLookup)
        )


@pytest.fixture
def sim(make_world: Make) -> Callable[..., Sim]:
    return lambda faults=(), **settings: Sim(make_world, faults, **settings)


# The table of flights


def test_the_first_leads_and_the_others_follow_until_it_lands() -> None:
    flights = Flights()
    first, part = flights.join("k", flights.landings)
    assert part == "lead"
    assert flights.join("k", flights.landings) == (first, "follow")
    assert flights.join("other", flights.landings)[1] == "lead"
    flights.land(first, Landing("answer", 1))
    assert first.landing == Landing("answer", 1)
    assert flights.join("k", flights.landings)[1] == "lead"


def test_who_asked_the_store_before_a_landing_is_told_to_look_again() -> None:
    flights = Flights()
    mark = flights.landings
    first, _ = flights.join("k", mark)
    flights.land(first, Landing("answer", 1))
    second, part = flights.join("k", mark)
    assert part == "look_again"
    flights.land(second, CANCELLED)
    assert flights.join("k", flights.landings)[1] == "lead"


def test_landings_of_other_keys_or_without_an_answer_do_not_count() -> None:
    flights = Flights()
    mark = flights.landings
    for key, landing in (("other", Landing("answer", 1)), ("k", CANCELLED)):
        flights.land(flights.join(key, mark)[0], landing)
    assert flights.join("k", mark)[1] == "lead"


def test_who_missed_more_landings_than_are_remembered_looks_again_in_any_case() -> None:
    flights = Flights()
    mark = flights.landings
    for number in range(Flights.REMEMBERED):
        flights.land(flights.join(number, flights.landings)[0], Landing("answer", 1))
    assert flights.join("k", mark)[1] == "look_again"
    assert len(flights._landed) == Flights.REMEMBERED


def test_only_the_first_landing_counts() -> None:
    flights = Flights()
    flight, _ = flights.join("k", 0)
    flights.land(flight, CANCELLED)
    flights.land(flight, Landing("answer", 1))
    assert flight.landing is CANCELLED


def test_a_flight_is_detached_once_and_never_while_its_leader_reads() -> None:
    flights = Flights()
    flight, _ = flights.join("k", 0)
    assert not flight.opened("stream")
    assert flight.begin_read()
    flights.join("k", 0)
    assert not flight.take_over()
    assert not flight.reached(UNTIL_SHARED)
    assert flight.end_read("event")
    assert flight.reached(UNTIL_SHARED)
    assert not flight.reached(UNTIL_LANDED)
    assert not flight.take_over()
    assert not flight.begin_read()


def test_a_deserted_flight_is_not_given_to_a_latecomer() -> None:
    flights = Flights()
    flight, _ = flights.join("k", 0)
    flight.opened("stream")
    flights.join("k", 0)
    assert flight.take_over()
    assert not flight.leave_lead()
    flight.leave()
    assert not flight.append("event")
    flights.join("k", 0)
    assert not flight.take_over()
    assert not flight.reached(UNTIL_SHARED)


def test_a_copied_error_keeps_what_it_says_and_not_where_it_was_raised() -> None:
    error = OverloadedError("busy", status=503, code="x", retry_after=2.0)
    error.tag("word")
    try:
        raise error
    except OverloadedError as caught:
        copy = copy_of(caught)
    assert isinstance(copy, OverloadedError)
    assert copy is not error
    assert (str(copy), copy.status, copy.retry_after, copy.tags) == ("busy", 503, 2.0, ("word",))
    assert copy.__traceback__ is None


# Plain calls


def test_identical_calls_at_the_same_time_are_one_request(sim: Any) -> None:
    it = sim([slow_first_token(2)])
    tasks = [it.chat() for _ in range(100)]
    it.settle()
    answers = [task.result() for task in tasks]
    assert it.count == 1
    assert len({answer.text for answer in answers}) == 1
    assert Counter(answer.cached for answer in answers) == {True: 99, False: 1}
    assert all(answer.cost == 0 and not answer.attempts for answer in answers if answer.cached)
    assert it.stage.stats().coalesced == 99


def test_different_calls_do_not_wait_for_each_other(sim: Any) -> None:
    it = sim([slow_first_token(5)])
    slow, quick = it.chat("one"), it.after(1, lambda: it.chat("two"))
    it.runtime.run(it.runtime.sleep(2))
    assert quick.result().done
    assert not slow.done
    it.settle()
    assert it.count == 2


def test_the_failure_of_the_leader_is_everybodys(sim: Any) -> None:
    it = sim([chain(status(503), slow_first_token(1))])
    tasks = [it.chat() for _ in range(10)]
    it.settle()
    errors = []
    for task in tasks:
        with pytest.raises(OverloadedError) as caught:
            task.result()
        errors.append(caught.value)
    assert it.count == 1
    assert len({id(error) for error in errors}) == 10
    assert sorted(len(error.attempts) for error in errors) == [0] * 9 + [1]


def test_cancelling_a_follower_touches_nobody_else(sim: Any) -> None:
    it = sim([slow_first_token(2)])
    tasks = [it.chat() for _ in range(10)]
    it.runtime.run(it.runtime.sleep(1))
    leader = max(tasks, key=lambda task: task.suspensions)
    doomed = [task for task in tasks if task is not leader][:4]
    for task in doomed:
        task.cancel()
    it.settle()
    for task in tasks:
        if task in doomed:
            with pytest.raises(CancelledError):
                task.result()
        else:
            assert task.result().text
    assert it.count == 1


def test_when_the_leader_is_cancelled_one_other_leads(sim: Any) -> None:
    it = sim([slow_first_token(2), slow_first_token(2)])
    leader = it.chat()
    it.runtime.run(it.runtime.sleep(0.5))
    followers = [it.chat() for _ in range(10)]
    it.runtime.run(it.runtime.sleep(0.5))
    leader.cancel()
    it.settle()
    with pytest.raises(CancelledError):
        leader.result()
    assert len({task.result().text for task in followers}) == 1
    assert it.count == 2


def test_a_follower_keeps_its_own_deadline(sim: Any) -> None:
    it = sim([slow_first_token(10)])
    leader = it.chat()
    it.runtime.run(it.runtime.sleep(1))
    follower = it.chat(timeout=3)
    it.runtime.run(it.runtime.sleep(3.5))
    with pytest.raises(DeadlineExceeded):
        follower.result()
    it.settle()
    assert leader.result().text
    assert it.count == 1


def test_a_leader_that_runs_out_of_its_own_time_is_replaced(sim: Any) -> None:
    it = sim([slow_first_token(10)])
    hurried = it.chat(timeout=2)
    it.runtime.run(it.runtime.sleep(1))
    patient = it.chat()
    it.settle()
    with pytest.raises(DeadlineExceeded):
        hurried.result()
    assert patient.result().text
    assert it.count == 2


def test_an_answer_that_may_not_be_kept_is_still_shared(sim: Any) -> None:
    it = sim([slow_first_token(1)])
    tasks = [it.chat("many words for you", max_tokens=2) for _ in range(5)]
    it.settle()
    assert {task.result().finish_reason for task in tasks} == {"length"}
    assert it.count == 1
    it.chat("many words for you", max_tokens=2)
    it.settle()
    assert it.count == 2


def test_what_was_cleared_does_not_come_back_with_a_call_from_before(sim: Any) -> None:
    it = sim([slow_first_token(2)])
    it.chat()
    it.runtime.run(it.runtime.sleep(1))
    it.runtime.run(it.stage.clear())
    it.settle()
    assert it.stage.stats().entries == 0


# Streams


def test_followers_read_a_stream_while_it_is_running(sim: Any) -> None:
    it = sim([drip(1.0)])
    first = it.stream("a few words")
    later = it.after(3.5, lambda: it.stream("a few words"))
    it.settle()
    chunks, times, _ = first.result()
    others, other_times, stream = later.result().result()
    assert others == chunks
    assert it.count == 1
    assert other_times[0] == 4.0  # caught up at once when the background reader took over ...
    assert other_times[-1] == times[-1]  # ... and live from then on
    assert stream.answer.cached


def test_a_leader_that_reads_slowly_holds_up_nobody(sim: Any) -> None:
    it = sim([drip(0.1)])
    slow = it.stream("a few words", pause=100.0)
    quick = it.after(1.0, lambda: it.stream("a few words"))
    it.settle()
    _, slow_times, _ = slow.result()
    _, quick_times, _ = quick.result().result()
    assert quick_times[-1] < 3.0
    assert slow_times[-1] > 500.0
    assert it.count == 1


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_a_leader_that_goes_leaves_the_stream_to_its_followers(sim: Any, how: str) -> None:
    it = sim([drip(1.0)])
    leader = it.stream("a few words", take=4 if how == "close" else 10**9)
    followers = [it.after(at, lambda: it.stream("a few words")) for at in (1.5, 1.6, 2.5)]
    if how == "cancel":
        it.after(3.4, leader.cancel)
    it.settle()
    assert leader.done
    texts = {"".join(chunk.text for chunk in task.result().result()[0]) for task in followers}
    assert len(texts) == 1
    assert it.count == 1
    assert it.runtime.run(it.client.chat(MODEL, "a few words", temperature=0)).cached


def test_a_leader_cancelled_in_the_middle_of_a_read_is_replaced(sim: Any) -> None:
    it = sim([drip(1.0)])
    leader = it.stream("a few words")
    follower = it.after(3.2, lambda: it.stream("a few words"))
    it.after(3.4, leader.cancel)  # the follower came, the leader's read is still under way
    it.settle()
    with pytest.raises(CancelledError):
        leader.result()
    chunks, _, stream = follower.result().result()
    assert stream.answer.text == "".join(chunk.text for chunk in chunks)
    assert it.count == 2


def test_when_all_readers_go_the_stream_is_closed(sim: Any) -> None:
    it = sim([drip(1.0)])
    leader = it.stream("a few words", take=3)
    follower = it.after(1.5, lambda: it.stream("a few words", take=3))
    it.runtime.run(it.runtime.sleep(6))
    assert leader.done
    assert follower.result().done
    assert it.world.transport.open == ()
    it.settle()
    assert it.stage.stats().entries == 0


def test_a_follower_that_gave_up_keeps_no_stream_open(sim: Any) -> None:
    it = sim([drip(1.0)])
    leader = it.stream("a few words", take=4)
    follower = it.after(1.5, lambda: it.chat("a few words"))
    it.after(3.2, lambda: follower.result().cancel())
    it.runtime.run(it.runtime.sleep(8))
    assert leader.done
    assert it.world.transport.open == ()
    it.settle()


def test_plain_and_streamed_calls_share_a_flight(sim: Any) -> None:
    it = sim([drip(1.0), slow_first_token(3)])
    streamed = it.stream("one")
    plain = it.after(1.5, lambda: it.chat("one"))
    it.settle()
    assert plain.result().result().response == streamed.result()[2].answer.response
    assert it.count == 1
    first = it.chat("two")
    second = it.after(1, lambda: it.stream("two"))
    it.settle()
    chunks, _, stream = second.result().result()
    assert stream.answer.response == first.result().response
    assert "".join(chunk.text for chunk in chunks) == first.result().text
    assert it.count == 2


def test_a_stream_that_breaks_breaks_for_everybody_with_what_had_arrived(sim: Any) -> None:
    it = sim([cut(after=3)])
    tasks = [it.stream("a few words") for _ in range(5)]
    it.settle()
    errors = []
    for task in tasks:
        with pytest.raises(StreamInterrupted) as caught:
            task.result()
        errors.append(caught.value)
    assert it.count == 1
    assert len({error.partial.text for error in errors}) == 1  # type: ignore[union-attr]
    assert len({id(error) for error in errors}) == 5


def test_a_follower_of_a_stream_keeps_its_own_deadline(sim: Any) -> None:
    it = sim([drip(1.0)])
    leader = it.stream("a few more words than that")
    follower = it.after(1.5, lambda: it.stream("a few more words than that", timeout=3))
    it.settle()
    with pytest.raises(DeadlineExceeded) as caught:
        follower.result().result()
    assert caught.value.partial is not None
    assert caught.value.partial.text
    assert leader.result()[2].answer.text.startswith(caught.value.partial.text)
    assert it.count == 1


def test_closing_the_client_ends_what_runs_behind_the_scenes(sim: Any) -> None:
    it = sim([drip(1.0)])
    readers = [it.stream("a few words") for _ in range(3)]
    it.runtime.run(it.runtime.sleep(3))
    assert it.stage.jobs._jobs
    it.runtime.run(it.client.close())
    it.runtime.settle()
    for reader in readers:
        with pytest.raises((StreamInterrupted, CallError)):
            reader.result()
    assert not it.stage.jobs._jobs
    assert it.world.transport.open == ()


# Everything at once


@pytest.mark.parametrize("seed", range(6))
def test_a_thousand_calls_with_random_cancellation(make_world: Make, seed: int) -> None:
    """Who is not cancelled gets its answer; one request for each key and each leader that died."""
    dice = random.Random(seed)
    it = Sim(make_world, simulator=Simulator([drip(0.02)], repeat=True))
    tasks: list[tuple[str, Any]] = []
    suspended = 0

    def maybe_cancel(task: Any) -> None:
        nonlocal suspended
        suspended += 1
        if task in doomed and dice.random() < 0.15:
            doomed.discard(task)
            cancelled.add(task)
            task.cancel()

    async def arrive() -> None:
        for _ in range(1000):
            text = f"question number {dice.randrange(20)}"
            task = it.chat(text) if dice.random() < 0.5 else it.stream(text, pause=dice.choice([0.0, 0.05]))
            tasks.append((text, task))
            if dice.random() < 0.3:
                doomed.add(task)
            await it.runtime.sleep(dice.random() * 0.001)

    doomed: set[Any] = set()
    cancelled: set[Any] = set()
    it.runtime.on_suspend = maybe_cancel
    it.runtime.run(arrive())
    it.settle()
    it.runtime.on_suspend = None
    died: Counter[str] = Counter()
    for text, task in tasks:
        assert task.done, f"seed {seed}"
        try:
            result = task.result()
        except CancelledError:
            assert task in cancelled, f"seed {seed}"
            died[text] += 1
            continue
        answer = result[2].answer if isinstance(result, tuple) else result
        assert text in answer.text, f"seed {seed}"
        if isinstance(result, tuple):
            assert "".join(chunk.text for chunk in result[0]) == answer.text, f"seed {seed}"
    requests = Counter(request.json["messages"][0]["content"] for request in it.world.simulator.requests)
    assert len(requests) == 20
    for text, count in requests.items():
        assert count <= 1 + died[text], f"seed {seed}: {text}"
    assert len(cancelled) > 50
    assert it.stage.stats().coalesced > 200


@pytest.mark.parametrize("seed", range(4))
def test_hundreds_of_hours_with_faults_and_cancellation(make_world: Make, seed: int) -> None:
    """250 hours a seed: nothing older than life plus stale, nothing left behind, only expected errors."""
    dice = random.Random(seed)
    life, window = 600.0, 7200.0
    faults = [status(503), status(500), cut(after=2), drip(0.5), slow_first_token(30)]
    simulator = Simulator(rate=dict.fromkeys(faults, 0.08), seed=seed, keep=10)
    it = Sim(
        make_world,
        simulator=simulator,
        mode="aggressive",
        ttl=life,
        stale_while_revalidate=1800,
        stale_if_error=window,
    )
    outcomes: Counter[str] = Counter()
    hours = 250.0

    async def ask(number: int) -> None:
        text = f"question {number % 7}"
        try:
            if dice.random() < 0.5:
                answer = await it.client.chat(MODEL, text)
                assert text in answer.text
            else:
                async with it.client.stream(MODEL, text) as stream:
                    async for _ in stream:
                        if dice.random() < 0.02:
                            outcomes["left"] += 1
                            return
                answer = stream.answer
                assert text in answer.text
            outcomes["cached" if answer.cached else "fresh"] += 1
            if answer.cached:
                assert answer.age is not None
                assert answer.age <= life + window, f"seed {seed}"
        except ProviderError as error:
            outcomes[type(error).__name__] += 1

    async def traffic() -> None:
        number = 0
        while it.runtime.now() < hours * 3600:
            for _ in range(dice.randrange(1, 4)):
                number += 1
                task = it.runtime.spawn(ask(dice.randrange(1000)))
                if dice.random() < 0.05:
                    it.after(dice.random() * 3, task.cancel)
                spawned.append(task)
            await it.runtime.sleep(dice.expovariate(1 / 900))

    spawned: list[Any] = []
    it.runtime.run(traffic())
    it.settle()
    for task in spawned:
        try:
            task.result()
        except CancelledError:
            outcomes["cancelled"] += 1
    assert it.runtime.now() >= hours * 3600
    assert min(outcomes[name] for name in ("cached", "fresh", "left", "cancelled")) > 0, f"seed {seed}"
    stale = it.results()
    assert stale["stale", "revalidating"] > 50
    assert stale["stale", "error"] > 0
    assert stale["hit", "coalesced"] > 0
