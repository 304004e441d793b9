"""Failover alone, for functions that have nothing to do with models."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError

import pytest

from penstock import AuthenticationError, InvalidRequestError
from penstock_routing import failing_over


class Calls(list[str]):
    def fails(self, name: str, error: BaseException) -> object:
        def function() -> str:
            self.append(name)
            raise error

        return function

    def works(self, name: str) -> object:
        def function() -> str:
            self.append(name)
            return name

        return function


def test_alternatives_are_tried_in_order_until_one_works() -> None:
    calls = Calls()
    second, third, fourth = calls.fails("b", OSError()), calls.works("c"), calls.works("d")
    assert failing_over(second, third, fourth, on=OSError)(calls.fails("a", OSError()))() == "c"  # type: ignore[type-var,operator]
    assert calls == ["a", "b", "c"]


def test_the_last_error_is_raised_with_notes_about_the_others() -> None:
    calls = Calls()
    function = failing_over(calls.fails("b", OSError("second")))(calls.fails("a", OSError("first")))  # type: ignore[type-var]
    with pytest.raises(OSError, match="second") as caught:
        function()  # type: ignore[operator]
    assert caught.value.__notes__ == ["before it: OSError: first"]


def test_other_errors_end_it() -> None:
    calls = Calls()
    with pytest.raises(ValueError, match="no"):
        failing_over(calls.works("b"), on=OSError)(calls.fails("a", ValueError("no")))()  # type: ignore[type-var,operator]
    assert calls == ["a"]


def test_a_predicate_decides() -> None:
    calls = Calls()
    wanted = failing_over(calls.works("b"), on=lambda error: "busy" in str(error))
    assert wanted(calls.fails("a", RuntimeError("busy")))() == "b"  # type: ignore[type-var,operator]
    with pytest.raises(RuntimeError, match="broken"):
        wanted(calls.fails("a", RuntimeError("broken")))()  # type: ignore[type-var,operator]


def test_errors_of_penstock_say_themselves_whether_another_may_help() -> None:
    calls = Calls()
    assert failing_over(calls.works("b"), on=())(calls.fails("a", AuthenticationError("no")))() == "b"  # type: ignore[type-var,operator]
    with pytest.raises(InvalidRequestError):
        failing_over(calls.works("b"))(calls.fails("a", InvalidRequestError("no")))()  # type: ignore[type-var,operator]


def test_coroutine_functions_work_alike() -> None:
    seen: list[str] = []

    async def primary(key: str) -> str:
        seen.append("primary")
        raise OSError

    async def replica(key: str) -> str:
        seen.append("replica")
        return key.upper()

    assert asyncio.run(failing_over(replica, on=OSError)(primary)("x")) == "X"
    assert seen == ["primary", "replica"]


def test_cancellation_is_no_failure() -> None:
    calls = Calls()
    with pytest.raises(CancelledError):
        failing_over(calls.works("b"), on=BaseException)(calls.fails("a", CancelledError()))()  # type: ignore[type-var,operator]
    assert calls == ["a"]


def test_a_loop_tries_values() -> None:
    seen = []
    for attempt in failing_over("db-1", "db-2", "db-3", on=OSError):
        with attempt as host:
            seen.append(host)
            if host == "db-1":
                raise OSError
    assert seen == ["db-1", "db-2"]


def test_what_cannot_be_an_alternative_is_refused() -> None:
    with pytest.raises(TypeError, match="'db-1' is no function"):
        failing_over("db-1")(lambda: 1)
    with pytest.raises(TypeError, match="either all"):

        @failing_over(lambda: 1)
        async def function() -> int:
            return 1

    with pytest.raises(ValueError, match="nothing to try"):
        list(failing_over())
