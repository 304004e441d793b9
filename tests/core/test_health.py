"""How a client is, told from what it knows; no check can hurt another, send something, or tell a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import CallError, Finding, Health, HealthCheckSpec, PluginNotFoundError, SimulatedClient
from penstock.simulated import SimulatedRuntime
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
KEY = "sk-test-0123456789"
TWO = {
    name: {"plugin": "openai", "api_key": KEY, "base_url": f"http://{name}.test/v1"}
    for name in ("one", "two")
}


def later(world: Any, seconds: float = 1.0) -> None:
    """Let time pass in any colour, so that the client looks again."""
    if world.colour == "blocking":
        world.runtime._sleep(seconds)
    else:
        world.run(world.runtime.sleep(seconds))


def checking(*checks: Callable[[Any], Any], names: tuple[str, ...] = ("a", "b", "c")) -> Any:
    def penstock_register_health_checks() -> Any:
        return [HealthCheckSpec(name=name, check=check) for name, check in zip(names, checks, strict=False)]

    return penstock_register_health_checks


def test_a_fresh_client_passes_and_names_its_providers(world: World) -> None:
    here = world(providers=TWO)
    assert here.client.health() == Health(
        status="pass",
        checks={"one:availability": (Finding(status="pass"),), "two:availability": (Finding(status="pass"),)},
    )
    assert here.count == 0


def test_a_closed_client_fails_and_says_so(world: World) -> None:
    here = world()
    here.run(here.client.close())
    health = here.client.health()
    assert health.status == "fail"
    assert "closed" in str(health)


def test_one_open_breaker_warns_and_all_of_them_fail(world: World) -> None:
    script = {"bad": [faults.status(500)] * 20}
    here = world(pipeline=["breaker"], providers=TWO, simulator=Simulator(script=script))
    here.chat(model="one/good")
    for model in ("one/bad", "two/bad"):
        for _ in range(5):
            with pytest.raises(CallError):
                here.chat(model=model)
        if model == "one/bad":
            later(here)
            health = here.client.health()
            assert health.status == "warn"
            one = {each.component: each for each in health.checks["one:availability"]}
            assert one["one/bad"].status == "warn"
            assert one["one/bad"].value == "open"
            assert "open for another 1" in one["one/bad"].output
            assert (one[""].status, one[""].value) == ("pass", 1)
    later(here)
    assert here.client.health().status == "warn"  # one/good still works
    here.client.stage("breaker").force_open("one/good")
    later(here)
    before = here.count
    health = here.client.health()
    assert health.status == "fail"
    assert {each.value for each in health.checks["one:availability"]} == {"open", "forced_open"}
    here.client.stage("breaker").reset()
    later(here)
    assert here.client.health().status == "pass"
    assert here.count == before


def test_a_resting_credential_takes_all_of_its_provider_down(world: World) -> None:
    here = world([faults.ok(), faults.status(401)], pipeline=["breaker"])
    here.chat()
    with pytest.raises(CallError):
        here.chat(model="openai/gpt-4o")
    health = here.client.health()
    assert health.status == "fail"
    (finding,) = health.checks["openai:availability"]
    assert finding.component == "credential"
    assert "rests for another 300 s" in finding.output


def test_a_pause_of_the_server_and_a_spent_budget_warn(world: World) -> None:
    here = world(
        [faults.status(429, retry_after=30)],
        pipeline=["cost", "limiter"],
        cost={
            "prices": {"openai/*": {"input": 0, "request": "9.5"}},
            "budgets": {"all": {"limit": 10}, "tenants": {"limit": 10, "each": "key"}},
        },
    )
    with pytest.raises(CallError):
        here.chat("Hi", cost={"key": "tenant-1"})
    health = here.client.health()
    assert health.status == "warn"
    (pause,) = health.checks["limiter:pause"]
    assert pause.status == "warn"
    assert 30 <= float(pause.value or 0) <= 31
    assert health.checks["budget:all"][0].status == "pass"
    later(here, 40)
    here.chat("Hi", cost={"key": "tenant-2"})
    later(here)
    health = here.client.health()
    assert "limiter:pause" not in health.checks
    assert health.checks["budget:all"][0].status == "warn"
    assert [(each.status, each.value) for each in health.checks["budget:tenants"]] == [
        ("pass", 1),
        ("warn", 1),
    ]
    assert "tenant" not in json.dumps(health.document()).replace("budget:tenants", "")


def test_what_was_found_is_told_again_for_a_second(bench: Any) -> None:
    looks: list[Any] = []

    def check(client: Any) -> dict[str, list[Finding]]:
        looks.append(client)
        return {}

    runtime = SimulatedRuntime(SimpleNamespace(), seed=1)  # sends nothing
    client = SimulatedClient(runtime, **bench.options(penstock_register_health_checks=checking(check)))
    first = client.health()
    runtime.run(runtime.sleep(0.9))
    assert client.health() is first
    runtime.run(runtime.sleep(0.2))
    client.health()
    assert looks == [client, client]
    client.run(client.close())


def test_a_check_that_raises_is_a_finding_and_hurts_no_other(bench: Any) -> None:
    def raises(client: Any) -> Any:
        raise RuntimeError(f"the key is {KEY}")

    def fine(client: Any) -> Any:
        return {"disk:space": [Finding(status="pass", value=0.5, unit="ratio")]}

    async def waits(client: Any) -> Any:
        return {}

    client = bench.client(penstock_register_health_checks=checking(raises, fine, waits))
    client.chat("prompt/any", "hi")
    health = client.health()
    assert health.status == "warn"
    assert health.document() == {
        "status": "warn",
        "checks": {
            "a:check": [{"status": "warn", "output": "the check raised RuntimeError"}],
            "c:check": [{"status": "warn", "output": "the check raised TypeError"}],
            "disk:space": [{"status": "pass", "observedValue": 0.5, "observedUnit": "ratio"}],
            "prompt:availability": [{"status": "pass"}],
        },
    }


@pytest.mark.parametrize("answer", [None, 7, {"x": 3}, {"x": ["pass"]}, [("x", [])]])
def test_a_check_that_answers_with_something_else_is_a_finding(bench: Any, answer: Any) -> None:
    client = bench.client(penstock_register_health_checks=checking(lambda client: answer))
    health = client.health()
    assert list(health.checks) == ["a:check"]
    assert health.status == "warn"


def test_a_check_whose_part_is_absent_is_left_out(bench: Any) -> None:
    def absent(client: Any) -> Any:
        return client.stage("breaker")

    client = bench.client(penstock_register_health_checks=checking(absent))
    with pytest.raises(PluginNotFoundError):
        client.stage("breaker")
    assert client.health() == Health(status="pass", checks={})


def test_a_finding_that_fails_fails_the_client(bench: Any) -> None:
    def fails(client: Any) -> Any:
        return {"disk:space": [Finding(status="fail", value=0.0)]}

    assert bench.client(penstock_register_health_checks=checking(fails)).health().status == "fail"


def test_secrets_in_findings_are_masked(bench: Any) -> None:
    def tells(client: Any) -> Any:
        client.settings.redactor.add("hush-hush-hush")
        word = "hush-hush-hush"
        return {f"{word}:x": [Finding(status="warn", component=word, value=word, output=f"Bearer {word}")]}

    health = bench.client(penstock_register_health_checks=checking(tells)).health()
    assert "hush" not in str(health) + repr(health) + json.dumps(health.document())


def test_it_prints_a_line_for_each_finding(bench: Any) -> None:
    def check(client: Any) -> Any:
        return {
            "disk:space": [Finding(status="warn", component="/", value=0.01, unit="ratio", output="full")]
        }

    health = bench.client(penstock_register_health_checks=checking(check)).health()
    assert str(health) == "warn\n  warn disk:space: /, 0.01 ratio, full"


@pytest.mark.parametrize(
    "finding",
    [
        Finding(status="ok"),
        Finding(status="pass", component=3),
        Finding(status="pass", output=None),
        SimpleNamespace(status="pass"),
        "pass",
    ],
    ids=["status", "component", "output", "kind", "text"],
)
def test_a_finding_that_is_none_is_the_fault_of_its_check_alone(bench: Any, finding: Any) -> None:
    well = (Finding(status="pass"),)
    checks = checking(lambda client: {"disk:free": [finding]}, lambda client: {"b:well": well})
    health = bench.client(penstock_register_health_checks=checks).health()
    assert health.status == "warn"
    assert health.checks["a:check"][0].output == "the check raised TypeError"
    assert health.checks["b:well"] == well
