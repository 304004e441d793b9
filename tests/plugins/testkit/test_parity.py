"""One script means the same on a real socket and in virtual time."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import TransferError
from penstock.http import HttpRequest
from penstock.runtime import drive
from penstock_testkit import Simulator, faults

SCRIPT = [
    faults.ok("Another text, in two wörds."),
    faults.status(503),
    faults.status(429, retry_after=1.5, form="ms"),
    faults.reset(),
    faults.cut(after=2),
    faults.cut(after=2, inside_chunk=True),
    faults.reset(after=1),
    faults.malformed(after=1),
    faults.unterminated(),
    faults.error_event(after=1),
    faults.html(502),
    faults.empty(),
    faults.oversized(100_000),
    faults.wrong_content_type(),
    faults.slow_first_token(0.01),
    faults.drip(0.001),
    faults.quota(),
]
BROKEN = (http.client.HTTPException, ConnectionError)
IGNORED = {"connection", "content-length", "transfer-encoding"}


def over_a_socket(url: str, body: bytes) -> tuple[Any, ...]:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=5)
    pieces: list[bytes] = []
    head: tuple[Any, ...] = ()
    try:
        connection.request("POST", "/v1/chat/completions", body)
        answer = connection.getresponse()
        head = (answer.status, {n.lower() for n in answer.headers} - IGNORED)
        while piece := answer.read1(65536):
            pieces.append(piece)
        # A length that is not reached is no error to `read1`, so it is checked here.
        whole = answer.length in (None, 0)
    except BROKEN:
        whole = False
    finally:
        connection.close()
    return (*head, b"".join(pieces), whole)


def in_virtual_time(runtime: Any, limits: Any, body: bytes) -> tuple[Any, ...]:
    request = HttpRequest("POST", "http://sim.test/v1/chat/completions", {}, body, stream=True)
    pieces: list[bytes] = []
    head: tuple[Any, ...] = ()
    try:
        exchange = drive(runtime.transport.send(request, limits))
        head = (exchange.head.status, set(exchange.head.headers))
        while piece := drive(exchange.read(limits.due)):
            pieces.append(piece)
        whole = True
    except TransferError:
        whole = False
    return (*head, b"".join(pieces), whole)


@pytest.mark.parametrize("stream", [False, True])
def test_every_fault_shows_itself_alike(
    serve: Callable[..., Any], blocking: Callable[..., Any], limits: Callable[..., Any], stream: bool
) -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "One two three"}], "stream": stream}
    ).encode()
    server = serve(SCRIPT)
    simulator = Simulator(SCRIPT)
    runtime = blocking(simulator)
    for fault in SCRIPT:
        real = over_a_socket(server.url, body)
        assert real == in_virtual_time(runtime, limits(), body), fault
    assert server.count() == simulator.count() == len(SCRIPT)
    assert server.simulator.remaining() == simulator.remaining() == 0
