"""What the breakers say of how the client is: a target or credential at rest is a warning."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from penstock.health import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock_breaker.reports import CircuitStats


def check(client: Any) -> Mapping[str, Sequence[Finding]]:
    """`<provider>:availability` of every provider that was asked; targets that work are only counted."""
    stats = client.stage("breaker").stats()
    found: dict[str, list[Finding]] = {}
    working: Counter[str] = Counter()
    for target, circuit in stats.circuits.items():
        provider = target.partition("/")[0]
        if provider in stats.resting:
            continue  # none of its targets can be asked, whatever their circuits
        if circuit.state in ("closed", "disabled"):
            working[provider] += 1
        else:
            found.setdefault(provider, []).append(_at_rest(target, circuit))
    for provider, count in working.items():
        found.setdefault(provider, []).append(Finding(status="pass", value=count, unit="targets"))
    for provider, seconds in stats.resting.items():
        output = f"the credential was refused or has no quota left; it rests for another {seconds:.0f} s"
        found[provider] = [Finding(status="warn", component="credential", output=output)]
    return {f"{provider}:availability": findings for provider, findings in found.items()}


def _at_rest(target: str, circuit: CircuitStats) -> Finding:
    match circuit.state:
        case "half_open":
            output = "the circuit breaker is half open: probes decide"
        case "forced_open":
            output = "the circuit breaker is held open by hand"
        case _:
            output = f"the circuit breaker is open for another {circuit.retry_after:.0f} s"
    return Finding(status="warn", component=target, value=circuit.state, output=output)
