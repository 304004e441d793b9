"""The provider conformance suite, for both APIs of the openai provider."""

# ruff: noqa: RUF012 - the attributes describe the subject and are never changed

from __future__ import annotations

from penstock_openai.plugin import penstock_register_providers
from penstock_testkit.openai_responses import OpenAIResponsesDialect
from penstock_testkit.provider_conformance import ProviderConformance

(SPEC,) = penstock_register_providers()


class TestChatCompletions(ProviderConformance):
    spec = SPEC


class TestResponses(ProviderConformance):
    spec = SPEC
    dialect = OpenAIResponsesDialect()
    config = {"api": "responses"}
