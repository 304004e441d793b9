"""
A stream that outlives its target.

Rules
1. The reply finishes once, with what the last target's stream came to; streams that broke are closed and
   settled before the next one is opened.
2. `restart`: a chunk with `reset` comes first, once the next target has committed; then its stream from the
   start. If no target takes over, nothing is reset and the first break is raised, its partial answer with it.
3. `continue`: the next target is given the text so far, and nothing of it is passed on twice. What is more
   than text is not continued.
4. An answer of which only the end was missing is not taken over: there is nothing to add.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from penstock.call import Outcome, Reply
from penstock.errors import AllTargetsFailed, CallError
from penstock.events import StreamLost, StreamRecovered
from penstock.responses import Assembly, ChatResponse, Chunk
from penstock_routing.continuation import Continuation, text_to_continue

if TYPE_CHECKING:
    from penstock_routing.search import Search


class RoutedStream:
    """
    The live end of a reply that is taken over when it breaks; see the rules above.

    Args:
        search: goes on to other targets.
        inner: the live reply of the first one.
        mode: how a broken stream is taken over.
    """

    __slots__ = ("_assembly", "_continuation", "_inner", "_mode", "_next", "_ready", "_search", "reply")

    def __init__(self, search: Search, inner: Reply, mode: Literal["restart", "continue"]) -> None:
        self._search = search
        self._mode = mode
        self._assembly = Assembly() if mode == "continue" else None
        self._continuation: Continuation | None = None
        self._ready: deque[Chunk] = deque()
        self._follow(inner)
        self.reply = Reply(chunks=self)

    def _follow(self, inner: Reply) -> None:
        self._inner = inner
        self._next: Any = inner.chunks.__anext__  # type: ignore[union-attr]  # a streamed reply is live

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._ready:
            return self._ready.popleft()
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        failure: CallError | None
        while True:
            try:
                chunk: Chunk | None = await self._next()
                failure = None
            except StopAsyncIteration:
                chunk, failure = None, None
            except CallError as error:
                chunk, failure = None, error
            except BaseException as error:
                await self._leave(error)
                raise
            if failure is not None:
                await self._recover(failure)
                chunk = self._ready.popleft() if self._ready else None
            elif chunk is None:
                await self._end()
            elif self._assembly is not None:
                chunk = self._unheard(self._assembly, chunk)
            if chunk is not None:
                return chunk

    async def aclose(self) -> None:
        """Stop; the outcome is `abandoned` unless the stream had ended."""
        self._ready.clear()
        if self.reply.outcome is None:
            await self._leave(None)

    def _unheard(self, assembly: Assembly, chunk: Chunk) -> Chunk | None:
        fresh = chunk if self._continuation is None else self._continuation(chunk)
        if fresh is not None:
            assembly.add(fresh)
        return fresh

    async def _end(self) -> NoReturn:
        """The stream is over."""
        await self._inner.close()
        inner = self._inner.outcome
        if inner is None or inner.kind == "ok":
            self.reply.finish(Outcome("ok", self._response()))
        else:
            self.reply.finish(Outcome(inner.kind, self._response(), inner.error))
        raise StopAsyncIteration

    async def _leave(self, error: BaseException | None) -> None:
        """Close and finish: left by the consumer or cancelled, or broken by what is no error of a call."""
        kind: Literal["failed", "abandoned"] = "failed" if isinstance(error, Exception) else "abandoned"
        try:
            await self._inner.close()
        finally:
            broken = error if kind == "failed" else None
            self.reply.finish(Outcome(kind, self._response(), broken))

    async def _recover(self, failure: CallError) -> None:
        search = self._search
        call, before = search.call, search.target
        assert before is not None  # noqa: S101  (for the type checker: it was answering)
        try:
            await self._inner.close()
            lost = await self._take_over(failure)
        except BaseException as error:
            await self._leave(error)
            raise
        now = call.runtime.now()
        if lost is None:
            assert search.target is not None  # noqa: S101  (for the type checker: it answers now)
            call.facts["target"] = search.target
            search.place.route.tally.add("recovered")
            if call.listeners:
                call.emit(StreamRecovered(now, call, before, search.target, self._mode, failure))
            return
        search.place.route.tally.add("lost")
        if call.listeners:
            call.emit(StreamLost(now, call, before, lost, failure))
        response = self._response()
        if hasattr(failure, "partial"):
            failure.partial = response
        self.reply.finish(Outcome("failed", response, failure))
        raise failure

    async def _take_over(
        self, failure: CallError
    ) -> Literal["final", "complete", "not_text", "exhausted"] | None:
        """Open the next target's stream and follow it; otherwise why that cannot be."""
        search, text = self._search, None
        partial = self._response()
        if isinstance(partial, ChatResponse) and all(choice.finish_reason for choice in partial.choices):
            return "complete"
        if self._assembly is not None:
            text = text_to_continue(self._assembly.response())
            if text is None:
                return "not_text"
        try:
            search.note(failure, search.target)
        except CallError:
            return "final"
        try:
            inner = await search.resume(text)
        except CallError as error:
            if isinstance(error, AllTargetsFailed):
                failure.add_note(f"not taken over: {error}")
                failure.tag("not_recovered")
            return "exhausted"
        self._follow(inner)
        if self._assembly is None:
            self._ready.append(Chunk(reset=True))
        elif text:
            self._continuation = Continuation(text)
        return None

    def _response(self) -> Any:
        """What the consumer has, as a response."""
        outcome = self._inner.outcome
        response = outcome.response if outcome is not None else None
        assembly = self._assembly
        if assembly is None or self._continuation is None:
            return response
        if isinstance(response, ChatResponse):
            assembly.model, assembly.id, assembly.extra = response.model, response.id, response.extra
        upstream_id = response.upstream_id if isinstance(response, ChatResponse) else None
        return assembly.response(upstream_id)
