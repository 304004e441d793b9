"""The configuration of the HTTP transports."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

ONLY_PUBLIC: dict[str, Any] = {"block_private": True, "client_certificate": None, "client_key": None}
"""What differs in a transport for URLs that come from outside: it also shows nobody our certificate."""


class WireConfig(BaseModel):
    """Pools, proxies and TLS; what is left out is read from the environment once, when a client is built."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    pool_connections: int = Field(
        default=32, ge=1, description="Blocking: how many origins keep a connection pool."
    )
    pool_maxsize: int = Field(
        default=100, ge=1, description="Blocking: connections per origin; more calls wait for a free one."
    )
    limit: int = Field(default=100, ge=1, description="Async: connections in all; more calls wait.")
    limit_per_host: int = Field(
        default=20, ge=0, description="Async: connections per origin; 0 is without limit."
    )
    keepalive: float = Field(
        default=30.0, ge=0, description="Seconds an idle connection is kept; 0 keeps none."
    )
    dns_ttl: int = Field(
        default=300, ge=0, description="Async: seconds a resolved name is remembered; 0 remembers none."
    )
    proxy: SecretStr | None = Field(
        default=None,
        description='Proxy URL for all requests, "" for none; else HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.',
    )
    no_proxy: str | None = Field(
        default=None, description="Hosts, addresses and networks without proxy, by comma; else NO_PROXY."
    )
    ca_bundle: str | None = Field(
        default=None,
        description="Trusted certificates, file or folder; else REQUESTS_CA_BUNDLE, SSL_CERT_FILE, certifi.",
    )
    verify: bool = Field(default=True, description="Whether certificates are checked; false is for tests.")
    client_certificate: str | None = Field(default=None, description="PEM file of our own certificate.")
    client_key: str | None = Field(
        default=None, description="PEM file of its key, when the certificate's file does not hold it."
    )
    block_private: bool = Field(
        default=False,
        description="Connect to public addresses only, through no proxy: for URLs that come from outside.",
    )
    allow_addresses: tuple[str, ...] = Field(
        default=(), description="Networks that count as public there, such as 10.1.0.0/16."
    )
    max_header_bytes: int = Field(
        default=65536, ge=1024, description="Bytes the head of a response may have."
    )
