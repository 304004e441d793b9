"""
Thousands of hours of traffic in virtual time, cancelled at any await, against an exact log.

A failing seed is in the test's name and replays.
"""

from __future__ import annotations

import contextlib
import random
from asyncio import CancelledError
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import pytest

from penstock import DeadlineExceeded, RateLimited, RequestTooLarge
from penstock.call import Call, Outcome, Reply
from penstock.errors import ConnectError, RateLimitError, ServerError
from penstock.simulated import SimulatedRuntime
from penstock_limiter.forecast import Forecast

HOURS = 100
SEEDS = range(12)
CALLS = 700
RATE, BURST, TOKENS, PERMITS = 0.5, 6, 400.0, 4
MODEL_RATE, MODEL_BURST = 0.2, 3
MAX_WAIT = 45.0
MODELS = ("a", "b", "c")


class Log:
    """
    What really happened.

    Attributes:
        sent: when each request was sent, by model.
        spent: `[when, tokens]` of each, settled.
        live: calls inside right now.
    """

    def __init__(self) -> None:
        self.sent: dict[str, list[float]] = {model: [] for model in MODELS}
        self.spent: list[list[float]] = []
        self.live = 0
        self.most = 0

    def windows_hold(self) -> None:
        everything = sorted(at for times in self.sent.values() for at in times)
        assert_rate(everything, RATE, BURST)
        for times in self.sent.values():
            assert_rate(sorted(times), MODEL_RATE, MODEL_BURST)
        spent = sorted(self.spent)
        times = [at for at, _ in spent]
        for index, (start, _) in enumerate(spent):
            window = sum(cost for _, cost in spent[index : bisect_left(times, start + 60.0)])
            assert window <= TOKENS + 1e-6, f"{window} tokens from {start}"
        assert self.most <= PERMITS


def assert_rate(times: list[float], rate: float, burst: int) -> None:
    """Each window, by the slack of a bucket that is filled exactly."""
    level, last = float(burst), 0.0
    for at in times:
        level = min(float(burst), level + (at - last) * rate) - 1.0
        last = at
        assert level >= -1e-3, f"one too many at {at}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_hours_stay_within_every_limit_and_leak_nothing(
    seed: int, bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forecast, "ENOUGH", 10**9)  # reserve the most: no answer is longer than reserved
    runtime = SimulatedRuntime(seed=seed)
    dice = random.Random(seed)
    here = bench(
        runtime,
        rate=f"{RATE}/s",
        burst=BURST,
        tokens=f"{TOKENS:g}/min",
        concurrency=PERMITS,
        model={"rate": f"{MODEL_RATE}/s", "burst": MODEL_BURST},
        max_wait=MAX_WAIT,
        max_len=50,
    )
    places = {model: here.place(f"openai/{model}") for model in MODELS}
    log, outcomes = Log(), dict.fromkeys(("ok", "failed", "cancelled", "rejected", "deadline"), 0)

    def cancel_some(task: Any) -> None:
        if dice.random() < 0.04:
            task.cancel()

    async def upstream(call: Call) -> Reply:
        entry: list[float] = [runtime.now(), 0.0]
        sends = log.sent[call.target.model]  # type: ignore[union-attr]  # it has one
        log.live += 1
        log.most = max(log.most, log.live)
        try:
            fate = dice.random()
            if fate < 0.05:
                here.begin(call).head = None
                raise ConnectError("refused")
            here.begin(call, status=429 if fate < 0.1 else 200)
            sends.append(entry[0])
            log.spent.append(entry)
            entry[1] = float(ESTIMATED)  # what a cancelled attempt pays
            await runtime.sleep(dice.expovariate(0.2))
            if fate < 0.1:
                entry[1] = 0.0
                raise RateLimitError("slow down", status=429, retry_after=dice.choice([None, 2.0, 200.0]))
            if fate < 0.15:
                entry[1] = float(ESTIMATED + call.request.max_tokens)  # type: ignore[union-attr,operator]  # a chat
                raise ServerError("broken", status=500)
            entry[1] = float(dice.randint(1, ESTIMATED + call.request.max_tokens))  # type: ignore[union-attr,operator]  # a chat
            answer = here.answer(ESTIMATED, int(entry[1]) - ESTIMATED if entry[1] >= ESTIMATED else 0)
            if entry[1] < ESTIMATED:
                answer = here.answer(int(entry[1]), 0)
            return Reply(answer) if dice.random() < 0.5 else stream(answer)
        finally:
            log.live -= 1

    def stream(answer: Any) -> Reply:
        log.live += 1
        reply = Reply(chunks=iter(()))  # type: ignore[arg-type]  # nobody reads it here

        async def play() -> None:
            try:
                await runtime.sleep(dice.expovariate(0.1))
            finally:
                log.live -= 1
                reply.finish(Outcome("ok", answer))

        runtime.spawn(play(), "stream")
        return reply

    async def one(at: float, model: str) -> None:
        await runtime.sleep(at)
        timeout = dice.choice([5.0, 30.0, 1e6])
        call = here.call(
            f"openai/{model}", text="x" * 40, max_tokens=dice.choice([20, 100, 300, 500]), timeout=timeout
        )
        began = runtime.now()
        try:
            await places[model](call, upstream)
            outcomes["ok"] += 1
        except (RateLimited, RequestTooLarge):
            outcomes["rejected"] += 1
            assert call.attempt is None
        except DeadlineExceeded:
            outcomes["deadline"] += 1
            assert runtime.now() <= began + timeout + 1e-3
        except CancelledError:
            outcomes["cancelled"] += 1
        except (ConnectError, RateLimitError, ServerError):
            outcomes["failed"] += 1
        if call.attempt is None:
            assert runtime.now() - began <= min(MAX_WAIT, timeout) + 1e-3

    # Quiet hours, and crowds that come together.
    at = 0.0
    ESTIMATED = 16  # noqa: N806  # 40 characters, one message, the priming
    runtime.on_suspend = cancel_some
    for number in range(CALLS):
        at += dice.expovariate(CALLS / (HOURS * 3600.0) * 20) if dice.random() < 0.05 else dice.random() * 6
        if number % 100 == 50:
            at += HOURS * 3600.0 / (CALLS / 100)
        runtime.spawn(one(at, dice.choice(MODELS)), "caller")
    runtime.settle()

    log.windows_hold()
    assert log.live == 0
    stats = here.stage.stats()
    assert (stats.in_flight, stats.waiting) == (0, 0)
    for limit in stats.limits.values():
        assert limit["waiting"] == 0
        assert limit.get("in_flight", 0) == 0
    assert min(count for name, count in outcomes.items() if name != "deadline") > 0, outcomes
    assert sum(outcomes.values()) <= CALLS
    assert runtime.now() >= HOURS * 3600


