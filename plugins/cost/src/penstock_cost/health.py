"""What the cost stage says of how the client is: a budget that is nearly spent is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.health import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEARLY = 0.9
"""The share of a budget from which on it is worth a warning."""


def check(client: Any) -> Mapping[str, Sequence[Finding]]:
    """
    `budget:<name>` of each budget that was used.

    A budget of its own for each key has one finding for the keys with money left and one for those without:
    keys come from outside, and are nobody else's business.
    """
    found: dict[str, list[Finding]] = {}
    for name, accounts in client.stage("cost").stats()["budgets"].items():
        shares = [
            1.0 - float(each["left"] / each["limit"]) if each["limit"] else 1.0 for each in accounts.values()
        ]
        if len(shares) == 1:
            found[f"budget:{name}"] = [_one(shares[0])]
        elif shares:
            found[f"budget:{name}"] = _many(shares)
    return found


def _one(share: float) -> Finding:
    output = "" if share < NEARLY else "it is spent" if share >= 1 else "it is nearly spent"
    return Finding(status="warn" if output else "pass", value=round(share, 4), unit="ratio", output=output)


def _many(shares: list[float]) -> list[Finding]:
    spent = sum(share >= NEARLY for share in shares)
    found = [Finding(status="pass", value=len(shares) - spent, unit="accounts")]
    if spent:
        output = "are spent, or nearly"
        found.append(Finding(status="warn", value=spent, unit="accounts", output=output))
    return found
