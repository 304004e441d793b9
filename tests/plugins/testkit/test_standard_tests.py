"""A standard test is skipped or replaced only by name and with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from penstock_testkit.standard import StandardTests


class Suite(StandardTests, standard=True):
    def test_one(self) -> str:
        return "standard"

    def test_two(self) -> str:
        return "standard"


def subject(**names: Any) -> type[Suite]:
    return type("TestSubject", (Suite,), names)


def test_tests_of_ones_own_may_be_added() -> None:
    made: Any = subject(test_three=lambda self: "own")
    assert made().test_three() == "own"
    assert made().test_one() == "standard"
    made().test_no_standard_test_was_taken_away()


@pytest.mark.parametrize("replacement", [None, lambda self: "own"], ids=["removed", "replaced"])
def test_a_standard_test_cannot_be_taken_away_without_a_reason(replacement: Any) -> None:
    with pytest.raises(TypeError, match="TestSubject replaces the standard test test_one without a reason"):
        subject(test_one=replacement)


def test_nor_by_a_class_in_between() -> None:
    class Between:
        def test_two(self) -> str:
            return "own"

    with pytest.raises(TypeError, match="test_two"):
        type("TestSubject", (Between, Suite), {})


def test_nor_after_the_class_was_made() -> None:
    made = subject()
    made.test_one = lambda self: "own"  # type: ignore[method-assign, assignment]
    with pytest.raises(AssertionError):
        made().test_no_standard_test_was_taken_away()


def test_a_test_is_replaced_with_a_reason() -> None:
    made = subject(test_one=lambda self: "own", overrides={"test_one": "no such thing here"})
    assert made().test_one() == "own"
    made().test_no_standard_test_was_taken_away()


def test_a_test_that_is_named_and_not_replaced_is_skipped_with_the_reason() -> None:
    made: Any = subject(overrides={"test_one": "no such thing here"})
    (mark,) = made.test_one.pytestmark
    assert (mark.name, mark.kwargs) == ("skip", {"reason": "no such thing here"})
    assert made().test_two() == "standard"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"test_onne": "typo"}, "'test_onne', which is no standard test"),
        ({"test_one": " "}, "gives no reason"),
    ],
)
def test_a_declaration_names_a_test_and_a_reason(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        subject(overrides=overrides)
