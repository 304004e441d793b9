"""
How a client is, told from what it knows already: nothing is ever sent to find out.

Rules
1. Checks come from plugins; the core adds the providers it has. A provider is down when its availability has
   findings and none of them passes.
2. The status is `fail` when every provider is down or a finding fails, `warn` when one warns, else `pass`.
3. A check that raises, or answers with something else, is itself a finding that warns; the others count.
4. A finding is remembered for `MAX_AGE`, so that it does not matter how often somebody asks.
5. What is shown went through the redactor.

The shape is that of `application/health+json` (draft-inadarei-api-health-check).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.errors import PluginNotFoundError
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.specs import HealthCheckSpec
    from penstock.surface import Surface

MAX_AGE = 1.0
"""Seconds that what was found is told again."""
Status: TypeAlias = Literal["pass", "warn", "fail"]
_RANK: dict[Status, int] = {"pass": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing that was looked at.

    Args:
        status: `pass`, `warn` or `fail`.
        component: which of several it is about, such as a target.
        value: what was observed: a number, a text, or None.
        unit: of the value, such as `s` or `ratio`.
        output: in words, for what does not pass.
    """

    status: Status
    component: str = ""
    value: float | str | None = None
    unit: str = ""
    output: str = ""

    def document(self) -> dict[str, Any]:
        """Plain data with the names of health+json."""
        said = {
            "status": self.status,
            "componentId": self.component or None,
            "observedValue": self.value,
            "observedUnit": self.unit or None,
            "output": self.output or None,
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    How a client is.

    Args:
        status: `pass`, `warn` (works, but something does not) or `fail`.
        checks: what was found, by `<who>:<what>`, such as `openai:availability`.
    """

    status: Status
    checks: Mapping[str, tuple[Finding, ...]]

    def document(self) -> dict[str, Any]:
        """Plain data for a body of `application/health+json`."""
        checks = {name: [each.document() for each in found] for name, found in self.checks.items()}
        return {"status": self.status, "checks": checks}

    def __str__(self) -> str:
        lines: list[str] = [self.status]
        for name, found in self.checks.items():
            for each in found:
                value = "" if each.value is None else f"{each.value} {each.unit}".rstrip()
                words = ", ".join(word for word in (each.component, value, each.output) if word)
                lines.append(f"  {each.status} {name}{': ' if words else ''}{words}")
        return "\n".join(lines)


class Checkup:
    """Looks, and remembers for a moment what it saw."""

    def __init__(self) -> None:
        self._last: tuple[float, Health] | None = None

    def __call__(
        self, client: Surface, specs: Sequence[HealthCheckSpec], providers: Sequence[str], now: float
    ) -> Health:
        """
        How the client is.

        Args:
            client: handed to the checks.
            specs: the checks.
            providers: the instances it has.
            now: the clock's reading in seconds.
        """
        last = self._last
        if last is None or not last[0] <= now < last[0] + MAX_AGE:
            self._last = last = (now, _look(client, specs, providers))
        return last[1]


def _look(client: Surface, specs: Sequence[HealthCheckSpec], providers: Sequence[str]) -> Health:
    redact = client.settings.redactor
    checks: dict[str, tuple[Finding, ...]] = {}
    for spec in specs:
        for name, found in _found(spec, client).items():
            shown = tuple(_shown(each, redact) for each in found)
            checks[redact(name)] = checks.get(redact(name), ()) + shown
    for provider in providers:
        checks.setdefault(f"{provider}:availability", (Finding(status="pass"),))
    return Health(status=_status(checks, providers), checks=dict(sorted(checks.items())))


def _found(spec: HealthCheckSpec, client: Surface) -> Mapping[str, Sequence[Finding]]:
    try:
        found: Any = spec.check(client)
        if inspect.iscoroutine(found):
            found.close()
            raise TypeError("a check is a plain function")
        return {str(name): [_sound(each) for each in findings] for name, findings in found.items()}
    except PluginNotFoundError:
        return {}  # the part it looks at is not in this client
    except Exception as error:
        # The type only: a message could quote what the part holds.
        broken = Finding(status="warn", output=f"the check raised {type(error).__name__}")
        return {f"{spec.name}:check": [broken]}


def _sound(finding: Any) -> Finding:
    if type(finding) is not Finding or finding.status not in _RANK:
        raise TypeError("a check gives Findings that pass, warn or fail")
    if not all(isinstance(text, str) for text in (finding.component, finding.unit, finding.output)):
        raise TypeError("component, unit and output are texts")
    return finding


def _shown(finding: Finding, redact: Callable[[str], str]) -> Finding:
    value = redact(finding.value) if isinstance(finding.value, str) else finding.value
    return replace(finding, component=redact(finding.component), value=value, output=redact(finding.output))


def _status(checks: Mapping[str, tuple[Finding, ...]], providers: Sequence[str]) -> Status:
    there = [checks[f"{provider}:availability"] for provider in providers]
    if there and all(all(each.status != "pass" for each in found) for found in there):
        return "fail"
    statuses = [each.status for found in checks.values() for each in found]
    return max(statuses, key=_RANK.__getitem__, default="pass")
