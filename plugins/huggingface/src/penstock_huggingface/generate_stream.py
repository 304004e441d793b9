"""
From the events of `/generate_stream` to chunks.

Rules
1. `error` is looked for before anything else, in every event; the chunks before it are given out first.
2. The event that carries `generated_text` is the last one and completes the answer; there is no `[DONE]`,
   and the end of the bytes proves nothing.
3. The text is that of the tokens, special ones left out. `generated_text` repeats it, on some servers
   with the prompt in front, so it counts only where no token had text.
4. Data that is no JSON object is skipped; a broken object is malformed, except in an event whose end
   never came: there it is a cut.
5. A server that answers with one document (an error, or an answer that is not streamed) is recognised by
   the first byte and read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from penstock.errors import ProviderError, StreamInterrupted
from penstock.responses import Chunk, chunks_of
from penstock_huggingface.faults import refined
from penstock_huggingface.generate_response import extra_of, finish_reason, usage_of
from penstock_wire.errors import embedded_error, malformed, raise_after, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import loads
from penstock_wire.openai.think import ThinkSplitter
from penstock_wire.sse import MAX_EVENT_BYTES, SSEDecoder

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.responses import ChatResponse

_BOM = b"\xef\xbb\xbf"


class GenerateStreamDecoder:
    """
    Decodes one streamed answer; see `penstock.provider.StreamDecoder`.

    Args:
        head: the head of the response.
        whole: reads a document that came without framing; raises as a codec's `decode` does.
        who: the provider's name, for messages.
        redact: masks secrets in the server's words.
        think_tags: take a leading `<think>...</think>` out of the text.
        logprobs: give out the tokens beside the text.
        max_event_bytes: how large one event may be.
    """

    __slots__ = (
        "_document",
        "_head",
        "_logprobs",
        "_max",
        "_redact",
        "_size",
        "_spoke",
        "_sse",
        "_start",
        "_thinking",
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
        whole: Callable[[bytes], ChatResponse],
        who: str,
        redact: Callable[[str], str],
        think_tags: bool = False,
        logprobs: bool = False,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.complete = False
        self.ended = False
        self.model = ""
        self.id = ""
        self.extra: dict[str, Any] = {}
        self.upstream_id = upstream_id(head.headers)
        self._head = head
        self._whole = whole
        self._who = who
        self._redact = redact
        self._logprobs = logprobs
        self._sse = SSEDecoder(max_event_bytes=max_event_bytes, flush=True)
        self._max = max_event_bytes
        self._size = 0
        self._thinking = ThinkSplitter() if think_tags else None
        self._spoke = False
        self._start: bytes | None = b""  # what came before the first byte that is no white space
        self._document: list[bytes] | None = None

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """The chunks these bytes complete; raises as the protocol says."""
        if self.ended:
            return ()
        if self._start is not None:
            data = self._recognise(data)
        if self._document is not None:
            self._keep(data)
            return ()
        chunks: list[Chunk] = []
        try:
            for text, _ in self._sse.feed(data):
                if text[:1] != "{":
                    continue
                try:
                    payload = loads(text)
                except ValueError:
                    raise self._malformed("broken JSON in its stream", text) from None
                self._take(payload, chunks)
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
            if self._document is not None:
                self._take_document(chunks)
            else:
                self._take_last(chunks)
        except ProviderError as error:
            return self._fail(chunks, error)
        if self.complete:
            return chunks
        if self._thinking is not None:
            text, reasoning = self._thinking.flush()
            if text or reasoning:
                chunks.append(Chunk(text, reasoning))
        cut = StreamInterrupted(
            f"{self._who}: the stream ended before `generated_text`", status=self._head.status
        )
        return self._fail(chunks, cut)

    def _recognise(self, data: bytes) -> bytes:
        seen = (self._start or b"") + data
        bare = seen.removeprefix(_BOM).lstrip()
        if not bare or _BOM.startswith(bare):
            self._start = seen
            return b""
        self._start = None
        if bare[0] in b"{[<":
            self._document = []
        return seen

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max:
            self.ended = True
            raise self._malformed(f"a document of more than {self._max} bytes", "")
        self._document.append(data)  # type: ignore[union-attr]  # the caller looked

    def _take(self, payload: dict[str, Any], chunks: list[Chunk]) -> None:
        if "error" in payload and carries_error(payload):
            raise refined(embedded_error(payload, self._head, who=self._who, redact=self._redact))
        token, whole = payload.get("token"), payload.get("generated_text")
        chunk = Chunk()
        if isinstance(token, dict):
            text = token.get("text")
            if isinstance(text, str) and text and token.get("special") is not True:
                chunk.text = text
                self._spoke = True
            if self._logprobs:
                chunk.logprobs = token
        if isinstance(whole, str):
            self._finish(whole, payload.get("details"), chunk)
        elif self._thinking is not None:
            chunk.text, chunk.reasoning = self._thinking.feed(chunk.text)
        if chunk.text or chunk.has_content or chunk.usage is not None or chunk.logprobs is not None:
            chunks.append(chunk)

    def _finish(self, whole: str, details: Any, chunk: Chunk) -> None:
        if not self._spoke:
            chunk.text = whole
        if self._thinking is not None:
            text, reasoning = self._thinking.feed(chunk.text)
            more_text, more_reasoning = self._thinking.flush()
            chunk.text, chunk.reasoning = text + more_text, reasoning + more_reasoning
        chunk.finish_reason, chunk.raw_finish_reason = finish_reason(details)
        if chunk.finish_reason is None and not self._spoke and not whole:
            chunk.finish_reason = "other"  # an empty answer must still be told from none
        chunk.usage = usage_of(details, self._head.headers)
        self.extra = extra_of(details)
        self.complete = self.ended = True

    def _take_last(self, chunks: list[Chunk]) -> None:
        """An event whose blank line never came; half an object is where the stream was cut."""
        for text, _ in self._sse.close():
            if text[:1] == "{":
                try:
                    payload = loads(text)
                except ValueError:
                    continue
                self._take(payload, chunks)

    def _take_document(self, chunks: list[Chunk]) -> None:
        response = self._whole(b"".join(self._document or ()))
        self.extra = dict(response.extra)
        self.complete = self.ended = True
        chunks.extend(chunks_of(response))

    def _fail(self, chunks: list[Chunk], error: ProviderError) -> Iterable[Chunk]:
        """Raise now, or after what came before the error."""
        self.ended = True
        return raise_after(chunks, error)

    def _malformed(self, reason: str, text: str) -> ProviderError:
        return malformed(reason, text, self._head, who=self._who, redact=self._redact)
