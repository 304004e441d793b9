"""Who gets a connection: places of the async transport, origins of the blocking one, names of hosts."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock_turbo.failing import LimitReached
from penstock_turbo.names import Names
from penstock_turbo.places import Places
from penstock_turbo.pools import Origin, PoolLimit, Pools
from penstock_wire.deadlines import Deadlines

LATER = 1e9


def run(scenario: Callable[[Places], Coroutine[Any, Any, None]], limit: int = 1, per_origin: int = 0) -> None:
    """Run a scenario with places of a fresh loop; nothing may be left of it."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        places = Places(loop, deadlines, limit, per_origin, 30.0)
        await scenario(places)
        assert (places._used, places._origins, places._lines) == (0, {}, {})
        assert deadlines._waiting == set()
        places.close()
        deadlines.close()

    asyncio.run(whole())


async def in_line(*tasks: asyncio.Task[Any]) -> None:
    """Let tasks get into line."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


def test_places_go_round_in_the_order_of_the_line() -> None:
    async def scenario(places: Places) -> None:
        held = places.take("a")
        assert held is not None
        assert places.take("a") is None
        tasks = [asyncio.create_task(places.wait("a", LATER)) for _ in range(3)]
        await in_line(*tasks)
        for task in tasks:
            places.give_back(held, None)
            # It was handed over: one who comes now finds none.
            assert places.take("a") is None
            assert await task is held
        places.give_back(held, None)

    run(scenario)


def test_an_origin_with_a_long_line_does_not_starve_another() -> None:
    async def scenario(places: Places) -> None:
        held = places.take("a")
        assert held is not None
        first = [asyncio.create_task(places.wait("a", LATER)) for _ in range(3)]
        await in_line(*first)
        other = asyncio.create_task(places.wait("b", LATER))
        await in_line(other)
        places.give_back(held, None)
        places.give_back(await first[0], None)
        places.give_back(await other, None)
        for task in first[1:]:
            places.give_back(await task, None)

    run(scenario)


def test_a_full_origin_does_not_hold_up_another() -> None:
    async def scenario(places: Places) -> None:
        a, b = places.take("a"), places.take("b")
        assert a is not None
        assert b is not None
        waiting = asyncio.create_task(places.wait("a", LATER))
        also = asyncio.create_task(places.wait("b", LATER))
        await in_line(waiting, also)
        places.give_back(b, None)
        assert await also is b
        assert not waiting.done()
        places.give_back(a, None)
        for held in (await waiting, b):
            places.give_back(held, None)

    run(scenario, limit=2, per_origin=1)


@pytest.mark.parametrize("cancelled", [True, False])
def test_one_who_left_the_line_unheard_is_passed_over(cancelled: bool) -> None:
    """Cancelled, or at his limit, and not yet run: the place is given to the next in the meantime."""

    async def scenario(places: Places) -> None:
        held = places.take("a")
        assert held is not None
        gone = asyncio.create_task(places.wait("a", LATER))
        await in_line(gone)
        kept = asyncio.create_task(places.wait("a", LATER))
        await in_line(gone, kept)
        if cancelled:
            gone.cancel()
        else:
            held.line[0].expire()
        places.give_back(held, None)
        with pytest.raises((asyncio.CancelledError, LimitReached)):
            await gone
        places.give_back(await kept, None)

    run(scenario)


def test_one_who_leaves_when_the_place_was_already_his_hands_it_on() -> None:
    async def scenario(places: Places) -> None:
        held = places.take("a")
        assert held is not None
        first = asyncio.create_task(places.wait("a", LATER))
        second = asyncio.create_task(places.wait("a", LATER))
        await in_line(first, second)
        places.give_back(held, None)
        first.cancel()
        places.give_back(await second, None)
        with pytest.raises(asyncio.CancelledError):
            await first

    run(scenario)


def test_a_crowd_of_which_half_is_cancelled_gets_its_places() -> None:
    async def scenario(places: Places) -> None:
        most = held = 0

        async def caller(number: int) -> None:
            nonlocal most, held
            name = "ab"[number % 2]
            origin = places.take(name) or await places.wait(name, LATER)
            held += 1
            most = max(most, held)
            try:
                for _ in range(number % 5):
                    await asyncio.sleep(0)
            finally:
                held -= 1
                places.give_back(origin, None)

        tasks = [asyncio.create_task(caller(number)) for number in range(400)]
        for number, task in enumerate(tasks):
            if number % 7 == 0:
                await asyncio.sleep(0)
            if number % 2:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 5
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert results.count(None) >= 200

    run(scenario, limit=5, per_origin=3)


# Threads


def test_a_thread_waits_for_a_place_no_longer_than_its_limit() -> None:
    origin = Origin(1)
    readings = iter(range(100))
    assert origin.lease(5, lambda: 0.0) is None
    with pytest.raises(PoolLimit):
        origin.lease(0, lambda: float(next(readings)))
    origin.give_back(None, 0.0)
    assert origin.lease(5, lambda: 0.0) is None


def test_a_waiting_thread_is_woken_by_a_place() -> None:
    origin, leased = Origin(1), threading.Event()
    assert origin.lease(5, lambda: 0.0) is None

    def work() -> None:
        origin.lease(1e9, lambda: 0.0)
        leased.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not origin._waiting:
        assert not leased.is_set()
    origin.give_back(None, 0.0)
    thread.join(10)
    assert leased.is_set()


class Idle:
    """A connection that only tells whether it is open."""

    def __init__(self, stale_at: float, *, silent: bool = True) -> None:
        self.stale_at = stale_at
        self.open = True
        self._silent = silent

    def silent(self) -> bool:
        return self._silent

    def close(self) -> None:
        self.open = False


def test_the_last_given_back_is_leased_and_old_ones_are_closed() -> None:
    origin = Origin(4)
    old, older, fresh, spoken = Idle(10), Idle(5), Idle(20), Idle(30, silent=False)
    for _ in range(4):
        assert origin.lease(0, lambda: 0.0) is None
    connection: Any
    for connection in (older, old, fresh, spoken):
        origin.give_back(connection, 0.0)
    assert origin.lease(0, lambda: 1.0) is fresh
    assert not spoken.open
    connection = fresh
    origin.give_back(connection, 12.0)
    assert (older.open, old.open, fresh.open) == (False, False, True)
    origin.close()
    assert not fresh.open


def test_the_origin_unused_for_longest_makes_room_and_its_connections_are_closed_when_they_come_back() -> (
    None
):
    pools = Pools(2, 4)
    a, b = pools.origin("a"), pools.origin("b")
    connection: Any = Idle(1e9)
    assert b.lease(0, lambda: 0.0) is None
    assert pools.origin("a") is a
    pools.origin("c")
    b.give_back(connection, 0.0)
    assert not connection.open
    assert pools.origin("a") is a
    assert pools.origin("b") is not b


# Names


def test_many_who_ask_together_cost_one_lookup_which_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looking_up(monkeypatch)

    async def scenario() -> None:
        names = Names(asyncio.get_running_loop(), 300)
        answers = await asyncio.gather(*(names.resolve("service.test", 80) for _ in range(50)))
        assert {str(answer) for answer in answers} == {str(answers[0])}
        await names.resolve("service.test", 80)
        assert asked == ["service.test"]
        await names.resolve("service.test", 81)
        assert len(asked) == 2

    asyncio.run(scenario())


def test_nothing_is_remembered_without_a_time_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looking_up(monkeypatch)

    async def scenario() -> None:
        names = Names(asyncio.get_running_loop(), 0)
        for _ in range(2):
            await names.resolve("service.test", 80)

    asyncio.run(scenario())
    assert len(asked) == 2


def test_a_failure_is_told_to_all_and_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looking_up(monkeypatch, fails=True)

    async def scenario() -> None:
        names = Names(asyncio.get_running_loop(), 300)
        for count in (1, 2):
            results = await asyncio.gather(
                *(names.resolve("service.test", 80) for _ in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [socket.gaierror] * 3
            assert len(asked) == count

    asyncio.run(scenario())


def test_a_lookup_everybody_gave_up_is_never_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    looking_up(monkeypatch, fails=True, go_on=go_on)
    reported: list[Any] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        names = Names(loop, 300)
        task = asyncio.create_task(names.resolve("service.test", 80))
        await in_line(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        while names._asked:
            await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert reported == []


def looking_up(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool = False, go_on: threading.Event | None = None
) -> list[str]:
    """Answer lookups of `service.test` here; what was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **options: Any) -> Any:
        if "flags" in options:
            return real(host, port, **options)
        if go_on is not None:
            go_on.wait(10)
        asked.append(host)
        if fails:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_who_gives_up_late_does_not_touch_a_newer_origin_of_the_same_name() -> None:
    async def scenario(places: Places) -> None:
        held = places.take("a")
        assert held is not None
        late = asyncio.create_task(places.wait("a", LATER))
        await in_line(late)
        late.cancel()
        places.give_back(held, None)  # the place goes to nobody: the one in line is going
        newer = places.take("a")
        assert newer is not None
        waiting = asyncio.create_task(places.wait("a", LATER))
        await asyncio.wait([late])
        assert late.cancelled()
        await in_line(waiting)
        assert places.take("a") is None
        places.give_back(newer, None)
        async with asyncio.timeout(30):
            assert await waiting is newer
        places.give_back(newer, None)

    run(scenario)
