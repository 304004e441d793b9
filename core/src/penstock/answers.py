"""What the caller holds in the end: answers, embeddings, and streams in two colours."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Sequence
from dataclasses import field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from penstock.call import Attempt, Outcome, Target, answered_by, current, leave
from penstock.errors import OutputValidationError, UsageError
from penstock.frozen import dataclass
from penstock.messages import Message, ToolCall
from penstock.responses import ChatResponse, EmbedResponse, FinishReason, Usage
from penstock.runtime import drive

if TYPE_CHECKING:
    from decimal import Decimal

    from penstock.call import Call, Reply
    from penstock.responses import Chunk, Response

N = TypeVar("N", int, "Decimal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    The answer to a chat call.

    Args:
        response: everything the provider said.
        target: who answered.
        request_id: Penstock's id of the call; the provider's is `response.upstream_id`.
        attempts: every attempt of the call, oldest first.
        cached: whether it came from the cache, `age` seconds old.
        cost: US dollars, None when unknown.
        parsed: the validated object when a `schema` was given.
    """

    response: ChatResponse
    target: Target
    request_id: str
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)
    cached: bool = False
    age: float | None = None
    cost: Decimal | None = None
    parsed: Any = None

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.response.text

    @property
    def reasoning(self) -> str:
        """The model's reasoning, where the provider shows it."""
        return self.response.reasoning

    @property
    def refusal(self) -> str:
        """Why the model refused, or ""."""
        return self.response.refusal

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools the model wants called."""
        return self.response.tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the first choice ended."""
        return self.response.finish_reason

    @property
    def usage(self) -> Usage:
        """Tokens; every field None when the provider did not say."""
        return self.response.usage or Usage()

    @property
    def message(self) -> Message:
        """The answer as a message, to append to the conversation."""
        extra = self.response.choices[0].extra
        return Message("assistant", self.text or None, tool_calls=self.tool_calls, extra=extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The answer to an embedding call; the fields are those of `Answer`."""

    response: EmbedResponse
    target: Target
    request_id: str
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)
    cached: bool = False
    age: float | None = None
    cost: Decimal | None = None

    @property
    def vectors(self) -> tuple[tuple[float, ...], ...]:
        """One vector for each input, in order."""
        return self.response.vectors

    @property
    def usage(self) -> Usage:
        """Tokens; every field None when the provider did not say."""
        return self.response.usage or Usage()


def answer_from(call: Call, response: Response | None, shape: Any) -> Answer:
    """
    The answer of a finished call.

    Raises:
        OutputValidationError: the text does not fit `shape`; the error carries the answer.
    """
    facts = call.facts
    answer = Answer(
        response=cast("ChatResponse", response),  # the engine has looked
        target=answered_by(call),
        request_id=call.id,
        attempts=tuple(call.attempts),
        cached=facts.get("cached", False),
        age=facts.get("age"),
        cost=facts.get("cost"),
    )
    if shape is None or answer.tool_calls or answer.refusal:
        return answer
    from penstock.requests import parse_output

    try:
        parsed = parse_output(shape, answer.text)
    except ValueError as error:
        problem = OutputValidationError(f"the answer does not fit the schema: {error}", answer=answer)
        problem.target, problem.attempts = answer.target, answer.attempts
        raise problem from None
    object.__setattr__(answer, "parsed", parsed)
    return answer


def embeddings_from(call: Call, response: Response | None) -> Embeddings:
    """The vectors of a finished call."""
    facts = call.facts
    return Embeddings(
        response=cast("EmbedResponse", response),
        target=answered_by(call),
        request_id=call.id,
        attempts=tuple(call.attempts),
        cached=facts.get("cached", False),
        age=facts.get("age"),
        cost=facts.get("cost"),
    )


def joined(parts: list[Embeddings]) -> Embeddings:
    """The vectors of several calls as one answer; what one of them does not know, the whole does not."""
    first = parts[0]
    if len(parts) == 1:
        return first
    usage = Usage(
        _total([part.usage.input_tokens for part in parts]),
        _total([part.usage.output_tokens for part in parts]),
    )
    response = replace(first.response, vectors=tuple(v for part in parts for v in part.vectors), usage=usage)
    return replace(
        first,
        response=response,
        attempts=tuple(attempt for part in parts for attempt in part.attempts),
        cached=all(part.cached for part in parts),
        cost=_total([part.cost for part in parts]),
    )


def _total(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], start=known[0]) if known and len(known) == len(values) else None


class _Streamed:
    """What both streams know: the call, and its answer once the stream has ended."""

    _call: Call
    _reply: Reply
    _shape: Any

    def __getattr__(self, name: str) -> Any:
        # Only what is missing gets here: the two that opening a stream sets.
        if name in ("_call", "_reply"):
            raise UsageError("the stream has not been opened: nothing was sent, or no answer came")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def answer(self) -> Answer:
        """
        The whole answer, equal to what `chat` would have given.

        Raises:
            UsageError: the stream has not ended, or was closed before its end.
            OutputValidationError: as `chat`.
        """
        outcome = self._reply.outcome
        if outcome is None or outcome.kind != "ok":
            raise UsageError("the stream has not reached its end; read it first")
        return answer_from(self._call, outcome.response, self._shape)

    @property
    def target(self) -> Target:
        """Who is answering."""
        return answered_by(self._call)

    @property
    def request_id(self) -> str:
        """Penstock's id of the call."""
        return self._call.id

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt of the call so far, oldest first."""
        return tuple(self._call.attempts)

    def _leaked(self) -> bool:
        reply = self.__dict__.get("_reply")
        return reply is not None and reply.outcome is None


class Stream(_Streamed):
    """
    A live answer in the blocking client: iterate it for its chunks, inside a `with` block.

    Leaving the block, or `close`, ends the call; what it had cost is settled.
    """

    def __init__(self, call: Call, reply: Reply, shape: Any) -> None:
        self._call = call
        self._reply = reply
        self._shape = shape
        self._next = reply.chunks.__anext__  # type: ignore[union-attr]  # a streamed reply is live

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        outer = current.get()
        current.set(self._call)
        try:
            return drive(cast("Coroutine[Any, Any, Chunk]", self._next()))
        except StopAsyncIteration:
            self.close()
            raise StopIteration from None
        except BaseException as error:
            self._close(error)
            raise
        finally:
            current.set(outer)

    def read(self) -> Answer:
        """Read to the end and return the whole answer."""
        for _ in self:
            pass
        return self.answer

    def close(self) -> None:
        """Stop reading and give the connection back; a second call does nothing."""
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        outer = current.get()
        current.set(self._call)
        try:
            drive(self._reply.close(error if isinstance(error, Exception) else None))
        finally:
            current.set(outer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._leaked():
            warnings.warn("a Stream was neither read to its end nor closed", ResourceWarning, stacklevel=2)
            self.close()


class AsyncStream(_Streamed):
    """
    A live answer in the asyncio client: `async with client.stream(...) as stream`, then `async for`.
    """

    def __init__(self, opening: Coroutine[Any, Any, tuple[Call, Reply]], shape: Any) -> None:
        self._opening: Coroutine[Any, Any, tuple[Call, Reply]] | None = opening
        self._shape = shape

    async def _open(self) -> Self:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._call, self._reply = await opening
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._opening is not None:
            await self._open()
        outer = current.get()
        current.set(self._call)
        try:
            return await self._reply.chunks.__anext__()  # type: ignore[union-attr]  # a streamed reply is live
        except BaseException as error:
            broke = isinstance(error, Exception) and not isinstance(error, StopAsyncIteration)
            await self._reply.close(error if broke else None)  # type: ignore[arg-type]  # an Exception then
            raise
        finally:
            leave(self._call, outer)

    async def read(self) -> Answer:
        """Read to the end and return the whole answer."""
        async for _ in self:
            pass
        return self.answer

    async def close(self) -> None:
        """Stop reading and give the connection back; a second call does nothing."""
        if self._opening is not None:
            self._opening.close()
            self._opening = None
        elif "_reply" in self.__dict__:
            outer = current.get()
            current.set(self._call)
            try:
                await self._reply.close()
            finally:
                leave(self._call, outer)

    def __del__(self) -> None:
        opening = getattr(self, "_opening", None)
        if opening is not None:
            opening.close()  # never awaited: nothing was sent
        elif self._leaked():
            self._drop()
            warnings.warn(
                "an AsyncStream was neither read to its end nor closed", ResourceWarning, stacklevel=2
            )

    def _drop(self) -> None:
        """End a call that nobody can await any more, so that its permits are given back."""
        closing = self._reply.close()
        try:
            self._call.runtime.spawn(closing)
        except RuntimeError:  # no loop runs here: what needs one is beyond help, what holds a permit is not
            closing.close()
            self._reply.finish(Outcome("abandoned"))
