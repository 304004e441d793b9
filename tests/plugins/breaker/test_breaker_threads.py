"""Sixty-four threads that are switched all the time: no probe too many, no permit lost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import BreakerOpen, Target
from penstock.call import Call, Reply, Timeouts
from penstock.errors import ServerError
from penstock.pipeline import chain
from penstock.runtime import BlockingRuntime, drive
from penstock.specs import Scope
from penstock_breaker import BreakerConfig, BreakerPolicy, BreakerStage, Circuit, Permit
from penstock_breaker.circuits import Circuits

THREADS = 64


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None]) -> None:
    """Run it in every thread at once; what one raises, the test raises."""
    start = threading.Barrier(THREADS)
    raised: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_threads_never_get_more_probes_than_allowed() -> None:
    for round_ in range(20):
        circuit = Circuit(BreakerPolicy(consecutive_failures=1, probes=2), lambda: 0.5)
        permit = circuit.acquire(0.0)
        assert isinstance(permit, Permit)
        circuit.settle(permit, "failure", 0.0)
        answers: list[Any] = []

        def ask(_: int, circuit: Circuit = circuit, answers: list[Any] = answers) -> None:
            answers.append(circuit.acquire(15.0))

        together(ask)
        assert sum(isinstance(answer, Permit) for answer in answers) == 2, round_


def test_a_permit_settled_by_many_threads_counts_once() -> None:
    circuit = Circuit(BreakerPolicy(), lambda: 0.5)
    permit = circuit.acquire(0.0)
    assert isinstance(permit, Permit)
    together(lambda _: circuit.settle(permit, "failure", 0.0))
    assert circuit.stats(0.0).failures == 1


def test_outcomes_of_many_threads_are_all_counted() -> None:
    notes: list[Any] = []
    circuit = Circuit(BreakerPolicy(open_for=1e-9, jitter=0.0, max_open=1e-9), lambda: 0.5, notes.append)
    admitted = [0] * THREADS

    def work(number: int) -> None:
        for turn in range(300):
            permit = circuit.acquire(float(turn))
            if not isinstance(permit, Permit):
                circuit.rejected()
                continue
            admitted[number] += 1
            outcome: Any = ("success", "failure", "failure", "ignored", "cancelled")[(turn + number) % 5]
            circuit.settle(permit, outcome, float(turn))

    together(work)
    stats = circuit.stats(300.0)
    assert stats.successes + stats.failures + stats.ignored + stats.cancelled == sum(admitted)
    assert stats.rejections + sum(admitted) == THREADS * 300
    assert stats.probes == 0
    # Notes may be told out of order, but each generation that is told begins once.
    generations = [note.generation for note in notes]
    assert len(set(generations)) == len(generations)


def test_threads_that_ask_for_one_circuit_get_one() -> None:
    circuits = Circuits(lambda: 0.5, lambda target, note: None, kept=4)
    got: list[Any] = []
    policy = BreakerPolicy()

    def work(number: int) -> None:
        for turn in range(50):
            circuits.get(Target("a", f"m{turn * number}"), "u", policy, 0.0)
            got.append(circuits.get(Target("a", "shared"), "u", policy, 0.0))

    together(work)
    assert len({id(circuit) for circuit in got}) == 1


def test_one_stage_serves_many_threads_and_loses_no_permit() -> None:
    runtime = BlockingRuntime(None)  # type: ignore[arg-type]  # nothing is sent
    services: Any = SimpleNamespace(name="breaker", runtime=runtime, emit=lambda event: None)
    config = BreakerConfig(open_for=1e-9, max_open=1e-9)
    stage = BreakerStage(config, services)
    target = Target("openai", "gpt-4o-mini")
    place = stage.bind(Scope(config=config, route=None, target=target, provider=None))
    sent, refused = [0] * THREADS, [0] * THREADS

    async def provider(call: Call) -> Reply:
        number = int(call.id)
        sent[number] += 1
        if sent[number] % 3:
            raise ServerError("broken")
        return Reply(None)

    proceed = chain([place, place.inner], provider)

    def work(number: int) -> None:
        for _ in range(100):
            call = Call(
                id=str(number),
                request=None,  # type: ignore[arg-type]  # the provider above does not read it
                target=target,
                runtime=runtime,
                timeouts=Timeouts(),
                started=0.0,
            )
            try:
                drive(proceed(call))
            except BreakerOpen:
                refused[number] += 1
            except ServerError:
                pass

    together(work)
    stats = stage.stats().circuits[str(target)]
    assert sum(sent) + sum(refused) == THREADS * 100
    assert (stats.successes + stats.failures, stats.rejections) == (sum(sent), sum(refused))
    assert stats.probes == 0
