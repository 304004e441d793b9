"""The provider conformance suite, for the ollama provider."""

# ruff: noqa: RUF012 - the attributes describe the subject and are never changed

from __future__ import annotations

from penstock.errors import QueueFullError
from penstock_ollama.plugin import penstock_register_providers
from penstock_testkit.ollama import OllamaDialect
from penstock_testkit.provider_conformance import ProviderConformance


class TestNative(ProviderConformance):
    spec = penstock_register_providers()[0]
    dialect = OllamaDialect()
    base_url = "http://simulator.test"
    errors = {"overloaded": QueueFullError}
