"""`penstock explain` and `penstock models`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer

Run = Callable[..., Result]
Upstream = Callable[..., SimulatorServer]


def test_explain_shows_the_pipeline_the_values_and_their_origins(
    run: Run, upstream: Upstream, surroundings: Path, key: str
) -> None:
    server = upstream()
    (surroundings / "penstock.toml").write_text(
        '[retry]\nmax_delay = 9\n[retry.targets."openai/gpt-4o"]\nmax_delay = 4\n', encoding="utf-8"
    )
    result = run("explain", "gpt-4o")
    assert (result.exit_code, result.stderr, server.count()) == (0, "", 0)
    assert "model 'gpt-4o': the target openai/gpt-4o" in result.stdout
    (pipeline,) = [line for line in result.stdout.splitlines() if line.startswith("pipeline: ")]
    assert "retry > " in pipeline
    assert pipeline.endswith(f"provider openai ({server.url})")
    assert "retry.max_delay = 4" in result.stdout
    assert "penstock.toml:4" in result.stdout
    assert 'providers.openai.api_key = "***"' in result.stdout
    assert key not in result.stdout


def test_explain_says_which_stage_is_switched_off(run: Run, upstream: Upstream, surroundings: Path) -> None:
    upstream()
    (surroundings / "penstock.toml").write_text("[retry]\nenabled = false\n", encoding="utf-8")
    result = run("explain", "openai/gpt-4o")
    assert "retry (target slot, switched off here)" in result.stdout
    (pipeline,) = [line for line in result.stdout.splitlines() if line.startswith("pipeline: ")]
    assert "retry" not in pipeline


def test_explain_of_an_unknown_model_is_exit_code_2(run: Run, upstream: Upstream) -> None:
    upstream()
    assert run("explain", "nosuch").exit_code == 2


def test_models_lists_what_a_provider_offers(run: Run, upstream: Upstream) -> None:
    upstream(models=["gpt-4o", "gpt-4o-mini"])
    for arguments in ([], ["openai"]):
        result = run("models", *arguments)
        assert result.exit_code == 0
        assert "openai/gpt-4o-mini" in result.stdout
    listed = json.loads(run("models", "--json").stdout)
    assert [(each["provider"], each["id"]) for each in listed] == [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
    ]


def test_models_shows_prices_where_the_cost_stage_knows_them(
    run: Run, upstream: Upstream, surroundings: Path
) -> None:
    upstream(models=["priced-model", "other-model"])
    (surroundings / "penstock.toml").write_text(
        '[cost]\nlocal = []\n[cost.prices."openai/priced-*"]\ninput = "2.50/M"\noutput = "10/M"\n',
        encoding="utf-8",
    )
    listed = {each["id"]: each["usd_per_million"] for each in json.loads(run("models", "--json").stdout)}
    assert {name: float(price) for name, price in listed["priced-model"].items()} == {
        "input": 2.5,
        "output": 10,
    }
    assert "2.5, 10" in run("models").stdout


def test_models_of_a_provider_that_fails_is_exit_code_1(run: Run, upstream: Upstream) -> None:
    upstream([faults.status(401)] * 2)
    result = run("models", "openai")
    assert result.exit_code == 1
    assert "AuthenticationError" in result.stderr
    nothing = run("models")
    assert nothing.exit_code == 1
    assert "no provider lists a model" in nothing.stderr


def test_models_of_an_unknown_provider_is_exit_code_2(run: Run, upstream: Upstream) -> None:
    upstream()
    assert run("models", "nosuch").exit_code == 2
