"""Days of traffic in virtual time: faults, breaks, hedges and cancellations; the invariants of routes."""

from __future__ import annotations

import random
from asyncio import CancelledError
from collections import Counter
from typing import Any

import pytest

from penstock import AllTargetsFailed, CallError, SimulatedClient, StreamInterrupted
from penstock.events import CallFinished, CallStarted, HedgeStarted, StreamRecovered
from penstock.simulated import SimulatedRuntime
from penstock_routing.continuation import ECHO_LENGTH
from penstock_testkit import SimulatedTransport, Simulator, faults

FULL = "One two three four five six seven eight nine ten eleven twelve."
HOURS = 120
CALLERS = 4
SHARE = 0.05
MODES = ("raise", "restart", "continue")


def model(request: Any, prompt: str) -> str:
    """Goes on from an assistant message; one model repeats it first, unless it is short."""
    last = request.json["messages"][-1]
    said = last["content"] if last["role"] == "assistant" else ""
    return FULL if request.model == "c" and len(said) >= ECHO_LENGTH else FULL.removeprefix(said)


RATES = {
    faults.status(500): 0.04,
    faults.status(503, retry_after=3): 0.03,
    faults.status(429, retry_after=5): 0.02,
    faults.status(400): 0.01,
    faults.status(401): 0.002,
    faults.reset(): 0.03,
    faults.cut(after=1): 0.04,
    faults.cut(after=7): 0.05,
    faults.reset(after=4): 0.04,
    faults.error_event(500, after=5): 0.03,
    faults.unterminated(): 0.02,
    faults.slow_first_token(8): 0.06,
    faults.drip(0.3): 0.05,
    faults.hang(): 0.01,
}


class Traffic:
    """
    Callers of one client, each call checked when it is over.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.events: list[Any] = []
        self.runtime = SimulatedRuntime(seed=seed)
        simulator = Simulator(rate=RATES, seed=seed, text=model, keep=10)
        self.transport = self.runtime.transport = SimulatedTransport(simulator, self.runtime)
        targets = [{"target": f"openai/{name}", "prefill": True} for name in "abcd"]
        weighted = [{**target, "weight": 1 + number} for number, target in enumerate(targets[:2])]
        self.client = SimulatedClient(
            self.runtime,
            False,
            environ={},
            listeners=[self.listen],
            providers={"openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}},
            pipeline=["routing", "breaker", "limiter"],
            limiter={"concurrency": 6, "max_wait": 20},
            routes={
                "group": {"targets": [weighted, *targets[2:]]},
                "row": {"targets": targets},
            },
            routing={"hedge": {"enabled": True, "share": SHARE, "min_samples": 30}},
        )
        self.counts: Counter[str] = Counter()
        self.started: dict[int, Any] = {}
        self.problems: list[str] = []

    def listen(self, event: Any) -> None:
        self.counts[type(event).__name__] += 1
        if isinstance(event, CallStarted):
            self.started[id(event.call)] = event.call
        if isinstance(event, CallFinished):
            call = event.call
            asked = [attempt.target for attempt in call.attempts]
            # What a listener raises is only logged, so problems are collected.
            if self.started.pop(id(call), None) is not call:
                self.problems.append(f"a call was over twice: {event}")
            if len(asked) > len(set(asked)):
                self.problems.append(f"a target was asked twice: {asked}")
            if any(attempt.ended is None for attempt in call.attempts):
                self.problems.append(f"a call was over before its attempts: {call.attempts} {event.outcome}")

    @staticmethod
    def check(holds: bool, rule: str) -> None:
        assert holds, rule

    async def caller(self, number: int) -> None:
        while self.runtime.now() < HOURS * 3600:
            try:
                busy = self.dice.random() < 0.9
                await self.runtime.sleep(self.dice.random() * (3 if busy else 12 * 3600))
                await self.call()
            except CancelledError:
                self.counts["cancelled"] += 1

    async def call(self) -> None:
        route = self.dice.choice(("group", "row"))
        mode = self.dice.choice(MODES)
        chunks: list[str] = []
        try:
            if self.dice.random() < 0.4:
                answer = await self.client.chat(route, "Hello", timeout=120)
                assert answer.text == FULL
                return
            stream = self.client.stream(route, "Hello", routing={"on_interrupt": mode})
            async with stream:
                async for chunk in stream:
                    if chunk.reset:
                        assert mode == "restart"
                        chunks.clear()
                    chunks.append(chunk.text)
            assert "".join(chunks) == stream.answer.text == FULL, "nothing is lost, and nothing said twice"
        except StreamInterrupted as error:
            text = "" if error.partial is None else error.partial.text
            self.check("".join(chunks) == text and FULL.startswith(text), "what had arrived is in the error")
        except AllTargetsFailed as error:
            named = [each.target for each in error.errors]
            self.check(len(named) == len(set(named)) == 4, "every target is named once")
        except CallError:
            self.counts["other errors"] += 1

    def run(self) -> None:
        def cancel_some(task: Any) -> None:
            if task.name.startswith("caller") and self.dice.random() < 0.01:
                task.cancel()

        callers = [self.runtime.spawn(self.caller(n), f"caller {n}") for n in range(CALLERS)]
        self.runtime.on_suspend = cancel_some
        self.runtime.settle()
        self.runtime.on_suspend = None
        self.runtime.run(self.client.close())
        for caller in callers:
            caller.result()


@pytest.mark.parametrize("seed", range(10))
def test_days_of_traffic_keep_the_invariants(seed: int) -> None:
    traffic = Traffic(seed)
    traffic.run()
    counts = traffic.counts
    assert traffic.problems == []
    assert traffic.transport.open == ()
    assert traffic.started == {}
    assert counts["CallStarted"] == counts["CallFinished"] > 50
    assert counts["AttemptStarted"] == counts["AttemptFinished"]
    assert traffic.client.stage("limiter").stats().in_flight == 0
    assert traffic.client.stage("routing")._shared.crew == set()
    assert counts[HedgeStarted.__name__] <= SHARE * counts["CallStarted"]


def test_the_traffic_meets_what_it_is_meant_to_meet() -> None:
    traffic = Traffic(1)
    traffic.run()
    for name in (StreamRecovered.__name__, HedgeStarted.__name__, "Failover", "TargetSkipped", "cancelled"):
        assert traffic.counts[name] > 0, name


def test_a_seed_replays() -> None:
    first, second = Traffic(5), Traffic(5)
    first.run()
    second.run()
    assert first.counts == second.counts
