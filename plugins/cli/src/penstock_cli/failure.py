"""
From an error to what a person reads on stderr, and to an exit code.

Exit codes: 1 the call failed (or the command itself, which is a bug), 2 wrong usage or configuration: what
was refused before anything was sent. Everything shown is masked and stripped of control characters, because
an error may quote a server.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from penstock.call import Attempt
    from penstock.errors import CallError
    from penstock.redaction import Redactor

REDACTOR = "penstock.redactor"
"""Where a command leaves the redactor of its client, in click's `meta`."""


def report(error: Exception, *, debug: bool) -> int:
    """
    Show an error on stderr.

    Args:
        error: what a subcommand raised.
        debug: show the traceback too.

    Returns:
        The exit code.

    Raises:
        OSError: the reader of a pipe is gone; click ends quietly then.
    """
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        raise error
    redact = _redactor()
    if debug:
        import traceback

        click.echo(_safe("".join(traceback.format_exception(error)), redact), err=True)
    click.echo(_safe("\n".join(lines_of(error)), redact), err=True)
    return exit_code(error)


def exit_code(error: Exception) -> int:
    """2 for what was refused before anything was sent, 1 for the rest."""
    from penstock.errors import ConfigError, InvalidRequestError, UsageError

    if isinstance(error, ConfigError | UsageError):
        return 2
    if isinstance(error, InvalidRequestError) and error.status is None and not error.attempts:
        return 2
    return 1


def lines_of(error: Exception) -> list[str]:
    """What to say about an error: its class and message, then attempts and hints."""
    from penstock.errors import CallError, PenstockError

    if not isinstance(error, PenstockError):
        if isinstance(error, OSError) and error.strerror:
            return [f"error: {error.filename or type(error).__name__}: {error.strerror}"]
        return [f"error: {type(error).__name__}: {error}", "(this is a bug; --debug shows where)"]
    head, *more = str(error).splitlines() or [""]
    lines = [f"error: {type(error).__name__}: {head}", *(f"  {line}" for line in more)]
    if isinstance(error, CallError):
        lines += _call_lines(error)
    return lines


def _call_lines(error: CallError) -> list[str]:
    lines = []
    upstream_id = getattr(error, "upstream_id", None)
    if upstream_id:
        lines.append(f"  upstream request id: {upstream_id}")
    if error.tags:
        lines.append(f"  {', '.join(tag.replace('_', ' ') for tag in error.tags)}")
    if error.attempts:
        lines.append(f"  attempts: {len(error.attempts)}")
        lines += [f"    {_attempt_line(attempt)}" for attempt in error.attempts]
    for each in getattr(error, "errors", ()):
        lines.append(f"  {each.target or 'a target'}: {type(each).__name__}: {each}")
    if error.retry_after is not None:
        lines.append(f"  retry after: {seconds(error.retry_after)}")
    return lines


def _attempt_line(attempt: Attempt) -> str:
    parts = [f"{attempt.number}. {attempt.target}"]
    if attempt.delay:
        parts.append(f"waited {seconds(attempt.delay)}")
    if attempt.ended is not None:
        parts.append(f"took {seconds(attempt.ended - attempt.started)}")
    parts.append(what_ended(attempt))
    return ", ".join(parts)


def what_ended(attempt: Attempt) -> str:
    """The outcome of an attempt in a few words: `503 OverloadedError`, `ok`."""
    if attempt.error is None:
        return "ok" if attempt.ended is not None else "open"
    status = f"{attempt.status} " if attempt.status is not None else ""
    return f"{status}{type(attempt.error).__name__}"


def seconds(value: float) -> str:
    """A duration for people: `90 s`, `1.5 s`, `12 ms`, `0.4 ms`."""
    if value < 0.01:
        return f"{value * 1000:.2g} ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.0f} s" if value >= 100 else f"{round(value, 2):g} s"


def masked(text: str) -> str:
    """A text with every secret that is known masked, and without control characters."""
    return _safe(text, _redactor())


def _redactor() -> Redactor:
    from penstock.redaction import Redactor

    context = click.get_current_context(silent=True)
    known = context.meta.get(REDACTOR) if context is not None else None
    return known or Redactor()


def _safe(text: str, redact: Redactor) -> str:
    from penstock_cli.terminal import plain

    return plain(redact(text))
