"""
What a provider says: chunks while it streams, a response when it is whole.

Codecs build `Chunk` and `ChatResponse`; `Assembly` turns the one into the other, so a streamed and a
plain answer are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias

from penstock.frozen import Shared, dataclass
from penstock.messages import EMPTY, ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens as the provider counted them; None is unknown, never zero.

    Args:
        input_tokens: prompt tokens, `cached_tokens` included.
        output_tokens: completion tokens, `reasoning_tokens` included.
        cached_tokens: the part of the input served from the provider's own cache.
        reasoning_tokens: the part of the output spent on reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Input plus output, None when either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class ToolCallDelta:
    """
    A piece of a tool call.

    Args:
        position: which call of the answer, from 0; the codec has resolved ids and indices already.
        id: set when it is first known, else "".
        name: set when it is first known, else "".
        arguments: the next piece of the JSON text.
        extra: what else the provider wants back with the call; the last word for each key counts.
    """

    position: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Chunk:
    """
    One event of a stream. Most carry only `text`.

    Args:
        text: the next piece of the answer.
        reasoning: the next piece of the model's reasoning.
        refusal: the next piece of a refusal.
        tool_calls: pieces of tool calls.
        finish_reason: set once, on the event that ends the choice.
        raw_finish_reason: the provider's own word for it.
        usage: the provider's count so far; the last one wins.
        choice: which of `n` choices, from 0.
        logprobs: as the provider sent them.
        extra: further fields of the delta that belong to the message, such as reasoning details; lists of
            later events are appended to those of earlier ones.
        reset: forget everything before this event: another target begins the answer anew.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    choice: int = 0
    logprobs: Any = None
    extra: Mapping[str, Any] | None = None
    reset: bool = False

    @property
    def has_content(self) -> bool:
        """Whether this event commits the stream: model output, or the reason there is none."""
        return bool(
            self.text or self.reasoning or self.tool_calls or self.refusal or self.finish_reason is not None
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """
    One of the `n` answers to a request.

    Args:
        extra: further fields of the message, to be sent back with it in the next turn.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    logprobs: Any = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY), repr=False)


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """
    A whole answer as the provider gave it.

    Args:
        choices: at least one; the properties below read the first.
        model: the model that answered, by the provider's word.
        id: the provider's id of the answer.
        usage: tokens, or None when the provider did not say.
        extra: further top-level fields worth keeping (system_fingerprint, citations, ...).
        upstream_id: the provider's request id, from its headers.
    """

    choices: tuple[Choice, ...]
    model: str = ""
    id: str = ""
    usage: Usage | None = None
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY), repr=False)
    upstream_id: str | None = None

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        return self.choices[0].reasoning

    @property
    def refusal(self) -> str:
        return self.choices[0].refusal

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason

    @property
    def raw_finish_reason(self) -> str | None:
        return self.choices[0].raw_finish_reason


@dataclass(frozen=True, slots=True)
class EmbedResponse:
    """
    Vectors, in the order of the inputs.

    Args:
        vectors: one tuple of floats for each input.
    """

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    model: str = ""
    usage: Usage | None = None
    upstream_id: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """
    A model a provider offers; None is unknown.

    Args:
        id: the provider's name for it.
        provider: the provider's instance name.
        context_length: tokens.
        capabilities: such as `chat`, `embed`, `tools`, `vision`, `reasoning`.
        extra: what else the provider says.
    """

    id: str
    provider: str = ""
    context_length: int | None = None
    capabilities: frozenset[str] | None = None
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY), repr=False)


@dataclass(frozen=True, slots=True)
class ModelsResponse:
    """The models a provider offers."""

    models: tuple[Model, ...]
    usage: None = None
    upstream_id: str | None = None


Response: TypeAlias = ChatResponse | EmbedResponse | ModelsResponse


class Assembly:
    """Collects the chunks of a stream into the response a plain call would have given."""

    __slots__ = ("_choices", "extra", "id", "model", "usage")

    def __init__(self) -> None:
        self.model = ""
        self.id = ""
        self.usage: Usage | None = None
        self.extra: Mapping[str, Any] = EMPTY
        self._choices: dict[int, _ChoiceParts] = {}

    def add(self, chunk: Chunk) -> None:
        """Take one chunk; called once for each, so it only appends."""
        if chunk.reset:
            self._choices.clear()
            self.usage = None
        if chunk.usage is not None:
            self.usage = chunk.usage
        parts = self._choices.get(chunk.choice)
        if parts is None:
            parts = self._choices[chunk.choice] = _ChoiceParts()
        if chunk.text:
            parts.text.append(chunk.text)
        if chunk.reasoning:
            parts.reasoning.append(chunk.reasoning)
        if chunk.refusal:
            parts.refusal.append(chunk.refusal)
        if chunk.logprobs is not None:
            parts.logprobs.append(chunk.logprobs)
        if chunk.extra:
            for key, value in chunk.extra.items():
                known = parts.extra.get(key)
                both = isinstance(known, list) and isinstance(value, list)
                parts.extra[key] = known + value if both else value
        for delta in chunk.tool_calls:
            call = parts.tool_calls.setdefault(delta.position, ["", "", [], EMPTY])
            call[0] = call[0] or delta.id
            call[1] = call[1] or delta.name
            if delta.arguments:
                call[2].append(delta.arguments)
            if delta.extra:
                call[3] = {**call[3], **delta.extra}
        if chunk.finish_reason is not None:
            parts.finish_reason = chunk.finish_reason
            parts.raw_finish_reason = chunk.raw_finish_reason

    def response(self, upstream_id: str | None = None) -> ChatResponse:
        """What has arrived so far."""
        choices = tuple(parts.choice() for _, parts in sorted(self._choices.items()))
        return ChatResponse(
            choices=choices or (Choice(),),
            model=self.model,
            id=self.id,
            usage=self.usage,
            extra=self.extra,
            upstream_id=upstream_id,
        )


class _ChoiceParts:
    __slots__ = (
        "extra",
        "finish_reason",
        "logprobs",
        "raw_finish_reason",
        "reasoning",
        "refusal",
        "text",
        "tool_calls",
    )

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.logprobs: list[Any] = []
        self.tool_calls: dict[int, list[Any]] = {}
        self.extra: dict[str, Any] = {}
        self.finish_reason: FinishReason | None = None
        self.raw_finish_reason: str | None = None

    def choice(self) -> Choice:
        return Choice(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            refusal="".join(self.refusal),
            tool_calls=tuple(
                ToolCall(call[0], call[1], "".join(call[2]), call[3])
                for _, call in sorted(self.tool_calls.items())
            ),
            finish_reason=self.finish_reason,
            raw_finish_reason=self.raw_finish_reason,
            logprobs=self.logprobs or None,
            extra=self.extra or EMPTY,
        )


def chunks_of(response: ChatResponse) -> Iterator[Chunk]:
    """The stream that a finished response amounts to, one chunk for each kind of content."""
    for number, choice in enumerate(response.choices):
        if choice.reasoning:
            yield Chunk(reasoning=choice.reasoning, choice=number)
        if choice.text:
            yield Chunk(text=choice.text, choice=number, logprobs=choice.logprobs)
        if choice.refusal:
            yield Chunk(refusal=choice.refusal, choice=number)
        if choice.extra:
            yield Chunk(extra=choice.extra, choice=number)
        if choice.tool_calls:
            deltas = [
                ToolCallDelta(position, call.id, call.name, call.arguments, call.extra or None)
                for position, call in enumerate(choice.tool_calls)
            ]
            yield Chunk(tool_calls=deltas, choice=number)
        if choice.finish_reason is not None:
            yield Chunk(
                finish_reason=choice.finish_reason, raw_finish_reason=choice.raw_finish_reason, choice=number
            )
    if response.usage is not None:
        yield Chunk(usage=response.usage)
