"""Codecs as a configuration makes them, and a client in front of a simulated server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from penstock.redaction import Redactor
from penstock.specs import Services
from penstock_huggingface.plugin import penstock_register_providers
from penstock_testkit import Simulator
from penstock_testkit.huggingface import RouterDialect, TGIDialect

KEY = "hf_simulated0123456789"


@pytest.fixture
def make() -> Callable[..., Any]:
    """What the plugin creates from a table of the configuration."""

    def build(name: str = "huggingface", **values: Any) -> Any:
        (spec,) = penstock_register_providers()
        unused = dict.fromkeys(field.name for field in fields(Services))
        services = Services(**{**unused, "name": name, "redactor": Redactor()})  # type: ignore[arg-type]
        return spec.create(spec.config(**values), services)

    return build


PROVIDERS: dict[str, dict[str, Any]] = {
    "router": {"api_key": KEY, "base_url": "http://sim.test/v1", "api": "router"},
    "chat": {"base_url": "http://sim.test"},
    "generate": {"base_url": "http://sim.test", "api": "generate"},
}


@pytest.fixture
def hub(world: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a world of one colour whose provider `hf` asks a simulated router, or TGI by one of its APIs."""

    def build(api: str, faults: Any = (), simulator: dict[str, Any] | None = None, **arguments: Any) -> Any:
        dialect = RouterDialect() if api == "router" else TGIDialect()
        made = Simulator(faults, dialects=[dialect], **(simulator or {}))
        return world(
            simulator=made, providers={"hf": {"plugin": "huggingface", **PROVIDERS[api]}}, **arguments
        )

    return build
