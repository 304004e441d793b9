"""Secrets in the wrong place, of the wrong type, under a misspelt name: the error names the place alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock import AsyncClient, Client, PenstockError, TransportError

URL = "http://127.0.0.1:9/v1"
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "misspelt key": lambda s: {"providers": {"openai": {"api_kye": s}}},
    "list as key": lambda s: {"providers": {"openai": {"api_key": [s]}}},
    "table as key": lambda s: {"providers": {"openai": {"api_key": {"value": s}}}},
    "key with a break": lambda s: {
        "providers": {"openai": {"api_key": f"{s}\r\nx-forged: {s}", "base_url": URL}}
    },
    "key with a space": lambda s: {"providers": {"openai": {"api_key": f"{s} {s}", "base_url": URL}}},
    "key outside ASCII": lambda s: {"providers": {"openai": {"api_key": f"{s}ü", "base_url": URL}}},
    "header with a break": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": URL, "headers": {"x-a": f"{s}\n{s}"}}}
    },
    "header that is a list": lambda s: {"providers": {"openai": {"headers": {"x-a": [s]}}}},
    "headers that are text": lambda s: {"providers": {"openai": {"headers": s}}},
    "user and password in the URL": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": f"http://ada:{s}@127.0.0.1:9/v1"}}
    },
    "URL of another scheme": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": f"ftp://h/?key={s}"}}
    },
    "URL that is none": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": f"http://[{s}/v1?key={s}"}}
    },
    "port that is none": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": f"http://127.0.0.1:port/{s}?key={s}"}}
    },
    "provider that is text": lambda s: {"providers": {"openai": s}},
    "plugin that is a list": lambda s: {"providers": {"openai": {"plugin": [s]}}},
    "preset": lambda s: {"providers": {"openai": {"preset": s}}},
    "organization with a break": lambda s: {
        "providers": {"openai": {"api_key": "k", "base_url": URL, "organization": f"{s}\n{s}"}}
    },
    "number of a stage": lambda s: {"retry": {"max_attempts": s}},
    "duration": lambda s: {"timeouts": {"total": s}},
    "stage that is text": lambda s: {"retry": s},
    "override of a target": lambda s: {"retry": {"targets": {"openai/*": {"base": s}}}},
    "override of a route": lambda s: {"retry": {"routes": {"fast": {"base": s}}}},
    "pipeline that is text": lambda s: {"pipeline": {"stages": s}},
    "route that is text": lambda s: {"routes": {"fast": s}},
    "targets that are numbers": lambda s: {"routes": {"fast": {"targets": {"openai": s}}}},
    "proxy that is none": lambda s: {"wire": {"proxy": f"socks9://ada:{s}@127.0.0.1:1"}},
    "proxy that is a list": lambda s: {"wire": {"proxy": [s]}},
    "price": lambda s: {"cost": {"prices": {"openai/*": {"input": s}}}},
    "budget": lambda s: {"cost": {"budgets": {"all": {"limit": s}}}},
    "version": lambda s: {"version": s},
    "level of the logs": lambda s: {"logs": {"level": s}},
    "propagation": lambda s: {"tracing": {"propagate": {"to": s}}},
    "metrics": lambda s: {"metrics": {"exporters": [s]}},
    "allow list": lambda s: {"plugins": {"allow": {"a": s}}},
}
VARIABLES: dict[str, Callable[[str], dict[str, str]]] = {
    "number": lambda s: {"MAX_RETRIES": s},
    "any key": lambda s: {"PENSTOCK__RETRY__MAX_ATTEMPTS": s},
    "misspelt": lambda s: {"PENSTOCK__PROVIDERS__OPENAI__API_KYE": s},
    "key with a break": lambda s: {
        "OPENAI_API_KEY": f"{s}\n{s}",
        "PENSTOCK__PROVIDERS__OPENAI__BASE_URL": URL,
    },
    "level": lambda s: {"LOG_LEVEL": s},
    "json": lambda s: {"LOG_JSON": s},
    "capture": lambda s: {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": s},
    "URL": lambda s: {"OPENAI_API_KEY": s, "PENSTOCK__PROVIDERS__OPENAI__BASE_URL": f"http://a:{s}@h/"},
    "list": lambda s: {
        "PENSTOCK__PROVIDERS__OPENAI__API_KEY": f'["{s}"]',
        "PENSTOCK__PIPELINE": f'{{a="{s}"}}',
    },
}
FILES: dict[str, str] = {
    "no TOML": "[providers.openai]\napi_key = {s}\n",
    "a quote that is not closed": '[providers.openai]\napi_key = "{s}\n',
    "a key twice": '[providers.openai]\napi_key = "{s}"\napi_key = "{s}"\n',
    "misspelt": '[providers.openai]\napi_kye = "{s}"\n[retry]\nbase = "{s}"\n',
    "profile": '[profiles.production.retry]\nbase = "{s}"\n',
    "secret file": '[providers.openai]\napi_key = "file:/nowhere"\nbase_url = "http://127.0.0.1:9/?k={s}"\n',
    "reference": '[providers.openai]\napi_key = "${{ABSENT}}{s}"\nbase_url = "http://127.0.0.1:9/v1"\n',
    "broken reference": '[providers.openai]\napi_key = "${{{s}"\n',
    "default": '[retry]\nbase = "${{ABSENT:-{s}}}"\n',
    "variable": '[retry]\nbase = "${{SOME_SECRET}}"\n',
}


def refused(net: Any, **given: Any) -> None:
    """Build clients of both colours and make a call; what they raise goes into the net."""
    raised = 0

    async def asked() -> None:
        async with AsyncClient(**given) as client:
            await client.chat("openai/m", "hi", retry=False)

    def asked_blocking() -> None:
        with Client(**given) as client:
            client.chat("openai/m", "hi", retry=False)

    for ask in (asked_blocking, lambda: asyncio.run(asked())):
        try:
            ask()
        except PenstockError as error:
            net.error("refusal", error)
            raised += 1
    assert raised == 2, "nothing was wrong"


@pytest.mark.parametrize("wrapping", ["sk-{}", 'a "quoted" {} \\ one'], ids=["key", "odd"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("bare_environment")
def test_an_argument_is_not_repeated(place: str, wrapping: str, net: Any, secrets: Any) -> None:
    value = secrets.plant(place, wrapping)
    refused(net, config=False, environ={}, **PLACES[place](value))
    refused(net, config=PLACES[place](value), environ={})
    assert not net.found()


@pytest.mark.parametrize("place", VARIABLES)
@pytest.mark.usefixtures("bare_environment")
def test_a_variable_is_not_repeated(place: str, net: Any, secrets: Any) -> None:
    refused(net, config=False, environ=VARIABLES[place](secrets.plant(place, "sk-{}")))
    assert not net.found()


@pytest.mark.parametrize("place", FILES)
def test_a_file_is_not_repeated(place: str, net: Any, secrets: Any, bare_environment: Any) -> None:
    path = bare_environment / "penstock.toml"
    value = secrets.plant(place, "{}/+")
    path.write_text(FILES[place].format(s=value), encoding="utf-8")
    refused(
        net, config=path, profile="production" if place == "profile" else None, environ={"SOME_SECRET": value}
    )
    assert not net.found()


CALLS: dict[str, Callable[[str], tuple[Any, Any, dict[str, Any]]]] = {
    "a key as the model": lambda s: (f"sk-{s}", "hi", {}),
    "a key behind the provider": lambda s: (f"nobody/sk-{s}", "hi", {}),
    "a number": lambda s: ("openai/m", "hi", {"temperature": s}),
    "another number": lambda s: ("openai/m", "hi", {"max_tokens": s, "top_p": [s]}),
    "a role": lambda s: ("openai/m", [{"role": s, "content": "hi"}], {}),
    "a message": lambda s: ("openai/m", [{"role": "user", "contnet": s}], {}),
    "a part": lambda s: ("openai/m", [{"role": "user", "content": [{"type": 7, "x": s}, 7]}], {}),
    "messages that are bytes": lambda s: ("openai/m", s.encode(), {}),
    "tools": lambda s: ("openai/m", "hi", {"tools": [s]}),
    "tool choice": lambda s: ("openai/m", "hi", {"tool_choice": {s}}),
    "a schema": lambda s: ("openai/m", "hi", {"schema": s}),
    "a timeout": lambda s: ("openai/m", "hi", {"timeout": s}),
    "a request id": lambda s: ("openai/m", "hi", {"request_id": f"{s}\r\nx-forged: {s}"}),
    "a long request id": lambda s: ("openai/m", "hi", {"request_id": s * 9}),
    "an option of a stage": lambda s: ("openai/m", "hi", {"breaker": s}),
    "another option": lambda s: ("openai/m", "hi", {"cost": {"kye": s}}),
    "an option of the limiter": lambda s: ("openai/m", "hi", {"limiter": {"max_wait": s}}),
    "an option of the cache": lambda s: ("openai/m", "hi", {"cache": {"ttl": s}}),
    "what is no JSON": lambda s: ("openai/m", "hi", {"extra": {"key": s, "more": object()}}),
    "extra that is text": lambda s: ("openai/m", "hi", {"extra": s}),
}


@pytest.mark.parametrize("place", CALLS)
@pytest.mark.usefixtures("bare_environment")
def test_an_argument_of_a_call_is_not_repeated(place: str, net: Any, secrets: Any) -> None:
    model, messages, parameters = CALLS[place](secrets.plant(place))
    options: dict[str, Any] = {
        "config": False,
        "environ": {},
        "providers": {"openai": {"api_key": "k", "base_url": URL}},
        "pipeline": ["guard", "cache", "cost", "retry", "breaker", "limiter"],
        "metrics": {},
    }
    with Client(**options) as client:
        with pytest.raises(PenstockError) as caught:
            client.chat(model, messages, **parameters)
        assert not isinstance(caught.value, TransportError), "it was sent"
        net.error("refusal", caught.value)
        net.client(client)
    assert not net.found()
