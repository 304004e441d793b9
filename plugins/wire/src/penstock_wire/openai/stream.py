"""
From the events of a streamed chat completion to chunks.

Rules
1. `error` is looked for before `choices`, in every event; the chunks before it are given out first.
2. A choice is whole after a non-empty finish reason; `[DONE]` and the end of the bytes prove nothing.
   Reading goes on after it, for the usage; a repeated finish reason is told once.
3. The last usage wins. Events without content, usage or a finish reason make no chunk.
4. Data that is no JSON object is skipped (keep-alives are sent as data); a broken object is malformed,
   except in an event whose end never came: there it is a cut.
5. A server that answers a streamed request with one document (an error, or JSON without framing) is
   recognised by the first byte and read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from penstock.errors import ProviderError, StreamInterrupted
from penstock.responses import Chunk, ToolCallDelta, chunks_of
from penstock_wire.errors import embedded_error, malformed, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import loads, loads_first
from penstock_wire.openai.quirks import Quirks
from penstock_wire.openai.response import content_of, extra_of, finish_reason, reasoning_of, usage_of
from penstock_wire.openai.think import ThinkSplitter
from penstock_wire.openai.tool_calls import ToolCallResolver
from penstock_wire.sse import MAX_EVENT_BYTES, SSEDecoder

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.responses import ChatResponse

_BOM = b"\xef\xbb\xbf"


class ChatStreamDecoder:
    """
    Decodes one streamed answer; see `penstock.provider.StreamDecoder`.

    Args:
        head: the head of the response.
        quirks: how the server deviates.
        whole: reads a document that came without framing; raises as a codec's `decode` does.
        who: the provider's name, for messages.
        redact: masks secrets in the server's words.
        max_event_bytes: how large one event may be.

    Attributes:
        extra: further top-level fields, as in `ChatResponse.extra`.
        upstream_id: the provider's request id, from the head.
    """

    __slots__ = (
        "_document",
        "_failed",
        "_fields",
        "_finished",
        "_head",
        "_redact",
        "_sse",
        "_start",
        "_thinking",
        "_tools",
        "_who",
        "_whole",
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
        quirks: Quirks,
        whole: Callable[[bytes], ChatResponse],
        who: str,
        redact: Callable[[str], str],
        max_event_bytes: int = MAX_EVENT_BYTES,
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
        self._fields = quirks.reasoning_fields
        self._whole = whole
        self._sse = SSEDecoder(max_event_bytes=max_event_bytes, flush=True)
        self._start: bytes | None = b""  # white space before the first byte that tells; None once told
        self._document: list[bytes] | None = None  # the pieces of an unframed answer
        self._finished: dict[int, bool] = {}
        self._tools: dict[int, ToolCallResolver] = {}
        self._thinking: dict[int, ThinkSplitter] | None = {} if quirks.think_tags else None
        self._failed = False

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """The chunks these bytes complete; raises as the protocol says."""
        if self.ended:
            return ()
        if self._start is not None:
            data = self._recognise(data)
        if self._document is not None:
            self._document.append(data)
            return ()
        chunks: list[Chunk] = []
        try:
            for text, kind in self._sse.feed(data):
                if text[:1] == "{":
                    try:
                        payload = loads(text)
                    except ValueError:
                        raise self._malformed("broken JSON in its stream", text) from None
                    self._take(payload, kind, chunks)
                elif self._mark(text, kind):
                    break
        except ProviderError as error:
            return self._fail(chunks, error)
        return chunks

    def close(self) -> Iterable[Chunk]:
        """The chunks that only the end completes; StreamInterrupted when the answer is not whole."""
        if self._failed:
            return ()
        chunks: list[Chunk] = []
        try:
            if self._document is not None:
                self._take_document(chunks)
            elif not self.ended:
                self._take_last(chunks)
        except ProviderError as error:
            return self._fail(chunks, error)
        self._flush(chunks)
        self.ended = True
        if not self.complete:
            cut = StreamInterrupted(
                f"{self._who}: the stream ended without a finish reason", status=self._head.status
            )
            return self._fail(chunks, cut)
        return chunks

    def _fail(self, chunks: list[Chunk], error: ProviderError) -> Iterator[Chunk]:
        """Raise now, or after what came before the error."""
        self._failed = self.ended = True
        if not chunks:
            raise error
        return _then_raise(chunks, error)

    def _recognise(self, data: bytes) -> bytes:
        """Tell framing from a document by the first byte that is not white space."""
        seen = (self._start or b"") + data
        bare = seen.removeprefix(_BOM).lstrip()
        if not bare or _BOM.startswith(bare):
            self._start = seen
            return b""
        self._start = None
        if bare[0] in b"{[<":
            self._document = []
        return seen

    def _mark(self, text: str, kind: str | None) -> bool:
        """Data that begins with no brace; whether it is `[DONE]`."""
        text = text.strip()
        if text == "[DONE]":
            self.ended = True
            return True
        if kind == "error" and text:
            raise self._error(text)
        if text[:1] == "[":
            try:
                payload = loads(text)
            except ValueError:
                return False
            if carries_error(payload):
                raise self._error(payload)
        return False

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
        if not (text or reasoning or calls or finished or refusal or logprobs is not None):
            return None
        chunk = Chunk(text, reasoning, refusal, calls, choice=index, logprobs=logprobs)
        if finished:
            self._finished[index] = True
            self.complete = all(self._finished.values())
            chunk.finish_reason, chunk.raw_finish_reason = finish_reason(raw)
        return chunk

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
        """What the splitters still hold of choices that were cut."""
        for index, splitter in (self._thinking or {}).items():
            text, reasoning = splitter.flush()
            if text or reasoning:
                chunks.append(Chunk(text, reasoning, choice=index))

    def _take_last(self, chunks: list[Chunk]) -> None:
        """An event whose blank line never came; half an object is where the stream was cut."""
        for text, kind in self._sse.close():
            if text[:1] != "{":
                self._mark(text, kind)
                continue
            try:
                payload = loads_first(text)
            except ValueError:
                continue
            self._take(payload, kind, chunks)

    def _take_document(self, chunks: list[Chunk]) -> None:
        response = self._whole(b"".join(self._document or ()))
        self.model, self.id, self.extra = response.model, response.id, dict(response.extra)
        self.complete = True
        chunks.extend(chunks_of(response))

    def _error(self, payload: Any) -> ProviderError:
        return embedded_error(payload, self._head, who=self._who, redact=self._redact)

    def _malformed(self, reason: str, text: str) -> ProviderError:
        return malformed(reason, text, self._head, who=self._who, redact=self._redact)


def _then_raise(chunks: list[Chunk], error: ProviderError) -> Iterator[Chunk]:
    yield from chunks
    raise error
