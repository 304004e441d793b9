"""One blocking client, many threads: no over-admission, no lost permit, no answer of another's question."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import CallError, Client
from penstock_testkit import Simulator, faults

THREADS = 64
CALLS = 12


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads are switched every microsecond."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hurried")
def test_sixty_four_threads_share_a_client() -> None:
    simulator = Simulator(rate={faults.status(500): 0.02, faults.reset(): 0.02}, seed=5)
    options: dict[str, Any] = {
        "environ": {},
        "pipeline": ["cache", "retry", "breaker", "limiter"],
        "cache": {"mode": "aggressive"},
        "retry": {"base": 0.001, "throttle_base": 0.001},
        "limiter": {"concurrency": 8, "max_wait": "60s", "max_len": 10_000},
        "breaker": {"consecutive_failures": 1000, "failure_rate": 1.0},
    }
    wrong: list[str] = []
    answered: list[int] = []
    with simulator.serve() as server:
        options["providers"] = {"openai": {"api_key": "sk-test-0123456789", "base_url": server.url}}
        with Client(False, **options) as client:

            def work(number: int) -> None:
                for call in range(CALLS):
                    question = f"question {(number * CALLS + call) % 300}"
                    try:
                        if call % 3:
                            text = client.chat("openai/gpt-4o", question).text
                        else:
                            with client.stream("openai/gpt-4o", question) as stream:
                                text = stream.read().text
                    except CallError as error:
                        text = f"{question} {error}"
                    if question not in text:
                        wrong.append(f"{question!r}: {text!r}")
                    answered.append(number)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=120)
            stats = client.stage("limiter").stats()
            cache = client.stage("cache").stats()
    assert wrong == []
    assert len(answered) == THREADS * CALLS
    assert (stats.in_flight, stats.waiting) == (0, 0)
    assert cache.hits + cache.coalesced > 0
