"""
Asking a slow target's deputy: one call, at most two targets, one answer.

Rules
1. The first target gets its delay for itself. Then the next one that may be asked is asked beside it.
2. There is no hedge while a breaker of the two is not closed, without a place in the share of calls, or
   without one in the second target's retry budget.
3. The first answer (of a stream, its first token) ends the race. A failure does not, unless it says that no
   other target can help: then the race ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from penstock.call import NEVER
from penstock.errors import CallError
from penstock.events import HedgeDenied, HedgeFinished, HedgeStarted
from penstock_routing.race import Race

if TYPE_CHECKING:
    from penstock.call import Call, Reply, Target
    from penstock_routing.hedging import Hedging
    from penstock_routing.race import Runner
    from penstock_routing.search import Search


async def ask_hedged(search: Search, first: Call) -> tuple[Reply, Call]:
    """
    The reply of the first target, or of its deputy, and the call that got it.

    Raises:
        CallError: of the target that failed last; the other's error is noted in the search.
    """
    hedging = search.place.route.hedging
    assert hedging is not None and first.target is not None  # noqa: S101, PT018  (for the type checker)
    delay = hedging.delay(first.target, first.request.stream)
    if delay is None or not hedging.has_allowance():
        reply = await search.proceed(first)
        _observe(hedging, first)
        return reply, first
    runtime = first.runtime
    race = Race(runtime, search.place.crew)
    try:
        race.start(first, search.proceed)
        runner = await race.next(runtime.now() + delay)
        if runner is None:
            _start_second(search, hedging, race, delay)
        winner = await _winner(search, race, runner)
        assert winner.reply is not None  # noqa: S101  (for the type checker)
    except BaseException:
        await _end(search, race, None)
        raise
    _observe(hedging, winner.call)
    await _end(search, race, winner)
    return winner.reply, winner.call


async def _winner(search: Search, race: Race, runner: Runner | None) -> Runner:
    while True:
        runner = runner or await race.next(NEVER)
        assert runner is not None  # noqa: S101  (for the type checker: it waits for ever)
        if runner.reply is not None:
            return runner
        error = runner.error
        if not isinstance(error, CallError):
            raise error or AssertionError("a runner that is over has a reply or an error")
        if error.target is None:
            error.target = runner.call.target
        if not race.running:
            raise error
        search.note(error, runner.call.target)
        runner = None


def _start_second(search: Search, hedging: Hedging, race: Race, delay: float) -> None:
    call = search.call
    first = race.runners[0].call.target
    second = _second(search, hedging, first)
    now = call.runtime.now()
    if isinstance(second, str):
        if call.listeners:
            call.emit(HedgeDenied(now, call, first, second))  # type: ignore[arg-type]  # it has a target
        return
    search.hedges = False  # at most one for each call
    search.place.route.tally.add("hedges")
    if call.listeners:
        call.emit(HedgeStarted(now, call, first, second.target, delay))  # type: ignore[arg-type]  # both have
    race.start(second, search.proceed)


def _second(
    search: Search, hedging: Hedging, first: Target | None
) -> Call | Literal["share", "budget", "breaker", "attempts", "no_target"]:
    """The call to the deputy, or why there is none; what a refusal had taken is given back."""
    call, place = search.call, search.place
    if len(call.attempts) >= search.policy.max_total_attempts:
        return "attempts"
    if not place.is_steady(first):
        return "breaker"
    if not hedging.has_allowance():
        return "share"
    second = search.next()
    if second is None or second.target is None:
        return "no_target"
    if not place.is_steady(second.target):
        search.give_back(second)
        return "breaker"
    if not place.budget(second.target.provider).withdraw(call.runtime.now()):
        search.give_back(second)
        return "budget"
    hedging.take()
    return second


async def _end(search: Search, race: Race, winner: Runner | None) -> None:
    """Cut off the losers; the race had two runners or it is no news."""
    hedging = search.place.route.hedging
    for runner in race.runners:
        if runner is not winner and not runner.over and hedging is not None and winner is not None:
            _observe(hedging, runner.call)
    call = search.call
    try:
        await race.stop(winner)
    finally:
        if len(race.runners) > 1:
            first, second = (runner.call.target for runner in race.runners)
            target = winner.call.target if winner is not None else None
            if winner is race.runners[1]:
                search.place.route.tally.add("hedges_won")
            if target is not None:
                call.facts["target"] = target  # the last attempt may be the loser's
            if call.listeners:
                finished = HedgeFinished(call.runtime.now(), call, first, second, target)  # type: ignore[arg-type]
                call.emit(finished)


def _observe(hedging: Hedging, call: Call) -> None:
    """Remember how long the first token took, or how long it was waited for in vain."""
    attempt = call.attempt
    if attempt is not None:
        until = attempt.committed if attempt.committed is not None else call.runtime.now()
        hedging.observe(attempt.target, call.request.stream, until - attempt.started)
