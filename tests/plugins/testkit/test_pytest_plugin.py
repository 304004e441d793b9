"""The fixture for users, and what its registration costs everybody else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import requests

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer


def test_the_fixture_starts_servers(penstock_simulator: Callable[..., SimulatorServer]) -> None:
    first = penstock_simulator([faults.status(503)])
    second = penstock_simulator(text="Hi.")
    assert requests.get(f"{first.url}/models", timeout=5).status_code == 503
    assert requests.get(f"{second.url}/models", timeout=5).status_code == 200
    assert (first.count(), second.count()) == (1, 1)


def test_loading_the_plugin_imports_neither_the_core_nor_a_server() -> None:
    (entry,) = [e for e in entry_points(group="pytest11") if e.value == "penstock_testkit.pytest_plugin"]
    code = f"import sys, {entry.value}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = loaded.stdout.split()
    assert entry.value in modules
    assert not {"penstock", "penstock_testkit.server", "penstock_testkit.virtual", "pydantic"} & set(modules)


def test_the_entry_point_of_the_distribution_loads() -> None:
    (entry,) = [e for e in entry_points(group="penstock") if e.name == "chaos"]
    assert entry.load().__name__ == "penstock_testkit.plugin"
