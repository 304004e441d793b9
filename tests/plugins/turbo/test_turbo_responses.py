"""What arrives on a connection, fed to the parser in pieces; and a proxy's answer to CONNECT."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from penstock_turbo.response import Responses
from penstock_turbo.tunnel import TunnelAnswer, TunnelRefused
from penstock_wire.incoming import ProtocolError

patient = settings(deadline=None)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def fed(data: bytes, size: int = 1 << 16, *, allowed: int = 1 << 16, end: bool = True) -> Responses:
    """The state after these bytes, in pieces of a size, and the end of the connection."""
    responses = Responses(allowed)
    responses.expect()
    feed(responses, data, size)
    if end:
        responses.end()
    return responses


def feed(responses: Responses, data: bytes, size: int = 1 << 16) -> None:
    for position in range(0, len(data), size):
        responses.feed(data[position : position + size])


@patient
@given(some.lists(some.binary(min_size=1, max_size=40), max_size=8), some.integers(1, 60))
def test_chunks_are_joined_however_they_are_split(chunks: list[bytes], size: int) -> None:
    wire = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    responses = fed(wire, size, end=False)
    assert responses.take() == b"".join(chunks)
    assert responses.reusable


@patient
@given(some.binary(max_size=200), some.integers(1, 50))
def test_arbitrary_bytes_are_a_response_or_a_protocol_error(data: bytes, size: int) -> None:
    for wire in (data, b"HTTP/1.1 200 OK\r\n" + data, CHUNKED + data):
        responses = fed(wire, size)
        if not responses.complete:
            assert isinstance(responses.failure, ProtocolError)


@patient
@given(some.binary(max_size=300), some.integers(1, 50))
def test_the_split_of_the_bytes_changes_nothing(data: bytes, size: int) -> None:
    wire = CHUNKED + data
    whole, split = fed(wire), fed(wire, size)
    assert (whole.complete, str(whole.failure), whole.size) == (
        split.complete,
        str(split.failure),
        split.size,
    )
    if whole.size:
        assert whole.take() == split.take()


def test_one_connection_carries_many_responses() -> None:
    responses = Responses(1 << 16)
    for number in range(3):
        responses.expect()
        body = b"%d" % number * 3
        feed(responses, b"HTTP/1.1 200 OK\r\nx: %d\r\ncontent-length: 3\r\n\r\n%b" % (number, body), 7)
        assert (responses.headers["x"], responses.take()) == (str(number), body)
        assert responses.reusable


def test_empty_values_repeated_names_and_latin_letters_are_kept() -> None:
    responses = fed(
        b"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Two: a \r\nx-two:  b\r\nx-name: J\xf6rg\r\n"
        b"content-length: 0\r\n\r\n"
    )
    headers = responses.headers
    assert (headers["x-empty"], headers["x-two"], headers["x-name"]) == ("", "a, b", "Jörg")


def test_bare_line_feeds_are_understood() -> None:
    responses = fed(b"HTTP/1.1 200\na: 1\nContent-Length: 2\n\nok")
    assert (responses.headers["a"], responses.take()) == ("1", b"ok")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: 1\r\n 2\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\xff\xfe: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\na: \x00\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"RTSP\r\n\r\n",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(head: bytes) -> None:
    responses = fed(head)
    assert isinstance(responses.failure, ProtocolError)
    assert not responses.reusable


def test_good_chunks_are_handed_over_before_the_broken_one_fails() -> None:
    responses = fed(CHUNKED + b"2\r\nok\r\nbroken\r\n")
    assert responses.take() == b"ok"
    with pytest.raises(ProtocolError, match="no valid HTTP"):
        responses.take()


@pytest.mark.parametrize("behind", [b"HTTP/1.1 200 OK\r\n", b"x", PLAIN])
def test_bytes_behind_a_response_end_its_connection(behind: bytes) -> None:
    for together in (True, False):
        responses = fed(PLAIN + behind if together else PLAIN, end=False)
        if not together:
            responses.feed(behind)
        assert responses.take() == b"ok"
        assert responses.complete
        assert not responses.reusable


@pytest.mark.parametrize("value", ["close", "Close", "x, close"])
def test_a_connection_the_server_will_close_is_not_reusable(value: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nconnection: {value}\r\ncontent-length: 0\r\n\r\n"
    responses = fed(head.encode(), end=False)
    assert responses.complete
    assert not responses.reusable


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "before the response began"),
        (b"HTTP/1.1 200 OK\r\ncont", "before the end of the head"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", "ended too early"),
        (CHUNKED + b"2\r\nok\r\n", "ended too early"),
    ],
)
def test_an_end_in_the_middle_says_where(data: bytes, message: str) -> None:
    assert message in str(fed(data).failure)


def test_early_heads_count_towards_the_limit_of_the_head() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    assert fed(early * 3 + PLAIN).take() == b"ok"
    responses = fed(early * 1000, 500, allowed=4096, end=False)
    assert "larger than allowed" in str(responses.failure)


def test_a_head_that_comes_whole_is_measured_without_the_body_behind_it() -> None:
    body = bytes(50_000)
    whole = b"HTTP/1.1 200 OK\r\nx: %b\r\ncontent-length: 50000\r\n\r\n%b"
    assert fed(whole % (b"v" * 900, body), allowed=1024).take() == body
    assert "larger than allowed" in str(fed(whole % (b"v" * 1100, body), allowed=1024).failure)


@pytest.mark.parametrize(
    "flood",
    [b"0\r\n" + b"t: 1\r\n" * 20_000, b"0\r\nt: " + b"v" * 100_000, b"1;" + b"e" * 100_000],
    ids=["trailers", "one trailer", "extensions"],
)
def test_what_stands_between_two_pieces_of_a_body_is_bounded(flood: bytes) -> None:
    responses = fed(CHUNKED + b"2\r\nok\r\n" + flood, 4096, end=False)
    assert responses.take() == b"ok"
    with pytest.raises(ProtocolError, match="too many bytes between"):
        responses.take()


def test_no_failure_quotes_what_came() -> None:
    secret = b"sk-secret-0123456789"
    for wire in (secret, b"HTTP/1.1 200 OK\r\n" + secret + b"\r\n\r\n", CHUNKED + secret + b"\r\n"):
        assert "sk-secret" not in str(fed(wire).failure)


# The proxy's answer


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
def test_a_tunnel_is_open_behind_its_empty_line(size: int, end: bytes) -> None:
    data = b"HTTP/1.1 200 Connected" + end[: len(end) // 2] + b"via: me" + end
    answer = TunnelAnswer(1 << 16)
    for position in range(0, len(data), size):
        assert not answer.complete
        answer.feed(data[position : position + size])
    assert answer.complete


def test_a_refused_tunnel_tells_its_status() -> None:
    with pytest.raises(TunnelRefused) as caught:
        TunnelAnswer(1 << 16).feed(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    assert caught.value.status == 407


@pytest.mark.parametrize(
    "data", [b"", b"hello\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx", b"v" * 5000]
)
def test_what_is_no_answer_to_connect_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        TunnelAnswer(4096).feed(data)
