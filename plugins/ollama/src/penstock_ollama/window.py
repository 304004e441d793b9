"""
Which context window a chat needs: the preflight, as arithmetic.

Ollama runs a model with the window of the request (`num_ctx`), of its Modelfile, or of the server, and cuts
what does not fit without a word. A window that changes makes the server load the model anew.

Rules
1. A window that somebody set, in the request or the configuration, is kept; a prompt beyond it is refused.
2. Otherwise the prompt may fill what the model was made for. A prompt beyond that is refused; one that
   may not fit the usual window asks for a larger one.
3. Windows grow in powers of two and never shrink while they are remembered, so that prompts of many
   lengths do not load a model many times.
"""

from __future__ import annotations

from penstock.errors import ContextLengthError

SMALLEST = 1024
"""No model that chats runs with fewer tokens; what fits here needs no look at the model."""
USUAL = 4096
"""The window a server gives when nobody sets one; some give more."""
ANSWER = 1024
"""Tokens kept for the answer when the request does not say how long it may be."""
MARGIN = 1.1
"""The estimate is made from characters; this much of it more is asked for."""


def needed(tokens: int, answer: int | None) -> int:
    """Tokens of window for a prompt of about `tokens`, and an answer of at most `answer` if that is known."""
    return int(tokens * MARGIN) + (ANSWER if answer is None or answer < 0 else answer)


def enlarged(
    tokens: int, answer: int | None, *, before: int | None, limit: int | None, usual: int
) -> int | None:
    """
    The window to ask for, None to leave it to the server.

    Args:
        tokens: the prompt's estimate.
        answer: how long the answer may be, or None.
        before: the window asked for last time.
        limit: the largest the model was made for, or None when unknown.
        usual: what the server gives by itself.
    """
    need = needed(tokens, answer)
    if need <= max(before or 0, usual):
        return before
    window = 1 << (need - 1).bit_length()
    return window if limit is None else max(min(window, limit), min(usual, limit))


def refuse_beyond(tokens: int, limit: int, target: object) -> None:
    """
    Let a prompt pass that fits.

    Raises:
        ContextLengthError: it does not; nothing is sent.
    """
    if tokens > limit:
        raise ContextLengthError(
            f"{target}: about {tokens} tokens of input do not fit into a window of {limit}; nothing was sent "
            "(with preflight = false Ollama would cut the input silently)",
            param="messages",
            code="context_length_exceeded",
        )
