"""The real server, seen by ordinary HTTP clients: answers, connections, counting, stopping."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import requests

from penstock_testkit import Simulator, faults
from penstock_testkit.plan import Data, Head
from penstock_testkit.server import SimulatorServer

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
Serve = Callable[..., SimulatorServer]


def port_of(server: SimulatorServer) -> int:
    return int(server.origin.rpartition(":")[2])


def text_of(body: Any) -> str:
    return str(body["choices"][0]["message"]["content"])


def test_requests_gets_plain_and_streamed_answers(serve: Serve) -> None:
    server = serve(text="One two.")
    with requests.Session() as session:
        plain = session.post(f"{server.url}/chat/completions", json=CHAT, timeout=5)
        assert text_of(plain.json()) == "One two."
        streamed = session.post(f"{server.url}/chat/completions", json={**CHAT, "stream": True}, timeout=5)
        lines = [line for line in streamed.iter_lines() if line]
    assert lines[-1] == b"data: [DONE]"
    assert server.count() == 2
    assert {request.connection for request in server.requests} == {1}


def test_http_client_reuses_its_connection_and_reads_the_length(serve: Serve) -> None:
    server = serve()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(body)))
    connection.close()
    assert (server.count(), server.connections) == (3, 1)


def test_a_client_that_asks_to_close_is_closed(serve: Serve, raw: Callable[..., Any]) -> None:
    seen = raw(serve())
    assert (seen.status, seen.headers["connection"], seen.ending) == (200, "close", "closed")


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    server = serve([faults.slow_first_token(0.05), faults.ok(), faults.status(503)])
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connected:
        connected.sendall(request * 3)
        received = b""
        while received.count(b"HTTP/1.1 ") < 3:
            received += connected.recv(65536)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"503"]


def test_chunked_and_expected_uploads_are_read(serve: Serve) -> None:
    server = serve()
    body = json.dumps(CHAT).encode()
    chunks = (body[i : i + 7] for i in range(0, len(body), 7))
    assert requests.post(f"{server.url}/chat/completions", data=chunks, timeout=5).status_code == 200
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connected:
        connected.sendall(head.encode())
        assert connected.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.sendall(body)
        assert connected.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert [request.body for request in server.requests] == [body, body]


def test_what_is_no_http_is_refused_and_not_counted(serve: Serve) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connected:
        connected.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        answer = connected.recv(65536)
        assert connected.recv(10) == b""
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert server.count() == 0


def test_500_concurrent_requests_are_counted_exactly(serve: Serve) -> None:
    server = serve(rate={faults.status(503): 0.2, faults.status(429): 0.1}, seed=5)

    async def ask(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{server.url}/chat/completions", json=CHAT) as answer:
            await answer.read()
            return answer.status

    async def everything() -> list[int]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return list(await asyncio.gather(*(ask(session) for _ in range(500))))

    seen = asyncio.run(everything())
    assert server.count() == len(server.requests) == 500
    assert sorted(request.number for request in server.requests) == list(range(1, 501))
    server.reset()
    again = asyncio.run(everything())
    # Which request meets which fault depends on the order of arrival; how many do does not.
    assert sorted(seen) == sorted(again)
    assert {200, 429, 503} == set(seen)


@pytest.mark.parametrize("fault", [faults.hang(), faults.hang(after=0), faults.slow_first_token(3600)])
def test_it_stops_at_once_while_requests_hang(serve: Serve, fault: faults.Fault) -> None:
    server = serve([fault], repeat=True)
    threads = threading.active_count()
    clients = [http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=30) for _ in range(20)]
    for client in clients:
        client.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}))
    while server.count() < 20:
        time.sleep(0.001)
    port = port_of(server)
    server.stop()
    assert server.open_connections == 0
    assert server.abandoned == 0
    assert threading.active_count() == threads - 1
    for client in clients:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.getresponse().read()
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    server.stop()


def test_a_stopped_server_serves_again_on_its_port(serve: Serve) -> None:
    server = serve()
    url = server.url
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        server.url  # noqa: B018  # the property raises
    server.start()
    assert server.url == url
    assert requests.get(f"{url}/models", timeout=5).status_code == 200
    with pytest.raises(RuntimeError, match="already"):
        server.start()


def test_a_client_that_hangs_up_is_noticed(serve: Serve, raw: Callable[..., Any]) -> None:
    server = serve([faults.hang(after=1)])
    raw(server, stream=True, patience=0.4)
    deadline = time.monotonic() + 5
    while server.open_connections and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (server.count(), server.abandoned) == (1, 1)


def test_what_a_script_raises_is_shown_where_the_server_is_used() -> None:
    def broken(request: Any) -> bool:
        raise LookupError("a mistake in the test")

    with (
        pytest.raises(LookupError, match="a mistake"),
        Simulator([faults.reset().when(broken)]).serve() as server,
    ):
        assert requests.get(f"{server.url}/models", timeout=5).status_code == 500


def test_a_body_that_ends_with_the_connection(serve: Serve, raw: Callable[..., Any]) -> None:
    plan = (Head(200, framing="eof"), Data(b"until the end"))
    seen = raw(serve([faults.Fault("eof()", lambda _, occasion: plan)]), close=False)
    assert (seen.body, seen.ending, seen.headers) == (b"until the end", "closed", {"connection": "close"})


def test_a_slow_reader_gets_all_of_an_oversized_body(serve: Serve) -> None:
    server = serve([faults.oversized(8_000_000)])
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
    answer = connection.getresponse()
    body = b""
    while piece := answer.read(200_000):
        body += piece
    assert len(body) > 8_000_000
    assert text_of(json.loads(body)).endswith("Hello")
    connection.close()
