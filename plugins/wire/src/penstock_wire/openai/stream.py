"""
From the events of a streamed chat completion to chunks.

Rules, beside those of `framing.py`
1. `error` is looked for before `choices`.
2. A choice is whole after a non-empty finish reason. Reading goes on after it, for the usage; a repeated
   finish reason is told once.
3. The last usage wins. Events without content, usage or a finish reason make no chunk.
4. The further fields of a message are told whole, on the event that finishes the choice; audio also as it
   comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.responses import Chunk, ToolCallDelta
from penstock_wire.faults import carries_error
from penstock_wire.openai.billing import COST, cost_of
from penstock_wire.openai.extras import MessageExtras, has_more
from penstock_wire.openai.framing import FramedDecoder
from penstock_wire.openai.quirks import Quirks
from penstock_wire.openai.response import content_of, extra_of, finish_reason, reasoning_of, usage_of
from penstock_wire.openai.think import ThinkSplitter
from penstock_wire.openai.tool_calls import ToolCallResolver
from penstock_wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.responses import ChatResponse


class ChatStreamDecoder(FramedDecoder):
    """
    Decodes one streamed chat completion; arguments as for `FramedDecoder`.

    Args:
        quirks: how the server deviates.
    """

    __slots__ = ("_extras", "_fields", "_finished", "_thinking", "_tools")

    def __init__(
        self,
        head: HttpHead,
        *,
        quirks: Quirks,
        whole: Callable[[bytes], ChatResponse],
        who: str,
        redact: Callable[[str], str],
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        super().__init__(head, whole=whole, who=who, redact=redact, max_event_bytes=max_event_bytes)
        self._fields = quirks.reasoning_fields
        self._finished: dict[int, bool] = {}
        self._tools: dict[int, ToolCallResolver] = {}
        self._extras: dict[int, MessageExtras] = {}
        self._thinking: dict[int, ThinkSplitter] | None = {} if quirks.think_tags else None

    def _take(self, payload: dict[str, Any], kind: str | None, chunks: list[Chunk]) -> None:
        choices = payload.get("choices")
        if kind == "error" or (("error" in payload or choices is None) and carries_error(payload)):
            raise self._error(payload)
        if not self.model or not self.id:
            self._identify(payload)
        usage = None
        counted = payload.get("usage")
        if counted is None and "x_groq" in payload and isinstance(payload["x_groq"], dict):
            counted = payload["x_groq"].get("usage")
            if payload["x_groq"].get("error"):
                raise self._error(payload["x_groq"])
        if counted is not None:
            usage = usage_of(counted)
            cost = cost_of(counted)
            if cost is not None:
                self.extra[COST] = cost
        if choices and isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    chunk = self._chunk(choice)
                    if chunk is not None:
                        if chunk.finish_reason is not None:
                            self.extra.update(extra_of(payload))
                        chunk.usage, usage = usage, None
                        chunks.append(chunk)
        elif usage is not None:
            self.extra.update(extra_of(payload))
        if usage is not None:
            chunks.append(Chunk(usage=usage))

    def _identify(self, payload: dict[str, Any]) -> None:
        model, answer_id = payload.get("model"), payload.get("id")
        if not self.model and isinstance(model, str):
            self.model = model
        if not self.id and isinstance(answer_id, str):
            self.id = answer_id
        if not self.extra:
            self.extra = extra_of(payload)

    def _chunk(self, choice: dict[str, Any]) -> Chunk | None:
        index = choice.get("index", 0)
        if type(index) is not int or index < 0:
            index = 0
        delta = choice.get("delta")
        if index not in self._finished:
            self._finished[index] = self.complete = False
        if not isinstance(delta, dict):
            delta = choice.get("message")  # some servers stream one whole message
            if not isinstance(delta, dict):
                delta = {}
        content = delta.get("content")
        reasoning = ""
        if content is None or isinstance(content, str):
            text = content or ""
            if not text or len(delta) > 1:  # most events hold the text and nothing else
                reasoning = reasoning_of(delta, self._fields)
        else:
            text, thought = content_of(content)
            reasoning = reasoning_of(delta, self._fields) or thought
        raw = choice.get("finish_reason")
        finished = bool(raw) and isinstance(raw, str) and not self._finished[index]
        if self._thinking is not None:
            text, more = self._split(index, text, finished)
            reasoning += more
        calls: list[ToolCallDelta] | tuple[()] = ()
        if "tool_calls" in delta or "function_call" in delta:
            calls = self._calls(index, delta)
        refusal = delta.get("refusal")
        if not isinstance(refusal, str):
            refusal = ""
        logprobs = choice.get("logprobs")
        extra = None
        if finished or reasoning or ((not text or len(delta) > 1) and has_more(delta)):
            extra = self._more(index, delta, finished)
        if not (text or reasoning or calls or finished or refusal or logprobs is not None or extra):
            return None
        chunk = Chunk(text, reasoning, refusal, calls, choice=index, logprobs=logprobs, extra=extra)
        if finished:
            self._finished[index] = True
            self.complete = all(self._finished.values())
            chunk.finish_reason, chunk.raw_finish_reason = finish_reason(raw)
        return chunk

    def _more(self, index: int, delta: dict[str, Any], finished: bool) -> dict[str, Any] | None:
        """What the event tells of further fields: all of them with the finish, and what comes after it."""
        extras = self._extras.get(index)
        if extras is None:
            extras = self._extras[index] = MessageExtras(self._fields)
        extras.take(delta)
        if finished or self._finished[index]:
            return extras.told(called=index in self._tools)
        # Whoever plays audio cannot wait for its end.
        return {"audio": delta["audio"]} if delta.get("audio") else None

    def _calls(self, index: int, delta: dict[str, Any]) -> list[ToolCallDelta]:
        pieces = delta.get("tool_calls")
        if not isinstance(pieces, list):
            function = delta.get("function_call")
            if not isinstance(function, dict):
                return []
            pieces = [{"index": 0, "function": function}]
        if not pieces:
            return []
        resolver = self._tools.get(index)
        if resolver is None:
            resolver = self._tools[index] = ToolCallResolver()
        return resolver.deltas(pieces)

    def _split(self, index: int, text: str, last: bool) -> tuple[str, str]:
        assert self._thinking is not None  # noqa: S101  (for the type checker)
        splitter = self._thinking.get(index)
        if splitter is None:
            splitter = self._thinking[index] = ThinkSplitter()
        text, reasoning = splitter.feed(text)
        if last:
            more_text, more_reasoning = splitter.flush()
            return text + more_text, reasoning + more_reasoning
        return text, reasoning

    def _flush(self, chunks: list[Chunk]) -> None:
        """What is still held of choices that were cut."""
        for index, splitter in (self._thinking or {}).items():
            text, reasoning = splitter.flush()
            if text or reasoning:
                chunks.append(Chunk(text, reasoning, choice=index))
        for index, extras in self._extras.items():
            extra = None if self._finished[index] else extras.told(called=index in self._tools)
            if extra:
                chunks.append(Chunk(extra=extra, choice=index))
