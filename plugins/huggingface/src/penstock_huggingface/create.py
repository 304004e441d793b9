"""
From a configuration to a codec or provider: which API is meant, where it is, which headers it gets.

A key ends up in two places only: the headers inside the codec and the redactor. No message quotes one, or
a URL that could hold one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock.errors import ConfigError, MissingCredentialError
from penstock_huggingface.config import Api, HuggingFaceConfig
from penstock_wire.credentials import checked_headers, usable_key
from penstock_wire.openai import Quirks

if TYPE_CHECKING:
    from penstock.provider import Codec, Provider
    from penstock.specs import Services

ROUTER_URL = "https://router.huggingface.co/v1"
_ROUTER_HOST = "router.huggingface.co"


def create(config: HuggingFaceConfig, services: Services) -> Codec | Provider:
    """
    The codec of one instance, or the provider that runs a model in this process.

    Raises:
        MissingCredentialError: the router is asked and there is no key.
        ConfigError: the API and its address do not fit, or the URL, the key or a header cannot be used; for
            local models, what they need is not installed.
    """
    name = services.name
    if config.base_url:
        _check_url(config.base_url, name)
    api = api_of(config)
    if api == "local":
        from penstock_huggingface.local import LocalProvider

        if config.base_url:
            raise ConfigError(f"provider {name!r}: api = 'local' has no base_url; use path for its folder")
        return LocalProvider(config, name)
    if not config.base_url and api != "router":
        raise ConfigError(f"provider {name!r}: api = {api!r} needs [providers.{name}] base_url")
    headers = _headers(config, services)
    base_url = (config.base_url or ROUTER_URL).rstrip("/")
    if urlsplit(base_url).hostname == _ROUTER_HOST and "authorization" not in headers:
        hint = "HUGGINGFACE_API_KEY or HF_TOKEN, or " if name == "huggingface" else ""
        raise MissingCredentialError(f"provider {name!r} has no key: set {hint}[providers.{name}] api_key")
    if api == "generate":
        from penstock_huggingface.generate import GenerateCodec
        from penstock_huggingface.prompts import prompt_maker

        return GenerateCodec(
            base_url=base_url.removesuffix("/v1"),
            headers=headers,
            name=name,
            prompt=prompt_maker(config, name),
            redact=services.redactor,
            think_tags=config.think_tags,
            max_event_bytes=config.max_event_bytes,
        )
    from penstock_huggingface.chat import EndpointDialect, RouterDialect

    dialect = RouterDialect if api == "router" else EndpointDialect
    return dialect(
        base_url=_versioned(base_url),
        headers=headers,
        name=name,
        quirks=Quirks(think_tags=config.think_tags, max_inputs=dialect.MAX_INPUTS),
        redact=services.redactor,
        max_event_bytes=config.max_event_bytes,
    )


def api_of(config: HuggingFaceConfig) -> Api:
    """The API a configuration means."""
    if config.api is not None:
        return config.api
    if config.base_url and urlsplit(config.base_url).hostname != _ROUTER_HOST:
        return "chat"
    return "router"


def _versioned(base_url: str) -> str:
    """The Hub shows an endpoint's address without the `/v1` that its chat lies below."""
    return base_url if re.search(r"/v\d+$", base_url) else f"{base_url}/v1"


def _headers(config: HuggingFaceConfig, services: Services) -> dict[str, str]:
    name = services.name
    headers: dict[str, str] = {}
    key = usable_key(config.api_key, name, services.redactor)
    if key:
        headers["authorization"] = f"Bearer {key}"
    if config.bill_to:
        headers["x-hf-bill-to"] = config.bill_to
    return checked_headers(headers, config.headers, name)


def _check_url(base_url: str, name: str) -> None:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(
            f"provider {name!r}: base_url must be an address such as https://example.endpoints.huggingface.cloud"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"provider {name!r}: base_url holds a user or password; use api_key or headers for credentials"
        )
