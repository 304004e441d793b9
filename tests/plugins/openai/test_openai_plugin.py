from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from penstock.errors import ConfigError, MissingCredentialError
from penstock.http import HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message
from penstock.redaction import Redactor
from penstock.specs import Services
from penstock_openai import PRESETS, OpenAIConfig
from penstock_openai.config import PresetName
from penstock_openai.plugin import claims, penstock_register_providers
from penstock_openai.presets import preset_for
from penstock_wire.openai import OpenAIDialect

KEY = "key-4711-very-secret"
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), max_tokens=5, stream=True)


def make(name: str = "openai", **values: Any) -> OpenAIDialect:
    (spec,) = penstock_register_providers()
    unused = dict.fromkeys(field.name for field in fields(Services))
    services = Services(**{**unused, "name": name, "redactor": Redactor()})  # type: ignore[arg-type]
    made = spec.create(spec.config(**values), services)
    assert isinstance(made, OpenAIDialect)
    return made


def payload(codec: OpenAIDialect, model: str = "gpt-4o") -> dict[str, Any]:
    return json.loads(codec.encode(CHAT, model).body or b"")  # type: ignore[no-any-return]


def test_openai_itself_needs_a_key_and_a_model_only() -> None:
    request = make(api_key=KEY).encode(CHAT, "o3")
    assert request.url == "https://api.openai.com/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    sent = json.loads(request.body or b"")
    assert sent["model"] == "o3"
    assert sent["max_completion_tokens"] == 5
    assert sent["stream_options"] == {"include_usage": True}
    embed = make(api_key=KEY).encode(EmbedRequest(model="e", inputs=("a",)), "text-embedding-3-small")
    assert json.loads(embed.body or b"")["encoding_format"] == "base64"


def test_organisation_project_and_further_headers_are_sent() -> None:
    codec = make(
        api_key=KEY,
        organization="org-1",
        project="proj-1",
        headers={"X-Trace": "t", "Authorization": "Own x"},
    )
    headers = codec.encode(CHAT, "m").headers
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["x-trace"] == "t"
    assert headers["authorization"] == "Own x"


@pytest.mark.parametrize(
    "values", [{}, {"api_key": " \n"}, {"base_url": ""}, {"base_url": "https://api.openai.com/v1"}]
)
def test_a_missing_key_names_the_variable_and_the_setting(values: dict[str, Any]) -> None:
    with pytest.raises(MissingCredentialError, match=r"OPENAI_API_KEY or \[providers\.openai\] api_key"):
        make(**values)


def test_the_missing_key_of_another_instance_names_its_own_table_and_variable() -> None:
    with pytest.raises(MissingCredentialError, match=r'\[providers\.fast\] api_key = "\$\{GROQ_API_KEY\}"'):
        make("fast", preset="groq")


def test_a_server_of_ones_own_needs_no_key() -> None:
    request = make("local", base_url="http://127.0.0.1:8000/v1/").encode(CHAT, "m")
    assert request.url == "http://127.0.0.1:8000/v1/chat/completions"
    assert "authorization" not in request.headers


