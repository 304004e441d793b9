"""The provider conformance suite, for the three kinds of server the huggingface provider speaks to."""

# ruff: noqa: RUF012 - the attributes describe the subject and are never changed

from __future__ import annotations

from penstock.errors import ContextLengthError, QueueFullError
from penstock_huggingface.plugin import penstock_register_providers
from penstock_testkit.huggingface import RouterDialect, TGIDialect
from penstock_testkit.provider_conformance import ProviderConformance

(SPEC,) = penstock_register_providers()
TGI_ERRORS = {
    "overloaded": QueueFullError,
    "oversized_request": ContextLengthError,
    "rate_limit": QueueFullError,
}


class TestRouter(ProviderConformance):
    spec = SPEC
    dialect = RouterDialect()
    config = {"api": "router"}
    errors = {"oversized_request": ContextLengthError}


class TestChat(ProviderConformance):
    spec = SPEC
    dialect = TGIDialect()
    config = {"api": "chat"}
    errors = TGI_ERRORS
    lacks = {"embed": "TGI makes no vectors"}


class TestGenerate(ProviderConformance):
    spec = SPEC
    dialect = TGIDialect()
    base_url = "http://simulator.test"
    config = {"api": "generate"}
    errors = TGI_ERRORS
    lacks = {"tools": "a prompt has no place for tools"}
    granted = {"logprobs": "the details, and with them the logprobs, are always asked for"}
    overrides = {
        "test_the_name_of_the_model_goes_as_it_is": "TGI serves one model and takes no name",
        "test_an_answer_has_the_shape_that_was_asked_for": "the simulated TGI follows no grammar",
    }
