"""Each fault on a real socket, seen by a client that knows no HTTP library."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer

Serve = Callable[..., SimulatorServer]
RawClient = Callable[..., Any]


@pytest.mark.parametrize("fault", [faults.reset(), faults.refuse()])
def test_a_reset_before_the_head_leaves_nothing(serve: Serve, raw: RawClient, fault: faults.Fault) -> None:
    assert raw(serve([fault])) == (b"", "reset")


def test_a_reset_in_a_stream_comes_after_the_events_before_it(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.reset(after=2)]), stream=True)
    assert seen.ending == "reset"
    assert seen.body.count(b'"content": "') == 1 + 2  # the first event's content is empty
    assert b"[DONE]" not in seen.body


@pytest.mark.parametrize(("fault", "ending"), [(faults.reset(after=1), "reset"), (faults.cut(), "closed")])
def test_a_plain_body_stays_behind_its_length(
    serve: Serve, raw: RawClient, fault: faults.Fault, ending: str
) -> None:
    seen = raw(serve([fault]))
    assert seen.ending == ending
    assert len(seen.body) == int(seen.headers["content-length"]) // 2


def test_a_cut_before_the_head_closes_without_a_word(serve: Serve, raw: RawClient) -> None:
    assert raw(serve([faults.cut(after=None)])) == (b"", "closed")


def test_a_cut_stream_has_no_last_chunk(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.cut(after=1)]), stream=True)
    assert seen.ending == "closed"
    assert seen.body.endswith(b"\n\n\r\n")


def test_a_cut_inside_a_chunk_promises_more_than_it_brings(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.cut(after=1, inside_chunk=True)]), stream=True)
    assert seen.body.endswith(b"\n\n\r\n400\r\n")


@pytest.mark.parametrize(("after", "received"), [(None, False), (0, True), (2, True)])
def test_a_hang_leaves_the_connection_open(
    serve: Serve, raw: RawClient, after: int | None, received: bool
) -> None:
    seen = raw(serve([faults.hang(after=after)]), stream=True, patience=0.4)
    assert seen.ending == "silent"
    assert bool(seen.data) is received
    assert seen.data.count(b'"content": " ') == (1 if after == 2 else 0)


def test_a_slow_first_token_comes_after_the_head(serve: Serve, raw: RawClient) -> None:
    server = serve([faults.slow_first_token(3600)])
    seen = raw(server, stream=True, patience=0.4)
    assert (seen.status, seen.body, seen.ending) == (200, b"", "silent")


def test_a_slow_first_token_lets_the_answer_through_in_the_end(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.slow_first_token(0.05)]), stream=True)
    assert seen.body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_dripping_body_arrives_whole(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.drip(0.001, size=50)]))
    assert len(seen.body) == int(seen.headers["content-length"])
    assert json.loads(seen.body)["object"] == "chat.completion"


def test_keep_alives_alone_never_become_an_answer(serve: Serve, raw: RawClient) -> None:
    server = serve([faults.keep_alives(0.01)])
    body = b'{"model": "m", "messages": [{"role": "user"}], "stream": true}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    received = b""
    with socket.create_connection(
        ("127.0.0.1", int(server.origin.rpartition(":")[2])), timeout=5
    ) as connected:
        connected.sendall(head + body)
        while received.count(b": keep-alive\n\n") < 5:
            received += connected.recv(65536)
    assert b"data:" not in received


def test_a_status_brings_its_headers_and_body(serve: Serve, raw: RawClient) -> None:
    server = serve([faults.status(429, retry_after=1.5, form="ms"), faults.quota(), faults.overloaded(529)])
    limited, spent, overloaded = (raw(server) for _ in range(3))
    assert (limited.status, limited.headers["retry-after-ms"]) == (429, "1500")
    assert json.loads(spent.body)["error"]["code"] == "insufficient_quota"
    assert overloaded.data.startswith(b"HTTP/1.1 529 ")
    assert server.count() == 3


def test_an_error_event_ends_a_well_framed_stream(serve: Serve, raw: RawClient) -> None:
    seen = raw(serve([faults.error_event(after=1)]), stream=True)
    assert seen.status == 200
    assert b'data: {"error": {' in seen.body
    assert seen.body.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        (faults.html(), 200, b"<!DOCTYPE html>"),
        (faults.html(502), 502, b"<!DOCTYPE html>"),
        (faults.empty(), 200, b""),
    ],
)
def test_what_is_no_json_is_framed_all_the_same(
    serve: Serve, raw: RawClient, fault: faults.Fault, status: int, start: bytes
) -> None:
    seen = raw(serve([fault]))
    assert (seen.status, seen.ending) == (status, "closed")
    assert seen.body[: len(start) or 1] == start
    assert len(seen.body) == int(seen.headers["content-length"])
