"""
One attempt over HTTP: a codec's functions, a transport, and the rules that bind them.

Rules
1. One attempt is exactly one request. Nothing here tries again.
2. A streamed attempt succeeds with its first content event (the commit point); until then every failure
   is the attempt's own. After it, whatever breaks the stream is a `StreamInterrupted` with the partial
   answer, the cause chained; only the call's own deadline stays a `DeadlineExceeded`.
3. Waiting is bounded by the clock, not by reads: only model data moves the idle limit, so neither
   keep-alives nor a dripping server can hold a call.
4. The exchange is closed once on every path, cancellation included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

from penstock.call import Outcome, Reply
from penstock.errors import AttemptTimeout, DeadlineExceeded, PenstockError, ProviderError, StreamInterrupted
from penstock.http import HttpResponse, Limits
from penstock.redaction import Unpicklable
from penstock.responses import Assembly, ChatResponse, chunks_of

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.errors import CallError
    from penstock.http import Exchange, HttpHead
    from penstock.provider import Codec, StreamDecoder
    from penstock.responses import Chunk

ERROR_BODY_SECONDS = 5.0
"""How long the body of an error response may take: the status alone says enough."""


class CodecProvider(Unpicklable):
    """
    A provider made of a codec and the runtime's transport.

    Args:
        codec: the provider's pure functions.
        max_bytes: decompressed bytes one response may have.
    """

    def __init__(self, codec: Codec, *, max_bytes: int) -> None:
        self.codec = codec
        self.base_url = codec.base_url
        self.max_inputs: int | None = getattr(codec, "max_inputs", None)
        self._max_bytes = max_bytes

    async def send(self, call: Call) -> Reply:
        """Make one attempt; see the rules above."""
        codec, runtime, timeouts = self.codec, call.runtime, call.timeouts
        request = codec.encode(call.request, call.target.model)  # type: ignore[union-attr]  # set by now
        streamed = request.stream
        now = runtime.now()
        due = now + timeouts.attempt
        if streamed:
            due = min(due, now + timeouts.first_token)
        due = min(due, call.deadline)
        limits = Limits(connect=timeouts.connect, pool=timeouts.pool, due=due, max_bytes=self._max_bytes)
        try:
            exchange = await runtime.transport.send(request, limits)
        except AttemptTimeout as error:
            raise _expired(call, error, due, streamed) from None
        kept = False
        try:
            head = exchange.head
            if call.attempt is not None:
                call.attempt.head = head
            if not 200 <= head.status < 300:
                raise await self._refused(exchange, call, due)
            if streamed and not _is_whole(head.headers.get("content-type", "")):
                stream = LiveStream(call, exchange, codec.decoder(call.request, head), due)
                await stream.commit()
                kept = True
                return stream.reply
            body = await exchange.read_all(due)
            await exchange.close(reuse=True)
        except AttemptTimeout as error:
            raise _expired(call, error, due, streamed) from None
        finally:
            if not kept:
                await exchange.close()
        response = codec.decode(call.request, HttpResponse(head.status, head.headers, head.received, body))
        if streamed:
            # The server answered a streamed request in one piece; the caller still gets a stream.
            return replay(cast("ChatResponse", response))
        return Reply(response)

    def rate_limits(self, head: HttpHead) -> Any:
        """What the response's head says of the provider's own limits; None when the codec reads none."""
        read = getattr(self.codec, "rate_limits", None)
        return read(head) if read is not None else None

    async def _refused(self, exchange: Exchange, call: Call, due: float) -> ProviderError:
        try:
            body = await exchange.read_all(min(due, call.runtime.now() + ERROR_BODY_SECONDS))
            await exchange.close(reuse=True)
        except ProviderError:
            body = b""
        head = exchange.head
        return self.codec.error(HttpResponse(head.status, head.headers, head.received, body))

    def __repr__(self) -> str:
        return f"<CodecProvider of {self.codec!r}>"


def _is_whole(content_type: str) -> bool:
    """Whether an answer to a streamed request is one document: JSON (an error in a 200), or HTML."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/html")


def _expired(call: Call, error: AttemptTimeout, due: float, streamed: bool) -> CallError:
    """Name the limit that a transport's plain "read" timeout stands for."""
    if error.phase != "read":
        return error
    if due >= call.deadline:
        return deadline_exceeded(call)
    if streamed:
        seconds = min(call.timeouts.first_token, call.timeouts.attempt)
        return AttemptTimeout(f"{call.target}: no first token within {seconds:g} s", phase="first_token")
    return AttemptTimeout(f"{call.target}: no answer within {call.timeouts.attempt:g} s", phase="attempt")


