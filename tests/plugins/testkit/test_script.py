"""Which fault meets which request, and how requests are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from penstock_testkit import Simulator, faults
from penstock_testkit.plan import Plan, head_of


def statuses(plan_of: Callable[..., Plan], simulator: Simulator, models: str) -> list[int | None]:
    """One request for each letter, which names the model."""
    heads = [head_of(plan_of(simulator, {"model": m, "messages": [{"role": "user"}]})) for m in models]
    return [None if head is None else head.status for head in heads]


def test_a_script_meets_the_first_requests_and_then_all_is_well(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator([faults.status(503), faults.ok(), faults.reset()])
    assert statuses(plan_of, simulator, "aaaa") == [503, 200, None, 200]


def test_a_script_can_repeat(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator([faults.status(503), faults.ok()], repeat=True)
    assert statuses(plan_of, simulator, "aaaaa") == [503, 200, 503, 200, 503]


def test_a_model_with_its_own_script_follows_only_that(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator(
        [faults.status(500)], script={"a": [faults.status(503), faults.status(429)], "b": []}
    )
    assert statuses(plan_of, simulator, "abcaca") == [503, 200, 500, 429, 200, 200]


def test_an_addressed_entry_waits_for_its_request(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator([faults.status(503).when(lambda request: request.model == "b"), faults.status(429)])
    assert statuses(plan_of, simulator, "aabb") == [429, 200, 503, 200]
    assert simulator.remaining() == 0


def test_a_repeated_addressed_entry_never_meets_others(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator([faults.status(503).when(lambda request: request.model == "b")], repeat=True)
    assert statuses(plan_of, simulator, "abbab") == [200, 503, 503, 200, 503]


def test_rates_depend_on_the_seed_and_the_number_of_the_request(plan_of: Callable[..., Plan]) -> None:
    rate = {faults.status(503): 0.2, faults.status(429): 0.1}
    first = statuses(plan_of, Simulator(rate=rate, seed=1), "a" * 400)
    again = statuses(plan_of, Simulator(rate=rate, seed=1), "a" * 400)
    other = statuses(plan_of, Simulator(rate=rate, seed=2), "a" * 400)
    scripted = statuses(plan_of, Simulator([faults.status(500)] * 100, rate=rate, seed=1), "a" * 400)
    assert first == again != other
    assert scripted[:100] == [500] * 100
    assert scripted[100:] == first[100:]
    seen = Counter(first)
    assert 50 <= seen[503] <= 110
    assert 20 <= seen[429] <= 65


@pytest.mark.parametrize("rates", [(0.7, 0.7), (-0.1, 0.1), (1.5, 0.0)])
def test_rates_that_are_no_shares_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        Simulator(rate=dict(zip([faults.reset(), faults.hang()], rates, strict=True)))


def test_a_reset_begins_everything_again(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator([faults.status(503)], rate={faults.status(429): 0.5}, seed=3)
    before = statuses(plan_of, simulator, "a" * 20)
    simulator.reset()
    assert simulator.count() == 0
    assert statuses(plan_of, simulator, "a" * 20) == before


def test_requests_are_counted_by_what_they_are(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator()
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    plan_of(simulator, body, at=1.0)
    plan_of(simulator, {**body, "stream": True}, at=2.0)
    plan_of(simulator, b"", method="GET", path="/v1/models?limit=1", at=3.0)
    assert simulator.count() == 3
    assert simulator.count(path="chat/completions") == simulator.count(model="m") == 2
    assert simulator.count(stream=True) == simulator.count(method="GET") == 1
    assert simulator.count(where=lambda request: request.at > 1.5) == 2
    assert [(r.number, r.at, r.path, r.query) for r in simulator.requests][2] == (
        3,
        3.0,
        "/v1/models",
        "limit=1",
    )


def test_all_are_counted_though_only_some_are_kept(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator(keep=2)
    statuses(plan_of, simulator, "abc")
    assert simulator.count() == 3
    assert [request.model for request in simulator.requests] == ["b", "c"]


def test_a_received_request_never_shows_a_key(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator()
    plan_of(simulator, headers={"authorization": "Bearer sk-secret", "x-api-key": "secret", "accept": "*/*"})
    (request,) = simulator.requests
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert "secret" not in repr(request)
    assert "*/*" in repr(request)


def test_faults_and_simulators_show_how_they_were_made() -> None:
    slow_error = faults.chain(faults.status(429, retry_after=1.5, form="ms"), faults.slow_first_token(2))
    assert repr(slow_error) == "chain(status(429, retry_after=1.5, form='ms'), slow_first_token(2))"
    assert repr(faults.cut(after=3, inside_chunk=True)) == "cut(after=3, inside_chunk=True)"
    assert repr(Simulator([faults.hang()])) == "<Simulator faults=[hang()] received 0>"


def test_equal_faults_are_equal() -> None:
    assert faults.status(503) == faults.status(503) != faults.status(500)
    assert len({faults.reset(), faults.reset(), faults.reset(after=1)}) == 2
