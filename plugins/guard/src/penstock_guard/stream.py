"""
A streamed answer whose private data is masked, or ends the stream, before anybody reads it.

Rules
1. The last `HOLD` characters of each text (of a choice, its reasoning, a tool call's arguments) are held back
   until more arrives or its choice ends, because a find may be split over events. A find that touches what is
   held is held with it.
2. What is told is masked; so are the assembled response and the partial one of an error.
3. Log probabilities are left out: they spell the text out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from penstock.call import Outcome, Reply
from penstock.errors import RequestRejected
from penstock.responses import ChatResponse, Chunk, ToolCallDelta
from penstock_guard.scan import Find

if TYPE_CHECKING:
    from penstock_guard.scan import Scanner

HOLD = 256
"""Characters; a longer find may show its beginning."""
CONTEXT = 64
"""Characters kept behind what was told, because what a find is depends on what stands before it."""

_Key = tuple[str, int, int]


class ScannedStream:
    """
    The live end of a scanned reply.

    Args:
        inner: the live reply.
        scanner: what to look for.
        action: `mask`, or `reject` to end the stream at the first find.
        report: told once, at the end, how often each pattern was found.
        refused: makes the error of a stream that is rejected.
    """

    __slots__ = ("_action", "_count", "_held", "_inner", "_ready", "_refused", "_report", "_scanner", "reply")

    def __init__(
        self,
        inner: Reply,
        scanner: Scanner,
        action: Literal["mask", "reject"],
        report: Callable[[Counter[str]], None],
        refused: Callable[[Counter[str]], RequestRejected],
    ) -> None:
        self._inner = inner
        self._scanner = scanner
        self._action = action
        self._report = report
        self._refused = refused
        self._held: dict[_Key, tuple[int, str]] = {}  # how much of it was told, and the text
        self._count: Counter[str] = Counter()
        self._ready: deque[Chunk] = deque()
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            if self._ready:
                return self._ready.popleft()
            if self.reply.outcome is not None:
                raise StopAsyncIteration
            try:
                chunk = await self._inner.chunks.__anext__()  # type: ignore[union-attr]  # a live reply
            except StopAsyncIteration:
                self._flush(None)
                await self._judge()
                if self._ready:
                    continue
                self._finish("ok")
                raise
            except BaseException as error:
                await self._broke(error)
                raise
            self._take(chunk)
            await self._judge()

    async def aclose(self) -> None:
        """Stop reading; the outcome is `abandoned` unless the stream had ended."""
        self._ready.clear()
        if self.reply.outcome is None:
            try:
                await self._inner.close()
            finally:
                self._finish("abandoned")

    async def _judge(self) -> None:
        if self._action == "reject" and self._count:
            error = self._refused(self._count)
            self._ready.clear()
            try:
                await self._inner.close()
            finally:
                self._finish("failed", error)
            raise error

    async def _broke(self, error: BaseException) -> None:
        partial = getattr(error, "partial", None)
        if partial is not None:
            error.partial = self._scanner.response(partial)[0]  # type: ignore[attr-defined]  # just read
        try:
            await self._inner.close()
        finally:
            self._finish("failed" if isinstance(error, Exception) else "abandoned", error)

    def _finish(self, kind: Any, error: BaseException | None = None) -> None:
        if self.reply.outcome is not None:
            return
        inner = self._inner.outcome
        response: Any = inner.response if inner is not None else None
        if isinstance(response, ChatResponse):
            response, _ = self._scanner.response(response)
        if self._count:
            self._report(self._count)
        failed = error if isinstance(error, Exception) else None
        self.reply.finish(Outcome(kind, response, failed))

    # Text

    def _take(self, chunk: Chunk) -> None:
        if chunk.reset:
            self._held.clear()
        choice = chunk.choice
        told = replace(
            chunk,
            text=self._more(("text", choice, 0), chunk.text),
            reasoning=self._more(("reasoning", choice, 0), chunk.reasoning),
            refusal=self._more(("refusal", choice, 0), chunk.refusal),
            tool_calls=[
                replace(delta, arguments=self._more(("tool", choice, delta.position), delta.arguments))
                for delta in chunk.tool_calls
            ],
            logprobs=None,
            extra=self._scanner.value(chunk.extra, Counter()) if chunk.extra else chunk.extra,
        )
        if chunk.finish_reason is not None:
            self._flush(choice)
        if told.has_content or told.usage is not None or told.extra or told.reset:
            self._ready.append(told)

    def _more(self, key: _Key, piece: str) -> str:
        """What of a text may be told now that a piece of it has come."""
        if not piece:
            return ""
        told, text = self._held.get(key, (0, ""))
        text += piece
        until = len(text) - HOLD
        finds = self._scanner.finds(text) if until > told else []
        for find in finds:
            if find.start < until < find.end:
                until = max(find.start, told)
        if until <= told:
            self._held[key] = told, text
            return ""
        keep = max(0, until - CONTEXT)
        self._held[key] = until - keep, text[keep:]
        return self._masked(text[:until], told, [find for find in finds if find.end <= until])

    def _masked(self, text: str, told: int, finds: list[Find]) -> str:
        """The text from `told` on, masked; a find that began before it is masked from there."""
        new = [
            Find(each.name, max(each.start, told) - told, each.end - told)
            for each in finds
            if each.end > told
        ]
        self._count.update(find.name for find in new)
        return self._scanner.masked(text[told:], new)

    def _flush(self, choice: int | None) -> None:
        """Tell what is held: of a choice that ends, or of all."""
        for key in [key for key in self._held if choice is None or key[1] == choice]:
            kind, number, position = key
            told, text = self._held.pop(key)
            text = self._masked(text, told, self._scanner.finds(text))
            if not text:
                continue
            chunk = Chunk(choice=number)
            if kind == "tool":
                chunk.tool_calls = [ToolCallDelta(position, arguments=text)]
            else:
                setattr(chunk, kind, text)
            self._ready.append(chunk)
