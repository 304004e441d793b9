"""
The simulator behind a real socket: HTTP/1.1 on 127.0.0.1, in a thread with its own event loop.

It is written on asyncio's protocols instead of a web framework because faults need what frameworks hide:
a TCP reset, an end inside a chunk, a length that is never reached, silence.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from penstock_testkit.connection import Connection

if TYPE_CHECKING:
    from types import TracebackType

    from penstock_testkit.http1 import RawRequest
    from penstock_testkit.plan import Plan
    from penstock_testkit.received import ReceivedRequest
    from penstock_testkit.simulator import Simulator

_BACKLOG = 4096


class SimulatorServer:
    """
    A context manager that serves a simulator; `start` and `stop` do the same by hand.

    Args:
        simulator: who answers.
        port: 0 takes any free one.
        settle: seconds between the last data and a break of the connection, so that a client on the
            same machine has read the data before it sees the break.
        clock: readings for the log in seconds.
        wall: seconds since the epoch, for HTTP dates.

    Attributes:
        abandoned: answers whose client hung up before their end.
        connections: connections accepted so far.
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        port: int = 0,
        settle: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.simulator = simulator
        self.abandoned = 0
        self.connections = 0
        self.loop: asyncio.AbstractEventLoop
        self._port = port
        self._settle = settle
        self._clock = clock
        self._wall = wall
        self._open: set[Connection] = set()
        self._errors: list[Exception] = []
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event

    @property
    def origin(self) -> str:
        """Scheme, host and port: `http://127.0.0.1:PORT`."""
        if self._thread is None:
            raise RuntimeError(
                "the simulator's server is not running; use `with simulator.serve() as server:`"
            )
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The base URL of the OpenAI dialect: `http://127.0.0.1:PORT/v1`."""
        return f"{self.origin}/v1"

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """See `Simulator.requests`."""
        return self.simulator.requests

    def count(self, **filters: Any) -> int:
        """See `Simulator.count`."""
        return self.simulator.count(**filters)

    def reset(self) -> None:
        """Forget the requests and begin the scripts again; connections stay open."""
        self.simulator.reset()

    def start(self) -> Self:
        """
        Listen; returns when connections are accepted.

        Raises:
            OSError: the port is taken.
            RuntimeError: it runs already.
        """
        if self._thread is not None:
            raise RuntimeError("the simulator's server runs already")
        listener = socket.create_server(("127.0.0.1", self._port), backlog=_BACKLOG)
        self._port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, ready)), name="penstock-simulator", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Drop every connection, also those that hang, and end the thread; may be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise what a text rule, condition or fault of the script raised while it served, if any did."""
        if self._errors:
            raise self._errors[0]

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await self.loop.create_server(self._accept, sock=listener, backlog=_BACKLOG)
        ready.set()
        await self._stopping.wait()
        server.close()
        # A connection that was accepted in this very turn appears only in the next one.
        await asyncio.sleep(0)
        while self._open:
            for connection in tuple(self._open):
                connection.abort()
            await asyncio.sleep(0)

    # What follows is for connections, in the server's thread.

    def _accept(self) -> Connection:
        self.connections += 1
        return Connection(self, self.connections, self._settle)

    def opened(self, connection: Connection) -> None:
        """A connection is up."""
        self._open.add(connection)

    def closed(self, connection: Connection, *, answering: bool) -> None:
        """A connection is gone; `answering`: it had not finished a plan."""
        self._open.discard(connection)
        if answering and not self._stopping.is_set():
            self.abandoned += 1

    def receive(self, raw: RawRequest, connection: int) -> Plan:
        """The plan for one request."""
        return self.simulator.receive(
            method=raw.method,
            target=raw.target,
            headers=raw.headers,
            body=raw.body,
            at=self._clock(),
            wall=self._wall(),
            connection=connection,
        )

    def failed(self, error: Exception) -> None:
        """Keep what a script raised, for `check`."""
        self._errors.append(error)

    def __repr__(self) -> str:
        place = self.origin if self._thread is not None else "stopped"
        return f"<SimulatorServer {place} received {self.simulator.count()}>"
