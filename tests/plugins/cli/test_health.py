"""`penstock health`: a client is built and asked how it is; nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from penstock_testkit.server import SimulatorServer

Run = Callable[..., Result]
Upstream = Callable[..., SimulatorServer]


def test_a_client_that_works_passes_and_nothing_is_sent(
    run: Run, upstream: Upstream, surroundings: Path, key: str
) -> None:
    server = upstream()
    result = run("health")
    assert (result.exit_code, result.stderr, server.count()) == (0, "", 0)
    assert result.stdout.splitlines()[0] == "pass"
    assert "pass openai:availability" in result.stdout
    document = json.loads(run("health", "--json").stdout)
    assert document["status"] == "pass"
    assert document["checks"]["openai:availability"] == [{"status": "pass"}]
    assert key not in result.stdout


def test_a_client_that_fails_is_exit_code_1(
    run: Run, upstream: Upstream, install: Callable[..., None]
) -> None:
    upstream()
    install(
        "disk",
        "from penstock import Finding, HealthCheckSpec, hookimpl\n"
        "def check(client):\n"
        "    return {'disk:free': [Finding(status='fail', value=0.0)]}\n"
        "@hookimpl\n"
        "def penstock_register_health_checks():\n"
        "    return [HealthCheckSpec(name='disk', check=check)]\n",
    )
    result = run("health", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "fail"


def test_a_configuration_that_cannot_work_is_exit_code_2(run: Run, surroundings: Path) -> None:
    (surroundings / "penstock.toml").write_text("[retry]\nmax_atempts = 3\n", encoding="utf-8")
    result = run("health")
    assert result.exit_code == 2
    assert "max_attempts" in result.stderr
