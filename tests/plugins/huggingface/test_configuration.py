from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Client
from penstock.errors import ConfigError, InvalidRequestError, MissingCredentialError
from penstock.http import HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest
from penstock_huggingface.chat import EndpointDialect, RouterDialect
from penstock_huggingface.generate import GenerateCodec
from penstock_huggingface.plugin import claims, penstock_register_providers

KEY = "hf_very-secret-4711"
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), max_tokens=5)
Make = Callable[..., Any]


def test_the_router_needs_a_key_only(make: Make) -> None:
    codec = make(api_key=KEY)
    assert isinstance(codec, RouterDialect)
    request = codec.encode(CHAT, "org/name:fastest")
    assert request.url == "https://router.huggingface.co/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.body)["model"] == "org/name:fastest"
    assert codec.encode(ModelsRequest(), "").url == "https://router.huggingface.co/v1/models"


@pytest.mark.parametrize("variable", ["HUGGINGFACE_API_KEY", "HF_TOKEN"])
def test_both_names_of_the_key_are_read(variable: str) -> None:
    with Client(False, environ={variable: KEY}, providers={"huggingface": {}}) as client:
        codec = client._engine.parts.provider("huggingface").codec
    assert codec.encode(CHAT, "org/name").headers["authorization"] == f"Bearer {KEY}"


def test_the_organisation_that_pays_and_further_headers_are_sent(make: Make) -> None:
    headers = make(api_key=KEY, bill_to="my-org", headers={"X-Trace": "t"}).encode(CHAT, "a/b").headers
    assert headers["x-hf-bill-to"] == "my-org"
    assert headers["x-trace"] == "t"


@pytest.mark.parametrize("values", [{}, {"api_key": " \n"}, {"base_url": "https://router.huggingface.co/v1"}])
def test_a_missing_key_names_both_variables_and_the_setting(make: Make, values: dict[str, Any]) -> None:
    wanted = r"HUGGINGFACE_API_KEY or HF_TOKEN, or \[providers\.huggingface\] api_key"
    with pytest.raises(MissingCredentialError, match=wanted):
        make(**values)
    with pytest.raises(MissingCredentialError, match=r"set \[providers\.other\] api_key"):
        make("other", **values)


@pytest.mark.parametrize(
    ("url", "chat"),
    [
        (
            "https://x.endpoints.huggingface.cloud",
            "https://x.endpoints.huggingface.cloud/v1/chat/completions",
        ),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("https://x.example.com/v2", "https://x.example.com/v2/chat/completions"),
    ],
)
def test_a_server_of_ones_own_is_a_chat_below_v1_and_needs_no_key(make: Make, url: str, chat: str) -> None:
    codec = make("endpoint", base_url=url)
    assert type(codec) is EndpointDialect
    request = codec.encode(CHAT, "tgi")
    assert request.url == chat
    assert "authorization" not in request.headers


def test_the_native_api_lies_beside_v1(make: Make) -> None:
    codec = make("tgi", api="generate", base_url="http://127.0.0.1:8080/v1")
    assert isinstance(codec, GenerateCodec)
    assert codec.encode(CHAT, "m").url == "http://127.0.0.1:8080/generate"
    assert codec.encode(ModelsRequest(), "").url == "http://127.0.0.1:8080/info"


@pytest.mark.parametrize("api", ["chat", "generate"])
def test_an_endpoint_without_its_address_is_refused(make: Make, api: str) -> None:
    with pytest.raises(ConfigError, match=r"needs \[providers\.huggingface\] base_url"):
        make(api=api, api_key=KEY)


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://example.com", "https://", "http://[", "http://a:99999", "http://a/?b=c"]
)
def test_a_base_url_that_is_none_is_refused(make: Make, url: str) -> None:
    with pytest.raises(ConfigError, match="base_url must be an address"):
        make(api_key=KEY, base_url=url)


def test_a_base_url_with_credentials_is_refused_without_an_echo(make: Make) -> None:
    with pytest.raises(ConfigError, match="holds a user or password") as caught:
        make(base_url="https://ada:hunter2222@example.com")
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("odd", ["\n", "\x00", " ", "\u2019"])
def test_a_key_that_no_header_can_carry_is_refused_without_an_echo(make: Make, odd: str) -> None:
    with pytest.raises(ConfigError, match=r"\[providers\.huggingface\] api_key") as caught:
        make(api_key=f"very{odd}secret")
    assert "secret" not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_refused_without_an_echo(make: Make) -> None:
    with pytest.raises(ConfigError, match="'x-token'") as caught:
        make(api_key=KEY, headers={"X-Token": "very\r\nsecret"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="no name for a header"):
        make(api_key=KEY, headers={"X Token": "x"})


def test_a_key_is_in_no_repr_and_masked_in_what_the_server_says(make: Make) -> None:
    for codec in (make(api_key=KEY), make(api_key=KEY, api="generate", base_url="http://127.0.0.1:1")):
        assert "secret" not in repr(codec)
        error = codec.error(HttpResponse(401, {}, 0.0, f"wrong: {KEY}".encode()))
        assert "***" in str(error)
        assert KEY not in str(error)


def test_embeddings_of_the_router_go_through_the_pipeline_of_hf_inference(make: Make) -> None:
    codec = make(api_key=KEY)
    request = codec.encode(
        EmbedRequest(model="e", inputs=("a", "b"), extra={"normalize": True}), "org/na me:fastest"
    )
    pipeline = "https://router.huggingface.co/hf-inference/models/org/na%20me/pipeline/feature-extraction"
    assert request.url == pipeline
    assert json.loads(request.body) == {"inputs": ["a", "b"], "normalize": True}
    with pytest.raises(InvalidRequestError, match="':together'"):
        codec.encode(EmbedRequest(model="e", inputs=("a",)), "org/name:together")


@pytest.mark.parametrize(
    "model", ["org/name", "meta-llama/Llama-3.1-8B-Instruct:cheapest", "Qwen/Qwen3-32B:novita", "a/_b.c"]
)
def test_names_of_the_hub_are_claimed(model: str) -> None:
    assert claims(model)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "llama3.2:3b", "a/b/c", "hf.co/org", "/name", "org/", "org/na me", "../x", "org/name:", ""],
)
def test_names_of_others_are_not_claimed(model: str) -> None:
    assert not claims(model)


def test_the_spec_describes_every_field() -> None:
    (spec,) = penstock_register_providers()
    assert spec.name == "huggingface"
    assert all(field.description for field in spec.config.model_fields.values())


def test_local_models_say_what_to_install(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_huggingface.templates.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"torch and transformers: pip install penstock-huggingface\[local\]"
    ):
        make("local", api="local")
    with pytest.raises(ConfigError, match=r"pip install penstock-huggingface\[local\]"):
        make("tgi", api="generate", base_url="http://127.0.0.1:1", tokenizer="org/name")
    with pytest.raises(ConfigError, match="has no base_url"):
        make("local", api="local", base_url="http://127.0.0.1:1")