@pytest.mark.parametrize("seed", range(4))
def test_waiters_are_served_in_the_order_they_came(seed: int, bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime(seed=seed)
    dice = random.Random(seed)
    here = bench(runtime, rate="1/s", burst=1, tokens="2000/min", concurrency=2, max_wait=1e6, max_len=10_000)
    place = here.place()
    came: list[int] = []
    served: list[int] = []

    async def upstream(call: Call) -> Reply:
        served.append(int(call.id))
        here.begin(call)
        await runtime.sleep(dice.random() * 3)
        return Reply(here.answer(10, 10))

    async def one(number: int) -> None:
        await runtime.sleep(dice.random() * 100)
        call = here.call(max_tokens=dice.choice([10, 500, 1500]))
        call.id = str(number)
        came.append(number)
        await place(call, upstream)

    for number in range(300):
        runtime.spawn(one(number))
    runtime.settle()
    assert served == came


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_hours_behind_a_server_that_speaks_by_headers(
    seed: int, bench: Callable[..., Any]
) -> None:
    """Nothing is configured: the server's own window is kept by what its heads say alone."""
    runtime = SimulatedRuntime(seed=seed)
    dice = random.Random(seed)
    here = bench(runtime, max_wait=300)
    place = here.place()
    window, limit = 60.0, 20
    used: dict[int, int] = {}
    refused = 0

    async def upstream(call: Call) -> Reply:
        nonlocal refused
        now = runtime.now()
        number = int(now // window)
        used[number] = used.get(number, 0) + 1
        left = limit - used[number]
        reset = (number + 1) * window - now
        headers = {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(max(0, left)),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }
        here.begin(call, headers, 429 if left < 0 else 200)
        if left < 0:
            refused += 1
            raise RateLimitError("too many", status=429, retry_after=reset)
        return Reply(here.answer())

    async def one(at: float) -> None:
        await runtime.sleep(at)
        with contextlib.suppress(RateLimited, RateLimitError):
            await place(here.call(), upstream)

    at = 0.0
    for _ in range(150):
        at += dice.random() * 18 * 3600 / 6
        for _ in range(dice.randint(1, 40)):
            runtime.spawn(one(at + dice.random() * 30))
    runtime.settle()
    assert refused <= sum(used.values()) * 0.01
    assert here.stage.stats().waiting == 0
    assert runtime.now() > 200 * 3600
