"""
How another target continues a text that was cut off.

The text so far is put behind the conversation as an assistant message (prefill), and a model that can goes
on from there. What had arrived is never said again: reasoning that a continuation brings is dropped, and so
is the text itself where a server repeats it before it goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from penstock.messages import ChatRequest, Message
from penstock.tokens import text_tokens

if TYPE_CHECKING:
    from penstock.responses import ChatResponse, Chunk

ECHO_LENGTH = 16
"""Characters from which a literal repetition is an echo; a shorter one may be meant."""


def text_to_continue(partial: ChatResponse) -> str | None:
    """
    The text another target can go on from; None when there is more than text.

    A tool call cannot be prefilled, one of several choices cannot be told apart, and reasoning without a
    text would begin again.
    """
    choice = partial.choices[0]
    if len(partial.choices) > 1 or choice.tool_calls or choice.refusal:
        return None
    if choice.reasoning and not choice.text:
        return None
    return choice.text


def continued(request: ChatRequest, text: str) -> ChatRequest:
    """The request that asks for the rest; `max_tokens` is lowered by what there is, as far as can be told."""
    last = request.messages[-1]
    if last.role == "assistant" and isinstance(last.content, str) and not last.tool_calls:
        messages = (*request.messages[:-1], replace(last, content=last.content + text))
    else:
        messages = (*request.messages, Message("assistant", text))
    allowed = request.max_tokens
    if allowed is not None:
        allowed = max(1, allowed - round(text_tokens(text)))
    return replace(request, messages=messages, max_tokens=allowed)


class Continuation:
    """
    Takes from the chunks of a continuation what was said before.

    Args:
        text: what was there already.
    """

    __slots__ = ("_held", "_text")

    def __init__(self, text: str) -> None:
        self._text = text if len(text) >= ECHO_LENGTH else ""
        self._held = ""

    def __call__(self, chunk: Chunk) -> Chunk | None:
        """The chunk as it may be passed on; None when nothing of it is left."""
        text = chunk.text
        if self._text:
            text = self._unheard(text, last=chunk.finish_reason is not None)
        if text == chunk.text and not chunk.reasoning:
            return chunk
        chunk = replace(chunk, text=text, reasoning="")
        empty = not chunk.has_content and chunk.usage is None and not chunk.extra
        return None if empty else chunk

    def _unheard(self, text: str, *, last: bool) -> str:
        said = self._held + text
        if len(said) < len(self._text) and self._text.startswith(said) and not last:
            self._held = said
            return ""
        echoed = said.startswith(self._text)
        said = said[len(self._text) :] if echoed else said
        self._text = self._held = ""
        return said
