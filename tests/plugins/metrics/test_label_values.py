"""Every value that a label is stated to have, brought about on purpose, and counted as often as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError
from penstock_metrics.instruments import DURATIONS, TOKENS
from penstock_testkit import Simulator, faults

COLOURS = ("blocking", "async", "simulated")
MODEL = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-4o-mini"}
CACHE = "penstock_cache_requests_total"
RETRIES = "penstock_retry_attempts_total"
LIMITER = "penstock_rate_limiter_requests_total"
COST = "penstock_cost_usd_total"


@pytest.fixture(params=COLOURS)
def there(
    request: pytest.FixtureRequest, make_world: Callable[..., Any], series: Callable[[str], Any]
) -> Any:
    """Makes a world of a colour with metrics; `there.shown(world)` reads them."""

    def make(faults: Any = (), **arguments: Any) -> Any:
        return make_world(request.param, faults, metrics={}, **arguments)

    make.shown = lambda world: series(world.client.listener("metrics").exposition())
    return make


def later(world: Any, seconds: float) -> None:
    if world.colour == "blocking":
        world.runtime._sleep(seconds)
    else:
        world.run(world.runtime.sleep(seconds))


def test_each_result_of_the_cache(there: Any) -> None:
    world = there(pipeline=["cache"], cache={"mode": "aggressive", "ttl": 60})
    world.chat("one")  # a miss
    world.chat("one")  # a hit
    later(world, 120)
    world.chat("one")  # stale while it is asked again
    if world.colour == "simulated":
        world.runtime.settle()
    world.chat("one", cache=False)  # not looked at: the stage is left out
    world.run(world.client.models("openai"))  # nothing a cache keeps
    shown = there.shown(world)
    counted = {result: shown.sum(CACHE, result=result) for result in shown.values(CACHE, "result")}
    assert counted == {"miss": 2, "hit": 1, "stale": 1, "bypass": 1}  # asking again is a call of its own


def test_a_store_that_fails_is_the_result_error(there: Any) -> None:
    class Broken:
        def now(self) -> float:
            return 0.0

        async def get(self, key: str) -> bytes | None:
            raise ConnectionError

        async def set(self, *given: Any, **more: Any) -> None:
            raise ConnectionError

        async def close(self) -> None: ...

        def size(self) -> Any:
            return (0, 0, 0)

    world = there(pipeline=["cache"])
    world.client.stage("cache").store = Broken()
    for _ in range(3):
        world.chat("one", temperature=0)
    assert there.shown(world).sum(CACHE, **MODEL, result="error") == world.count == 3


def test_each_outcome_of_the_retries(there: Any) -> None:
    world = there(
        [faults.status(503)] * 9, pipeline=["retry"], budget={"capacity": 3, "per_call": 0, "per_second": 0}
    )
    for _ in range(2):
        with pytest.raises(CallError):
            world.chat()
    shown = there.shown(world)
    assert world.count == 2 + 3
    assert shown.sum(RETRIES, **MODEL, outcome="scheduled") == 3
    assert shown.sum(RETRIES, **MODEL, outcome="exhausted") == 1
    assert shown.sum(RETRIES, **MODEL, outcome="denied") == 1


def test_each_result_of_the_limiter(make_world: Callable[..., Any], series: Callable[[str], Any]) -> None:
    world = make_world(
        "simulated",
        pipeline=["limiter"],
        limiter={"rate": "1/s", "burst": 1},
        metrics={},
    )

    async def crowd() -> None:
        ask = world.client.chat
        first = world.runtime.spawn(ask("openai/gpt-4o-mini", "Hello"))
        await world.runtime.sleep(0.1)
        queued = [world.runtime.spawn(ask("openai/gpt-4o-mini", "Hello")) for _ in range(2)]
        await world.runtime.sleep(0.1)
        queued[1].cancel()
        with pytest.raises(CallError):
            await ask("openai/gpt-4o-mini", "Hello", limiter={"max_wait": 0})
        while not (first.done and queued[0].done):
            await world.runtime.sleep(0.5)

    world.run(crowd())
    world.runtime.settle()
    shown = series(world.client.listener("metrics").exposition())
    counted = {
        result: shown.sum(LIMITER, **MODEL, result=result) for result in shown.values(LIMITER, "result")
    }
    assert counted == {"acquired": 2, "queued": 2, "rejected": 1, "cancelled": 1}
    assert world.count == 2
    waited = "penstock_rate_limiter_queue_time_seconds"
    assert shown.sum(f"{waited}_count", **MODEL) == 2
    assert shown.sum(f"{waited}_sum", **MODEL) == pytest.approx(0.9 + 0.1, abs=0.01)


def test_each_source_of_a_cost(there: Any) -> None:
    prices = {"openai/*": {"input": "2/M", "output": "8/M"}}
    world = there(simulator=Simulator(text="a b c"), pipeline=["cost"], cost={"prices": prices})
    calculated = world.chat().cost
    _, stream = world.stream(take=1)  # left before the usage came
    shown = there.shown(world)
    assert shown.sum(COST, **MODEL, source="calculated") == pytest.approx(float(calculated))
    assert 0 < shown.sum(COST, **MODEL, source="estimated") < float(calculated)
    assert stream.attempts
    body = (
        '{"id": "x", "model": "m", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": '
        '"stop", "message": {"role": "assistant", "content": "Hi"}}], "usage": {"prompt_tokens": 1, '
        '"completion_tokens": 1, "total_tokens": 2, "cost": 0.25}}'
    )
    reporting = there(
        [faults.status(200, body=body)],
        pipeline=["cost"],
        providers={
            "router": {
                "plugin": "openai",
                "preset": "openrouter",
                "api_key": "sk-test-0123456789",
                "base_url": "http://sim.test/v1",
            }
        },
    )
    assert float(reporting.chat(model="router/m").cost) == 0.25
    assert there.shown(reporting).sum(COST, source="reported") == 0.25


def test_tokens_and_times_are_those_of_the_simulation_bucket_by_bucket(
    make_world: Callable[..., Any], series: Callable[[str], Any]
) -> None:
    world = make_world(
        "simulated", [faults.slow_first_token(0.1), faults.slow_first_token(3.0)], pipeline=[], metrics={}
    )
    streams = [world.stream("Hello")[1] for _ in range(2)]
    shown = series(world.client.listener("metrics").exposition())
    for name in ("gen_ai_client_operation_time_to_first_chunk_seconds", "penstock_attempt_duration_seconds"):
        assert shown.sum(f"{name}_sum", **MODEL) == pytest.approx(3.1)
        for bound in DURATIONS:
            expected = (bound >= 0.1) + (bound >= 3.0)
            assert shown.sum(f"{name}_bucket", **MODEL, le=f"{bound:g}") == expected, bound
        assert shown.sum(f"{name}_bucket", **MODEL, le="+Inf") == 2
    usage = [stream.answer.usage for stream in streams]
    for kind, counts in (
        ("input", [each.input_tokens for each in usage]),
        ("output", [each.output_tokens for each in usage]),
    ):
        tokens = {**MODEL, "gen_ai_token_type": kind}
        assert shown.sum("gen_ai_client_token_usage_sum", **tokens) == sum(counts)
        for bound in TOKENS:
            within = sum(count <= bound for count in counts)
            assert shown.sum("gen_ai_client_token_usage_bucket", **tokens, le=f"{bound:.0f}") == within
