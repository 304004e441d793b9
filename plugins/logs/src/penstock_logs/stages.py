"""How the decisions of stages are told: breaker, limiter, cache, routing, cost and guard."""

from __future__ import annotations

from collections.abc import Mapping
from logging import DEBUG, INFO, WARNING

from penstock import events
from penstock_logs.entries import Entry, Fields, Kind, failure_of, of_call, of_target, plain, what_of


def _breaker_transition(event: events.BreakerTransition) -> Entry:
    fields = of_target(
        event.target,
        "breaker_transition",
        before=event.before,
        after=event.after,
        reason=event.reason,
        open_for=event.open_for,
    )
    rest = "" if event.open_for is None else f" for {event.open_for:.1f} s"
    return Entry(f"breaker of {event.target} is {plain(event.after)}{rest}: {plain(event.reason)}", fields)


def _transition_level(event: events.BreakerTransition) -> int:
    return WARNING if event.after in ("open", "forced_open") else INFO


def _breaker_extended(event: events.BreakerExtended) -> Entry:
    fields = of_target(event.target, "breaker_extended", open_for=event.open_for)
    return Entry(f"breaker of {event.target} stays open for {event.open_for:.1f} s", fields)


def _breaker_probes_lost(event: events.BreakerProbesLost) -> Entry:
    fields = of_target(event.target, "breaker_probes_lost", count=event.count)
    return Entry(f"{event.count} probes of {event.target} were not heard of again", fields)


def _breaker_rejected(event: events.BreakerRejected) -> Entry:
    fields = of_call(event.call, "breaker_rejected", reason=event.reason, retry_after=event.retry_after)
    return Entry(f"breaker of {event.target} refused: {plain(event.reason)}", fields)


def _credential_rested(event: events.CredentialRested) -> Entry:
    fields: Fields = {
        "event": "credential_rested",
        "provider": event.provider,
        "reason": event.reason,
        "rest_for": event.rest_for,
    }
    return Entry(f"the credential of {event.provider} rests for {event.rest_for:g} s: {event.reason}", fields)


def _credential_resumed(event: events.CredentialResumed) -> Entry:
    fields: Fields = {"event": "credential_resumed", "provider": event.provider, "reason": event.reason}
    return Entry(f"the credential of {event.provider} is used again", fields)


def _limiter_queued(event: events.LimiterQueued) -> Entry:
    fields = of_call(
        event.call, "limiter_queued", reason=event.reason, limit=event.limit, predicted=event.predicted
    )
    return Entry(f"queued for {event.limit}: {event.reason}, about {event.predicted:.2f} s", fields)


def _limiter_rejected(event: events.LimiterRejected) -> Entry:
    fields = of_call(event.call, "limiter_rejected", reason=event.reason, waited=event.waited)
    return Entry(f"limiter of {event.call.target} refused: {event.reason}", fields | failure_of(event.error))


def _limiter_paused(event: events.LimiterPaused) -> Entry:
    fields = of_call(
        event.call, "limiter_paused", reason=event.reason, limit=event.limit, pause=round(event.seconds, 6)
    )
    return Entry(f"{event.limit} is paused for {event.seconds:.1f} s: {event.reason}", fields)


def _limiter_adapted(event: events.LimiterAdapted) -> Entry:
    fields = of_call(event.call, "limiter_adapted", limit=event.limit, before=event.before, after=event.after)
    return Entry(f"{event.limit} allows {event.after} calls at once, {event.before} before", fields)


def _limiter_configured(event: events.LimiterConfigured) -> Entry:
    fields: Fields = {"event": "limiter_configured", "target": event.target, "values": dict(event.values)}
    return Entry(f"the limit of {event.target} was changed by hand", fields)


def _cache_lookup(event: events.CacheLookup) -> Entry:
    fields = of_call(
        event.call, "cache_lookup", result=event.result, reason=event.reason, key=event.key, age=event.age
    )
    return Entry(f"cache: {event.result}, {event.reason}", fields)


def _cache_failed(event: events.CacheFailed) -> Entry:
    fields = of_call(event.call, "cache_failed", operation=event.operation, error=type(event.error).__name__)
    return Entry(f"cache: {event.operation} failed with {type(event.error).__name__}", fields)


def _target_skipped(event: events.TargetSkipped) -> Entry:
    fields = of_call(event.call, "target_skipped", skipped=str(event.target), reason=event.reason)
    return Entry(f"{event.target} is left out: {event.reason}", fields)


def _failover(event: events.Failover) -> Entry:
    fields = of_call(
        event.call,
        "failover",
        before=str(event.before),
        after=str(event.after),
        reason=event.reason,
        **failure_of(event.error),
    )
    return Entry(f"{event.after} is asked instead of {event.before}: {what_of(event.error)}", fields)


def _stream_recovered(event: events.StreamRecovered) -> Entry:
    fields = of_call(
        event.call, "stream_recovered", before=str(event.before), after=str(event.after), mode=event.mode
    )
    return Entry(
        f"{event.after} takes the broken stream of {event.before} over: {event.mode}",
        fields | failure_of(event.error),
    )


