"""
Standard tests: what a suite promises stays in it.

A suite is a class whose tests others inherit. Whoever inherits may add tests, but may not quietly take one
away or put another in its place: each such name is declared in `overrides` with its reason, or the class
cannot be made. A name that is declared and not redefined is skipped with that reason.

    class TestMine(ProviderConformance):
        spec = ...
        overrides = {"test_a_seed_is_sent": "the server has no seeds, see docs/limits.md"}
"""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest


class StandardTests:
    """The root of the suites; a suite itself is made with `standard=True`."""

    overrides: ClassVar[Mapping[str, str]] = {}
    """The standard tests that are skipped or replaced, each with its reason."""

    _standard: ClassVar[bool] = True

    def __init_subclass__(cls, *, standard: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._standard = standard
        if standard:
            return
        tests = standard_tests(cls)
        for name, reason in cls.overrides.items():
            if name not in tests:
                raise TypeError(f"{cls.__name__}.overrides names {name!r}, which is no standard test")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.overrides gives no reason for {name!r}")
            if getattr(cls, name) is tests[name]:
                setattr(cls, name, _skipped(name, reason))
        replaced = replaced_tests(cls)
        if replaced:
            raise TypeError(
                f"{cls.__name__} replaces the standard test{'s' if len(replaced) > 1 else ''} "
                f"{', '.join(replaced)} without a reason; declare it in `overrides`"
            )

    def test_no_standard_test_was_taken_away(self) -> None:
        """Also not behind the back of the class, after it was made."""
        assert replaced_tests(type(self)) == []


def standard_tests(cls: type[StandardTests]) -> dict[str, Any]:
    """The tests of the suites a class inherits, by name; the first in the order of inheritance counts."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if issubclass(base, StandardTests) and base._standard:
            for name, value in vars(base).items():
                if name.startswith("test"):
                    found.setdefault(name, value)
    return found


def replaced_tests(cls: type[StandardTests]) -> list[str]:
    """The standard tests that are not what the suites made them, and not declared."""
    tests = standard_tests(cls)
    return sorted(
        name
        for name, value in tests.items()
        if name not in cls.overrides and getattr(cls, name, None) is not value
    )


def _skipped(name: str, reason: str) -> Callable[[Any], None]:
    def skipped(self: Any) -> None:
        """Left out by its subject, with a reason."""

    skipped.__name__ = name
    marked: Callable[[Any], None] = pytest.mark.skip(reason=reason)(skipped)
    return marked
