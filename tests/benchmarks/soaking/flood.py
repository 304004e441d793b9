"""
Names from outside without end: every call asks another model in another tenant's name.

    python flood.py CALLS

Model names and keys come from whoever calls, so each table they are kept in has a bound; here all of them are
filled several times over. Prints JSON: the longest that every table was in the first half and in the second.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from typing import Any

from soaking.faults import Dice
from soaking.inprocess import InProcess
from soaking.tables import tables
from soaking.traffic import configuration
from soaking.trend import longest

from penstock import CallError, Client
from penstock.runtime import BlockingRuntime

SAMPLES = 8


async def pause(seconds: float) -> None:
    """Nobody waits here."""


def main(calls: int) -> None:
    samples: list[dict[str, int]] = []
    runtime = BlockingRuntime(InProcess(Dice(seed=4), pause))
    options: dict[str, Any] = {"environ": {}, "runtime": runtime}
    with Client(configuration("http://soak.invalid/v1", hedge=False), **options) as client:
        for number in range(1, calls + 1):
            given = {"limiter": {"key": f"tenant-{number}"}, "cost": {"key": f"tenant-{number}"}}
            with contextlib.suppress(CallError):  # a fault that retries did not mend
                client.chat(f"openai/new-{number}", "What is a penstock?", temperature=0, **given)
            if number % (calls // SAMPLES) == 0:
                gc.collect()
                samples.append(tables(client))
    names = sorted(set().union(*samples))
    found = {name: longest([sample.get(name, 0) for sample in samples]) for name in names}
    print(json.dumps({"calls": calls, "tables": found}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
