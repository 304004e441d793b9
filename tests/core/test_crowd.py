"""Ten thousand calls at once through every stage, over real sockets: all answered, nothing kept."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from pathlib import Path
from typing import Any

from penstock import AsyncClient
from penstock_testkit import Simulator

CROWD = 10_000


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def flat(sizes: list[int]) -> bool:
    """Whether a round added nothing: the first ones make the heap as large as it gets, a leak adds always."""
    return any(after - before < 8 * 1024 * 1024 for before, after in itertools.pairwise(sizes))


def test_ten_thousand_calls_at_once_are_answered_and_leave_no_memory_behind() -> None:
    options: dict[str, Any] = {
        "environ": {},
        "pipeline": ["cache", "retry", "breaker", "limiter"],
        "cache": {"mode": "disabled"},
        "limiter": {"concurrency": 200, "max_len": 20_000, "max_wait": "5m"},
        "timeouts": {"connect": 60, "pool": 300},  # the machine may be busy with other tests
        "wire": {"limit": 200, "limit_per_host": 200},
    }

    async def crowd(client: AsyncClient, name: str) -> None:
        calls = (client.chat("openai/gpt-4o", f"{name} {number}", timeout=300) for number in range(CROWD))
        answers = await asyncio.gather(*calls)
        assert all(f"{name} {number}" in answer.text for number, answer in enumerate(answers))

    async def rounds(url: str) -> list[int]:
        options["providers"] = {"openai": {"api_key": "sk-test-0123456789", "base_url": url}}
        sizes = []
        async with AsyncClient(False, **options) as client:
            for name in ("first", "second", "third", "fourth"):
                await crowd(client, name)
                gc.collect()
                sizes.append(resident_bytes())
                if flat(sizes):
                    break
            stats = client.stage("limiter").stats()
            assert (stats.in_flight, stats.waiting) == (0, 0)
        assert len(asyncio.all_tasks()) == 1
        return sizes

    with Simulator(keep=0).serve() as server:
        sizes = asyncio.run(rounds(server.url))
        assert server.count() == len(sizes) * CROWD
    assert flat(sizes), sizes
