"""
Keep secrets out of everything that is shown.

A `Redactor` knows the exact secrets of one configuration and the shapes keys usually have. It works on
final text (a message, a body excerpt, a formatted log record), so it does not matter how a secret got in.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import quote, quote_plus

MASK = "***"

_SHAPES = re.compile(
    r"""
    \b(?:sk|rk|pk)-[A-Za-z0-9_*-]{8,}          # OpenAI and its imitators
    | \b(?:hf_|gsk_|xai-|pplx-|csk-|r8_)[A-Za-z0-9]{8,}
    | \bAIza[A-Za-z0-9_-]{16,}
    | (?<=Bearer\ )[^\s"',}]+
    | (?<=Basic\ )[A-Za-z0-9+/=_-]+
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)          # user:password in a URL
    """,
    re.VERBOSE,
)
_NAMED = re.compile(
    r"""((?:api[-_]?key|[?&]key|token|secret|password|authorization)["']?\s*[:=]\s*["']?)"""
    r"""(?!Bearer\b|Basic\b|\*\*\*)"""
    r"""((?=[^\s"',&}]*[0-9]|[^\s"',&}]{14})[^\s"',&}]{6,})""",  # digits or length: no word of a sentence
    re.IGNORECASE,
)
_PLACEHOLDERS = frozenset({"dummy", "empty", "lm-studio", "none", "not-needed", "null", "ollama", "test"})
"""What people write where a local server wants any key: masking these would mask words."""
_MARKERS = re.compile(
    r"k-|hf_|sk_|ai-|lx-|r8_|AIza|Bearer|Basic|://|key|token|secret|password|auth", re.IGNORECASE
)


def raise_alone(error: Exception) -> NoReturn:
    """
    Raise an error without the one that is being handled: not even hidden, as `from None` would leave it.

    Errors of libraries hold what they were given: a request with its headers, a whole body, a value that was
    refused. Whoever keeps, logs or pickles ours would keep that too.
    """
    try:
        raise error
    finally:
        error.__context__ = None


class Unpicklable:
    """The base of what holds secrets: a pickle would carry them to wherever it is stored."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds secrets and cannot be pickled")


class Redactor(Unpicklable):
    """
    Masks secrets in text.

    Args:
        secrets: exact values; those shorter than four characters are ignored, they would mask words.
    """

    __slots__ = ("_exact", "_values")

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._values: set[str] = set()
        self._exact: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask this value from now on, its stripped, URL-encoded and JSON-escaped forms too."""
        stripped = secret.strip()
        if stripped.lower() in _PLACEHOLDERS:
            return
        import json

        escaped = (json.dumps(stripped)[1:-1], json.dumps(stripped, ensure_ascii=False)[1:-1])
        forms = {secret, stripped, quote(stripped, safe=""), quote_plus(stripped), *escaped}
        self._values |= {form for form in forms if len(form) >= 4}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text with every secret masked."""
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        if _MARKERS.search(text) is None:
            return text
        return _NAMED.sub(rf"\g<1>{MASK}", _SHAPES.sub(MASK, text))

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"
