"""
How long an answer stays fresh: one pure function of what was asked and what came back.

Another rule is `[cache] ttl_rule = "package.module:function"` with the arguments of `content_ttl`; a fixed
`ttl`, in the configuration or on the call, goes before either.
"""

from __future__ import annotations

import itertools
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from penstock.messages import ChatRequest, Text
from penstock.responses import ChatResponse

if TYPE_CHECKING:
    from penstock.messages import Request
    from penstock.responses import Response

SHORT_ANSWER = 40
"""An answer of fewer characters is cheap to ask for again, and often a passing one ("yes", "down")."""

_SNAPSHOT = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}|-\d{4}$|@\w{6,}|sha256")
_PASSING = frozenset(
    (
        *("today", "tonight", "tomorrow", "yesterday", "now", "current", "currently", "live", "date", "time"),
        *("latest", "recent", "recently", "newest", "breaking", "news", "weather", "forecast", "score"),
        *("price", "prices", "stock", "stocks"),
        *("heute", "jetzt", "aktuell", "aktuelle", "aktuellen", "aktueller", "aktuelles"),
        *("aujourd", "maintenant", "hoy", "ahora", "oggi", "adesso", "hoje", "agora", "сегодня", "сейчас"),
    )
)
_THIS = frozenset(("week", "month", "year"))
_UNSPACED = ("今日", "今天", "現在", "现在")
"""Words of languages that put no space between words."""
_MARKS = (
    string.punctuation.replace("_", "")
    + "\u201c\u201d\u201e\u2018\u2019\xab\xbb"  # quotation marks
    + "\xbf\xa1\u2026\u2013\u2014"  # Spanish openings, ellipsis, dashes
    + "\u3001\u3002\uff0c\uff01\uff1f\uff1a\uff1b\uff08\uff09"  # Chinese and Japanese marks
)
_BREAKS = str.maketrans(dict.fromkeys(_MARKS, " "))
_ENDS = 2000
"""Characters looked at from either end of a question: whoever pastes a book asks before or after it."""


class TtlRule(Protocol):
    """What `ttl_rule` may name."""

    def __call__(
        self, request: Request, response: Response, *, model: str, min_ttl: float, max_ttl: float
    ) -> float:
        """Seconds; what lies outside `min_ttl` and `max_ttl` is brought back to them."""


def content_ttl(request: Request, response: Response, *, model: str, min_ttl: float, max_ttl: float) -> float:
    """
    Seconds an answer stays fresh.

    - Vectors, and answers of a dated or hashed model snapshot: `max_ttl`; the same request gives the same.
    - Answers of a moving alias (`gpt-4o`): a quarter of it; the model behind the name may change.
    - Answers of fewer than 40 characters: a quarter again.
    - A last user message that speaks of the present (in its first or last 2,000 characters), or an answer
      that calls tools: `min_ttl`.

    Args:
        request: what was asked.
        response: the complete answer.
        model: the name of the model that was asked for.
        min_ttl, max_ttl: seconds.
    """
    if not isinstance(request, ChatRequest) or not isinstance(response, ChatResponse):
        return max_ttl
    if response.tool_calls or _speaks_of_now(_question(request)):
        return min_ttl
    ttl = max_ttl if _is_snapshot(model) else max_ttl / 4
    if len(response.text) < SHORT_ANSWER:
        ttl /= 4
    return max(ttl, min_ttl)


@lru_cache(1024)
def _is_snapshot(model: str) -> bool:
    return _SNAPSHOT.search(model) is not None


def _speaks_of_now(text: str) -> bool:
    if len(text) > 2 * _ENDS:
        text = f"{text[:_ENDS]} {text[-_ENDS:]}"
    # Looking words up takes a sixth of what one regular expression of all of them takes.
    words = text.lower().translate(_BREAKS).split()
    if not _PASSING.isdisjoint(words):
        return True
    if "this" in words and any(a == "this" and b in _THIS for a, b in itertools.pairwise(words)):
        return True
    return not text.isascii() and any(word in text for word in _UNSPACED)


def _question(request: ChatRequest) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            content = message.content
            if isinstance(content, str):
                return content
            return " ".join(part.text for part in content or () if isinstance(part, Text))
    return ""
