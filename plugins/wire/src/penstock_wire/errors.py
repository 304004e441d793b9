"""
From a failed response to an error of ours.

Rules
1. What an error means is decided in `classify.py`; what a body says is read in `faults.py`.
2. `x-should-retry` changes whether the same target is tried again, but never for credentials and quota.
3. `retry-after` is read from refusals only; an error inside a 200 has its hint in the body.
4. Messages carry the server's words redacted, on one line, in about 200 characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidRequestError, MalformedResponse, ProviderError
from penstock_wire.classify import BY_STATUS, classify
from penstock_wire.faults import Fault, fault_of, text_fault
from penstock_wire.headers import exhausted_for, rate_limits, retry_after
from penstock_wire.jsonbytes import loads_bytes

if TYPE_CHECKING:
    from penstock.http import HttpHead, HttpResponse
    from penstock.responses import Chunk

EXCERPT = 200
"""Characters of a server's words that an error message carries."""
_SCANNED = 65536
"""Characters that are redacted before the excerpt is cut, so that no half of a secret escapes."""

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-inference-request-id")


def excerpt(text: str, redact: Callable[[str], str]) -> str:
    """At most `EXCERPT` characters of foreign text: redacted, on one line, nothing unprintable."""
    text = redact(text[:_SCANNED])
    line = " ".join(text[: 8 * EXCERPT].split())
    line = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"


def upstream_id(headers: Mapping[str, str], redact: Callable[[str], str] | None = None) -> str | None:
    """
    The provider's id of the request, bounded; names in lower case.

    Args:
        headers: of the response.
        redact: masks secrets in it, for a server that refused what it was sent.
    """
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value:
            return (redact(value) if redact is not None else value)[:128]
    return None


def response_error(response: HttpResponse, *, who: str, redact: Callable[[str], str]) -> ProviderError:
    """
    The error a response that is not 2xx stands for; never raises, whatever the body.

    Args:
        response: the refusal; its body is read as JSON whatever its content type.
        who: the provider's name, for the message.
        redact: masks secrets in the server's words.
    """
    if 300 <= response.status < 400:
        return InvalidRequestError(
            f"{who} answered {response.status}: redirects are not followed; check base_url",
            status=response.status,
            upstream_id=upstream_id(response.headers, redact),
        )
    html = False
    try:
        fault = fault_of(loads_bytes(response.body), response.received)
    except ValueError:
        text = response.body[:_SCANNED].decode("utf-8", "replace")
        fault = text_fault(text)
        html = text.lstrip()[:1] == "<"
    hint = retry_after(response.headers, response.received)
    if hint is None and response.status == 429:
        hint = exhausted_for(rate_limits(response.headers, response.received))
    if hint is None:
        hint = fault.wait
    kind = BY_STATUS.get(response.status) if html else None
    kind = kind or classify(fault, response.status, hint)
    error = _make(kind, fault, response, response.status, hint, who, redact)
    should = response.headers.get("x-should-retry", "").strip().lower()
    if should in ("true", "false") and not error.cooldown:
        error.retryable = should == "true"
    return error


def embedded_error(payload: Any, head: HttpHead, *, who: str, redact: Callable[[str], str]) -> ProviderError:
    """
    The error a document or event inside a 200 stands for; never raises, whatever the payload.

    Args:
        payload: the JSON value that carries the error (see `faults.carries_error`).
        head: the head of the response it came in.
        who: the provider's name, for the message.
        redact: masks secrets in the server's words.
    """
    fault = fault_of(payload, head.received)
    kind = classify(fault, fault.status, fault.wait)
    return _make(kind, fault, head, fault.status or head.status, fault.wait, who, redact)


def malformed(
    reason: str, body: bytes | str, head: HttpHead, *, who: str, redact: Callable[[str], str]
) -> MalformedResponse:
    """A 2xx whose body is not what the protocol promises, with an excerpt of it."""
    text = body if isinstance(body, str) else body[:_SCANNED].decode("utf-8", "replace")
    shown = excerpt(text, redact)
    return MalformedResponse(
        f"{who} answered {head.status} with {reason}" + (f": {shown}" if shown else ""),
        status=head.status,
        code="malformed_response",
        upstream_id=upstream_id(head.headers, redact),
    )


def _make(
    kind: type[ProviderError],
    fault: Fault,
    head: HttpHead,
    status: int,
    hint: float | None,
    who: str,
    redact: Callable[[str], str],
) -> ProviderError:
    code = excerpt(fault.code, redact) if fault.code else None
    said = excerpt(fault.message, redact)
    where = f"answered {status}" if head.status == status else f"reported an error ({status}) in its answer"
    if 200 <= status < 300:
        where = "reported an error in its answer"
    message = f"{who} {where}" + (f" [{code}]" if code and code != str(status) else "")
    message += f": {said}" if said else ""
    details: dict[str, Any] = {
        "status": status,
        "code": code,
        "retry_after": hint,
        "upstream_id": upstream_id(head.headers, redact),
    }
    if issubclass(kind, InvalidRequestError):
        details["param"] = excerpt(fault.param, redact) if fault.param else None
    return kind(message, **details)


def raise_after(chunks: list[Chunk], error: ProviderError) -> Iterable[Chunk]:
    """For stream decoders: raise now, or after the chunks that came before the error."""
    if not chunks:
        raise error
    return _then_raise(chunks, error)


def _then_raise(chunks: list[Chunk], error: ProviderError) -> Iterator[Chunk]:
    yield from chunks
    raise error
