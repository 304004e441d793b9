"""The request parser, at every split."""

from __future__ import annotations

import pytest

from penstock_testkit.http1 import BadRequest, RequestParser
from penstock_testkit.recordings import splits

SIZED = b"\r\nPOST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"
CHUNKED = (
    b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n6\r\n\r\nbye!\r\n0\r\nT: 1\r\n\r\n"
)
CLOSING = b"GET /c HTTP/1.0\r\n\r\n"


def test_requests_are_found_however_they_are_split() -> None:
    for name, pieces in splits(SIZED + CHUNKED + CLOSING):
        parser = RequestParser()
        found = []
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.request()) is not None:
                found.append(request)
        assert [(r.method, r.target, r.body, r.keep_alive) for r in found] == [
            ("POST", "/a?b=c", b"hello", True),
            ("POST", "/b", b"hello\r\nbye!", True),
            ("GET", "/c", b"", False),
        ], name
        assert found[0].headers == {"host": "x", "content-length": "5", "x-a": "1, 2"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 300, 431),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_status(data: bytes, status: int) -> None:
    parser = RequestParser(max_head=200, max_body=500)
    parser.feed(data)
    with pytest.raises(BadRequest) as caught:
        parser.request()
    assert caught.value.status == status
