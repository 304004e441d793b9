"""
One connection of the simulator's server: reads requests and plays their plans, without a task.

Rules
1. A plan is played by one iterator that stops at a pause, at back-pressure and at its final step, and
   goes on from there; so a connection costs a small object, also while it hangs.
2. Steps that follow each other are written together.
3. Nothing final happens before everything written has left for the kernel. A break that follows data
   waits `settle` seconds more: a client that sees the break together with the data may drop the data, and
   then how much arrived would depend on its scheduling.
4. The next request of a connection is read when the plan before it has ended.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from penstock_testkit.http1 import BadRequest, RawRequest, RequestParser
from penstock_testkit.plan import (
    END,
    Close,
    Data,
    End,
    Hang,
    Head,
    Pause,
    Plan,
    Refuse,
    Reset,
    Simple,
    content_length,
    steps,
)

if TYPE_CHECKING:
    from penstock_testkit.server import SimulatorServer

_FLUSH = 256 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """
    A protocol for `loop.create_server`.

    Args:
        server: whose simulator is asked, and who counts connections.
        number: of this connection, from 1.
        settle: seconds between data and a break.
    """

    __slots__ = (
        "_chunked",
        "_hanging",
        "_keep_alive",
        "_number",
        "_parser",
        "_paused",
        "_plan",
        "_playing",
        "_sent_head",
        "_server",
        "_settle",
        "_timer",
        "_transport",
        "_waiting",
        "_whole_connection",
    )

    def __init__(self, server: SimulatorServer, number: int, settle: float) -> None:
        self._server = server
        self._number = number
        self._settle = settle
        self._parser = RequestParser()
        self._transport: asyncio.Transport
        self._playing: Iterator[Simple] | None = None
        self._plan: Plan = ()
        self._waiting: Simple | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._hanging = False
        self._keep_alive = True
        self._chunked = False
        self._whole_connection = False
        self._sent_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Paused as soon as the kernel does not take everything, resumed when it has (rule 3).
        self._transport.set_write_buffer_limits(high=0)
        self._server.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.closed(self, answering=self._playing is not None)
        self._playing = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        if self._playing is None:
            self._read()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def _read(self) -> None:
        """Answer every request that is whole; one that takes time leaves the rest to `_go_on`."""
        while self._playing is None and not self._transport.is_closing():
            try:
                raw = self._parser.request()
            except BadRequest as error:
                self._keep_alive = False
                text = f"{error}\n".encode()
                self._begin((Head(error.status, {"content-type": "text/plain"}), Data(text), END))
                return
            if raw is None:
                if self._parser.expects_continue:
                    self._parser.expects_continue = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._keep_alive = raw.keep_alive
            self._begin(self._ask(raw))

    def _ask(self, raw: RawRequest) -> Plan:
        try:
            return self._server.receive(raw, self._number)
        except Exception as error:  # a test's own text rule or condition raised: show it there
            self._server.failed(error)
            text = f"the simulator's script raised {type(error).__name__}\n".encode()
            return (Head(500, {"content-type": "text/plain"}), Data(text), END)

    def _begin(self, plan: Plan) -> None:
        self._plan = plan
        self._playing = steps(plan)
        self._sent_head = self._chunked = self._whole_connection = False
        self._play()

    def _wake(self) -> None:
        self._timer = None
        self._go_on()

    def _go_on(self) -> None:
        """Play on, unless time, back-pressure or a hang still stands against it."""
        if self._timer is not None or self._paused or self._hanging or self._transport.is_closing():
            return
        if self._waiting is not None:
            self._break(self._waiting)
        elif self._playing is not None:
            self._play()
            if self._playing is None:
                self._read()

    def _play(self) -> None:
        assert self._playing is not None  # noqa: S101  # `_begin` has set it
        out: list[bytes] = []
        held = 0
        for step in self._playing:
            kind = type(step)
            if kind is Data:
                piece = self._framed(cast("Data", step).data)
                out.append(piece)
                held += len(piece)
                if held >= _FLUSH:
                    self._transport.write(b"".join(out))
                    out.clear()
                    held = 0
                    if self._paused:
                        return
            elif kind is Head:
                out.append(self._head(cast("Head", step)))
            elif kind is Pause:
                self._write(out)
                loop = self._server.loop
                self._timer = loop.call_later(cast("Pause", step).seconds, self._wake)
                return
            elif kind is End:
                break
            else:
                self._write(out)
                self._stop(step)
                return
        if not self._sent_head:
            self._stop(Close())
            return
        if self._chunked:
            out.append(b"0\r\n\r\n")
        self._write(out)
        self._playing = None
        if self._whole_connection or not self._keep_alive:
            self._transport.close()

    def _write(self, out: list[bytes]) -> None:
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _head(self, head: Head) -> bytes:
        self._sent_head = True
        lines = [f"HTTP/1.1 {head.status} {_REASONS.get(head.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in head.headers.items()]
        if head.framing == "chunked":
            self._chunked = True
            lines.append("transfer-encoding: chunked")
        elif head.framing == "length":
            lines.append(f"content-length: {content_length(self._plan)}")
        else:
            self._whole_connection = True
        if self._whole_connection or not self._keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _framed(self, data: bytes) -> bytes:
        if not data:
            return b""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _stop(self, step: Simple) -> None:
        """Come to a final step other than `End`."""
        if type(step) is Hang:
            self._hanging = True
            return
        if type(step) is Close and step.inside_chunk and self._chunked:
            self._transport.write(b"400\r\n")
        if not self._sent_head:
            self._break(step)
            return
        self._waiting = step
        self._timer = self._server.loop.call_later(self._settle, self._wake)

    def _break(self, step: Simple) -> None:
        self._playing = None
        if type(step) in (Reset, Refuse):
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()
