"""
TLS contexts, one per process for equal settings.

Reading a CA bundle takes about 17 ms, so clients share. The trust store is the configured bundle, else
what REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE or SSL_CERT_DIR name, else certifi's. Both colours
use the same context; its sockets are timed (see sockets.py), which asyncio does not notice.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import ConfigError
from penstock_wire.sockets import TimedTLSSocket

if TYPE_CHECKING:
    from penstock_wire.config import WireConfig

_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Trust:
    """
    The TLS context of a transport, made for the first connection that needs it.

    Args:
        config: certificates and whether to verify.
        environ: may name a trust store; looked at here and never again.

    Raises:
        ConfigError: what `context` would raise, as far as finding out takes no time: files that the
            configuration names are read, one that a variable names must be there.
    """

    def __init__(self, config: WireConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._context: ssl.SSLContext | None = None
        self._named = named = _named(config, environ)
        if config.ca_bundle or config.client_certificate:
            self.context()
        elif named is not None and config.verify and not Path(named[1]).exists():
            raise _unusable(*named)

    def context(self) -> ssl.SSLContext:
        """
        The context, shared with every equal configuration.

        Raises:
            ConfigError: a file that is missing or no certificate; names the key or variable.
        """
        if self._context is None:
            self._context = self._read(*(self._named or _shipped()))
        return self._context

    def _read(self, source: str, bundle: str) -> ssl.SSLContext:
        config = self._config
        key = config.client_key or config.client_certificate
        try:
            return _context(
                config.verify,
                _stamp(bundle) if config.verify else None,
                _stamp(config.client_certificate) if config.client_certificate else None,
                _stamp(key) if key else None,
            )
        except _Unreadable as error:
            names = {bundle: source, key: "client_key", config.client_certificate: "client_certificate"}
            raise _unusable(names[error.path], error.path) from None


def _unusable(source: str, path: str) -> ConfigError:
    return ConfigError(f"{source}: cannot read {path!r} as certificates")


def _shipped() -> tuple[str, str]:
    import certifi

    return "certifi", certifi.where()


def _named(config: WireConfig, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Who names the trust store, and its path; None when nobody does."""
    if config.ca_bundle is not None:
        return "ca_bundle", config.ca_bundle
    return next(((name, environ[name]) for name in _VARIABLES if environ.get(name)), None)


Stamp = tuple[str, int, int]
"""A path with the time and size of its file: a bundle replaced on disk is read again."""


class _Unreadable(Exception):
    def __init__(self, path: str) -> None:
        self.path = path


def _stamp(path: str) -> Stamp:
    try:
        facts = Path(path).stat()
    except OSError:
        raise _Unreadable(path) from None
    return path, facts.st_mtime_ns, facts.st_size


@functools.lru_cache(maxsize=16)
def _context(
    verify: bool, bundle: Stamp | None, certificate: Stamp | None, key: Stamp | None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    if bundle is not None:
        path = bundle[0]
        try:
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except (OSError, ValueError):
            raise _Unreadable(path) from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None and key is not None:
        try:
            context.load_cert_chain(certificate[0], key[0])
        except (OSError, ValueError):
            raise _Unreadable(certificate[0]) from None
    context.sslsocket_class = TimedTLSSocket
    return context
