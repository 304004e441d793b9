"""
What a message holds beside its fields, kept for the next turn: reasoning details, audio, annotations, ...

Rules
1. Everything a message says that has no field of its own is kept, except what is empty or noise. Plain and
   streamed answers keep the same: pieces are joined as their field asks for.
2. Reasoning that stood in a field of its own goes back under that name with the tool calls it led to:
   several servers (DeepSeek, Moonshot) refuse the next turn without it.
3. On the way back, fields that only another server understands are left out where they would be refused
   (`Quirks.foreign_extras`), so that a conversation can move from one server to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OUTPUT = "responses_output"
"""The items of an answer of the Responses API, in that API's own form; it repeats what a message says."""

VENDOR_EXTRAS = frozenset({"extra_content", "reasoning", "reasoning_content", "reasoning_details"})
"""Fields that carry a model's state back to one vendor's servers."""

_OWN = frozenset(
    {
        "content",
        "function_call",
        "id",
        "index",
        "obfuscation",
        "prompt_token_ids",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "stop_reason",
        "token_id",
        "token_ids",
        "tool_calls",
    }
)
_CALL_OWN = frozenset({"custom", "function", "id", "index"})
_NESTED_TEXT = frozenset({"audio.data", "audio.transcript"})
"""Texts inside an object that come in pieces."""
_DETAIL_TEXT = ("text", "summary")


class MessageExtras:
    """
    The further fields of one choice, collected piece by piece.

    Args:
        fields: the names of the reasoning fields, first that is filled.
    """

    __slots__ = ("_field", "_fields", "_found", "_reasoning")

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._field: str | None = None  # where the reasoning stood
        self._reasoning: list[str] = []
        self._found: dict[str, Any] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        """Keep what a message, or the next piece of one, says."""
        for name, value in message.items():
            if name not in _OWN and not _is_empty(value):
                self._found[name] = _joined(name, self._found.get(name), value)
            elif name in self._fields and value and isinstance(value, str) and self._field in (None, name):
                self._field = name
                self._reasoning.append(value)

    def told(self, *, called: bool) -> dict[str, Any] | None:
        """
        What was kept since the last time, the reasoning always whole.

        Args:
            called: whether the message calls tools.
        """
        found, self._found = self._found, {}
        if called and self._field is not None and self._reasoning and "reasoning_details" not in found:
            found[self._field] = "".join(self._reasoning)
        return found or None


def has_more(message: Mapping[str, Any]) -> bool:
    """Whether a message holds more than its usual fields; cheap, for every event of a stream."""
    return not _OWN.issuperset(message)


def message_extras(message: Mapping[str, Any], fields: tuple[str, ...], *, called: bool) -> dict[str, Any]:
    """The further fields of a whole message."""
    if not called:  # the usual answer says nothing more, and its reasoning has a field of its own
        for name, value in message.items():
            if name not in _OWN and not _is_empty(value):
                break
        else:
            return {}
    extras = MessageExtras(fields)
    extras.take(message)
    return extras.told(called=called) or {}


def call_extras(piece: Mapping[str, Any]) -> dict[str, Any] | None:
    """The further fields of a tool call, such as `extra_content` with Gemini's thought signature."""
    found = {
        name: value
        for name, value in piece.items()
        if name not in _CALL_OWN and not _is_empty(value) and not (name == "type" and value == "function")
    }
    return found or None


def sent_back(extra: Mapping[str, Any], foreign: frozenset[str]) -> dict[str, Any]:
    """The further fields to send with a message or a tool call of an earlier turn."""
    fields = {name: value for name, value in extra.items() if name != OUTPUT and name not in foreign}
    audio = fields.get("audio")
    if isinstance(audio, Mapping) and "id" in audio:
        fields["audio"] = {"id": audio["id"]}  # the API takes its own audio back by id alone
    return fields


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _joined(name: str, known: Any, value: Any) -> Any:
    """A field with its next piece: lists grow, objects are merged, of everything else the last counts."""
    if isinstance(value, list):
        if name == "reasoning_details":
            return _details(known if isinstance(known, list) else [], value)
        return [*known, *value] if isinstance(known, list) else value
    if isinstance(value, dict) and isinstance(known, dict):
        merged = dict(known)
        for key, item in value.items():
            if not _is_empty(item):
                merged[key] = _joined(f"{name}.{key}", merged.get(key), item)
        return merged
    if isinstance(value, str) and isinstance(known, str) and name in _NESTED_TEXT:
        return known + value
    return value


def _details(known: list[Any], more: list[Any]) -> list[Any]:
    """Pieces of one detail come one after the other, with the same type and index: joined again."""
    details = list(known)
    for piece in more:
        last = details[-1] if details else None
        if not (isinstance(piece, dict) and isinstance(last, dict) and _continues(last, piece)):
            details.append(piece)
            continue
        merged = dict(last)
        for key, item in piece.items():
            text = merged.get(key)
            if key in _DETAIL_TEXT and isinstance(item, str) and isinstance(text, str):
                merged[key] = text + item
            elif item is not None:
                merged[key] = item
        details[-1] = merged
    return details


def _continues(last: dict[str, Any], piece: dict[str, Any]) -> bool:
    same = last.get("type") == piece.get("type") and last.get("index") == piece.get("index")
    # A signed or encrypted detail is whole; without an index nothing else tells where the next begins.
    return same and "data" not in last and not (last.get("index") is None and last.get("signature"))
