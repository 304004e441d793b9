"""
From a record to a line: for people, or JSON. What is written is masked as a whole, tracebacks included.

Rules
1. Secrets are masked in each text before it is escaped, and in the finished line once more.
2. A message cannot forge a line: its control characters are shown escaped.
3. A record that cannot be formatted still gives a line; its arguments are not shown.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from penstock_logs.context import FIELDS, stamp

Redact = Callable[[str], str]
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", *FIELDS}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x09: "\\t",
    0x0A: "\\n",
    0x0D: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
_LAYOUT = {code: shown for code, shown in _CONTROL.items() if code not in (0x09, 0x0A)}


class _Formatter(logging.Formatter):
    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self.redact = redact

    def format(self, record: logging.LogRecord) -> str:
        stamp(record)
        line = self.line(record, self._message(record), self._exception(record))
        # No stream can write half a character; in JSON the escape means the same.
        return line.encode("utf-8", "backslashreplace").decode("utf-8")

    def line(self, record: logging.LogRecord, message: str, exception: str) -> str:
        """The finished line of a record whose message and exception are masked."""
        raise NotImplementedError

    def _message(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:
            message = f"{record.msg} (cannot be formatted: {type(error).__name__})"
        return self.redact(message)

    def _exception(self, record: logging.LogRecord) -> str:
        parts = []
        # Another handler's `exc_text` is not used: whoever wrote it may have added what we must not show.
        if record.exc_info and record.exc_info[1] is not None:
            parts.append("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(record.stack_info)
        return self.redact("\n".join(parts)) if parts else ""


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN and name[0] != "_"}


class TextFormatter(_Formatter):
    """`time LEVEL logger [request_id provider/model #attempt] message`, and the traceback below."""

    def line(self, record: logging.LogRecord, message: str, exception: str) -> str:
        known = record.__dict__
        where = "/".join(str(known[name]) for name in ("provider", "model") if known[name])
        number = f"#{known['attempt']}" if known["attempt"] else ""
        context = " ".join(filter(None, (str(known["request_id"]), where, number)))
        parts = [_time(record), record.levelname, record.name, f"[{context}]" if context else "", message]
        line = " ".join(filter(None, parts)).translate(_CONTROL)
        if exception:
            line += "\n" + exception.translate(_LAYOUT)
        return self.redact(line)


class JsonFormatter(_Formatter):
    """One object in each line: time, level, logger, message, the call's fields, further fields, exception."""

    def line(self, record: logging.LogRecord, message: str, exception: str) -> str:
        known = record.__dict__
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        entry |= {name: known[name] for name in FIELDS if known[name] != ""}
        for name, value in _extras(record).items():
            entry.setdefault(name, self._plain(value))
        if exception:
            entry["exception"] = exception
        line = json.dumps(entry, ensure_ascii=False, default=str).translate(_IN_JSON)
        masked = self.redact(line)
        if masked != line and not _is_json(masked):
            # A mask across the syntax: better a record that says less than a line nobody can read.
            kept = {name: self.redact(str(entry[name])) for name in ("time", "level", "logger", "message")}
            masked = self.redact(json.dumps({**kept, "masked": True}, ensure_ascii=False).translate(_IN_JSON))
        return masked

    def _plain(self, value: Any) -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        if isinstance(value, dict):
            return {self.redact(str(key)): self._plain(each) for key, each in value.items()}
        return self.redact(str(value))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
