"""
What private data and secrets look like: a table of patterns, with a check where a form alone says too little.

Every quantifier is bounded or anchored, so that no text makes a search slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A form to look for.

    Args:
        source: a regular expression.
        check: whether a match is one; None takes every match.
    """

    source: str
    check: Callable[[str], bool] | None = None


def has_luhn_sum(text: str) -> bool:
    """Whether the digits of a card number add up (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def has_iban_sum(text: str) -> bool:
    """Whether an IBAN's check digits fit (ISO 13616)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "secret": Pattern(
            r"\b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{16,}"
            r"|\b(?:hf|gsk|gh[pousr]|github_pat|glpat|npm|r8)[-_][A-Za-z0-9_-]{16,}"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|\bAIza[A-Za-z0-9_-]{30,}"
            r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}"
            r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
            r"|(?<=://)[^\s/:@]{1,128}:[^\s/@]{1,128}(?=@)"
            r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----"
            r"(?:[A-Za-z0-9+/=\s]{0,8192}-----END [A-Z ]{0,32}KEY-----)?"
        ),
        "credit_card": Pattern(
            r"(?<![\w-])(?:\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ -]?)\d{6}\2\d{5}|\d{13,19})"
            r"(?![\w-])",
            has_luhn_sum,
        ),
        "iban": Pattern(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])", has_iban_sum),
        "us_ssn": Pattern(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
        "email": Pattern(r"(?<![\w.+-])\w[\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
        "phone": Pattern(r"(?<![\w+])\+\d(?:[ ().-]{0,2}\d){7,14}(?!\d)"),
        "ip_address": Pattern(
            r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])"
        ),
    }
)
"""By name; `[guard.scan] patterns` chooses."""
