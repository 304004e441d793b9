"""
What the transport suites are made of: a colourless way to run scenarios, requests, and behaviours.

A scenario is a coroutine that knows no colour: `Conformance.run` drives it without a loop, or in one. A real
server on the loopback misbehaves in front of it (see raw_server.py).
"""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from penstock.errors import PenstockError
from penstock.http import HttpHead, HttpRequest, Limits, Transport
from penstock.runtime import drive
from penstock_testkit.raw_server import Connection, RawServer, Received
from penstock_testkit.standard import StandardTests

SECRET = "sk-conformance-0123456789"  # noqa: S105  # a bait, not a password
SHORT = 0.25
"""Seconds: a limit that is meant to be reached."""
LONG = 10.0
"""Seconds: a limit that is not."""
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def limits(
    seconds: float = LONG, *, connect: float = LONG, pool: float = LONG, max_bytes: int = 1 << 20
) -> Limits:
    """Limits that end in so many seconds."""
    return Limits(connect=connect, pool=pool, due=time.monotonic() + seconds, max_bytes=max_bytes)


def request(url: str, **changes: Any) -> HttpRequest:
    """A request like a codec makes them."""
    facts: dict[str, Any] = {"method": "POST", "headers": {"content-type": "application/json"}, "body": b"{}"}
    return HttpRequest(url=url, **(facts | changes))


async def fetch(
    transport: Transport, url: str, bounds: Limits | None = None, **changes: Any
) -> tuple[HttpHead, bytes]:
    """One whole exchange; the connection is given back."""
    bounds = bounds or limits()
    exchange = await transport.send(request(url, **changes), bounds)
    try:
        return exchange.head, await exchange.read_all(bounds.due)
    finally:
        await exchange.close(reuse=True)


def echo(connection: Connection, received: Received) -> None:
    """Answer with the body that came."""
    connection.answer(received.body)


def in_two_parts(go_on: threading.Event) -> Callable[[Connection, Received], None]:
    """Answer with a body whose last byte waits for an event."""

    def answer(connection: Connection, received: Received) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab")
        go_on.wait(LONG)
        connection.send(b"c")

    return answer


def once(
    *writes: bytes, then: Literal["close", "reset", "hang", "ignore"] = "close"
) -> Callable[[Connection], None]:
    """Read one request, write bytes, and end like this."""

    def behaviour(connection: Connection) -> None:
        if connection.receive() is None:
            return
        for data in writes:
            connection.send(data)
        if then == "reset":
            connection.reset()
        elif then == "hang":
            connection.hang()
        elif then == "ignore":
            connection.ignore()

    return behaviour


def self_signed(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, ssl.SSLContext]:
    """A certificate for these names and a server context that shows it; skips without openssl."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    command += ["-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # fixed arguments
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def unused_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Conformance(StandardTests, standard=True):
    """What the suites share."""

    colour: ClassVar[Literal["blocking", "async"]]

    def make(self, **options: Any) -> Transport:
        """
        A fresh transport.

        Args:
            options: any of `connections` (how many at most to one origin), `proxy`, `no_proxy`,
                `ca_bundle`, `max_header_bytes`, `keepalive` (seconds), `environ` (instead of the real one).
        """
        raise NotImplementedError

    def run(self, scenario: Callable[[Transport], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        """Run a scenario against a fresh transport, and close it."""

        async def whole() -> Any:
            transport = self.make(**options)
            try:
                return await scenario(transport)
            finally:
                await transport.close()

        return drive(whole()) if self.colour == "blocking" else asyncio.run(whole())

    async def all_closed(self, server: RawServer) -> bool:
        """Whether every connection of the server ends soon, while the loop of an async transport runs."""
        if self.colour == "blocking":
            return server.wait_until_closed()
        return await asyncio.get_running_loop().run_in_executor(None, server.wait_until_closed)

    def fails_with(
        self, expected: type[PenstockError], url: str, bounds: Limits | None = None, **options: Any
    ) -> Any:
        """The error a whole exchange with `url` ends with."""
        changes = options.pop("changes", {})

        async def scenario(transport: Transport) -> PenstockError:
            with pytest.raises(expected) as caught:
                await fetch(transport, url, bounds, **changes)
            return caught.value

        error = self.run(scenario, **options)
        assert type(error) is expected
        return error
