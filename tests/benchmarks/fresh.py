"""
What a fresh process pays until its first answer: import, client, first call, memory.

    python fresh.py CANDIDATE ADDRESS

Prints JSON: seconds (wall and CPU) of `import MODULE`, of everything up to a client that is ready (the import
included), of the first call, and of building a second client when all is imported; bytes of resident memory
before, and after the first call.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from compared import CANDIDATES, load
from modes import BY_NAME


def resident() -> int:
    """Bytes of memory in use by this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def main(name: str, address: str) -> None:
    candidate = next(candidate for candidate in CANDIDATES if candidate.name == name)
    before = resident()
    modules = len(sys.modules)
    cpu, wall = time.process_time(), time.perf_counter()
    importlib.import_module(candidate.module)
    imported = time.perf_counter() - wall, time.process_time() - cpu, len(sys.modules) - modules
    call = load(name, address).call(BY_NAME["blocking"])
    ready = time.perf_counter() - wall, time.process_time() - cpu
    begun = time.perf_counter()
    call()
    called, used = time.perf_counter() - begun, resident()
    cpu = time.process_time()
    load(name, address).call(BY_NAME["blocking"])
    print(
        json.dumps(
            {
                "again_cpu": time.process_time() - cpu,
                "import": imported[0],
                "import_cpu": imported[1],
                "import_modules": imported[2],
                "ready": ready[0],
                "ready_cpu": ready[1],
                "first_call": called,
                "rss_before": before,
                "rss": used,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
