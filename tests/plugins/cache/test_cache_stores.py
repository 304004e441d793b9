"""Both stores against a dict with times, and what only a file on disk can get wrong."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.call import Target
from penstock.responses import ChatResponse, Choice, Usage
from penstock.runtime import drive
from penstock.testing import ManualClock
from penstock_cache import MemoryStore, SqliteStore
from penstock_cache.entry import Entry, encode
from penstock_cache.memory import ENTRY_BYTES


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def sqlite_store(path: Path, clock: ManualClock, **bounds: int) -> SqliteStore:
    return SqliteStore(path, inline, clock=clock.now, **bounds)


class StoreMachine(RuleBasedStateMachine):
    """
    A store against the naive one: a list of what was set, oldest use first.

    Bounds are small, so that every run evicts.
    """

    MAX_ENTRIES = 4
    MAX_BYTES = 3000
    overhead = 0

    def make(self) -> Any:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = self.make()
        self.kept: dict[str, tuple[bytes, float, tuple[str, ...]]] = {}  # least recently used first

    keys = st.sampled_from("abcdef")

    @rule(
        key=keys,
        size=st.integers(0, 1500),
        ttl=st.floats(0.5, 100),
        name=st.sampled_from(["p/x", "p/y", "r"]),
    )
    def set(self, key: str, size: int, ttl: float, name: str) -> None:
        now = self.clock.now()
        value = os.urandom(1) * size
        drive(self.store.set(key, value, expires=now + ttl, names=(name, "all")))
        self.kept.pop(key, None)
        self.purge(now)
        if size + self.overhead <= self.MAX_BYTES:
            self.kept[key] = (value, now + ttl, (name, "all"))
        while len(self.kept) > self.MAX_ENTRIES or self.bytes() > self.MAX_BYTES:
            del self.kept[next(iter(self.kept))]

    @rule(key=keys)
    def get(self, key: str) -> None:
        held = self.kept.get(key)
        fresh = held is not None and self.clock.now() < held[1]
        assert drive(self.store.get(key)) == (held[0] if held is not None and fresh else None)
        if fresh:
            self.kept[key] = self.kept.pop(key)
        else:
            self.forget(key)

    @rule(seconds=st.floats(61, 90))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(pattern=st.sampled_from(["a", "p/*", "r", "all", "nothing"]))
    def delete(self, pattern: str) -> None:
        from fnmatch import fnmatchcase

        doomed = [
            key
            for key, (_, _, names) in self.kept.items()
            if key == pattern or any(fnmatchcase(name, pattern) for name in names)
        ]
        assert drive(self.store.delete(pattern)) == len(doomed)
        for key in doomed:
            del self.kept[key]

    @rule()
    def clear(self) -> None:
        assert drive(self.store.clear()) == len(self.kept)
        self.kept.clear()

    @invariant()
    def sizes_agree(self) -> None:
        size = self.store.size()
        assert (size.entries, size.bytes) == (len(self.kept), self.bytes())
        assert size.entries <= self.MAX_ENTRIES
        assert size.bytes <= self.MAX_BYTES

    def bytes(self) -> int:
        return sum(len(value) + self.overhead for value, _, _ in self.kept.values())

    def purge(self, now: float) -> None:
        """What a store drops of what has expired when something is set."""

    def forget(self, key: str) -> None:
        """What a store drops when it finds it expired."""

    def teardown(self) -> None:
        drive(self.store.close())


class MemoryMachine(StoreMachine):
    overhead = ENTRY_BYTES

    def make(self) -> MemoryStore:
        return MemoryStore(self.clock.now, max_entries=self.MAX_ENTRIES, max_bytes=self.MAX_BYTES)

    def forget(self, key: str) -> None:
        self.kept.pop(key, None)


class SqliteMachine(StoreMachine):
    def make(self) -> SqliteStore:
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "cache.sqlite"
        return sqlite_store(path, self.clock, max_entries=self.MAX_ENTRIES, max_bytes=self.MAX_BYTES)

    @rule(key=StoreMachine.keys)
    def get(self, key: str) -> None:
        self.clock.advance(61.0)  # uses are noted to the minute
        super().get(key)

    def purge(self, now: float) -> None:
        for key in [key for key, (_, expires, _) in self.kept.items() if now >= expires]:
            del self.kept[key]

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


def test_ten_thousand_answers_of_a_kilobyte_take_at_most_25_megabytes() -> None:
    store = MemoryStore(lambda: 0.0, max_entries=10_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10_000):
            text = os.urandom(512).hex()
            answer = ChatResponse((Choice(text, finish_reason="stop"),), "m", f"id-{number}", Usage(9, 9))
            data = encode(Entry(0.0, 60.0, Target("openai", "gpt-4o"), answer))
            drive(store.set(f"{number:032x}", data, expires=60.0, names=("openai/gpt-4o",)))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.size().entries == 10_000
    assert used <= 25e6
    assert used <= store.size().bytes * 1.1  # so that the bound on bytes is one on memory


# On disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache.sqlite"


def test_what_was_kept_is_there_after_a_restart(path: Path) -> None:
    clock = ManualClock()
    first = sqlite_store(path, clock)
    drive(first.set("k", b"value", expires=10.0, names=("n",)))
    drive(first.close())
    second = sqlite_store(path, clock)
    assert drive(second.get("k")) == b"value"
    assert second.size()[:2] == (1, 5)
    drive(second.close())
    drive(second.close())


def test_files_are_readable_by_their_owner_only(path: Path) -> None:
    umask = os.umask(0)
    try:
        store = sqlite_store(path, ManualClock())
        drive(store.set("k", b"value", expires=10.0, names=("n",)))
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["cache.sqlite", "cache.sqlite-shm", "cache.sqlite-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        drive(store.close())
    finally:
        os.umask(umask)


def test_a_file_that_was_open_to_others_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o666)
    path.chmod(0o666)
    store = sqlite_store(path, ManualClock())
    drive(store.get("k"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    drive(store.close())


def test_a_file_of_another_version_is_emptied(path: Path) -> None:
    clock = ManualClock()
    store = sqlite_store(path, clock)
    drive(store.set("k", b"value", expires=10.0, names=("n",)))
    drive(store.close())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    store = sqlite_store(path, clock)
    assert drive(store.get("k")) is None
    drive(store.set("k", b"again", expires=10.0, names=("n",)))
    assert drive(store.get("k")) == b"again"
    drive(store.close())


def test_a_file_that_is_no_database_raises(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    store = sqlite_store(path, ManualClock())
    with pytest.raises(sqlite3.DatabaseError):
        drive(store.get("k"))
    drive(store.close())


_WRITER = """
import sys
from pathlib import Path
from penstock.runtime import drive
from penstock_cache import SqliteStore

