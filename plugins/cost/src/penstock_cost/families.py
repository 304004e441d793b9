"""
What is known of models' tokens beforehand: a table of data, by the model's own name.

Factors are tokens for a character of English, beside OpenAI's quarter; images are what vendors document;
what stands around messages and tools is in the chat templates of open models, and what hosted ones count
for a short prompt. What stands around a call of a tool and its result is in gpt-oss's template; of Claude,
DeepSeek and Grok it is the median of half of the recordings (`bench_tokens.py` says how it fits the other
half). A name that matches nothing is counted like OpenAI's models. Experience corrects all of
it (`learned.py`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from math import ceil, sqrt

from penstock.frozen import dataclass
from penstock.tokens import PER_MESSAGE, PRIMING


@dataclass(frozen=True, slots=True)
class Family:
    """
    Models that count alike.

    Args:
        factor: tokens of a text beside the heuristic's.
        image: tokens of an image of so many pixels (width, height), at low detail or not.
        start: tokens around a conversation: what begins it, a built-in system message, what primes the
            answer.
        message: tokens around each message.
        tools: tokens of the instructions that come with any tools.
        tool: tokens of a tool's description beside those of its JSON.
        call: tokens around a call of a tool and its result, in a conversation that goes on after it.
    """

    factor: float
    image: Callable[[int, int, bool], int]
    start: int = PRIMING
    message: int = PER_MESSAGE
    tools: int = 0
    tool: float = 1.0
    call: int = PER_MESSAGE


def _tiles(base: int, tile: int) -> Callable[[int, int, bool], int]:
    """OpenAI's rule: fitted into 2048 x 2048, the short side to 768, then tiles of 512 pixels."""

    def tokens(width: int, height: int, low: bool) -> int:
        if low:
            return base
        shrink = min(1.0, 2048 / max(width, height))
        width, height = round(width * shrink), round(height * shrink)
        shrink = min(1.0, 768 / min(width, height))
        return base + tile * ceil(round(width * shrink) / 512) * ceil(round(height * shrink) / 512)

    return tokens


def _patches(size: int, most: int, factor: float) -> Callable[[int, int, bool], int]:
    """Squares of some pixels, shrunk until there are no more than so many."""

    def tokens(width: int, height: int, low: bool) -> int:
        patches = ceil(width / size) * ceil(height / size)
        if patches > most:
            shrink = sqrt(most * size * size / (width * height))
            patches = min(most, ceil(width * shrink / size) * ceil(height * shrink / size))
        return ceil(patches * factor)

    return tokens


def _gemini(width: int, height: int, low: bool) -> int:
    """258 for a small image and for each tile of 768 pixels of a larger one."""
    if low or (width <= 384 and height <= 384):
        return 258
    return 258 * ceil(width / 768) * ceil(height / 768)


def _claude(width: int, height: int, low: bool) -> int:
    """A token for 750 pixels."""
    return min(1600, ceil(width * height / 750))


_MISTRAL = _patches(16, 4096, 1.0)
_OPENAI = Family(1.0, _tiles(85, 170))
_LLAMA = Family(1.02, _tiles(85, 170), start=5, message=5, tools=100)
_TABLE: tuple[tuple[re.Pattern[str], Family], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), family)
    for pattern, family in (
        (r"gpt-oss", Family(1.0, _tiles(85, 170), start=65, message=4, tools=10, call=22)),
        (r"gpt-4o-mini", Family(1.0, _tiles(2833, 5667))),
        (r"gpt-(?:5|4\.1)-mini|o4-mini", Family(1.0, _patches(32, 1536, 1.62))),
        (r"gpt-(?:5|4\.1)-nano", Family(1.0, _patches(32, 1536, 2.46))),
        (r"(?:^|/)(?:o1|o3)\b", Family(1.0, _tiles(75, 150))),
        (r"(?:^|/)gpt-5", Family(1.0, _tiles(70, 140))),
        (r"gemma", Family(1.0, _gemini, start=4, message=5)),
        (r"gemini", Family(0.88, _gemini, start=0, message=1, tool=0.4)),
        (r"claude", Family(1.15, _claude, start=4, message=4, tools=470, tool=1.3, call=86)),
        (
            r"mi[sx]tral|ministral|magistral|codestral|pixtral|voxtral",
            Family(1.08, _MISTRAL, start=4, tools=40),
        ),
        (r"qwen|qwq", Family(1.0, _patches(28, 16384, 1.0), start=5, message=5, tools=220, tool=1.2)),
        (r"deepseek", Family(1.0, _tiles(85, 170), start=1, message=2, tools=210, tool=1.5, call=35)),
        (r"grok", Family(1.0, _tiles(85, 170), tools=140, call=21)),
        (r"llama-?3\.[1-9]|llama-?4", replace(_LLAMA, start=30)),  # with the date in a system message
        (r"llama|vicuna|phi|kimi|glm", _LLAMA),
    )
)


@functools.lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """The family of a model, by its name."""
    for pattern, family in _TABLE:
        if pattern.search(model):
            return family
    return _OPENAI


FACTORS = {"ollama": 1.08, "gemini": 0.88}
"""By provider, where the model's name says nothing."""
