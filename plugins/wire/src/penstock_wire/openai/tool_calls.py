"""
Which tool call a piece belongs to, and what a whole one says.

Rule, in this order: a known id; else the index; else the current call. A new id is a new call, also on an
index that is taken (Ollama's /v1 gives every parallel call index 0). Index, id and type may be missing, a
continuation's id may be "" or null, and arguments may come as an object instead of its text. What else a
call carries (Gemini's thought signature) is kept with it.
"""

from __future__ import annotations

from typing import Any

from penstock.messages import EMPTY, ToolCall
from penstock.responses import ToolCallDelta
from penstock_wire.jsonbytes import dumps
from penstock_wire.openai.extras import call_extras


class ToolCallResolver:
    """Gives the pieces of one choice's tool calls their positions."""

    __slots__ = ("_by_id", "_by_index", "_current", "_ids", "_names")

    def __init__(self) -> None:
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._ids: list[str] = []  # by position
        self._names: list[str] = []
        self._current = -1

    def deltas(self, pieces: list[Any]) -> list[ToolCallDelta]:
        """The pieces of one event, resolved; what is no piece is left out."""
        found = []
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            name, arguments = _function(piece)
            call_id = piece.get("id")
            index = piece.get("index")
            extra = call_extras(piece)
            if not (name or arguments or (call_id and isinstance(call_id, str))) and (
                extra is None or self._current < 0
            ):
                continue
            delta = self.resolve(
                call_id if isinstance(call_id, str) else "",
                index if type(index) is int else None,
                name,
                arguments,
            )
            delta.extra = extra
            found.append(delta)
        return found

    def resolve(self, id: str, index: int | None, name: str, arguments: str) -> ToolCallDelta:
        """One piece with its position; id and name are only told when they are new."""
        position = self._position(id, index, name)
        self._current = position
        if index is not None:
            self._by_index[index] = position
        delta = ToolCallDelta(position, arguments=arguments)
        if id and not self._ids[position]:
            self._ids[position] = delta.id = id
            self._by_id[id] = position
        if name and not self._names[position]:
            self._names[position] = delta.name = name
        return delta

    def _position(self, id: str, index: int | None, name: str) -> int:
        if id:
            known = self._by_id.get(id)
            if known is not None:
                return known
            taken = self._by_index.get(index) if index is not None else None
            if taken is not None and not self._ids[taken] and not (name and self._names[taken]):
                return taken  # the call had begun without its id
            return self._new()
        if index is not None:
            taken = self._by_index.get(index)
            return self._new() if taken is None else taken
        if self._current < 0 or (name and self._names[self._current]):
            return self._new()
        return self._current

    def _new(self) -> int:
        self._ids.append("")
        self._names.append("")
        return len(self._ids) - 1


def whole_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    """The tool calls of a whole message, the old `function_call` included."""
    pieces = message.get("tool_calls")
    calls = []
    if isinstance(pieces, list):
        for piece in pieces:
            if isinstance(piece, dict):
                call_id = piece.get("id")
                call_id = call_id if isinstance(call_id, str) else ""
                calls.append(ToolCall(call_id, *_function(piece), call_extras(piece) or EMPTY))
    if not calls and isinstance(message.get("function_call"), dict):
        calls.append(ToolCall("", *_function({"function": message["function_call"]})))
    return tuple(calls)


def _function(piece: dict[str, Any]) -> tuple[str, str]:
    function = piece.get("function")
    if not isinstance(function, dict):
        function = piece.get("custom")
        if not isinstance(function, dict):
            return "", ""
    name = function.get("name")
    arguments = function.get("arguments", function.get("input"))
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        try:
            arguments = dumps(arguments).decode()
        except ValueError:  # deeper than JSON can be written again
            arguments = ""
    return name if isinstance(name, str) else "", arguments
