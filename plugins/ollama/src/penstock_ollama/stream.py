"""
From the lines of a streamed answer to chunks.

Rules
1. `error` is looked for before anything else, in every line; the chunks before it are given out first.
2. `done: true` completes the answer, with or without a reason, and nothing after it is read; the end of
   the bytes proves nothing.
3. A broken line is malformed, except the last one without its newline: there the stream was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from penstock.errors import ProviderError, StreamInterrupted
from penstock.responses import Chunk, ToolCallDelta
from penstock_ollama.response import ToolCalls, extra_of, finish_reason, message_of, text_of, usage_of
from penstock_wire.errors import embedded_error, malformed, raise_after, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import loads
from penstock_wire.ndjson import MAX_LINE_BYTES, NDJSONDecoder
from penstock_wire.openai.think import ThinkSplitter

if TYPE_CHECKING:
    from penstock.http import HttpHead


class OllamaStreamDecoder:
    """
    Decodes one streamed answer; see `penstock.provider.StreamDecoder`.

    Args:
        head: the head of the response.
        who: the provider's name, for messages.
        redact: masks secrets in the server's words.
        think_tags: take a leading `<think>...</think>` out of the text.
        max_line_bytes: how large one line may be.

    Attributes:
        extra: further fields of the last line, as in `ChatResponse.extra`.
    """

    __slots__ = (
        "_head",
        "_lines",
        "_redact",
        "_thinking",
        "_tools",
        "_who",
        "complete",
        "ended",
        "extra",
        "id",
        "model",
        "upstream_id",
    )

    def __init__(
        self,
        head: HttpHead,
        *,
        who: str,
        redact: Callable[[str], str],
        think_tags: bool = False,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.complete = False
        self.ended = False
        self.model = ""
        self.id = ""
        self.extra: dict[str, Any] = {}
        self.upstream_id = upstream_id(head.headers)
        self._head = head
        self._who = who
        self._redact = redact
        self._lines = NDJSONDecoder(max_line_bytes=max_line_bytes)
        self._tools: ToolCalls | None = None
        self._thinking = ThinkSplitter() if think_tags else None

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """The chunks these bytes complete; raises as the protocol says."""
        if self.ended:
            return ()
        chunks: list[Chunk] = []
        try:
            for line in self._lines.feed(data):
                try:
                    payload = loads(line)
                except ValueError:
                    raise self._malformed("broken JSON in its stream", line) from None
                self._take(payload, line, chunks)
                if self.ended:
                    break
        except ProviderError as error:
            return self._fail(chunks, error)
        return chunks

    def close(self) -> Iterable[Chunk]:
        """The chunks that only the end completes; StreamInterrupted when the answer is not whole."""
        if self.ended:
            return ()
        chunks: list[Chunk] = []
        try:
            for line in self._lines.close():
                try:
                    payload = loads(line)
                except ValueError:
                    continue  # rule 3
                self._take(payload, line, chunks)
        except ProviderError as error:
            return self._fail(chunks, error)
        if self.complete:
            return chunks
        if self._thinking is not None:
            text, reasoning = self._thinking.flush()
            if text or reasoning:
                chunks.append(Chunk(text, reasoning))
        cut = StreamInterrupted(f"{self._who}: the stream ended before `done`", status=self._head.status)
        return self._fail(chunks, cut)

    def _take(self, payload: Any, line: str, chunks: list[Chunk]) -> None:
        if not isinstance(payload, dict):
            raise self._malformed("a line that is no object", line)
        if "error" in payload and carries_error(payload):
            raise embedded_error(payload, self._head, who=self._who, redact=self._redact)
        if not self.model:
            self.model = text_of(payload, "model")
        message = message_of(payload)
        done = payload.get("done") is True
        if message is None:
            if not done:
                return  # a line of another kind: progress, or what later versions may add
            message = {}
        chunk = Chunk(text_of(message, "content"), text_of(message, "thinking"))
        if "tool_calls" in message:
            if self._tools is None:
                self._tools = ToolCalls()
            first = self._tools.count
            calls = self._tools.read(message["tool_calls"], payload.get("created_at"))
            chunk.tool_calls = [
                ToolCallDelta(first + place, call.id, call.name, call.arguments, call.extra or None)
                for place, call in enumerate(calls)
            ]
        if self._thinking is not None:
            self._split(chunk, self._thinking, last=done)
        chunk.logprobs = payload.get("logprobs")
        if done:
            self.complete = self.ended = True
            called = self._tools is not None and self._tools.count > 0
            chunk.finish_reason, chunk.raw_finish_reason = finish_reason(
                payload.get("done_reason"), called=called
            )
            chunk.usage = usage_of(payload)
            self.extra = extra_of(payload)
        if chunk.has_content or chunk.logprobs is not None:
            chunks.append(chunk)

    @staticmethod
    def _split(chunk: Chunk, splitter: ThinkSplitter, *, last: bool) -> None:
        text, reasoning = splitter.feed(chunk.text)
        if last:
            more_text, more_reasoning = splitter.flush()
            text, reasoning = text + more_text, reasoning + more_reasoning
        chunk.text = text
        chunk.reasoning += reasoning

    def _fail(self, chunks: list[Chunk], error: ProviderError) -> Iterable[Chunk]:
        """Raise now, or after what came before the error."""
        self.ended = True
        return raise_after(chunks, error)

    def _malformed(self, reason: str, line: str) -> ProviderError:
        return malformed(reason, line, self._head, who=self._who, redact=self._redact)
