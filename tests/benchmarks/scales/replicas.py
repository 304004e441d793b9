"""
Several replicas of a service, each with a client of its own, against one upstream: what they do not share.

    python replicas.py [SECONDS]

In virtual time, from a seed, so that every run is the same: Poisson arrivals spread over the replicas, an
upstream with a token bucket that answers 429 with a hint, or one that is down for a while. Prints JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from soaking.faults import ERROR, PLAIN

from penstock import CallError, SimulatedClient
from penstock.errors import RateLimited
from penstock.http import HttpHead, HttpRequest, Limits
from penstock.simulated import SimulatedRuntime

SEED = 1
LIMIT = 100.0
"""Requests a second that the upstream takes from its one key."""
LOADS = (80.0, 200.0)
"""Calls a second of all replicas together: within the limit, and twice of it."""
LATENCY, REFUSED_LATENCY = 0.5, 0.02
OUTAGE = 60.0
REPLICAS = (1, 2, 4, 8, 16, 32)
OUTAGE_REPLICAS = (1, 4, 16, 64)


class Upstream:
    """
    A `penstock.http.Transport` in virtual time.

    Args:
        runtime: the clock.
        limit: requests a second, with a second's worth at once; None takes all.
        down: from when to when it answers 503, in seconds.

    Attributes:
        received: by status, with those of the outage apart.
    """

    def __init__(
        self, runtime: SimulatedRuntime, limit: float | None, down: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self._runtime = runtime
        self._limit = limit
        self._down = down
        self._tokens = limit or 0.0
        self._at = 0.0
        self.received: Counter[int] = Counter()

    async def send(self, request: HttpRequest, limits: Limits) -> _Exchange:
        """Take it, or refuse it."""
        now = self._runtime.now()
        headers: dict[str, str] = {"content-type": "application/json"}
        status = 200
        if self._down[0] <= now < self._down[1]:
            status = 503
        elif self._limit is not None:
            self._tokens = min(self._limit, self._tokens + (now - self._at) * self._limit)
            self._at = now
            if self._tokens < 1.0:
                status = 429
                headers["retry-after-ms"] = str(int(1000 * (1.0 - self._tokens) / self._limit) + 1)
            else:
                self._tokens -= 1.0
        self.received[status] += 1
        await self._runtime.sleep(LATENCY if status == 200 else REFUSED_LATENCY)
        return _Exchange(status, headers, self._runtime.now())

    async def close(self) -> None:
        """Nothing is open."""


class _Exchange:
    def __init__(self, status: int, headers: dict[str, str], now: float) -> None:
        self.head = HttpHead(status, headers, now)
        self._body = PLAIN if status == 200 else ERROR

    async def read(self, due: float) -> bytes:
        body, self._body = self._body, b""
        return body

    async def read_all(self, due: float) -> bytes:
        return await self.read(due)

    async def close(self, *, reuse: bool = False) -> None:
        """Nothing is open."""


def run(
    replicas: int,
    load: float,
    seconds: float,
    *,
    limit: float | None = None,
    down: tuple[float, float] = (0.0, 0.0),
    weights: Sequence[float] | None = None,
    **tables: Any,
) -> dict[str, float]:
    """Calls for so many seconds: what was asked, what was answered, what the upstream received."""
    runtime = SimulatedRuntime(seed=SEED)
    upstream = runtime.transport = Upstream(runtime, limit, down)
    dice = random.Random(SEED)
    config = {
        "pipeline": ["retry", "breaker", "limiter"],
        "providers": {"openai": {"api_key": "sk-test-0123456789", "base_url": "http://upstream.invalid/v1"}},
        **tables,
    }
    clients = [SimulatedClient(runtime, config, environ={}) for _ in range(replicas)]
    ended: Counter[str] = Counter()
    waited = 0.0

    async def call(client: SimulatedClient) -> None:
        nonlocal waited
        begun = runtime.now()
        try:
            await client.chat("openai/m", "What is a penstock?")
        except RateLimited:
            ended["refused here"] += 1
        except CallError as error:
            ended[type(error).__name__] += 1
        else:
            ended["answered"] += 1
            waited += runtime.now() - begun - LATENCY

    async def arrive() -> None:
        calls = 0
        while runtime.now() < seconds:
            await runtime.sleep(dice.expovariate(load))
            (client,) = dice.choices(clients, weights)
            runtime.spawn(call(client))
            calls += 1
        ended["asked"] = calls

    runtime.run(arrive())
    runtime.settle()
    for client in clients:
        client.run(client.close())
    received = upstream.received
    return {
        "asked_per_s": ended["asked"] / seconds,
        "answered_per_s": ended["answered"] / seconds,
        "received_per_s": received.total() / seconds,
        "refused_share": received[429] / max(1, received.total()),
        "refused_here_share": ended["refused here"] / ended["asked"],
        "added_s": waited / max(1, ended["answered"]),
        "during_outage": received[503],
    }


def limits(seconds: float) -> list[dict[str, Any]]:
    """One upstream limit, and what each replica is told of it."""
    rows = []
    for load in LOADS:
        for replicas in REPLICAS if load > LIMIT else REPLICAS[::3]:
            for told, rate in (("nothing", None), ("all of it", LIMIT), ("its share", LIMIT / replicas)):
                limiter: dict[str, Any] = {"max_wait": 2}
                if rate is not None:
                    limiter["rate"] = f"{rate * 60:g}/min"
                found = run(replicas, load, seconds, limit=LIMIT, limiter=limiter)
                rows.append({"load": load, "replicas": replicas, "told": told, **found})
    # One replica gets half of the calls; the shares stay equal.
    for load in LOADS:
        weights = [7.0, *([1.0] * 7)]
        limiter = {"max_wait": 2, "rate": f"{LIMIT / 8 * 60:g}/min"}
        found = run(8, load, seconds, limit=LIMIT, weights=weights, limiter=limiter)
        rows.append({"load": load, "replicas": 8, "told": "its share, uneven load", **found})
    return rows


def outage() -> list[dict[str, Any]]:
    """A minute of 503 at 100 calls a second: what arrives, by what the replicas have."""
    rows = []
    for replicas in OUTAGE_REPLICAS:
        for name, tables in (
            ("retries without a budget", {"budget": {"capacity": 1e9}, "breaker": {"enabled": False}}),
            ("retry budget", {"breaker": {"enabled": False}}),
            ("retry budget and breaker", {}),
        ):
            found = run(replicas, 100.0, OUTAGE + 60, down=(30.0, 30.0 + OUTAGE), **tables)
            rows.append({"replicas": replicas, "with": name, "during_outage": found["during_outage"]})
    return rows


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    print(json.dumps({"limits": limits(seconds), "outage": outage(), "seconds": seconds}))
