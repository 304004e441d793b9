"""
What is written to a store: an answer, when it was given, how long it is fresh, and who gave it.

Rules
1. No pickle. Chat answers are JSON without names (`key.layout` is part of every key, so other fields mean
   other keys); above 1 KiB it is compressed. Vectors are packed as float32 where that is exact, else as
   float64, and left as they are: the bits of floats hardly compress.
2. What is read is equal to what was written. A value that cannot be written like that has no entry.
3. An answer that was streamed is kept as its events, if they add up to it: pieces of plain text as bare
   strings.
4. A store in this process's memory may be given a short answer as it is (`at_hand`): answers are frozen, and
   writing and reading one takes longer than all else the cache does.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from sys import getsizeof
from types import MappingProxyType
from typing import Any, TypeAlias

from penstock.call import Target
from penstock.messages import EMPTY, ToolCall
from penstock.responses import (
    Assembly,
    ChatResponse,
    Choice,
    Chunk,
    EmbedResponse,
    Response,
    ToolCallDelta,
    Usage,
)
from penstock_cache.key import SCHEMA

COMPRESS_ABOVE = 1024
"""Bytes of JSON from which an entry is compressed."""

AT_HAND_BYTES = 2048
"""Bytes in memory up to which an answer is kept as it is; a longer one is worth compressing."""
_OBJECTS, _CHOICE_OBJECTS = 400, 160
"""Bytes of the objects of an answer and of each choice, texts apart; CPython 3.11, rounded up."""
_SIMPLE = frozenset((str, int, type(None)))

LogEvent: TypeAlias = str | Sequence[Any]
"""One event of a stream at rest: its text, or when there is more to it, all its fields."""


class Unstorable(ValueError):
    """The answer holds what an entry cannot."""


class CorruptEntry(ValueError):
    """What the store gave back is no entry, or one of another version."""


@dataclass(slots=True)
class Entry:
    """
    An answer at rest.

    Args:
        created: seconds on the store's clock.
        fresh_until: the same; from then on it is stale.
        target: who answered.
        answer: the whole answer; of a streamed one, without what the events say.
        log: the events of a streamed one, else None.
        weight: bytes it takes in memory, roughly; 0 unless it is kept as it is.
    """

    created: float
    fresh_until: float
    target: Target
    answer: ChatResponse | EmbedResponse
    log: Sequence[LogEvent] | None = None
    weight: int = 0

    def response(self) -> ChatResponse | EmbedResponse:
        """The whole answer."""
        if self.log is None or not isinstance(self.answer, ChatResponse):
            return self.answer
        return added_up(self.log, self.answer)

    def __len__(self) -> int:
        """Bytes it takes in memory, roughly, when it is kept as it is."""
        return self.weight


# Events


_CHUNK = tuple(field.name for field in fields(Chunk))
_TOOLS, _USAGE, _RESET = (_CHUNK.index(name) for name in ("tool_calls", "usage", "reset"))
_WIDTH = len(_CHUNK)
_everything = attrgetter(*_CHUNK)
_besides_text = attrgetter(*(name for name in _CHUNK if name != "text"))
_PLAIN = _besides_text(Chunk())
_DELTA = attrgetter(*(field.name for field in fields(ToolCallDelta)))
_USED = attrgetter(*(field.name for field in fields(Usage)))


def record(chunk: Chunk) -> LogEvent:
    """An event as values that nobody else can change."""
    if _besides_text(chunk) == _PLAIN:
        return chunk.text
    values = list(_everything(chunk))
    # None stands for the empty tuple, which JSON would give back as a list.
    values[_TOOLS] = None if chunk.tool_calls == () else [_DELTA(delta) for delta in chunk.tool_calls]
    values[_USAGE] = _USED(chunk.usage) if chunk.usage is not None else None
    return values


def revive(event: LogEvent) -> Chunk:
    """A fresh chunk for one reader."""
    if event.__class__ is str:
        return Chunk(event)
    values = list(event)
    tools, usage = values[_TOOLS], values[_USAGE]
    values[_TOOLS] = [ToolCallDelta(*delta) for delta in tools] if tools is not None else ()
    values[_USAGE] = Usage(*usage) if usage is not None else None
    return Chunk(*values)


def added_up(log: Iterable[LogEvent], rest: ChatResponse | None = None) -> ChatResponse:
    """
    The whole answer that events amount to.

    Args:
        log: the events.
        rest: brings what no event says: id, model, extra.
    """
    assembly = Assembly()
    texts: list[str] = []
    for event in log:
        if isinstance(event, str):
            texts.append(event)
            continue
        if texts:
            assembly.add(Chunk("".join(texts)))
            texts.clear()
        assembly.add(revive(event))
    if texts:
        assembly.add(Chunk("".join(texts)))
    response = assembly.response()
    if rest is None:
        return response
    return replace(rest, choices=response.choices, usage=response.usage)


# Bytes


def encode(entry: Entry) -> bytes:
    """
    An entry as bytes.

    Raises:
        Unstorable: it would not be read back equal.
    """
    head = (SCHEMA, entry.created, entry.fresh_until, *entry.target)
    answer = entry.answer
    try:
        if isinstance(answer, EmbedResponse):
            return _pack_vectors(head, answer)
        if entry.log is None:
            text = _encode((*head, _flat(answer)))
        else:
            text = _encode((*head, _flat(answer), entry.log))
        data = text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError, OverflowError, struct.error):
        raise Unstorable(f"a {type(answer).__name__} holds what an entry cannot") from None
    return data if len(data) <= COMPRESS_ABOVE else b"Z" + zlib.compress(data, 6)


def at_hand(entry: Entry) -> Entry | bytes:
    """
    The entry itself where it holds no more than a few short texts, else its bytes.

    Raises:
        Unstorable: as `encode` does.
    """
    answer = entry.answer
    if entry.log is None and type(answer) is ChatResponse:
        weight = _weight(answer)
        if weight is not None and weight <= AT_HAND_BYTES:
            if answer.extra:
                # The one who asked has the other, and may write into it.
                entry.answer = replace(answer, extra=dict(answer.extra))
            entry.weight = weight
            return entry
    return encode(entry)


def _weight(answer: ChatResponse) -> int | None:
    """Bytes the objects of a plain answer take, roughly; None when it holds more than texts."""
    size = _OBJECTS + getsizeof(answer.model) + getsizeof(answer.id) + getsizeof(answer.upstream_id)
    for choice in answer.choices:
        if choice.tool_calls or choice.extra or choice.refusal or choice.logprobs is not None:
            return None
        size += _CHOICE_OBJECTS + getsizeof(choice.text) + getsizeof(choice.reasoning)
    for name, value in answer.extra.items():
        if type(value) not in _SIMPLE:
            return None
        size += getsizeof(name) + getsizeof(value)
    return size


def decode(data: bytes) -> Entry:
    """
    The entry in some bytes.

    Raises:
        CorruptEntry: there is none, or one of another version.
    """
    try:
        if data[:1] == b"V":
            return _unpack_vectors(data)
        if data[:1] == b"Z":
            data = zlib.decompress(data[1:])
        schema, created, fresh_until, provider, model, answer, *log = json.loads(
            data.decode("utf-8", "surrogatepass")
        )
        if schema != SCHEMA:
            raise CorruptEntry(f"the entry is of version {schema!r}")
        events = log[0] if log else None
        if events is not None and not all(type(event) is str or len(event) == _WIDTH for event in events):
            raise CorruptEntry("an event of the entry has other fields")
        return Entry(created, fresh_until, Target(provider, model), _response(answer), events)
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, zlib.error) as error:
        raise CorruptEntry(f"the store gave back what is no entry ({type(error).__name__})") from None


class Decoder:
    """
    `decode`, with the last small entries remembered: decoding is a third of what a hit costs.

    The answer is shared by all who hit it; answers are frozen.
    """

    MAX_ENTRIES = 64
    MAX_BYTES = 4096

    def __init__(self) -> None:
        self._recent: dict[str, tuple[bytes, Entry]] = {}

    def __call__(self, key: str, data: bytes) -> Entry:
        """The entry under a key; raises CorruptEntry as `decode` does."""
        found = self._recent.get(key)
        # The bytes decide, so nothing needs to be told when an entry is replaced or dropped.
        if found is not None and (found[0] is data or found[0] == data):
            return found[1]
        entry = decode(data)
        if len(data) <= self.MAX_BYTES:
            if len(self._recent) >= self.MAX_ENTRIES:
                self._recent.clear()
            self._recent[key] = (data, entry)
        return entry


def bare(response: ChatResponse) -> ChatResponse:
    """What no event of its stream says; kept beside the events."""
    return replace(response, choices=(), usage=None)


def _getter(kind: type) -> tuple[attrgetter[Any], dict[str, int]]:
    names = [field.name for field in fields(kind)]
    return attrgetter(*names), {name: index for index, name in enumerate(names)}


_RESPONSE, _response_at = _getter(ChatResponse)
_CHOICE, _choice_at = _getter(Choice)
_CALL, _call_at = _getter(ToolCall)
_EMBEDDED, _embedded_at = _getter(EmbedResponse)


def _flat(answer: ChatResponse) -> list[Any]:
    """An answer as lists, as far as that is cheaper than to have the encoder ask for each object."""
    values = list(_RESPONSE(answer))
    values[_response_at["choices"]] = [_flat_choice(choice) for choice in answer.choices]
    if answer.usage is not None:
        values[_response_at["usage"]] = _USED(answer.usage)
    if not answer.extra:
        values[_response_at["extra"]] = None
    return values


def _flat_choice(choice: Choice) -> Any:
    if choice.extra:
        return choice
    values = list(_CHOICE(choice))
    values[_choice_at["extra"]] = None
    return values


def _at_rest(value: Any) -> Any:
    """What `json` does not know."""
    kind = type(value)
    if kind is MappingProxyType:
        return dict(value)
    handle = {Choice: _CHOICE, ToolCall: _CALL, Usage: _USED}.get(kind)
    if handle is None and isinstance(value, Mapping):
        return dict(value)
    if handle is None:
        raise TypeError(f"{kind.__name__} is not JSON")
    return handle(value)


_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=_at_rest, check_circular=False
).encode


def _response(values: list[Any]) -> ChatResponse:
    at = _response_at
    usage = values[at["usage"]]
    values[at["choices"]] = tuple([_choice(choice) for choice in values[at["choices"]]])
    values[at["usage"]] = Usage(*usage) if usage is not None else None
    values[at["extra"]] = values[at["extra"]] or EMPTY
    return ChatResponse(*values)


def _choice(values: list[Any]) -> Choice:
    tools = values[_choice_at["tool_calls"]]
    values[_choice_at["tool_calls"]] = tuple([_tool_call(call) for call in tools]) if tools else ()
    values[_choice_at["extra"]] = values[_choice_at["extra"]] or EMPTY
    return Choice(*values)


def _tool_call(values: list[Any]) -> ToolCall:
    values[_call_at["extra"]] = values[_call_at["extra"]] or EMPTY
    return ToolCall(*values)


def _pack_vectors(head: tuple[Any, ...], answer: EmbedResponse) -> bytes:
    lengths = [len(vector) for vector in answer.vectors]
    numbers = tuple(number for vector in answer.vectors for number in vector)
    for form in "fd":
        try:
            packed = struct.pack(f"<{len(numbers)}{form}", *numbers)
        except OverflowError:  # too large for a float32
            continue
        if struct.unpack(f"<{len(numbers)}{form}", packed) == numbers:
            break
    else:
        raise ValueError("numbers that no float holds")
    values = list(_EMBEDDED(answer))
    values[_embedded_at["vectors"]] = lengths
    text = _encode((*head, form, values))
    return b"V" + text.encode("utf-8", "surrogatepass") + b"\n" + packed  # JSON has no bare line break


def _unpack_vectors(data: bytes) -> Entry:
    text, _, packed = data[1:].partition(b"\n")
    schema, created, fresh_until, provider, model, form, values = json.loads(
        text.decode("utf-8", "surrogatepass")
    )
    if schema != SCHEMA:
        raise CorruptEntry(f"the entry is of version {schema!r}")
    vectors, at, size = [], 0, struct.calcsize(f"<{form}")
    for length in values[_embedded_at["vectors"]]:
        vectors.append(struct.unpack_from(f"<{length}{form}", packed, at))
        at += length * size
    usage = values[_embedded_at["usage"]]
    values[_embedded_at["vectors"]] = tuple(vectors)
    values[_embedded_at["usage"]] = Usage(*usage) if usage is not None else None
    return Entry(created, fresh_until, Target(provider, model), EmbedResponse(*values))


def kept_as(response: Response, log: Sequence[LogEvent] | None) -> tuple[Any, Sequence[LogEvent] | None]:
    """
    How an answer is kept: its events and the rest, or the answer alone.

    The events count only if they add up to the answer; a stage between may have changed the one or the other.
    """
    if log is not None and isinstance(response, ChatResponse):
        log = _since_reset(log)
        rest = bare(response)
        if added_up(log, rest) == response:
            return rest, log
    return response, None


def _since_reset(log: Sequence[LogEvent]) -> Sequence[LogEvent]:
    """The events of the attempt that made the answer, without those of one that broke before."""
    for at in range(len(log) - 1, -1, -1):
        event = log[at]
        if not isinstance(event, str) and event[_RESET]:
            return [[*event[:_RESET], False, *event[_RESET + 1 :]], *log[at + 1 :]]
    return log