def deadline_exceeded(call: Call) -> DeadlineExceeded:
    """The error of a call whose total time is spent."""
    return DeadlineExceeded(f"the call's total time of {call.deadline - call.started:g} s is spent")


class LiveStream:
    """The live end of a reply: bytes in, chunks out, one outcome."""

    __slots__ = (
        "_assembly",
        "_call",
        "_deadline",
        "_decoded",
        "_decoder",
        "_due",
        "_eof",
        "_exchange",
        "_fresh",
        "_head",
        "_now",
        "reply",
    )

    def __init__(self, call: Call, exchange: Exchange, decoder: StreamDecoder, due: float) -> None:
        self._call = call
        self._exchange = exchange
        self._decoder = decoder
        self._due = due
        self._deadline = call.deadline
        self._now = call.runtime.now
        self._assembly = Assembly()
        self._decoded: Iterator[Chunk] = iter(())
        self._head: deque[Chunk] = deque()
        self._fresh = False
        self._eof = False
        self.reply = Reply(chunks=self)

    async def commit(self) -> None:
        """Read up to the first content event; what fails until then is raised as it is."""
        while True:
            chunk = await self._next()
            if chunk is None:
                raise self._cut()
            self._head.append(chunk)
            if chunk.has_content:
                break
        self._deadline = self._call.stream_deadline

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._head:
            return self._head.popleft()
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        try:
            chunk = await self._next()
            if chunk is None and not self._decoder.complete:
                raise self._cut()
        except PenstockError as error:
            broken = self._interrupted(error)
            await self._finish("failed", broken)
            if broken is error:
                raise
            raise broken from error
        except Exception as error:  # a fault of the decoder
            await self._finish("failed", error)
            raise
        except BaseException:
            await self._finish("abandoned")
            raise
        if chunk is None:
            await self._finish("ok")
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Stop reading; the outcome is `abandoned` unless the stream had ended."""
        self._head.clear()
        if self.reply.outcome is None:
            await self._finish("abandoned")

    async def _next(self) -> Chunk | None:
        while True:
            for chunk in self._decoded:
                self._fresh = True
                self._assembly.add(chunk)
                return chunk
            if self._eof or self._decoder.ended:
                return None
            if self._fresh:
                self._fresh = False
                self._due = self._now() + self._call.timeouts.idle
            data = await self._exchange.read(min(self._due, self._deadline))
            if data:
                self._decoded = iter(self._decoder.feed(data))
            else:
                self._eof = True
                self._decoded = iter(self._decoder.close())

    def _cut(self) -> StreamInterrupted:
        return StreamInterrupted(f"{self._call.target}: the stream ended without its terminal marker")

    def _interrupted(self, error: PenstockError) -> PenstockError:
        partial = self._partial()
        if isinstance(error, AttemptTimeout) and self._now() >= self._deadline:
            expired = deadline_exceeded(self._call)
            expired.partial = partial
            return expired
        if isinstance(error, StreamInterrupted):
            error.partial = partial
            return error
        status, code = getattr(error, "status", None), getattr(error, "code", None)
        message = str(error)
        if isinstance(error, AttemptTimeout):
            message, code = f"no data for {self._call.timeouts.idle:g} s", "idle_timeout"
        broken = StreamInterrupted(
            f"{self._call.target}: the stream broke: {message}", partial=partial, status=status, code=code
        )
        broken.counts = getattr(error, "counts", True)
        return broken

    def _partial(self) -> ChatResponse:
        decoder, assembly = self._decoder, self._assembly
        assembly.model, assembly.id, assembly.extra = decoder.model, decoder.id, decoder.extra
        return assembly.response(decoder.upstream_id)

    async def _finish(self, kind: Any, error: Exception | None = None) -> None:
        try:
            await self._exchange.close(reuse=kind == "ok")
        finally:
            self.reply.finish(Outcome(kind, self._partial(), error))


def replay(response: ChatResponse) -> Reply:
    """A live reply that plays a finished response as a stream."""
    return Replay(response).reply


class Replay:
    """The chunks of a finished response, as a stream with the same life as a real one."""

    __slots__ = ("_chunks", "_response", "reply")

    def __init__(self, response: ChatResponse) -> None:
        self._response = response
        self._chunks = iter(chunks_of(response))
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is None:
            for chunk in self._chunks:
                return chunk
            self.reply.finish(Outcome("ok", self._response))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop; the outcome is `abandoned` unless the stream had ended."""
        self.reply.finish(Outcome("abandoned", self._response))
