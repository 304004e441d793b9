"""
What every stream of the OpenAI family has in common: events in, chunks out, one error at the end.

Rules
1. `error` is looked for in every event; the chunks before it are given out first.
2. The end of the bytes proves nothing: without its terminal marker an answer is cut.
3. Data that is no JSON object is skipped (keep-alives are sent as data); a broken object is malformed,
   except in an event whose end never came: there it is a cut.
4. A server that answers a streamed request with one document (an error, or JSON without framing) is
   recognised by the first byte and read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from penstock.errors import ProviderError, StreamInterrupted
from penstock.responses import Chunk, chunks_of
from penstock_wire.errors import embedded_error, malformed, raise_after, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import loads, loads_first
from penstock_wire.sse import MAX_EVENT_BYTES, SSEDecoder

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.responses import ChatResponse

_BOM = b"\xef\xbb\xbf"


class FramedDecoder:
    """
    Decodes one streamed answer; see `penstock.provider.StreamDecoder`. What an event says is read by `_take`.

    Args:
        head: the head of the response.
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
        "_head",
        "_redact",
        "_sse",
        "_start",
        "_who",
        "_whole",
        "complete",
        "ended",
        "extra",
        "id",
        "model",
        "upstream_id",
    )

    MISSING = "a finish reason"
    """What a cut stream lacks, for its message."""

    def __init__(
        self,
        head: HttpHead,
        *,
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
        self._whole = whole
        self._sse = SSEDecoder(max_event_bytes=max_event_bytes, flush=True)
        self._start: bytes | None = b""  # white space before the first byte that tells; None once told
        self._document: list[bytes] | None = None  # the pieces of an unframed answer
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
                else:
                    self._mark(text, kind)
                if self.ended:
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
                f"{self._who}: the stream ended without {self.MISSING}", status=self._head.status
            )
            return self._fail(chunks, cut)
        return chunks

    def _take(self, payload: dict[str, Any], kind: str | None, chunks: list[Chunk]) -> None:
        """
        Read one event: add its chunks, set `complete` and `ended`.

        Args:
            payload: its data.
            kind: its type, when the framing named one.
            chunks: what is given out.

        Raises:
            ProviderError: it is an error.
        """
        raise NotImplementedError

    def _flush(self, chunks: list[Chunk]) -> None:
        """Add what was held back; the stream is over."""

    def _fail(self, chunks: list[Chunk], error: ProviderError) -> Iterable[Chunk]:
        """Raise now, or after what came before the error."""
        self._failed = self.ended = True
        return raise_after(chunks, error)

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

    def _mark(self, text: str, kind: str | None) -> None:
        """Data that begins with no brace: `[DONE]`, an error, or nothing."""
        text = text.strip()
        if text == "[DONE]":
            self.ended = True
        elif kind == "error" and text:
            raise self._error(text)
        elif text[:1] == "[":
            try:
                payload = loads(text)
            except ValueError:
                return
            if carries_error(payload):
                raise self._error(payload)

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
