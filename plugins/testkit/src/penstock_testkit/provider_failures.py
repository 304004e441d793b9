"""Provider conformance: refusals, errors inside an answer, cuts, broken bodies, and bounds."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock_testkit import faults
from penstock_testkit.failure import Failure, Kind
from penstock_testkit.faults import Fault
from penstock_testkit.plan import Data, Plan
from penstock_testkit.provider_scenarios import EMPTY_HEADERS, SECRET, ProviderScenarios

KINDS: tuple[Kind, ...] = get_args(Kind)
CLASSES: dict[str, type[errors.ProviderError]] = {
    "authentication": errors.AuthenticationError,
    "conflict": errors.ConflictError,
    "content_filter": errors.ContentFilterError,
    "context_length": errors.ContextLengthError,
    "invalid_request": errors.InvalidRequestError,
    "method_not_allowed": errors.InvalidRequestError,
    "model_not_found": errors.ModelNotFoundError,
    "not_found": errors.ModelNotFoundError,
    "overloaded": errors.OverloadedError,
    "oversized_request": errors.OversizedRequestError,
    "permission": errors.PermissionDeniedError,
    "quota": errors.QuotaExceededError,
    "rate_limit": errors.RateLimitError,
    "server_error": errors.ServerError,
    "timeout": errors.RequestTimeoutError,
}
"""The error table of the specification, by what a refusal means."""
BODIES: tuple[bytes, ...] = (
    b"",
    b" \r\n",
    b"\xff\xfe\x00",
    b"null",
    b"0",
    b'"text"',
    b"[]",
    b"[[]]",
    b"{}",
    b'{"error": null}',
    b'{"error": []}',
    b'{"error": {"message": {}, "code": [], "type": 7}}',
    b'{"error": "text", "message": 1}',
    b'{"detail": [{"loc": 1}]}',
    b"<html><title>502</title></html>",
    b"[" * 100_000,
    b'{"error": "' + b"x" * 1_000_000 + b'"}',
)
STATUSES = (400, 401, 403, 404, 418, 429, 500, 503, 599)
MEGABYTE = 1024 * 1024
MEGABYTES = 32
"""How much a codec is given before it must have refused."""


def failure(kind: Kind, **facts: Any) -> Fault:
    """The provider's own words for a kind of failure."""
    return Fault(kind, lambda _, occasion: occasion.dialect.failure(Failure(kind=kind, **facts), occasion))


