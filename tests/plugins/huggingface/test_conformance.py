"""The provider conformance suite, for the three servers the huggingface provider speaks to."""

from __future__ import annotations

from penstock_huggingface.plugin import penstock_register_providers
from penstock_testkit.huggingface import RouterDialect, TGIDialect
from penstock_testkit.provider_conformance import ProviderConformance

(SPEC,) = penstock_register_providers()


class TestRouter(ProviderConformance):
    spec = SPEC
    dialect = RouterDialect()
    config = {"api": "router"}  # noqa: RUF012


class TestChat(ProviderConformance):
    spec = SPEC
    dialect = TGIDialect()
    config = {"api": "chat"}  # noqa: RUF012


class TestGenerate(ProviderConformance):
    spec = SPEC
    dialect = TGIDialect()
    base_url = "http://simulator.test"
    config = {"api": "generate"}  # noqa: RUF012