def _stream_lost(event: events.StreamLost) -> Entry:
    fields = of_call(event.call, "stream_lost", lost=str(event.target), reason=event.reason)
    return Entry(
        f"the broken stream of {event.target} is not taken over: {event.reason}",
        fields | failure_of(event.error),
    )


def _hedge_started(event: events.HedgeStarted) -> Entry:
    fields = of_call(
        event.call, "hedge_started", first=str(event.first), second=str(event.second), delay=event.delay
    )
    return Entry(f"{event.second} is asked beside {event.first} after {event.delay:.2f} s", fields)


def _hedge_denied(event: events.HedgeDenied) -> Entry:
    fields = of_call(event.call, "hedge_denied", first=str(event.first), reason=event.reason)
    return Entry(f"nobody is asked beside {event.first}: {event.reason}", fields)


def _hedge_finished(event: events.HedgeFinished) -> Entry:
    winner = None if event.winner is None else str(event.winner)
    fields = of_call(
        event.call, "hedge_finished", first=str(event.first), second=str(event.second), winner=winner
    )
    return Entry(f"of {event.first} and {event.second} {winner or 'none'} answered", fields)


def _targets_drained(event: events.TargetsDrained) -> Entry:
    fields: Fields = {"event": "targets_drained", "pattern": event.pattern, "drained": event.drained}
    how = "left out" if event.drained else "used again"
    return Entry(f"targets like {event.pattern} are {how} by hand", fields)


def _cost_recorded(event: events.CostRecorded) -> Entry:
    usd = None if event.usd is None else float(event.usd)
    fields = of_call(event.call, "cost_recorded", usd=usd, source=event.source, price=event.price)
    return Entry(f"cost at {event.target}: {'unknown' if usd is None else f'${usd:.6f}'}", fields)


def _cost_rejected(event: events.CostRejected) -> Entry:
    fields = of_call(
        event.call,
        "cost_rejected",
        budget=event.budget,
        reason=event.reason,
        needed=None if event.needed is None else float(event.needed),
        retry_after=event.retry_after,
    )
    return Entry(f"budget {event.budget or 'of tokens'} refused: {event.reason}", fields)


def _guard_rejected(event: events.GuardRejected) -> Entry:
    fields = of_call(event.call, "guard_rejected", param=event.param, error=type(event.error).__name__)
    return Entry(f"guard refused: {event.param or 'what a scan found'}", fields)


def _guard_fetched(event: events.GuardFetched) -> Entry:
    fields = of_call(
        event.call, "guard_fetched", url=event.url, size=event.size, seconds=round(event.seconds, 6)
    )
    return Entry(f"an image of {event.size} bytes was fetched", fields)


def _guard_found(event: events.GuardFound) -> Entry:
    fields = of_call(
        event.call, "guard_found", where=event.where, action=event.action, found=dict(event.found)
    )
    names = ", ".join(event.found)
    return Entry(f"a scan found {names} in the {event.where}: {event.action}", fields)


STAGE_KINDS: Mapping[type[events.Event], Kind] = {
    events.BreakerTransition: Kind("breaker", _transition_level, _breaker_transition),
    events.BreakerExtended: Kind("breaker", INFO, _breaker_extended),
    events.BreakerProbesLost: Kind("breaker", WARNING, _breaker_probes_lost),
    events.BreakerRejected: Kind("breaker", DEBUG, _breaker_rejected),
    events.CredentialRested: Kind("breaker", WARNING, _credential_rested),
    events.CredentialResumed: Kind("breaker", INFO, _credential_resumed),
    events.LimiterQueued: Kind("limiter", DEBUG, _limiter_queued),
    events.LimiterRejected: Kind("limiter", INFO, _limiter_rejected),
    events.LimiterPaused: Kind("limiter", WARNING, _limiter_paused),
    events.LimiterAdapted: Kind("limiter", DEBUG, _limiter_adapted),
    events.LimiterConfigured: Kind("limiter", INFO, _limiter_configured),
    events.CacheLookup: Kind("cache", DEBUG, _cache_lookup),
    events.CacheFailed: Kind("cache", INFO, _cache_failed),
    events.TargetSkipped: Kind("routing", INFO, _target_skipped),
    events.Failover: Kind("routing", WARNING, _failover),
    events.StreamRecovered: Kind("routing", WARNING, _stream_recovered),
    events.StreamLost: Kind("routing", WARNING, _stream_lost),
    events.HedgeStarted: Kind("routing", INFO, _hedge_started),
    events.HedgeDenied: Kind("routing", DEBUG, _hedge_denied),
    events.HedgeFinished: Kind("routing", DEBUG, _hedge_finished),
    events.TargetsDrained: Kind("routing", INFO, _targets_drained),
    events.CostRecorded: Kind("cost", DEBUG, _cost_recorded),
    events.CostRejected: Kind("cost", WARNING, _cost_rejected),
    events.GuardRejected: Kind("guard", INFO, _guard_rejected),
    events.GuardFetched: Kind("guard", DEBUG, _guard_fetched),
    events.GuardFound: Kind("guard", WARNING, _guard_found),
}
