"""
What an error body says, whatever its shape.

Servers write errors as an object, a string or a list under `error`, beside it, under `detail`, flat, or as
plain text and HTML. `fault_of` reads them all into one `Fault`; `classify.py` decides what it means. Nothing
here raises, whatever the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from penstock.frozen import dataclass
from penstock_wire.headers import exhausted_for, rate_limits, wait

_LONGEST_MESSAGE = 65536
"""Characters of a server's message that are looked at; cut only after secrets were masked."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    An error as the body describes it.

    Args:
        message: the server's words, "" when there are none.
        code: its own code or type, as text.
        words: every code, type and status word of the body, in lower case.
        param: the parameter at fault.
        status: an HTTP status the body claims.
        wait: seconds to wait, by the body's word.
        loading: whether the body says that a model is being loaded (`estimated_time`).
        moderated: whether the body gives reasons of a moderation.
    """

    message: str = ""
    code: str | None = None
    words: frozenset[str] = field(default_factory=frozenset)
    param: str | None = None
    status: int | None = None
    wait: float | None = None
    loading: bool = False
    moderated: bool = False


def carries_error(payload: Any) -> bool:
    """Whether a JSON document in a 200, or of one event, is an error and not an answer."""
    if isinstance(payload, list):
        return bool(payload) and isinstance(payload[0], dict) and "error" in payload[0]
    if not isinstance(payload, dict):
        return False
    error = payload.get("error")
    if error:
        return True
    if payload.get("object") == "error" or payload.get("type") == "error":
        return True
    return error is not None and error is not False and "choices" not in payload


def fault_of(payload: Any, received: float = 0.0) -> Fault:
    """
    Read an error document.

    Args:
        payload: any JSON value.
        received: seconds since the epoch, for times the body mentions.
    """
    outer = _first_mapping(payload)
    if outer is None:
        return Fault(message=payload[:_LONGEST_MESSAGE] if isinstance(payload, str) else "")
    inner, message = _unwrap(outer)
    nested = inner.get("innererror")
    metadata = inner.get("metadata")
    sources: list[Mapping[str, Any]] = [inner]
    if inner is not outer:
        sources.append(outer)
    if isinstance(nested, dict):
        sources.append(nested)
    code = _first_word(sources, "code") or _first_word(sources, "type", "error_type", "status")
    words = frozenset(
        str(value).lower()
        for source in sources
        for key in ("code", "type", "error_type", "status")
        if isinstance(value := source.get(key), str) and len(value) <= 200
    )
    moderated = False
    if isinstance(metadata, dict):
        raw = metadata.get("raw")
        if isinstance(raw, str) and raw:
            message = f"{message}: {raw[:_LONGEST_MESSAGE]}" if message else raw[:_LONGEST_MESSAGE]
        moderated = bool(metadata.get("reasons"))
    param = inner.get("param", outer.get("param"))
    estimate = _seconds(outer.get("estimated_time", inner.get("estimated_time")))
    return Fault(
        message=message[:_LONGEST_MESSAGE],
        code=code,
        words=words,
        param=param if isinstance(param, str) else None,
        status=_status(sources),
        wait=estimate if estimate is not None else _wait(message, inner, metadata, received),
        loading=estimate is not None,
        moderated=moderated,
    )


def text_fault(text: str) -> Fault:
    """Read an error body that is not JSON; of an HTML page only the title is kept."""
    text = text.strip()
    if text[:1] == "<":
        lower = text[:4000].lower()
        start = lower.find("<title>")
        end = lower.find("</title>", start)
        title = text[start + 7 : end].strip() if 0 <= start < end else ""
        return Fault(message=f"an HTML page titled {title!r}" if title else "an HTML page")
    return Fault(message=text[:_LONGEST_MESSAGE])


def _first_mapping(payload: Any) -> dict[str, Any] | None:
    if isinstance(payload, list):
        payload = next((item for item in payload if isinstance(item, dict)), None)
    return payload if isinstance(payload, dict) else None


def _unwrap(outer: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The innermost object that describes the error, and its message."""
    inner, message = outer, ""
    for _ in range(4):  # {"error": {"error": ...}} exists; a bound keeps hostile bodies cheap
        error = inner.get("error")
        if error is None and isinstance(response := inner.get("response"), dict):
            error = response.get("error")
        if isinstance(error, list):
            error = next((item for item in error if isinstance(item, dict | str)), None)
        if isinstance(error, str):
            message = message or error
            break
        if not isinstance(error, dict):
            break
        inner = error
    return inner, message or _message(inner) or _message(outer)


def _message(source: Mapping[str, Any]) -> str:
    for key in ("message", "detail", "details", "msg", "error_description", "errors"):
        value = source.get(key)
        if isinstance(value, dict):
            value = value.get("message") or value.get("msg")
        if isinstance(value, list):
            value = "; ".join(filter(None, map(_detail, value[:5])))
        if isinstance(value, str) and value:
            return value
    return ""


def _detail(item: Any) -> str:
    """One entry of a validation report: where and what, never the input it echoes."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict):
        return ""
    text = item.get("msg") or item.get("message")
    if not isinstance(text, str):
        return ""
    location = item.get("loc")
    where = ".".join(str(part) for part in location) if isinstance(location, list) else ""
    return f"{where}: {text}" if where else text


def _first_word(sources: list[Mapping[str, Any]], *keys: str) -> str | None:
    for source in sources:
        for key in keys:
            value = source.get(key)
            if isinstance(value, bool) or value is None or value == "":
                continue
            if isinstance(value, str | int):
                return value if isinstance(value, str) else str(value) if abs(value) < 10**9 else None
    return None


def _status(sources: list[Mapping[str, Any]]) -> int | None:
    for source in sources:
        for key in ("status_code", "http_status_code", "status", "code"):
            value = source.get(key)
            if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
                value = int(value)
            if isinstance(value, int) and 400 <= value <= 599:
                return int(value)
    return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 else None


def _wait(message: str, inner: Mapping[str, Any], metadata: Any, received: float) -> float | None:
    """A wait hidden in the body: RetryInfo, echoed headers, `retry_after`, or words."""
    for key in ("retry_after", "retry_after_seconds"):
        seconds = _seconds(inner.get(key))
        if seconds is not None:
            return seconds
    details = inner.get("details")
    if isinstance(details, list):
        for detail in details:
            delay = detail.get("retryDelay") if isinstance(detail, dict) else None
            if isinstance(delay, str) and (parsed := wait(delay, received)) is not None:
                return parsed
    echoed = metadata.get("headers") if isinstance(metadata, dict) else None
    if isinstance(echoed, dict):
        headers = {str(name).lower(): value for name, value in echoed.items() if isinstance(value, str)}
        parsed = exhausted_for(rate_limits(headers, received))
        if parsed is not None:
            return parsed
    return _spoken_wait(message, received)


def _spoken_wait(message: str, received: float) -> float | None:
    """`Please try again in 18.642s`, `try again in 20 seconds`, `Please retry after 26 seconds`."""
    lower = message.lower()
    for phrase in ("try again in ", "retry in ", "retry after "):
        _, found, rest = lower.partition(phrase)
        if not found:
            continue
        number, _, unit = rest.partition(" ")
        number = number.rstrip(".,;")
        seconds = wait(number, received)
        if seconds is not None:
            return seconds * 60.0 if number.isdigit() and unit.startswith("minute") else seconds
    return None