class RefusalConformance(ProviderScenarios, standard=True):
    """What every codec must make of a response that is not 2xx."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_refusal_is_of_the_class_the_error_table_gives(self, kind: Kind) -> None:
        expected = self.errors.get(kind, CLASSES[kind])
        with pytest.raises(errors.ProviderError) as caught:
            self.ask(self.chat(), failure(kind))
        error = caught.value
        assert type(error) is expected
        assert error.status is not None
        assert 400 <= error.status <= 599
        assert 0 < len(str(error)) < 500

    def test_a_wait_that_is_asked_for_is_a_hint(self) -> None:
        with pytest.raises(errors.ProviderError) as caught:
            self.ask(self.chat(), faults.status(429, retry_after=7.0))
        assert caught.value.retry_after == pytest.approx(7.0)

    @pytest.mark.parametrize("form", ["seconds", "ms", "date"])
    def test_a_wait_is_read_in_every_form(self, form: Any) -> None:
        with pytest.raises(errors.ProviderError) as caught:
            self.ask(self.chat(), faults.status(503, retry_after=7.0, form=form))
        assert caught.value.retry_after == pytest.approx(7.0)

    @pytest.mark.parametrize("status", STATUSES)
    def test_no_refusal_is_an_exception_of_another_kind(self, status: int) -> None:
        codec = self.codec()
        for body in BODIES:
            error = codec.error(HttpResponse(status, EMPTY_HEADERS, 0.0, body))
            assert isinstance(error, errors.ProviderError)
            assert error.status == status
            assert len(str(error)) < 500

    def test_what_the_server_echoes_of_a_key_is_masked(self) -> None:
        codec = self.codec()
        for body in (
            f"wrong key {SECRET}",
            f'{{"error": {{"message": "key {SECRET}", "code": "{SECRET}"}}}}',
        ):
            error = codec.error(HttpResponse(401, EMPTY_HEADERS, 0.0, body.encode()))
            assert SECRET not in str(error) + repr(error) + str(vars(error))


class BrokenAnswerConformance(ProviderScenarios, standard=True):
    """What every codec must make of a 2xx that is no answer, or not a whole one."""

    @pytest.mark.parametrize(
        "fault", [faults.html(), faults.empty(), faults.malformed()], ids=["html", "empty", "broken"]
    )
    def test_a_200_that_is_no_answer_is_malformed(self, fault: Fault) -> None:
        with pytest.raises(errors.MalformedResponse) as caught:
            self.ask(self.chat(), fault)
        assert caught.value.status == 200

    @pytest.mark.parametrize(
        "fault", [faults.html(), faults.malformed(after=1)], ids=["html", "broken event"]
    )
    def test_a_stream_that_is_none_is_malformed(self, fault: Fault) -> None:
        self.needs("stream")
        assert isinstance(self.stream(self.chat(stream=True), fault).error, errors.MalformedResponse)

    def test_an_error_inside_a_plain_200_is_that_error(self) -> None:
        with pytest.raises(errors.ProviderError) as caught:
            self.ask(self.chat(), faults.error_event(500))
        assert not isinstance(caught.value, errors.TransportError)

    @pytest.mark.parametrize("after", [0, 2])
    def test_an_error_event_is_an_error_after_what_came_before(self, after: int) -> None:
        self.needs("stream")
        read = self.stream(self.chat(stream=True), faults.error_event(500, after=after))
        assert isinstance(read.error, errors.ProviderError)
        assert not isinstance(read.error, errors.TransportError)
        assert not read.decoder.complete
        assert bool(read.response.text) == (after > 0)

    @pytest.mark.parametrize("done", [False, True])
    def test_a_stream_without_its_terminal_marker_is_cut(self, done: bool) -> None:
        self.needs("stream")
        read = self.stream(self.chat(stream=True), faults.unterminated(done=done))
        assert not read.decoder.complete
        assert isinstance(read.error, errors.StreamInterrupted)
        assert read.response.text

    def test_a_stream_cut_before_its_terminal_marker_is_never_complete(self) -> None:
        self.needs("stream")
        codec, request = self.codec(), self.chat(stream=True)
        whole: list[int] = []

        def mark(plan: Plan) -> Plan:
            data = [step for step in plan if isinstance(step, Data)]
            whole.append(next(at for at, step in enumerate(data) if step.part == "finish"))
            return plan

        head, pieces = self.exchange(codec, request, change=mark)
        body, end = b"".join(pieces[: whole[0]]), len(pieces[whole[0]])
        terminal = body + pieces[whole[0]]
        for size in [*range(0, len(body), 7), len(body), *range(len(body), len(body) + end // 2)]:
            read = self.read(request, head, [terminal[:size]], codec)
            assert not read.decoder.complete
            assert isinstance(read.error, errors.TransportError)

    def test_nothing_is_read_after_the_end_and_closing_twice_is_allowed(self) -> None:
        self.needs("stream")
        read = self.stream(self.chat(stream=True))
        if read.decoder.ended:
            assert list(read.decoder.feed(b'data: {"error": "late"}\n\n{"error": "late"}\n')) == []
        assert list(read.decoder.close()) == []

    def test_keep_alives_between_events_mean_nothing(self) -> None:
        self.needs("stream")
        codec, request = self.codec(), self.chat(stream=True)
        head, pieces = self.exchange(codec, request)
        quiet = self.read(request, head, pieces, codec)
        noisy = self.read(request, head, [b for p in pieces for b in (self.dialect.keep_alive, p)], codec)
        assert noisy.chunks == quiet.chunks
        assert noisy.error is None

    def test_damaged_bytes_decode_or_are_an_error_of_ours(self) -> None:
        codec = self.codec()
        head, pieces = self.exchange(codec, self.chat())
        for body in damaged(b"".join(pieces)):
            with suppress(errors.ProviderError):
                codec.decode(self.chat(), HttpResponse(head.status, head.headers, head.received, body))
        if self.can("stream"):
            request = self.chat(stream=True)
            head, pieces = self.exchange(codec, request)
            for body in damaged(b"".join(pieces)):
                self.read(request, head, [body], codec)


class BoundConformance(ProviderScenarios, standard=True):
    """How much a codec keeps of what never ends."""

    @pytest.mark.parametrize("start", [b"", b"data: ", b'data: {"'], ids=repr)
    def test_a_line_without_an_end_is_refused(self, start: bytes) -> None:
        self.needs("stream")
        decoder = self.codec().decoder(self.chat(stream=True), self._head())
        with pytest.raises(errors.MalformedResponse):
            self._feed(decoder, start, b"x" * MEGABYTE)

    def test_an_event_of_endless_lines_is_refused(self) -> None:
        self.needs("stream")
        head = self._head()
        if "event-stream" not in head.headers.get("content-type", ""):
            pytest.skip("every line is an event of its own")
        decoder = self.codec().decoder(self.chat(stream=True), head)
        with pytest.raises(errors.MalformedResponse):
            self._feed(decoder, b"", b"data: " + b"x" * MEGABYTE + b"\n")

    def test_keep_alives_without_end_are_not_kept(self) -> None:
        self.needs("stream")
        decoder = self.codec().decoder(self.chat(stream=True), self._head())
        block = self.dialect.keep_alive * (MEGABYTE // len(self.dialect.keep_alive))
        for _ in range(12):
            assert list(decoder.feed(block)) == []

    def _head(self) -> HttpHead:
        return self.exchange(self.codec(), self.chat(stream=True))[0]

    def _feed(self, decoder: Any, start: bytes, block: bytes) -> None:
        list(decoder.feed(start))
        for _ in range(MEGABYTES):
            list(decoder.feed(block))


def damaged(body: bytes, *, times: int = 150) -> Iterator[bytes]:
    """A body with bytes changed, doubled and cut, the same each time."""
    dice = random.Random(len(body))
    for _ in range(times):
        broken = bytearray(body)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(broken) or 1)
            match dice.randrange(4):
                case 0:
                    broken[at : at + 1] = bytes([dice.randrange(256)])
                case 1:
                    del broken[at : at + dice.randint(1, 20)]
                case 2:
                    broken[at:at] = broken[at : at + dice.randint(1, 40)]
                case _:
                    broken[at:at] = dice.choice(
                        [b"null", b"{}", b"[]", b'"', b"\n\n", b"\xff", b"-1", b"[DONE]"]
                    )
        yield bytes(broken)
