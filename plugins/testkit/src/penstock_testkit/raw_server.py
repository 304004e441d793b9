"""
A server that speaks HTTP byte by byte, and as badly as a test wants.

A behaviour is a function that is given one accepted connection and does with it what it likes; the server
only counts, keeps what was received, and cleans up. It runs in threads on the loopback, so clients of
either colour can be pointed at it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

Behaviour: TypeAlias = "Callable[[Connection], None]"


@dataclass(frozen=True, slots=True)
class Received:
    """
    One request as it came.

    Args:
        line: the request line.
        headers: names in lower case.
        body: the body in bytes.
    """

    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection, in the hands of a behaviour."""

    def __init__(self, server: RawServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._buffer = b""

    def receive(self) -> Received | None:
        """The next request, or None when the client closed the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {}
        for field in fields:
            name, _, value = field.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._fill():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        request = Received(line, headers, body)
        self._server._note(request)
        return request

    def send(self, data: bytes) -> None:
        """Write bytes; a client that is gone is no error."""
        with contextlib.suppress(OSError):
            self._sock.sendall(data)

    def answer(self, body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> None:
        """Write a whole response with a Content-Length."""
        self.send(
            f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode("latin-1") + body
        )

    def drip(self, data: bytes, seconds: float) -> None:
        """Write byte by byte, with a pause after each; ends early when the client or the test is gone."""
        for position in range(len(data)):
            try:
                self._sock.sendall(data[position : position + 1])
            except OSError:
                return
            if self._server.stopping.wait(seconds):
                return

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close at once."""
        self._sock.close()

    def hang(self) -> None:
        """Say nothing until the client closes, or the test is over."""
        self._sock.settimeout(0.05)
        while not self._server.stopping.is_set():
            try:
                if not self._sock.recv(65536):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def ignore(self) -> None:
        """Let bytes come in without understanding them (not even TLS), until the connection is gone."""
        self._sock.settimeout(0.05)
        while not self._server.stopping.is_set():
            try:
                if not socket.socket.recv(self._sock, 65536):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def _fill(self) -> bool:
        try:
            data = self._sock.recv(65536)
        except OSError:
            return False
        self._buffer += data
        return bool(data)


class RawServer:
    """
    Accepts connections on the loopback and gives each to a behaviour, in a thread of its own.

    Args:
        behaviour: called once for each connection, which is closed when it returns.
        family: `socket.AF_INET` or `socket.AF_INET6`.
        tls: a server context, to speak TLS.

    Attributes:
        accepted: connections so far.
        requests: every request received, oldest first.
        stopping: set when the server is about to stop; behaviours that wait, wait for it.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._behaviour = behaviour
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.accepted = 0
        self.requests: list[Received] = []
        self.stopping = threading.Event()
        self._listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family, backlog=128
        )
        self.host, self.port = self._listener.getsockname()[:2]

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        # A thread in accept() is not woken by close(); shutdown wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            remaining = list(self._open)
        for sock in remaining:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)

    def wait_until_closed(self, seconds: float = 5.0) -> bool:
        """Wait until no connection is open; whether that happened in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def wait_for_requests(self, count: int, seconds: float = 5.0) -> bool:
        """Wait until so many requests have been received; whether that happened in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= count, seconds)

    def wait_for_connections(self, count: int, seconds: float = 5.0) -> bool:
        """Wait until so many connections have been accepted; whether that happened in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.accepted >= count, seconds)

    def _note(self, request: Received) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.accepted += 1
                self._open.add(sock)
                self._changed.notify_all()
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        spoken = sock
        try:
            if self._tls is not None:
                spoken = self._tls.wrap_socket(sock, server_side=True)
                with self._changed:
                    self._open.symmetric_difference_update((sock, spoken))
            self._behaviour(Connection(self, spoken))
        except OSError:
            pass  # the client refused our certificate, or left
        finally:
            spoken.close()
            sock.close()
            with self._changed:
                self._open -= {sock, spoken}
                self._changed.notify_all()


def serve(answer: Callable[[Connection, Received], None]) -> Behaviour:
    """The behaviour of a server that keeps connections alive and answers each request with `answer`."""

    def behaviour(connection: Connection) -> None:
        while (request := connection.receive()) is not None:
            answer(connection, request)

    return behaviour
