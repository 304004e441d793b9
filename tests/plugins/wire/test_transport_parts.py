"""The parts of the transports that need no server: addresses, headers, proxies, unpacking, framing."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from penstock.errors import ConfigError, InvalidRequestError
from penstock.http import HttpRequest
from penstock_wire.config import WireConfig
from penstock_wire.deadlines import Deadlines
from penstock_wire.fields import HeaderMemory, prepared_headers
from penstock_wire.incoming import Incoming, ProtocolError
from penstock_wire.inflate import PIECE, Inflater, MalformedBody, inflater
from penstock_wire.plugin import penstock_register_transports
from penstock_wire.proxies import Proxies
from penstock_wire.tls import Trust
from penstock_wire.urls import read_url

patient = settings(deadline=None)
"""The machine that runs this may be busy."""
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


# Addresses


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("http://h", "h", 80, "h", "/"),
        ("https://H.Example:443/a?b=c#d", "h.example", 443, "h.example", "/a?b=c"),
        ("http://h:8080/a%2Fb/ü?q=ü&x=%41", "h", 8080, "h:8080", "/a%2Fb/%C3%BC?q=%C3%BC&x=%41"),
        ("http://[2001:DB8::1]:81/", "2001:db8::1", 81, "[2001:db8::1]:81", "/"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "xn--bcher-kva.example", "/"),
        ("http://my_service:1/v1/", "my_service", 1, "my_service:1", "/v1/"),
    ],
)
def test_a_url_is_read_into_its_parts(url: str, host: str, port: int, authority: str, target: str) -> None:
    address = read_url(url)
    assert (address.host, address.port, address.authority, address.target) == (host, port, authority, target)


def test_an_address_shows_neither_query_nor_user_information() -> None:
    address = read_url("http://ann:secret@h/v1?key=secret")
    assert address.authorization is not None
    assert repr(address) == "<Address http://h/v1>"


@patient
@given(some.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://h/{text}"):
        try:
            address = read_url(url)
        except InvalidRequestError:
            continue
        assert address.target.isascii()
        assert address.authority.isascii()
        assert not any(letter <= " " for letter in address.authority + address.target)


# Headers


def plain(headers: Any, *, stream: bool = False) -> HttpRequest:
    return HttpRequest("POST", "http://h/", headers, b"", stream)


def test_what_the_codec_says_replaces_the_defaults() -> None:
    address = read_url("http://ann:pw@h/")
    prepared = prepared_headers(plain({"User-Agent": "mine", "AUTHORIZATION": "Bearer x"}), address)
    assert (prepared["user-agent"], prepared["authorization"]) == ("mine", "Bearer x")


@patient
@given(some.text(max_size=20))
def test_no_value_can_split_a_request(value: str) -> None:
    try:
        prepared = prepared_headers(plain({"x": value}), read_url("http://h/"))
    except InvalidRequestError:
        return
    assert prepared["x"] == value == value.strip(" ")
    assert all(" " <= letter <= "\xff" and letter != "\x7f" for letter in value)
    value.encode("latin-1")


def test_headers_are_prepared_again_only_when_they_change() -> None:
    rendered: list[dict[str, str]] = []
    memory = HeaderMemory(read_url("http://h/"), lambda headers: rendered.append(headers) or len(rendered))
    headers = {"a": "1"}
    assert [memory.of(plain(dict(headers))), memory.of(plain(headers))] == [1, 1]
    headers["a"] = "2"
    assert memory.of(plain(headers)) == 2
    assert memory.of(plain(headers, stream=True)) == 3
    headers["a"] = "2\n"
    with pytest.raises(InvalidRequestError):
        memory.of(plain(headers))


# Proxies


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "http://a/", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://a/", None),
        ({"https_proxy": "p:1", "HTTPS_PROXY": "http://q"}, "https://a/", "http://p:1"),
        ({"ALL_PROXY": "http://p"}, "https://a/", "http://p"),
        ({"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, "http://a/", None),
        ({"http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "http://a/", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "*"}, "http://a/", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "b, .a.test"}, "http://x.a.test/", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "a.test"}, "http://xa.test/", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "a.test:81"}, "http://a.test/", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "a.test:80"}, "http://a.test/", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3/", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "::1"}, "http://[::1]/", None),
        ({"ALL_PROXY": "http://p", "no_proxy": "[::1]:82"}, "http://[::1]:82/", None),
    ],
)
def test_the_environment_decides_on_the_proxy(
    environ: dict[str, str], url: str, expected: str | None
) -> None:
    assert Proxies(None, None, environ).choose(read_url(url)) == expected


def test_the_configuration_wins_over_the_environment() -> None:
    environ = {"ALL_PROXY": "http://env", "NO_PROXY": "a"}
    assert Proxies("http://mine", "", environ).choose(read_url("http://a/")) == "http://mine"
    assert Proxies("", None, environ).choose(read_url("http://b/")) is None


@pytest.mark.parametrize("proxy", ["socks5://ann:secret@p:1", "http://", "http://p:secret", "http://[secret"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_source_only(proxy: str) -> None:
    with pytest.raises(ConfigError, match="ALL_PROXY") as caught:
        Proxies(None, None, {"ALL_PROXY": proxy})
    assert "secret" not in str(caught.value)


# TLS


def test_equal_settings_share_one_context() -> None:
    usual = Trust(WireConfig(), {}).context()
    assert usual is Trust(WireConfig(limit=1), {}).context()
    assert usual is not Trust(WireConfig(verify=False), {}).context()


@pytest.mark.parametrize(
    "variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]
)
def test_a_bundle_that_is_missing_is_named_by_its_variable(variable: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=variable):
        Trust(WireConfig(), {variable: str(tmp_path / "missing.pem")})
    Trust(WireConfig(verify=False), {variable: str(tmp_path / "missing.pem")})


def test_a_bundle_that_holds_no_certificates_is_an_error(tmp_path: Any) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("nothing")
    with pytest.raises(ConfigError, match="ca_bundle"):
        Trust(WireConfig(ca_bundle=str(bundle)), {})
    with pytest.raises(ConfigError, match="client_certificate"):
        Trust(WireConfig(client_certificate=str(bundle)), {})
    named = Trust(WireConfig(), {"SSL_CERT_FILE": str(bundle)})
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        named.context()


# Unpacking


@patient
@given(some.binary(max_size=2000), some.integers(1, 50), some.sampled_from(["gzip", "deflate", "raw"]))
def test_unpacking_does_not_depend_on_how_the_bytes_are_split(data: bytes, size: int, kind: str) -> None:
    packed = (
        gzip.compress(data) if kind == "gzip" else zlib.compress(data, wbits=-15 if kind == "raw" else 15)
    )
    unpack = Inflater("gzip" if kind == "gzip" else "deflate")
    pieces = []
    for start in range(0, len(packed), size):
        unpack.feed(packed[start : start + size])
        while piece := unpack.take():
            pieces.append(piece)
    unpack.finish()
    assert b"".join(pieces) == data


def test_a_bomb_comes_in_pieces_of_bounded_size() -> None:
    unpack = Inflater("gzip")
    unpack.feed(gzip.compress(bytes(10 * PIECE)))
    sizes = [len(unpack.take()) for _ in range(10)]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 10 * PIECE


def test_padding_behind_gzip_is_dropped_and_a_cut_is_an_error() -> None:
    padded = Inflater("gzip")
    padded.feed(gzip.compress(b"abc") + bytes(10))
    assert (padded.take(), padded.take()) == (b"abc", b"")
    padded.finish()
    cut = Inflater("deflate")
    cut.feed(b"x")
    with pytest.raises(MalformedBody):
        cut.finish()
    assert inflater(" Identity ") is None


# Framing


class Bytes:
    """A socket that gives bytes in pieces, then the end."""

    def __init__(self, data: bytes, size: int = 1 << 16) -> None:
        self.data = data
        self.size = size

    def recv(self, size: int, /) -> bytes:
        size = min(size, self.size)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def body_of(data: bytes, size: int = 1 << 16) -> tuple[Incoming, bytes]:
    incoming = Incoming(Bytes(data, size), 1 << 16)
    pieces = []
    while piece := incoming.read():
        pieces.append(piece)
    return incoming, b"".join(pieces)


@patient
@given(some.lists(some.binary(min_size=1, max_size=40), max_size=8), some.integers(1, 60))
def test_chunks_are_joined_however_they_are_split(chunks: list[bytes], size: int) -> None:
    wire = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    incoming, body = body_of(wire, size)
    assert body == b"".join(chunks)
    assert incoming.reusable


@patient
@given(some.binary(max_size=200))
def test_arbitrary_bytes_are_a_response_or_a_protocol_error(data: bytes) -> None:
    for wire in (data, b"HTTP/1.1 200 OK\r\n" + data, CHUNKED + data):
        try:
            body_of(wire)
        except ProtocolError:
            continue


def test_a_connection_with_bytes_behind_the_response_is_not_reusable() -> None:
    incoming, body = body_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n")
    assert body == b"ok"
    assert not incoming.reusable


def test_chunked_wins_over_a_length_and_ends_the_connection() -> None:
    incoming, body = body_of(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    assert body == b"x"
    assert not incoming.reusable


def test_good_chunks_are_handed_over_before_the_broken_one_fails() -> None:
    incoming = Incoming(Bytes(CHUNKED + b"2\r\nok\r\nbroken\r\n"), 1 << 16)
    assert incoming.read() == b"ok"
    with pytest.raises(ProtocolError):
        incoming.read()


def test_bare_line_feeds_and_folded_lines_are_understood() -> None:
    incoming, body = body_of(b"HTTP/1.1 200\na: 1\n 2\nContent-Length: 2\n\nok")
    assert (incoming.headers["a"], body) == ("1 2", b"ok")


# The shared timer


class Waiter:
    def __init__(self, due: float) -> None:
        self.due = due
        self.expired = asyncio.Event()

    def expire(self) -> None:
        self.expired.set()


def test_one_timer_ends_what_is_overdue_and_leaves_the_rest() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        late, soon, gone, never = (Waiter(loop.time() + s) for s in (50.0, 0.01, 0.01, float("inf")))
        for waiter in (late, soon, gone, never):
            deadlines.add(waiter)
        deadlines.remove(gone)
        async with asyncio.timeout(10):
            await soon.expired.wait()
        sooner = Waiter(loop.time() + 0.01)
        deadlines.add(sooner)
        async with asyncio.timeout(10):
            await sooner.expired.wait()
        deadlines.remove(soon)
        assert not any(waiter.expired.is_set() for waiter in (late, gone, never))
        deadlines.close()

    asyncio.run(scenario())


# Registration and configuration


def test_the_plugin_registers_one_transport_in_both_colours() -> None:
    (spec,) = penstock_register_transports()
    assert (spec.name, spec.config) == ("wire", WireConfig)
    assert spec.blocking is not None
    assert spec.asynchronous is not None


def test_every_setting_is_described_and_unknown_ones_are_refused_without_their_value() -> None:
    assert all(field.description for field in WireConfig.model_fields.values())
    with pytest.raises(ValidationError) as caught:
        WireConfig(proxi="http://ann:secret@p")  # type: ignore[call-arg]
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(WireConfig(proxy="http://ann:secret@p"))  # type: ignore[arg-type]
