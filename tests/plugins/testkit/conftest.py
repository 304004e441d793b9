"""A raw client and a fake clock for the tests of the simulator."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from penstock.http import Limits
from penstock.runtime import BlockingRuntime
from penstock_testkit import Simulator
from penstock_testkit.plan import Plan
from penstock_testkit.server import SimulatorServer

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say one two three"}]}


def chat(**fields: Any) -> dict[str, Any]:
    return {**CHAT, **fields}


class Raw(NamedTuple):
    """What a client without any HTTP library saw."""

    data: bytes
    ending: str  # "closed", "reset", or "silent" when nothing more came in time

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        head = self.data.split(b"\r\n\r\n", 1)[0].decode()
        return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])

    @property
    def body(self) -> bytes:
        """The body as it came, chunk framing included."""
        return self.data.split(b"\r\n\r\n", 1)[1]


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def serve() -> Iterator[Callable[..., SimulatorServer]]:
    servers: list[SimulatorServer] = []

    def start(*arguments: Any, **options: Any) -> SimulatorServer:
        servers.append(Simulator(*arguments, **options).serve().start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def raw() -> Callable[..., Raw]:
    """Send one chat request and read until the connection ends, or stays silent for `patience` seconds."""

    def exchange(
        server: SimulatorServer,
        *,
        stream: bool = False,
        patience: float = 5.0,
        close: bool = True,
        path: str = "/v1/chat/completions",
    ) -> Raw:
        body = json.dumps(chat(stream=stream)).encode()
        connection = "Connection: close\r\n" if close else ""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{connection}Content-Length: {len(body)}\r\n\r\n"
        address = ("127.0.0.1", int(server.origin.rpartition(":")[2]))
        received = []
        with socket.create_connection(address, timeout=patience) as connected:
            connected.sendall(head.encode() + body)
            try:
                while data := connected.recv(65536):
                    received.append(data)
                ending = "closed"
            except ConnectionResetError:
                ending = "reset"
            except TimeoutError:
                ending = "silent"
        return Raw(b"".join(received), ending)

    return exchange


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """The plan a simulator makes for one request, without any transport."""

    def receive(
        simulator: Simulator,
        body: Any = None,
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        headers: dict[str, str] | None = None,
        at: float = 0.0,
    ) -> Plan:
        encoded = body if isinstance(body, bytes) else json.dumps(CHAT if body is None else body).encode()
        return simulator.receive(
            method=method, target=path, headers=headers or {}, body=encoded, at=at, wall=1_767_225_600.0
        )

    return receive


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def blocking(clock: FakeClock) -> Callable[[Simulator], BlockingRuntime]:
    """A blocking runtime in virtual time over a simulator."""

    def build(simulator: Simulator) -> BlockingRuntime:
        transport = simulator.transport()
        runtime = BlockingRuntime(transport, clock=clock.read, sleep=clock.sleep)
        transport.runtime = runtime
        return runtime

    return build


@pytest.fixture
def limits(clock: FakeClock) -> Callable[..., Limits]:
    def build(seconds: float = 60.0, max_bytes: int = 1 << 30) -> Limits:
        return Limits(connect=5.0, pool=10.0, due=clock.now + seconds, max_bytes=max_bytes)

    return build
