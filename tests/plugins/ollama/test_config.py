"""Where the server is, which names are Ollama's, and that a key shows up nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Client, ConfigError
from penstock_ollama import OllamaConfig
from penstock_ollama.address import read_address
from penstock_ollama.plugin import claims
from penstock_testkit import Simulator
from penstock_testkit.ollama import OllamaDialect

KEY = "olk-0123456789abcdef"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("example.com", "http://example.com:11434"),
        ("example.com:8080", "http://example.com:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5000", "http://127.0.0.1:5000"),
        ("http://0.0.0.0:5000", "http://127.0.0.1:5000"),
        ("http://example.com", "http://example.com"),
        ("https://ollama.com", "https://ollama.com"),
        ("https://ollama.com/api/", "https://ollama.com"),
        ("https://example.com:8443/ollama/", "https://example.com:8443/ollama"),
        ("::1", "http://[::1]:11434"),
        ("[::]:5000", "http://[::1]:5000"),
        ("[::1]", "http://[::1]:11434"),
        ('"127.0.0.1:1234" ', "http://127.0.0.1:1234"),
    ],
)
def test_every_form_of_ollama_host_is_an_address(written: str, url: str) -> None:
    assert read_address(written) == url
    assert read_address(url) == url


@pytest.mark.parametrize(
    "written",
    ["ftp://x", "http://user:secret@x", "http://x:port", "x:99999", "http://x?key=secret", "a b", "[::1"],
)
def test_what_is_no_address_is_refused_without_being_quoted(written: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_address(written)
    assert "secret" not in str(caught.value)


def test_the_address_of_the_other_api_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="leave /v1 out"):
        read_address("http://127.0.0.1:11434/v1")


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2:3b",
        "llama3.2",
        "qwen3",
        "qwen3-coder",
        "qwen2.5-coder:7b-instruct-q8_0",
        "mistral",
        "mistral-nemo",
        "gemma3",
        "phi4-mini",
        "deepseek-r1",
        "gpt-oss:20b",
        "gpt-oss",
        "nomic-embed-text",
        "all-minilm",
        "my-own-model:latest",
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
    ],
)
def test_names_of_the_library_are_claimed(name: str) -> None:
    assert claims(name)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "ft:gpt-4o-mini:org",
        "claude-sonnet-4",
        "org/name",
        "meta-llama/Llama-3.1-8B-Instruct:groq",
        "deepseek-chat",
        "llama-3.3-70b-versatile",
        "mistral-large-latest",
        "mistral-small-2503",
        "qwen-max",
        "gemini-2.5-flash",
        "text-embedding-3-small",
        "",
    ],
)
def test_names_of_others_are_not_claimed(name: str) -> None:
    assert not claims(name)


def client(**options: Any) -> tuple[Client, Simulator]:
    simulator = Simulator(dialects=[OllamaDialect()], api_key=options.pop("expect", None))
    transport = simulator.transport()
    made = Client(False, transport=transport, environ=options.pop("environ", {}), **options)
    transport.runtime = made._engine.runtime
    return made, simulator


def test_without_any_configuration_a_bare_name_is_answered() -> None:
    made, simulator = client()
    with made:
        assert made.chat("llama3.2:3b", "Hello").text
    assert simulator.requests[0].path == "/api/chat"
    assert "authorization" not in simulator.requests[0].headers


def test_the_environment_names_the_server_and_the_key() -> None:
    environ = {"OLLAMA_HOST": "0.0.0.0:5000", "OLLAMA_API_KEY": KEY}
    made, simulator = client(environ=environ, expect=KEY)
    with made:
        made.chat("ollama/llama3.2", "Hello")
        assert made.provider("ollama").base_url == "http://127.0.0.1:5000"
        assert KEY not in repr(made.provider("ollama"))
    assert simulator.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_wrong_address_in_the_environment_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="OLLAMA_HOST") as caught:
        client(environ={"OLLAMA_HOST": "http://u:secret@h"}, providers={"ollama": {}})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "ünicode-key"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="api_key") as caught:
        client(providers={"ollama": {"api_key": key}})
    assert key not in str(caught.value)


def test_headers_are_checked_and_may_replace_the_key() -> None:
    providers = {"ollama": {"api_key": KEY, "headers": {"Authorization": "Basic eDp5", "X-Team": "a b"}}}
    made, simulator = client(providers=providers)
    with made:
        made.chat("ollama/m", "Hello")
    assert simulator.requests[0].headers["authorization"] == "Basic eDp5"
    assert simulator.requests[0].headers["x-team"] == "a b"
    with pytest.raises(ConfigError, match="no name for a header"):
        client(providers={"ollama": {"headers": {"a b": "c"}}})
    with pytest.raises(ConfigError, match="control character"):
        client(providers={"ollama": {"headers": {"a": "c\x01d"}}})


def test_a_refusal_that_echoes_the_key_is_masked() -> None:
    from penstock import AuthenticationError
    from penstock_testkit import faults

    simulator = Simulator([faults.status(401, message=f"bad key {KEY}")], dialects=[OllamaDialect()])
    transport = simulator.transport()
    made = Client(False, transport=transport, environ={"OLLAMA_API_KEY": KEY})
    transport.runtime = made._engine.runtime
    with made, pytest.raises(AuthenticationError) as caught:
        made.chat("ollama/m", "Hello")
    assert KEY not in str(caught.value)


def test_think_takes_a_level_or_a_switch_only() -> None:
    assert OllamaConfig(think="max").think == "max"
    assert OllamaConfig(think=False).think is False
    with pytest.raises(ValueError, match="think"):
        OllamaConfig(think="extreme")  # type: ignore[arg-type]
