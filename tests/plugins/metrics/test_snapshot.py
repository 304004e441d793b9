"""What people read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import CallError, PluginNotFoundError
from penstock_testkit import faults


def test_the_snapshot_adds_up_to_what_happened(make_run: Callable[..., Any]) -> None:
    run = make_run("simulated")
    snapshot = run.world.client.metrics()
    total = snapshot.total
    assert total.calls == run.calls == sum(target.calls for target in snapshot.targets)
    assert total.errors == len(run.failed) + 1
    assert total.error_rate == total.errors / total.calls
    assert total.attempts == run.simulator.count()
    assert (total.cache_requests, total.cache_hits, total.cost) == (4, 1, 0.25)
    assert total.cache_hit_rate == 1 / 4
    assert total.p50 <= total.p95 <= total.p99
    (broken,) = (target for target in snapshot.targets if target.model == "broken")
    assert broken.availability == 0.0


def test_a_wrong_request_is_an_error_but_no_outage(make_world: Callable[..., Any]) -> None:
    world = make_world(
        faults=[faults.status(400), faults.status(401), faults.status(503)], metrics={}, retry=False
    )
    for _ in range(4):
        with contextlib.suppress(CallError):
            world.chat()
    total = world.client.metrics().total
    assert (total.calls, total.errors, total.availability) == (4, 3, 0.75)


def test_it_prints_as_a_table_with_the_busiest_target_first(make_world: Callable[..., Any]) -> None:
    world = make_world("simulated", [faults.slow_first_token(2.0)], metrics={})
    world.chat(model="openai/one")
    world.chat(model="openai/two")
    world.chat(model="openai/two")
    head, first, second, total = str(world.client.metrics()).splitlines()
    assert head.split() == (
        [
            "target",
            "calls",
            "errors",
            "available",
            "p50",
            "p95",
            "p99",
            "attempts",
            "tokens",
            "cost",
            "cached",
        ]
    )
    assert first.startswith("openai/two ")
    assert second.split()[:4] == ["openai/one", "1", "0.0%", "100.0%"]
    assert second.split()[4:10] == ["2.0", "s", "2.0", "s", "2.0", "s"]
    assert total.startswith("all ")
    assert len({len(line) for line in (head, first, second, total)}) == 1


def test_before_the_first_call_it_is_empty_and_still_prints(make_world: Callable[..., Any]) -> None:
    snapshot = make_world(metrics={}).client.metrics()
    assert snapshot.targets == ()
    assert (snapshot.total.calls, snapshot.total.p95, snapshot.total.cache_hit_rate) == (0, None, None)
    assert str(snapshot).splitlines()[1].split()[:2] == ["all", "0"]


def test_it_can_be_written_as_json(make_run: Callable[..., Any]) -> None:
    snapshot = make_run().world.client.metrics()
    read = json.loads(json.dumps(snapshot.as_dict()))
    assert read["total"]["calls"] == snapshot.total.calls
    assert [target["model"] for target in read["targets"]] == [t.model for t in snapshot.targets]


def test_a_client_without_metrics_says_how_to_get_them(make_world: Callable[..., Any]) -> None:
    client = make_world(metrics=False).client
    with pytest.raises(PluginNotFoundError, match=r"give it a table \[metrics\], or enable it"):
        client.metrics()
    denied = make_world(plugins=[("nothing", object())])
    with pytest.raises(PluginNotFoundError, match="pip install penstock-dials"):
        denied.client.listener("dials")