async def inline(function, *args):
    return function(*args)

store = SqliteStore(sys.argv[1], inline, max_entries=50, clock=lambda: 0.0)
name = sys.argv[2]
for number in range(200):
    drive(store.set(f"{name}-{number}", name.encode() * 20, expires=10.0, names=(name,)))
    value = drive(store.get(f"{name}-{number}"))
    assert value in (None, name.encode() * 20), value
drive(store.close())
"""


def test_two_processes_share_one_file_and_keep_its_bounds(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name]) for name in ("one", "two")]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    store = sqlite_store(path, ManualClock(), max_entries=50)
    drive(store.get("one-0"))
    assert store.size().entries == 50
    connection = sqlite3.connect(path)
    counted = connection.execute("SELECT count(*), sum(length(value)) FROM entries").fetchone()
    connection.close()
    assert store.size()[:2] == tuple(counted)
    drive(store.close())


def test_one_process_sees_what_another_wrote(path: Path) -> None:
    clock = ManualClock()
    here, there = sqlite_store(path, clock), sqlite_store(path, clock)
    drive(here.set("k", b"mine", expires=10.0, names=("n",)))
    assert drive(there.get("k")) == b"mine"
    assert drive(there.delete("n")) == 1
    assert drive(here.get("k")) is None
    drive(here.close())
    drive(there.close())


def _in_child(path: Path, store: SqliteStore, outcome: Any) -> None:
    inherited = store._connection
    value = drive(store.get("k"))
    drive(store.set("child", b"c", expires=10.0, names=("n",)))
    outcome.put((value, store._connection is not inherited))
    drive(store.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_connection_is_not_carried_over_a_fork(path: Path) -> None:
    store = sqlite_store(path, ManualClock())
    drive(store.set("k", b"value", expires=10.0, names=("n",)))
    context = multiprocessing.get_context("fork")
    outcome = context.Queue()
    child = context.Process(target=_in_child, args=(path, store, outcome))
    child.start()
    assert outcome.get(timeout=20) == (b"value", True)
    child.join(20)
    assert child.exitcode == 0
    outcome.close()
    outcome.join_thread()
    assert drive(store.get("child")) == b"c"
    drive(store.close())


def test_the_event_loop_never_touches_the_disk(path: Path) -> None:
    from penstock.asynchronous import AsyncioRuntime

    async def use() -> set[str]:
        runtime = AsyncioRuntime(None)  # type: ignore[arg-type]  # nothing is sent
        seen: set[str] = set()

        async def watched(function: Callable[..., Any], *args: Any) -> Any:
            def noted() -> Any:
                seen.add(threading.current_thread().name)
                return function(*args)

            return await runtime.run_blocking(noted)

        store = SqliteStore(path, watched, clock=lambda: 0.0)
        await store.set("k", b"v", expires=1.0, names=("n",))
        assert await store.get("k") == b"v"
        await store.delete("n")
        await store.clear()
        await store.close()
        return seen

    assert threading.current_thread().name not in asyncio.run(use())
