"""The cost of answers and streams, and budgets, in every colour."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import AsyncClient, Client
from penstock.call import Outcome, Reply
from penstock.errors import BudgetExhausted, ContextLengthError, InvalidRequestError, ServerError
from penstock.events import CostRecorded, CostRejected
from penstock.hookspecs import hookimpl
from penstock.responses import ChatResponse, Choice, Chunk, Usage
from penstock.simulated import SimulatedRuntime
from penstock.specs import ProviderSpec
from penstock_testkit import faults

PIPELINE = ["cost", "retry"]
PRICES = {"openai/*": {"input": "2.50/M", "output": "10/M", "cached": "1.25/M", "reasoning": "20/M"}}


class Scripted:
    """A provider whose answers a test writes."""

    def __init__(self, base_url: str = "https://api.example.com/v1", **script: Any) -> None:
        self.base_url = base_url
        self.usage: Usage | None = script.get("usage", Usage(1000, 100))
        self.extra: dict[str, Any] = script.get("extra", {})
        self.model: str = script.get("model", "m")
        self.error: Exception | None = None
        self.wait: Callable[[Any], Any] | None = script.get("wait")
        self.calls = 0

    async def send(self, call: Any) -> Reply:
        self.calls += 1
        if self.wait is not None:
            await self.wait(call)
        if self.error is not None:
            raise self.error
        response = ChatResponse(
            (Choice("Hello there", finish_reason="stop"),), self.model, usage=self.usage, extra=self.extra
        )
        return Live(response).reply if call.request.stream else Reply(response)


class Live:
    """A stream of two chunks."""

    def __init__(self, response: ChatResponse) -> None:
        self.response = response
        self.chunks = [Chunk(text="Hello "), Chunk(text="there", finish_reason="stop", usage=response.usage)]
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Chunk:
        if self.chunks:
            return self.chunks.pop(0)
        self.reply.finish(Outcome("ok", self.response))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        partial = ChatResponse((Choice("Hello "),))
        self.reply.finish(Outcome("abandoned", partial))


@pytest.fixture
def scripted(world: Callable[..., Any]) -> Callable[..., Any]:
    """Makes worlds whose only provider is scripted, as `openai`."""

    def make(provider: Scripted, **arguments: Any) -> Any:
        return world(
            plugins=[("scripted", plugin(provider))],
            providers={"openai": {"plugin": "scripted"}},
            **{"pipeline": PIPELINE, **arguments},
        )

    return make


def plugin(provider: Any) -> Any:
    from penstock.config import Config

    class Plugin:
        @hookimpl
        def penstock_register_providers(self) -> list[ProviderSpec]:
            return [ProviderSpec(name="scripted", config=Config, create=lambda config, services: provider)]

    return Plugin()


def recorded(there: Any) -> list[tuple[Any, ...]]:
    events = [event for event in there.events if isinstance(event, CostRecorded)]
    return [(event.usd, event.source, event.price) for event in events]


def test_an_answer_and_a_stream_carry_what_they_cost(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(usage=Usage(1000, 100, 400, 60)), cost={"prices": PRICES})
    assert there.chat().cost == Decimal("0.0036")
    _, stream = there.stream()
    assert stream.answer.cost == Decimal("0.0036")
    assert recorded(there) == [(Decimal("0.0036"), "calculated", "table")] * 2
    stats = there.client.stage("cost").stats()
    assert stats["usd"] == Decimal("0.0072")
    assert stats["targets"]["openai/gpt-4o-mini"].input_tokens == 2000


def test_embeddings_cost_their_input(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE, cost={"prices": {"openai/*": {"input": 1_000_000}}})
    vectors = there.embed(["one two", "three"])
    assert vectors.cost == vectors.usage.input_tokens


def test_what_nobody_knows_is_none_and_never_zero(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted())
    assert there.chat().cost is None
    assert recorded(there) == [(None, "calculated", None)]
    assert there.client.stage("cost").stats()["unknown"] == 1


def test_a_model_on_this_machine_costs_nothing_and_is_marked(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted("http://127.0.0.1:8000/v1"))
    assert there.chat().cost == 0
    assert recorded(there) == [(Decimal(0), "calculated", "local")]


def test_the_catalogue_is_asked_when_the_table_is_silent(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted("https://api.openai.com/v1", usage=Usage(1000, 100, 400)))
    answer = there.chat(model="openai/gpt-4o")
    assert answer.cost == Decimal("0.0030")
    assert recorded(there) == [(Decimal("0.0030"), "calculated", "catalogue")]


def test_a_deployment_is_priced_by_the_model_that_answered(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted("https://x.openai.azure.com/openai/v1", model="gpt-4o-2024-08-06"))
    assert there.chat(model="openai/our-deployment").cost == Decimal("0.0035")


def test_a_service_tier_has_its_own_price(scripted: Callable[..., Any]) -> None:
    provider = Scripted("https://api.openai.com/v1")
    there = scripted(provider)
    usual = there.chat(model="openai/gpt-5").cost
    provider.extra = {"service_tier": "flex"}
    assert 0 < there.chat(model="openai/gpt-5").cost < usual
    provider.extra = {"service_tier": "default"}
    assert there.chat(model="openai/gpt-5").cost == usual


def test_what_the_provider_reports_counts_before_the_catalogue(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted("https://api.openai.com/v1", extra={"cost_usd": 0.125}))
    assert there.chat(model="openai/gpt-4o").cost == Decimal("0.125")
    assert recorded(there) == [(Decimal("0.125"), "reported", None)]


def test_the_user_s_table_counts_before_what_is_reported(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(extra={"cost_usd": 0.125}), cost={"prices": PRICES})
    assert there.chat().cost == Decimal("0.0035")


@pytest.mark.parametrize("value", ["1", True, -1, float("nan"), float("inf"), None])
def test_a_reported_cost_that_is_none_is_not_believed(make_world: Any, value: Any) -> None:
    provider = Scripted(extra={"cost_usd": value})
    there = make_world(
        plugins=[("scripted", plugin(provider))],
        providers={"openai": {"plugin": "scripted"}},
        pipeline=PIPELINE,
    )
    assert there.chat().cost is None


def test_an_answer_that_was_not_counted_is_estimated(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(usage=None), cost={"prices": {"openai/*": {"input": 1_000_000, "output": 0}}})
    assert there.chat("word " * 100).cost == 131  # 500 characters / 4, 3 for the message, 3 to prime
    assert [source for _, source, _ in recorded(there)] == ["estimated"]


def test_a_stream_that_is_left_costs_what_was_sent_and_seen(scripted: Callable[..., Any]) -> None:
    prices = {"openai/*": {"input": 1_000_000, "output": 1000_000_000}}
    there = scripted(Scripted(), cost={"prices": prices})
    there.stream("word " * 100, take=1)
    ((usd, source, _),) = recorded(there)
    assert source == "estimated"
    assert usd == 131 + 2 * 1000  # "Hello " is two tokens


def test_a_cached_answer_costs_nothing(world: Callable[..., Any]) -> None:
    there = world(pipeline=["cache", "cost", "retry"], cost={"prices": PRICES})
    first = there.chat(temperature=0)
    again = there.chat(temperature=0)
    assert first.cost > 0
    assert (again.cached, again.cost) == (True, 0)
    assert len(recorded(there)) == 1


def test_failed_attempts_cost_nothing_and_retries_are_counted_once(world: Callable[..., Any]) -> None:
    there = world([faults.status(503), faults.status(503)], pipeline=PIPELINE, cost={"prices": PRICES})
    assert there.chat().cost > 0
    assert there.count == 3
    assert len(recorded(there)) == 1


def test_a_list_of_models_is_free(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE, cost={"prices": PRICES})
    there.run(there.client.models("openai"))
    assert recorded(there) == []


def test_the_same_calls_cost_the_same_in_every_colour(make_world: Callable[..., Any]) -> None:
    traces = []
    for colour in ("blocking", "async", "simulated"):
        there = make_world(colour, [faults.status(503)], pipeline=PIPELINE, cost={"prices": PRICES})
        there.chat()
        there.stream()
        there.stream(take=1)
        traces.append(there.trace())
    assert traces[0] == traces[1] == traces[2]


def test_a_catalogue_that_is_broken_fails_no_call(
    scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock_cost import catalogue

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("bad data")

    monkeypatch.setattr(catalogue, "look_up", broken)
    there = scripted(Scripted("https://api.openai.com/v1"))
    assert there.chat().cost is None


def test_counting_that_goes_wrong_fails_no_call(
    scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock_cost.rates import Rates

    def broken(self: Rates, usage: Usage) -> None:
        raise ArithmeticError

    there = scripted(Scripted(), cost={"prices": PRICES})
    monkeypatch.setattr(Rates, "usd", broken)
    assert there.chat().text == "Hello there"


# Budgets


def budget(limit: Any, **more: Any) -> dict[str, Any]:
    return {"prices": PRICES, "budgets": {"daily": {"limit": limit, "window": "1d", **more}}}


def test_a_spent_budget_refuses_before_anything_is_sent(scripted: Callable[..., Any]) -> None:
    provider = Scripted(usage=Usage(1000, 100))  # 0.0035
    there = scripted(provider, cost=budget("0.0105"))
    for _ in range(3):
        there.chat(max_tokens=100)
    with pytest.raises(BudgetExhausted, match="'daily'") as caught:
        there.chat(max_tokens=100)
    assert provider.calls == 3
    assert caught.value.stage == "cost"
    assert caught.value.failover == "yes"
    assert 86400 <= (caught.value.retry_after or 0) <= 88000
    (rejected,) = [event for event in there.events if isinstance(event, CostRejected)]
    assert (rejected.budget, rejected.reason) == ("daily", "spent")
    stage = there.client.stage("cost")
    assert stage.left("daily") == 0
    assert stage.stats()["refused"] == 1
    stage.reset("dai*")
    there.chat(max_tokens=100)


def test_a_budget_has_room_again_when_its_window_has_passed(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(usage=Usage(1000, 100)), cost=budget("0.004"))
    there.chat(max_tokens=100)
    with pytest.raises(BudgetExhausted) as caught:
        there.chat(max_tokens=100)

    async def later() -> None:
        await there.runtime.sleep(caught.value.retry_after)

    from penstock.runtime import drive

    there.run(drive(later()) if there.colour == "blocking" else later())
    there.chat(max_tokens=100)


def test_more_is_reserved_than_spent_and_the_rest_comes_back(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(usage=Usage(10, 1)), cost=budget("0.02"))
    for _ in range(50):
        there.chat(max_tokens=1500)  # reserves 0.015, costs 0.000035
    assert there.client.stage("cost").left("daily") == Decimal("0.02") - 50 * Decimal("0.000035")


def test_what_failed_is_given_back(scripted: Callable[..., Any]) -> None:
    provider = Scripted()
    provider.error = ServerError("no", status=500)
    there = scripted(provider, cost=budget("0.02"), retry={"max_attempts": 1})
    for _ in range(10):
        with pytest.raises(ServerError):
            there.chat(max_tokens=1500)
    assert there.client.stage("cost").left("daily") == Decimal("0.02")


def test_a_stream_holds_its_reservation_until_it_ends(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(usage=Usage(10, 1)), cost=budget("0.02"))
    there.stream(max_tokens=1500, take=1)
    left = there.client.stage("cost").left("daily")
    assert Decimal("0.0198") < left < Decimal("0.02")


def test_each_key_has_a_budget_of_its_own(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted(), cost=budget("0.004", each="key"))
    there.chat(max_tokens=100, cost={"key": "a"})
    there.chat(max_tokens=100, cost={"key": "b"})
    there.chat(max_tokens=100)
    with pytest.raises(BudgetExhausted, match=r"daily\[a\]"):
        there.chat(max_tokens=100, cost={"key": "a"})
    there.client.stage("cost").reset("daily", "a")
    there.chat(max_tokens=100, cost={"key": "a"})


def test_budgets_are_split_by_model_and_count_for_the_targets_they_name(
    scripted: Callable[..., Any],
) -> None:
    there = scripted(Scripted(), cost=budget("0.004", each="model", targets=["openai/gpt-4o*"]))
    there.chat(max_tokens=100)
    there.chat(max_tokens=100, model="openai/gpt-4o")
    with pytest.raises(BudgetExhausted):
        there.chat(max_tokens=100)
    for _ in range(5):
        there.chat(max_tokens=100, model="openai/o3")


def test_a_call_of_unknown_price_is_refused_by_a_budget_unless_it_may_pass(
    scripted: Callable[..., Any],
) -> None:
    strict = scripted(Scripted(), cost={"budgets": {"daily": {"limit": 1}}})
    with pytest.raises(BudgetExhausted, match=r"cost\.prices"):
        strict.chat()
    (rejected,) = [event for event in strict.events if isinstance(event, CostRejected)]
    assert (rejected.budget, rejected.reason) == ("daily", "unpriced")
    lax = scripted(Scripted(), cost={"budgets": {"daily": {"limit": 1, "unpriced": "allow"}}})
    assert lax.chat().cost is None


def test_a_free_model_needs_no_budget(scripted: Callable[..., Any]) -> None:
    there = scripted(Scripted("http://127.0.0.1/v1"), cost={"budgets": {"none": {"limit": 0}}})
    assert there.chat().cost == 0


@pytest.mark.parametrize("given", [7, {"nonsense": 1}, "key"])
def test_an_option_that_is_none_is_refused(make_world: Callable[..., Any], given: Any) -> None:
    there = make_world(pipeline=PIPELINE, cost=budget(1))
    with pytest.raises(InvalidRequestError) as caught:
        there.chat(cost=given)
    assert caught.value.param == "cost"
    assert there.count == 0


def test_a_route_goes_on_to_a_target_that_the_budget_allows(make_world: Callable[..., Any]) -> None:
    there = make_world(
        pipeline=["routing", "cost", "retry"],
        routes={"fast": {"targets": ["openai/dear", "openai/cheap"]}},
        cost={
            "prices": {"openai/dear": {"input": 1000}, "openai/cheap": {"input": "0.01/M"}},
            "budgets": {"daily": {"limit": "0.001"}},
        },
    )
    answer = there.chat(model="fast", max_tokens=10)
    assert answer.target.model == "cheap"
    assert answer.cost > 0


# Windows


def test_what_surely_does_not_fit_the_window_is_not_sent(scripted: Callable[..., Any]) -> None:
    provider = Scripted("https://api.openai.com/v1")
    there = scripted(provider, cost={"preflight": True})
    there.chat("word " * 1000, model="openai/gpt-4")
    with pytest.raises(ContextLengthError, match="window of 8,192") as caught:
        there.chat("word " * 20_000, model="openai/gpt-4")
    assert caught.value.failover == "larger_window"
    assert provider.calls == 1
    (rejected,) = [event for event in there.events if isinstance(event, CostRejected)]
    assert rejected.reason == "window"


# Many at once


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
def test_sixty_four_threads_share_a_client_and_never_overspend() -> None:
    provider = Scripted(usage=Usage(10, 100))  # 0.001025, reserved as 0.00102
    limit = Decimal("0.1")
    client = Client(
        config=False,
        environ={},
        plugins=[("scripted", plugin(provider))],
        providers={"openai": {"plugin": "scripted"}},
        pipeline=["cost"],
        cost=budget(str(limit)),
    )
    answers = [0] * 64

    def work(number: int) -> None:
        for _ in range(10):
            try:
                client.chat("openai/gpt-4o", "Hello", max_tokens=100)
            except BudgetExhausted:
                continue
            answers[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = client.stage("cost").stats()
    client.close()
    assert 90 <= sum(answers) <= 98
    assert stats["usd"] == sum(answers) * Decimal("0.001025")
    assert stats["usd"] <= limit + Decimal("0.001")
    assert stats["budgets"]["daily"][""]["spent"] == stats["usd"]


def test_a_hundred_calls_of_a_loop_never_overspend() -> None:
    async def slow(call: Any) -> None:
        await asyncio.sleep(0)

    provider = Scripted(usage=Usage(10, 100), wait=slow)

    async def scenario() -> tuple[int, Any]:
        async with AsyncClient(
            config=False,
            environ={},
            plugins=[("scripted", plugin(provider))],
            providers={"openai": {"plugin": "scripted"}},
            pipeline=["cost"],
            cost=budget("0.0206"),
        ) as client:
            calls = [client.chat("openai/gpt-4o", "Hello", max_tokens=100) for _ in range(100)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refused = [result for result in results if isinstance(result, BudgetExhausted)]
            return 100 - len(refused), client.stage("cost").stats()

    answered, stats = asyncio.run(scenario())
    assert answered == 20
    assert stats["usd"] == 20 * Decimal("0.001025")


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_left_reserved_whatever_is_cancelled(seed: int) -> None:
    """Days of traffic in virtual time, with cancellations at any await; the seed replays it."""
    from penstock import SimulatedClient

    dice = random.Random(seed)
    runtime = SimulatedRuntime(SimpleNamespace(close=_nothing), seed=seed)  # type: ignore[arg-type]

    async def wait(call: Any) -> None:
        await call.runtime.sleep(dice.random() * 60)
        if dice.random() < 0.2:
            raise ServerError("no", status=500)

    provider = Scripted(usage=Usage(10, 50), wait=wait)
    client = SimulatedClient(
        runtime,
        config=False,
        environ={},
        plugins=[("scripted", plugin(provider))],
        providers={"openai": {"plugin": "scripted"}},
        pipeline=["cost", "retry"],
        cost={"prices": PRICES, "budgets": {"hourly": {"limit": "0.02", "window": "1h"}}},
    )
    answered: list[tuple[float, Decimal]] = []

    def cancel_some(task: Any) -> None:
        if task.name == "call" and dice.random() < 0.05:
            task.cancel()

    runtime.on_suspend = cancel_some

    async def one() -> None:
        await runtime.sleep(dice.random() * 4 * 86400)
        started = runtime.now()
        try:
            answer = await client.chat("openai/gpt-4o", "Hello", max_tokens=100)
        except (BudgetExhausted, ServerError):
            return
        answered.append((started, answer.cost))  # type: ignore[arg-type]

    for _ in range(600):
        runtime.spawn(one(), "call")
    runtime.settle()
    client.run(client.close())
    stage = client.stage("cost")
    total = sum((usd for _, usd in answered), start=Decimal(0))
    assert stage.stats()["usd"] == total
    for start, _ in answered:
        hour = sum((usd for at, usd in answered if start <= at < start + 3600), start=Decimal(0))
        assert hour <= Decimal("0.02"), f"seed {seed}"

    async def an_hour_later() -> Decimal | None:
        await runtime.sleep(2 * 3600)
        return stage.left("hourly")  # type: ignore[no-any-return]

    assert runtime.run(an_hour_later()) == Decimal("0.02"), f"seed {seed}"


async def _nothing() -> None:
    pass
