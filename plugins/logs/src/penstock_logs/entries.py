"""
What an entry in the log is made of.

Rules
1. No text of a prompt, an answer or a server's message: errors are told by class, status and code. The
   exception itself goes to the caller.
2. WARNING is what an operator may have to act on, INFO what changed the course of a call, DEBUG every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from penstock.call import Call, Target
from penstock.spans import error_type
from penstock_logs.context import fields_of

Fields = dict[str, object]


class Entry(NamedTuple):
    """
    A record to be.

    Args:
        message: for people.
        fields: the same and more for machines.
    """

    message: str
    fields: Fields


class Kind(NamedTuple):
    """
    How a kind of event is told.

    Args:
        logger: below `penstock`.
        level: how severe it is, or a function that says so; asked first, so that nothing is built that
            nobody sees.
        tell: from event to entry.
    """

    logger: str
    level: int | Callable[[Any], int]
    tell: Callable[[Any], Entry]


def failure_of(error: BaseException) -> Fields:
    """An error in fields, without its message."""
    fields: Fields = {"error": type(error).__name__, "error_type": error_type(error)}
    for name in ("status", "code", "upstream_id", "retry_after"):
        value = getattr(error, name, None)
        if value is not None:
            fields[name] = value
    tags = getattr(error, "tags", ())
    if tags:
        fields["tags"] = list(tags)
    return fields


def what_of(error: BaseException) -> str:
    """An error in two words."""
    status = getattr(error, "status", None)
    return f"{status} {type(error).__name__}" if status is not None else type(error).__name__


def of_call(call: Call, event: str, **fields: object) -> Fields:
    """The fields of something that happened to a call."""
    return {"event": event, **fields_of(call), **fields}


def of_target(target: Target, event: str, **fields: object) -> Fields:
    """The fields of something that happened to a target, outside of calls."""
    return {"event": event, "provider": target.provider, "model": target.model, **fields}


def plain(word: str) -> str:
    """A word of an event, for people."""
    return word.replace("_", " ")
