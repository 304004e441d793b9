"""
From a configuration to a codec: the preset looked up, the headers put together, the key checked.

A key ends up in two places only: the headers inside the codec and the redactor. No message quotes one, or
a URL that could hold one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from penstock.errors import ConfigError, MissingCredentialError
from penstock_openai.presets import Preset, preset_for
from penstock_wire.credentials import checked_headers, usable_key
from penstock_wire.openai import OpenAIDialect, ResponsesDialect

if TYPE_CHECKING:
    from penstock.specs import Services
    from penstock_openai.config import OpenAIConfig


def create(config: OpenAIConfig, services: Services) -> OpenAIDialect:
    """
    The codec of one instance.

    Raises:
        MissingCredentialError: the server is known to want a key and there is none.
        ConfigError: the URL, the key or a header cannot be used.
    """
    name = services.name
    if config.base_url:
        _check_url(config.base_url, name)
    preset = preset_for(config.preset, config.base_url or None)
    if name == "openai" and preset.key not in (None, "OPENAI_API_KEY"):
        # The instance of this name takes OPENAI_API_KEY by itself, and that must not reach another vendor.
        raise ConfigError(
            "provider 'openai': this server is another vendor's; give it a name of its own, such as "
            '[providers.other] plugin = "openai"'
        )
    base_url = config.base_url or preset.base_url
    if base_url is None:
        raise ConfigError(
            f"provider {name!r}: the preset {config.preset!r} has no address of its own; "
            f"set [providers.{name}] base_url"
        )
    headers = _headers(config, preset, name, services)
    if _key_header(preset) not in headers and preset.key is not None and _is_home(base_url, preset):
        raise MissingCredentialError(_missing(preset, name))
    quirks = preset.quirks
    if config.think_tags:
        quirks = dataclasses.replace(quirks, think_tags=True)
    dialect = ResponsesDialect if config.api == "responses" else OpenAIDialect
    return dialect(
        base_url=_with_query(base_url, config, preset),
        headers=headers,
        name=name,
        quirks=quirks,
        paths=preset.paths,
        redact=services.redactor,
        max_event_bytes=config.max_event_bytes,
    )


def _headers(config: OpenAIConfig, preset: Preset, name: str, services: Services) -> dict[str, str]:
    headers: dict[str, str] = {}
    key = usable_key(config.api_key, name, services.redactor)
    if key:
        headers[_key_header(preset)] = key if preset.key_header else f"Bearer {key}"
    if config.organization:
        headers["openai-organization"] = config.organization
    if config.project:
        headers["openai-project"] = config.project
    return checked_headers(headers, config.headers, name)


def _key_header(preset: Preset) -> str:
    return preset.key_header or "authorization"


def _check_url(base_url: str, name: str) -> None:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"provider {name!r}: base_url must be an address such as https://api.example.com/v1"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"provider {name!r}: base_url holds a user or password; use api_key or headers for credentials"
        )


def _is_home(base_url: str, preset: Preset) -> bool:
    """Whether the URL is the preset's own, where no request works without a key."""
    if preset.base_url is None:
        return preset.host is not None
    return urlsplit(base_url).hostname == urlsplit(preset.base_url).hostname


def _missing(preset: Preset, name: str) -> str:
    if name == "openai" and preset.key == "OPENAI_API_KEY":
        return "provider 'openai' has no key: set OPENAI_API_KEY or [providers.openai] api_key"
    return f'provider {name!r} has no key: set [providers.{name}] api_key = "${{{preset.key}}}"'


def _with_query(base_url: str, config: OpenAIConfig, preset: Preset) -> str:
    query = f"api-version={quote(config.api_version, safe='')}" if config.api_version else preset.query
    if not query:
        return base_url
    base, mark, existing = base_url.partition("?")
    return f"{base.rstrip('/')}?{existing}&{query}" if mark else f"{base.rstrip('/')}?{query}"
