"""
The store on disk: one SQLite file that several processes share.

Rules
1. The file is readable by its owner only (0600), its folder too when it is made here; it holds answers and
   hashes, no questions and no keys.
2. SQLite blocks, so every operation goes through `run_blocking`: an event loop never waits for the disk.
3. One connection for each process, opened when it is first needed, never carried over a fork; short
   operations behind one lock. WAL lets readers of other processes go on while one writes.
4. A file of another schema version is emptied: it is a cache.
5. Triggers keep the number of entries and bytes, so that keeping the bounds needs no scan.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from penstock_cache.store import StoreSize, matches

SCHEMA = 1
BUSY_SECONDS = 2.0
"""How long to wait for another process's write; a cache that is slower than that is a miss."""
TOUCH_SECONDS = 60.0
"""How exact "least recently used" is: a read becomes a write at most this often for each entry."""

_TABLES = (
    "DROP TABLE IF EXISTS entries",
    "DROP TABLE IF EXISTS totals",
    """CREATE TABLE entries (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL, used REAL NOT NULL,
        names TEXT NOT NULL
    )""",
    "CREATE INDEX entries_used ON entries (used)",
    "CREATE INDEX entries_expires ON entries (expires)",
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """CREATE TRIGGER entries_added AFTER INSERT ON entries BEGIN
        UPDATE totals SET entries = entries + 1, bytes = bytes + length(new.value);
    END""",
    """CREATE TRIGGER entries_dropped AFTER DELETE ON entries BEGIN
        UPDATE totals SET entries = entries - 1, bytes = bytes - length(old.value);
    END""",
    f"PRAGMA user_version = {SCHEMA}",
)

RunBlocking = Callable[..., Coroutine[Any, Any, Any]]


class SqliteStore:
    """
    A store in an SQLite file.

    Args:
        path: the file; made when it is first needed, `~` is the home folder.
        run_blocking: the runtime's, so that nobody else waits for the disk.
        max_entries: entries at most.
        max_bytes: bytes of values at most; a larger value is not kept.
        clock: seconds since the epoch, the same for every process.
    """

    def __init__(
        self,
        path: str | Path,
        run_blocking: RunBlocking,
        *,
        max_entries: int = 1000,
        max_bytes: int = 64 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).expanduser()
        self.now = clock
        self._run = run_blocking
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._size = StoreSize(0, 0, 0)

    async def get(self, key: str) -> bytes | None:
        return await self._run(self._get, key)  # type: ignore[no-any-return]  # what `_get` returns

    async def set(self, key: str, value: bytes, *, expires: float, names: tuple[str, ...]) -> None:
        await self._run(self._set, key, value, expires, names)

    async def delete(self, pattern: str) -> int:
        return await self._run(self._delete, pattern)  # type: ignore[no-any-return]  # what `_delete` returns

    async def clear(self) -> int:
        return await self._run(self._clear)  # type: ignore[no-any-return]  # what `_clear` returns

    def size(self) -> StoreSize:
        return self._size

    async def close(self) -> None:
        await self._run(self._close)

    def _get(self, key: str) -> bytes | None:
        now = self.now()
        with self._open() as connection:
            row = connection.execute(
                "SELECT value, used FROM entries WHERE key = ? AND expires > ?", (key, now)
            ).fetchone()
            if row is None:
                return None
            if now - row[1] > TOUCH_SECONDS:
                connection.execute("UPDATE entries SET used = ? WHERE key = ?", (now, key))
            return bytes(row[0])

    def _set(self, key: str, value: bytes, expires: float, names: tuple[str, ...]) -> None:
        now = self.now()
        with self._open() as connection, _transaction(connection):
            connection.execute("DELETE FROM entries WHERE key = ? OR expires <= ?", (key, now))
            if len(value) <= self._max_bytes:
                connection.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                    (key, value, expires, now, "\n".join(names)),
                )
            self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        evicted = self._size.evictions
        entries, size = _totals(connection)
        while entries > self._max_entries or size > self._max_bytes:
            # In batches when there are many too many, one by one when only the bytes are.
            batch = max(1, entries - self._max_entries)
            evicted += connection.execute(
                "DELETE FROM entries WHERE key IN (SELECT key FROM entries ORDER BY used, rowid LIMIT ?)",
                (batch,),
            ).rowcount
            entries, size = _totals(connection)
        self._size = StoreSize(entries, size, evicted)

    def _delete(self, pattern: str) -> int:
        with self._open() as connection, _transaction(connection):
            rows = connection.execute("SELECT key, names FROM entries").fetchall()
            keys = [(key,) for key, names in rows if matches(pattern, key, tuple(names.split("\n")))]
            connection.executemany("DELETE FROM entries WHERE key = ?", keys)
            self._size = StoreSize(*_totals(connection), self._size.evictions)
            return len(keys)

    def _clear(self) -> int:
        with self._open() as connection, _transaction(connection):
            count = connection.execute("DELETE FROM entries").rowcount
            self._size = StoreSize(0, 0, self._size.evictions)
            return count

    def _close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._process == os.getpid():
                connection.close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None or self._process != os.getpid():
                # A connection made before a fork is left alone: closing it would drop the parent's locks.
                self._connection = self._connect()
                self._process = os.getpid()
            yield self._connection

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made before SQLite would make it with the process's umask; its WAL takes over the mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            with contextlib.suppress(sqlite3.OperationalError):
                # Refused at once while another process switches; the file then has the mode anyway.
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with _transaction(connection):
                if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                    for statement in _TABLES:
                        connection.execute(statement)
            self._size = StoreSize(*_totals(connection), self._size.evictions)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the lock on the file is taken at once, so that it cannot deadlock half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _totals(connection: sqlite3.Connection) -> tuple[int, int]:
    entries, size = connection.execute("SELECT entries, bytes FROM totals").fetchone()
    return entries, size