def test_white_space_around_a_key_is_dropped() -> None:
    assert make(api_key=f" {KEY}\n").encode(CHAT, "m").headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("odd", ["\n", "\x00", " ", "\u2019", "\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_without_an_echo(odd: str) -> None:
    with pytest.raises(ConfigError, match=r"\[providers\.openai\] api_key") as caught:
        make(api_key=f"very{odd}secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_header_value_that_cannot_be_sent_is_refused_without_an_echo() -> None:
    with pytest.raises(ConfigError, match="'x-token'") as caught:
        make(api_key=KEY, headers={"X-Token": "very\r\nsecret"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="no name for a header"):
        make(api_key=KEY, headers={"X Token": "x"})


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://example.com", "https://", "http://[", "http://a:99999"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url must be an address"):
        make(api_key=KEY, base_url=url)


def test_a_base_url_with_credentials_is_refused_without_an_echo() -> None:
    with pytest.raises(ConfigError, match="base_url holds a user or password") as caught:
        make(base_url="https://ada:hunter2222@example.com/v1")
    assert "hunter" not in str(caught.value)


def test_a_key_is_in_no_repr_and_masked_in_what_the_server_says() -> None:
    config = OpenAIConfig(api_key=KEY, headers={"x-token": "another-secret"})  # type: ignore[arg-type, dict-item]
    codec = make(api_key=KEY)
    assert "secret" not in repr(config) + repr(codec)
    error = codec.error(HttpResponse(401, {}, 0.0, f"wrong: {KEY}".encode()))
    assert "***" in str(error)
    assert KEY not in str(error)
    with pytest.raises(ValidationError) as caught:
        OpenAIConfig(api_key=["very-secret"])  # type: ignore[arg-type]
    assert "very-secret" not in str(caught.value)


def test_every_preset_can_be_configured_and_every_configurable_preset_exists() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)
    for name, preset in PRESETS.items():
        base_url = None if preset.base_url else "https://x.openai.azure.com/openai/v1"
        codec = make("other", preset=name, api_key=KEY, base_url=base_url)
        assert codec.quirks == preset.quirks
        assert codec.base_url == (base_url or preset.base_url)


def test_a_preset_is_told_by_the_host_of_the_url() -> None:
    assert preset_for(None, "https://api.mistral.ai/v1") is PRESETS["mistral"]
    assert preset_for(None, "https://me.openai.azure.com/openai/v1") is PRESETS["azure"]
    assert preset_for(None, None) is PRESETS["openai"]
    assert preset_for(None, "http://127.0.0.1:1/v1") not in PRESETS.values()
    assert preset_for(None, "https://api.mistral.ai.evil.example/v1") not in PRESETS.values()
    assert "stream_options" not in payload(make("m", base_url="https://api.mistral.ai/v1", api_key=KEY))


def test_azure_carries_its_key_and_version_in_its_own_way() -> None:
    azure = make(
        "azure", base_url="https://me.openai.azure.com/openai/v1", api_key=KEY, api_version="preview"
    )
    request = azure.encode(CHAT, "gpt-4o")
    assert request.url == "https://me.openai.azure.com/openai/v1/chat/completions?api-version=preview"
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers
    older = make("azure", preset="azure-deployments", base_url="https://me.openai.azure.com", api_key=KEY)
    url = "https://me.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    assert older.encode(CHAT, "my gpt").url == url
    with pytest.raises(ConfigError, match=r"\[providers\.azure\] base_url"):
        make("azure", preset="azure", api_key=KEY)
    with pytest.raises(MissingCredentialError, match="AZURE_OPENAI_API_KEY"):
        make("azure", base_url="https://me.openai.azure.com/openai/v1")


def test_an_unknown_compatible_server_still_gets_the_rules_of_reasoning_models() -> None:
    proxy = make("proxy", base_url="https://proxy.example.com/v1")
    assert payload(proxy, "openai/o3")["max_completion_tokens"] == 5
    assert payload(proxy, "llama-3")["max_tokens"] == 5


@pytest.mark.parametrize(
    "model",
    [
        *("gpt-4o", "gpt-5.1-mini", "gpt-3.5-turbo", "gpt-audio", "chatgpt-4o-latest", "codex-mini-latest"),
        *("o1", "o3-mini", "o4-mini-2025-04-16", "text-embedding-3-large", "ft:gpt-4o-mini:org::id"),
    ],
)
def test_names_of_openai_are_claimed(model: str) -> None:
    assert claims(model)


@pytest.mark.parametrize(
    "model",
    [
        *("", "o", "ft:", "ft:llama:x", "openai/gpt-4o", "gpt-oss:20b", "gpt-oss-120b", "gpt-4o:online"),
        *("llama3.2:3b", "org/name", "olmo2", "o1:latest", "o\u0661", "mistral-small", "deepseek-r1"),
    ],
)
def test_names_of_others_are_not_claimed(model: str) -> None:
    assert not claims(model)


def test_the_spec_says_what_the_provider_can_do() -> None:
    (spec,) = penstock_register_providers()
    assert spec.name == "openai"
    assert {"chat", "stream", "embed", "tools", "vision", "schema", "models"} <= spec.capabilities
    assert all(field.description for field in spec.config.model_fields.values())


def test_chats_go_to_the_responses_api_when_asked() -> None:
    assert make(api_key=KEY).encode(CHAT, "m").url == "https://api.openai.com/v1/chat/completions"
    assert make(api_key=KEY, api="responses").encode(CHAT, "m").url == "https://api.openai.com/v1/responses"
    older = make(
        "azure",
        preset="azure-deployments",
        base_url="https://me.openai.azure.com",
        api_key=KEY,
        api="responses",
    )
    assert older.encode(CHAT, "gpt").url == (
        "https://me.openai.azure.com/openai/responses?api-version=2024-10-21"
    )
