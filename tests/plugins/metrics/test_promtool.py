"""Prometheus' own tool on what we show and ship: the exposition of a run, the rules, the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_metrics import shipped
from penstock_metrics.snapshot import UNAVAILABLE

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)"
)


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """What promtool says; a failure fails the test with its words."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], input=text, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(shipped("rules.yml"), encoding="utf-8")
    return path


def test_the_exposition_of_a_run_with_faults_has_nothing_to_complain_about(
    make_run: Callable[..., Any],
) -> None:
    assert promtool("check", "metrics", text=make_run().metrics.exposition()) == ""


def test_promtool_does_complain_about_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="no help text"):
        promtool("check", "metrics", text="# TYPE a_total counter\na_total 1\n")


def test_the_rules_are_valid(rules: Path) -> None:
    assert "SUCCESS: 16 rules found" in promtool("check", "rules", rules)


def test_every_alert_goes_off_when_it_should_and_only_then(rules: Path) -> None:
    tests = rules.with_name("rules_test.yml")
    tests.write_text(Path(__file__).with_name("rules_test.yml").read_text("utf-8"), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", tests)


def test_the_snapshot_and_the_rules_mean_the_same_by_availability() -> None:
    assert f'error_type=~"{UNAVAILABLE}"' in shipped("rules.yml")
    assert UNAVAILABLE in json.dumps(shipped("dashboard.json"))


def test_the_rules_find_in_a_real_run_what_the_caller_saw(make_run: Callable[..., Any], rules: Path) -> None:
    run = make_run("simulated")
    snapshot = run.world.client.metrics()
    # As if the whole run were repeated once a minute.
    series = [
        {"series": line.rpartition(" ")[0], "values": f"0+{line.rpartition(' ')[2]}x20"}
        for line in run.metrics.exposition().splitlines()
        if not line.startswith("#") and "_state{" not in line
    ]

    def samples(record: str, field: str) -> dict[str, Any]:
        found = []
        for target in (each for each in snapshot.targets if each.calls):
            labels = f'gen_ai_provider_name="{target.provider}", gen_ai_request_model="{target.model}"'
            found.append({"labels": f"{record}{{{labels}}}", "value": getattr(target, field)})
        return {"expr": record, "eval_time": "10m", "exp_samples": found}

    test = {
        "rule_files": [rules.name],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [
                    samples("penstock:call_error_ratio:rate5m", "error_rate"),
                    samples("penstock:availability:ratio_rate5m", "availability"),
                ],
            }
        ],
    }
    assert any(target.error_rate == 1.0 for target in snapshot.targets)
    path = rules.with_name("real.yml")
    path.write_text(json.dumps(test), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_question_of_the_dashboard_can_be_asked(tmp_path: Path) -> None:
    questions = [
        target["expr"]
        for panel in json.loads(shipped("dashboard.json"))["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", question)}
        for number, question in enumerate(questions)
    ]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"SUCCESS: {len(questions)} rules found" in promtool("check", "rules", path)
