"""
Find private data and secrets in texts, and mask them.

A scanner knows no call: it takes texts, requests and responses and gives them back with its finds masked,
the very same object where there was none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.frozen import dataclass
from penstock.messages import ChatRequest, EmbedRequest, Message, RawPart, Text, ToolCall
from penstock.responses import ChatResponse, Choice
from penstock_guard.patterns import PATTERNS, Pattern

if TYPE_CHECKING:
    from penstock.messages import Part, Request
    from penstock.responses import Response

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Find:
    """
    A place in a text.

    Args:
        name: the pattern's.
        start, end: characters.
    """

    name: str
    start: int
    end: int


class Scanner:
    """
    Looks for patterns.

    Args:
        patterns: names of the table in `patterns.py`.
        custom: further ones, a name and a regular expression each.
        mask: what stands in for a find; `{name}` is its pattern's name.

    Raises:
        KeyError: there is no such pattern.
        re.error: a custom one is no regular expression.
    """

    def __init__(
        self,
        patterns: Iterable[str] = tuple(PATTERNS),
        custom: Mapping[str, str] | None = None,
        mask: str = "[{name}]",
    ) -> None:
        chosen = {name: PATTERNS[name] for name in patterns}
        chosen |= {name: Pattern(source) for name, source in (custom or {}).items()}
        self._patterns = [(name, re.compile(each.source), each.check) for name, each in chosen.items()]
        self._masks = {name: mask.replace("{name}", name) for name in chosen}

    def finds(self, text: str) -> list[Find]:
        """Every find in order; of two that overlap the one that begins first, or is longer."""
        found = [
            Find(name, start, end)
            for name, pattern, check in self._patterns
            for start, end in _spans(text, pattern, check)
        ]
        if len(found) < 2:
            return found
        found.sort(key=lambda find: (find.start, -find.end))
        apart: list[Find] = []
        for find in found:
            if not apart or find.start >= apart[-1].end:
                apart.append(find)
        return apart

    def masked(self, text: str, finds: Iterable[Find]) -> str:
        """The text with its finds masked."""
        pieces, position = [], 0
        for find in finds:
            pieces += [text[position : find.start], self._masks[find.name]]
            position = find.end
        return "".join([*pieces, text[position:]])

    def clean(self, text: str, count: Counter[str]) -> str:
        """The text masked; what was found is added to `count`."""
        finds = self.finds(text)
        if not finds:
            return text
        count.update(find.name for find in finds)
        return self.masked(text, finds)

    def request(self, request: Request) -> tuple[Request, Counter[str]]:
        """A request masked, and how often each pattern was found in it."""
        count: Counter[str] = Counter()
        if isinstance(request, ChatRequest):
            messages = self._all(request.messages, self._message, count)
            if messages is not request.messages:
                request = replace(request, messages=messages)
        elif isinstance(request, EmbedRequest):
            inputs = self._all(request.inputs, self.clean, count)
            if inputs is not request.inputs:
                request = replace(request, inputs=inputs)
        return request, count

    def response(self, response: Response) -> tuple[Response, Counter[str]]:
        """A response masked, and how often each pattern was found in it."""
        count: Counter[str] = Counter()
        if isinstance(response, ChatResponse):
            choices = self._all(response.choices, self._choice, count)
            if choices is not response.choices:
                response = replace(response, choices=choices)
        return response, count

    def value(self, value: Any, count: Counter[str]) -> Any:
        """Plain data with every text in it masked."""
        if isinstance(value, str):
            return self.clean(value, count)
        if isinstance(value, Mapping):
            inside = {key: self.value(item, count) for key, item in value.items()}
            return value if all(inside[key] is item for key, item in value.items()) else inside
        if isinstance(value, list | tuple):
            items = [self.value(item, count) for item in value]
            return value if all(map(_same, items, value)) else items
        return value

    def _message(self, message: Message, count: Counter[str]) -> Message:
        content = message.content
        if isinstance(content, str):
            content = self.clean(content, count)
        elif content is not None:
            content = self._all(content, self._part, count)
        calls = self._all(message.tool_calls, self._call, count)
        if content is message.content and calls is message.tool_calls:
            return message
        return replace(message, content=content, tool_calls=calls)

    def _part(self, part: Part, count: Counter[str]) -> Part:
        if isinstance(part, Text):
            text = self.clean(part.text, count)
            return part if text is part.text else Text(text)
        if isinstance(part, RawPart):
            payload = self.value(part.payload, count)
            return part if payload is part.payload else RawPart(payload)
        return part

    def _call(self, call: ToolCall, count: Counter[str]) -> ToolCall:
        arguments = self.clean(call.arguments, count)
        return call if arguments is call.arguments else replace(call, arguments=arguments)

    def _choice(self, choice: Choice, count: Counter[str]) -> Choice:
        before = count.total()
        changed = replace(
            choice,
            text=self.clean(choice.text, count),
            reasoning=self.clean(choice.reasoning, count),
            refusal=self.clean(choice.refusal, count),
            tool_calls=self._all(choice.tool_calls, self._call, count),
        )
        if choice.extra:
            # It repeats the reasoning in the provider's own form, so its finds are no further ones.
            again: Counter[str] = Counter()
            changed = replace(changed, extra=self.value(choice.extra, again))
            if again and count.total() == before:
                count.update(again)
        if count.total() == before:
            return choice
        # The log probabilities spell the text out token by token.
        return replace(changed, logprobs=None)

    @staticmethod
    def _all(items: tuple[T, ...], clean: Any, count: Counter[str]) -> tuple[T, ...]:
        cleaned = tuple(clean(item, count) for item in items)
        return items if all(map(_same, cleaned, items)) else cleaned


def _spans(
    text: str, pattern: re.Pattern[str], check: Callable[[str], bool] | None
) -> Iterator[tuple[int, int]]:
    position = 0
    while (match := pattern.search(text, position)) is not None:
        if match.end() > match.start() and (check is None or check(match[0])):
            yield match.span()
            position = match.end()
        else:
            # The next may begin inside what was none.
            position = match.start() + 1


def _same(one: object, other: object) -> bool:
    return one is other


def texts_of(response: Response) -> Iterator[str]:
    """Every text of a response, for a scan that changes nothing."""
    if isinstance(response, ChatResponse):
        for choice in response.choices:
            yield from (choice.text, choice.reasoning, choice.refusal)
            yield from (call.arguments for call in choice.tool_calls)
