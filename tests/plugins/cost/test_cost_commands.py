"""`penstock tokens` and `penstock price`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock_cli.main import cli

CONFIG = """
version = 1
[providers.openai]
api_key = "sk-test-0123456789"
[cost.prices."openai/mine*"]
input = "2.50/M"
output = "10/M"
cached = "1.25/M"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "penstock.toml"
    path.write_text(CONFIG)
    return str(path)


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=given, env={"OPENAI_API_KEY": None})


def test_tokens_of_a_text_are_counted_with_their_method(config: str) -> None:
    result = run("tokens", "openai/mine-1", "word " * 100, "--config", config)
    assert result.exit_code == 0, result.output
    assert "131 tokens for openai/mine-1" in result.output
    assert "by heuristic" in result.output
    assert "$0.0003275" in result.output


def test_a_text_may_come_from_standard_input(config: str) -> None:
    for arguments in (("tokens", "openai/mine-1"), ("tokens", "openai/mine-1", "-")):
        result = run(*arguments, "--json", "--config", config, given="word " * 100)
        assert json.loads(result.output)["tokens"] == 131


def test_a_price_of_the_configuration_is_shown_and_applied(config: str) -> None:
    result = run(
        "price", "openai/mine-1", "--input", "1000", "--output", "100", "--cached", "400", "--config", config
    )
    assert result.exit_code == 0, result.output
    assert "the configuration" in result.output
    assert "$2.5 for a million tokens" in result.output
    assert "these tokens: $0.003\n" in result.output


def test_a_price_of_the_catalogue_needs_no_key() -> None:
    result = run("price", "openai/gpt-4o", "--json", "--input", "1000", "--output", "100")
    document = json.loads(result.output)
    assert document["origin"] == "catalogue"
    assert document["usd"] == "0.0035"
    assert document["usd_per_million"]["output"] == "10"


def test_tiers_and_the_window_are_shown() -> None:
    result = run("price", "gemini/gemini-2.5-pro")
    assert result.exit_code == 0, result.output
    assert "above 200,000 prompt tokens" in result.output
    assert "context    128,000 tokens" in run("price", "openai/gpt-4o").output


def test_a_price_nobody_knows_says_how_to_give_one() -> None:
    result = run("price", "openai/no-such-model-4711")
    assert result.exit_code == 1
    assert '[cost.prices."openai/no-such-model-4711"]' in result.output
