"""
From the events of a streamed response to chunks.

Rules, beside those of `framing.py`
1. The answer is whole with its terminal event (`response.completed`, `incomplete`, `cancelled`); `failed`
   and `error` are errors. Nothing after it is read.
2. A text may be told by its deltas, by the event that ends it, by its item's end, or only by the terminal
   event: the first that tells it counts, so nothing is said twice and nothing is lost.
3. An event's type stands in its data; the framing's own counts when it does not. Keep-alives and types
   that are not known do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.responses import Chunk, ToolCallDelta
from penstock_wire.openai.framing import FramedDecoder
from penstock_wire.openai.response import usage_of
from penstock_wire.openai.responses_answer import (
    call_of,
    finish_of,
    further_fields,
    kept_items,
    pieces_of,
)
from penstock_wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.responses import ChatResponse

# What a text event tells, and the field that holds its place in the item.
_TEXTS = {
    "response.output_text": ("text", "content_index"),
    "response.refusal": ("refusal", "content_index"),
    "response.reasoning_text": ("reasoning", "content_index"),
    "response.reasoning_summary_text": ("summary", "summary_index"),
}
_DELTAS = {f"{name}.delta": place for name, place in _TEXTS.items()}
_ENDS = {f"{name}.done": place for name, place in _TEXTS.items()}
_CALL_DELTAS = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_CALL_ENDS = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}
_ERRORS = {"error", "response.error"}
_TERMINAL = {"response.completed", "response.incomplete", "response.cancelled", "response.done"}


class ResponsesStreamDecoder(FramedDecoder):
    """Decodes one streamed response; arguments as for `FramedDecoder`."""

    __slots__ = ("_calls", "_ids", "_indices", "_items", "_last", "_told")

    MISSING = "its terminal event"

    def __init__(
        self,
        head: HttpHead,
        *,
        whole: Callable[[bytes], ChatResponse],
        who: str,
        redact: Callable[[str], str],
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        super().__init__(head, whole=whole, who=who, redact=redact, max_event_bytes=max_event_bytes)
        self._told: set[tuple[Any, str, int]] = set()  # (output_index, kind, index): somebody told it
        self._last: tuple[Any, str, int] | None = None
        self._calls: dict[Any, int] = {}  # positions by output_index
        self._ids: set[str] = set()  # of the calls that were told
        self._indices: dict[str, int] = {}  # output_index by the item's id
        self._items: dict[int, dict[str, Any]] = {}  # the items that ended

    def _take(self, payload: dict[str, Any], kind: str | None, chunks: list[Chunk]) -> None:
        name = payload.get("type")
        if not isinstance(name, str):
            name = kind or ""
        text = _DELTAS.get(name)
        if text is not None:
            delta = payload.get("delta")
            if isinstance(delta, str):
                key = self._key(payload, text)
                self._tell(key, delta, payload.get("logprobs"), chunks, again=True)
        elif name in _CALL_DELTAS:
            delta = payload.get("delta")
            if delta and isinstance(delta, str):
                chunks.append(self._call(self._place(payload), arguments=delta))
        elif name in _ERRORS or kind == "error" or payload.get("error") or payload.get("object") == "error":
            raise self._error(payload)
        elif name == "response.failed":
            raise self._error(_response(payload))
        elif name in _TERMINAL:
            self._end(_response(payload), chunks)
        elif name in _ENDS:
            whole = payload.get("refusal" if name == "response.refusal.done" else "text")
            if isinstance(whole, str):
                self._tell(self._key(payload, _ENDS[name]), whole, payload.get("logprobs"), chunks)
        elif name in _CALL_ENDS:
            arguments = payload.get(_CALL_ENDS[name])
            if isinstance(arguments, str):
                self._tell_arguments(self._place(payload), arguments, chunks)
        elif name == "response.output_item.added":
            self._begin(payload.get("item"), self._place(payload), chunks)
        elif name == "response.output_item.done":
            self._finish_item(payload.get("item"), self._place(payload), chunks)
        elif isinstance(payload.get("response"), dict):
            self._identify(payload["response"])

    def _key(self, payload: dict[str, Any], text: tuple[str, str]) -> tuple[Any, str, int]:
        kind, index = text
        part = payload.get(index, 0)
        return (self._place(payload), kind, part if type(part) is int else 0)

    def _place(self, payload: dict[str, Any]) -> int | str:
        """Which item an event is about: its index, else what its id stands for."""
        place = payload.get("output_index")
        item = payload.get("item")
        item_id = item.get("id") if isinstance(item, dict) else payload.get("item_id")
        if not isinstance(item_id, str):
            item_id = ""
        if type(place) is not int:
            return self._indices.get(item_id, item_id)
        if item is not None and item_id:
            self._indices[item_id] = place
        return place

    def _tell(
        self,
        key: tuple[Any, str, int],
        text: str,
        logprobs: Any,
        chunks: list[Chunk],
        *,
        again: bool = False,
    ) -> None:
        """
        Give out a text.

        Args:
            key: the item's place, the kind of text, the part of the item.
            text: the whole of it, or a piece.
            logprobs: as the server sent them.
            chunks: what is given out.
            again: it is a piece: others of the same part may have come before.
        """
        if not text and not logprobs:
            return
        if key != self._last:
            if key in self._told and not again:
                return
            self._told.add(key)
            self._last = key
        elif not again:
            return
        kind = key[1]
        if kind == "text":
            chunks.append(Chunk(text, logprobs=logprobs or None))
        elif kind == "refusal":
            chunks.append(Chunk(refusal=text))
        else:
            chunks.append(Chunk(reasoning=text))

    def _call(
        self, place: Any, *, id: str = "", name: str = "", arguments: str = "", extra: Any = None
    ) -> Chunk:
        position = self._calls.setdefault(place, len(self._calls))
        if arguments:
            self._told.add((place, "arguments", 0))
        return Chunk(tool_calls=(ToolCallDelta(position, id, name, arguments, extra),))

    def _tell_arguments(self, place: Any, arguments: str, chunks: list[Chunk]) -> None:
        if arguments and (place, "arguments", 0) not in self._told:
            chunks.append(self._call(place, arguments=arguments))

    def _begin(self, item: Any, place: Any, chunks: list[Chunk]) -> None:
        """An item that calls a tool is told by its name at once."""
        call = call_of(item) if isinstance(item, dict) else None
        if call is not None and call.name and (place, "name", 0) not in self._told:
            self._told.add((place, "name", 0))
            self._ids.add(call.id)
            chunks.append(self._call(place, id=call.id, name=call.name, extra=call.extra or None))

    def _finish_item(self, item: Any, place: Any, chunks: list[Chunk]) -> None:
        if not isinstance(item, dict):
            return
        if type(place) is int:
            self._items[place] = item
        call = call_of(item)
        if call is not None:
            self._begin(item, place, chunks)
            self._tell_arguments(place, call.arguments, chunks)
        for piece in pieces_of(item):
            self._tell((place, piece.kind, piece.part), piece.text, piece.logprobs, chunks)

    def _end(self, response: dict[str, Any], chunks: list[Chunk]) -> None:
        if response.get("error") or response.get("status") == "failed":
            raise self._error(response)
        self._identify(response)
        output = response.get("output")
        items = (
            output if isinstance(output, list) and output else [self._items[n] for n in sorted(self._items)]
        )
        silent = not self._told
        for place, item in enumerate(items):
            call = call_of(item) if isinstance(item, dict) else None
            if silent or (call is not None and call.id not in self._ids):
                self._finish_item(item, ("end", place), chunks)
        finish, raw = finish_of(response, called=bool(self._calls))
        self.extra = further_fields(response)
        self.complete = self.ended = True
        chunks.append(
            Chunk(
                finish_reason=finish,
                raw_finish_reason=raw,
                usage=usage_of(response.get("usage")),
                extra=kept_items(items, response),
            )
        )

    def _identify(self, response: dict[str, Any]) -> None:
        model, answer_id = response.get("model"), response.get("id")
        if not self.model and isinstance(model, str):
            self.model = model
        if not self.id and isinstance(answer_id, str):
            self.id = answer_id


def _response(payload: dict[str, Any]) -> dict[str, Any]:
    response = payload.get("response")
    return response if isinstance(response, dict) else payload
