"""
From tokens to the text, reasoning and tool calls of an answer, as they come.

Rules
1. A character may need several tokens: what ends in U+FFFD is held back until it is whole, but never more
   than eight tokens.
2. What may still become a stop text, a `<think>` or a `<tool_call>` is held back; a stop text ends the answer
   and is not part of it.
3. Tool calls are looked for only where tools were offered, in the form most open models write them:
   `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`. What cannot be read is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from penstock.responses import Chunk, ToolCallDelta
from penstock_wire.jsonbytes import dumps, loads
from penstock_wire.openai.think import ThinkSplitter

if TYPE_CHECKING:
    from penstock_huggingface.local_request import Task

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_LONGEST_WAIT = 8


class AnswerText:
    """
    The text of one answer.

    Args:
        tokenizer: of transformers.
        task: says which stop texts and marks there are.
    """

    def __init__(self, tokenizer: Any, task: Task) -> None:
        self.stopped = False
        self._tokens = TokenText(tokenizer)
        self._stops = task.stops
        self._held = ""
        self._thinking = ThinkSplitter() if task.think_tags else None
        self._tools = ToolCallText() if task.tools else None

    @property
    def called(self) -> bool:
        """Whether a tool was called."""
        return self._tools is not None and self._tools.count > 0

    def add(self, token: int) -> list[Chunk]:
        """The chunks that are certain with this token."""
        text = self._tokens.add(token)
        if not text:
            return []
        return self._give(self._until_stop(text) if self._stops else text)

    def flush(self) -> list[Chunk]:
        """The chunks that the end makes certain."""
        rest = "" if self.stopped else self._tokens.flush()
        text = self._until_stop(rest) if self._stops and rest else rest
        if not self.stopped:
            text += self._held
        return self._give(text, last=True)

    def _until_stop(self, text: str) -> str:
        text = self._held + text
        self._held = ""
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        cut = len(text) - max(overlap(text, stop) for stop in self._stops)
        self._held = text[cut:]
        return text[:cut]

    def _give(self, text: str, *, last: bool = False) -> list[Chunk]:
        reasoning = ""
        if self._thinking is not None:
            text, reasoning = self._thinking.feed(text)
            if last:
                more_text, more_reasoning = self._thinking.flush()
                text, reasoning = text + more_text, reasoning + more_reasoning
        calls: list[ToolCallDelta] = []
        if self._tools is not None:
            text, calls = self._tools.feed(text)
            if last:
                text += self._tools.flush()
        chunk = Chunk(text, reasoning, tool_calls=calls)
        return [chunk] if chunk.has_content else []


class TokenText:
    """The text of a growing list of tokens, piece by piece."""

    __slots__ = ("_ids", "_prefix", "_read", "_tokenizer")

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Tokens from `_prefix` to `_read` are decoded again with the new ones: some tokenizers drop the space
        # in front of whatever comes first.
        self._prefix = 0
        self._read = 0

    def add(self, token: int) -> str:
        """The text that is whole with this token."""
        self._ids.append(token)
        text = self._new()
        if text.endswith("\N{REPLACEMENT CHARACTER}") and len(self._ids) - self._read < _LONGEST_WAIT:
            return ""
        if text:
            self._prefix, self._read = self._read, len(self._ids)
            del self._ids[: self._prefix]
            self._read -= self._prefix
            self._prefix = 0
        return text

    def flush(self) -> str:
        """What is held back, broken characters included."""
        return self._new()

    def _new(self) -> str:
        known = self._decode(self._ids[: self._read])
        return self._decode(self._ids)[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        if not ids:
            return ""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class ToolCallText:
    """Takes tool calls out of the text."""

    __slots__ = ("_held", "count")

    def __init__(self) -> None:
        self.count = 0
        self._held = ""

    def feed(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """The text and the calls that are certain with this piece."""
        held = self._held + text
        plain: list[str] = []
        calls: list[ToolCallDelta] = []
        while True:
            before, opened, inside = held.partition(_OPEN)
            if not opened:
                cut = len(held) - overlap(held, _OPEN)
                plain.append(held[:cut])
                self._held = held[cut:]
                break
            written, closed, rest = inside.partition(_CLOSE)
            if not closed:
                plain.append(before)
                self._held = opened + inside
                break
            call = self._call(written)
            plain.append(before if call is not None else before + opened + written + closed)
            if call is not None:
                calls.append(call)
            held = rest
        kept = "".join(plain)
        return ("" if calls and kept.isspace() else kept), calls

    def flush(self) -> str:
        """What was held back; the answer is over."""
        held, self._held = self._held, ""
        return held

    def _call(self, written: str) -> ToolCallDelta | None:
        try:
            payload = loads(written.strip())
        except ValueError:
            return None
        if not isinstance(payload, dict) or not isinstance(payload.get("name"), str):
            return None
        arguments = payload.get("arguments", {})
        text = arguments if isinstance(arguments, str) else dumps(arguments).decode()
        mark = crc32(f"{self.count}\0{payload['name']}\0{text}".encode("utf-8", "surrogatepass"))
        self.count += 1
        return ToolCallDelta(self.count - 1, f"call_{self.count - 1}_{mark:08x}", payload["name"], text)


def overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` begin `mark`."""
    for size in range(min(len(text), len(mark) - 1), 0, -1):
        if mark.startswith(text[-size:]):
            return size
    return 0
