"""
How a failed exchange is worded, the same in both colours.

Every message is made here of scheme, host and path, and of the operating system's or OpenSSL's own short
text. Nothing is quoted from an HTTP library: its messages carry URLs with their query, and header values.
"""

from __future__ import annotations

import os
import re
import socket
import ssl

from penstock.errors import (
    AttemptTimeout,
    CertificateError,
    ConnectError,
    InvalidRequestError,
    ProviderError,
    ResponseTooLarge,
    TransferError,
)
from penstock_wire.public import NotPublic

HEAD_TOO_LARGE = "the head of the response is larger than allowed (max_header_bytes)"
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_WAITING = {
    "connect": "not connected in time",
    "pool": "no free connection in time",
    "read": "no data in time",
}


class PoolClosed(Exception):
    """The pool was closed after it had been looked up."""


def timed_out(shown: str, phase: str) -> AttemptTimeout:
    """A limit was reached while connecting, waiting for the pool, or reading."""
    return AttemptTimeout(f"{shown}: {_WAITING[phase]}", phase=phase)


def not_connected(shown: str, error: BaseException, *, proxied: bool = False) -> ProviderError:
    """Resolution, TCP, TLS or the proxy's tunnel failed, or the address may not be reached."""
    if isinstance(error, NotPublic):
        return InvalidRequestError(f"{shown}: {error}; no connection was made", param="url")
    way = " through the proxy" if proxied else ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateError(f"{shown}: the certificate was refused{way}: {error.verify_message}")
    if isinstance(error, ssl.CertificateError):
        return CertificateError(f"{shown}: the certificate was refused{way}")
    if isinstance(error, socket.gaierror):
        return ConnectError(f"{shown}: the host name was not resolved{way}: {error.strerror}")
    if proxied and (refusal := _TUNNEL_REFUSED.match(str(error))) is not None:
        return tunnel_refused(shown, int(refusal[1]))
    return ConnectError(f"{shown}: not connected{way}: {reason(error)}")


def tunnel_refused(shown: str, status: int) -> ConnectError:
    """The proxy would not connect us to the server."""
    return ConnectError(f"{shown}: the proxy refused the tunnel (status {status})")


def broken(shown: str, why: str) -> TransferError:
    """The exchange broke after the request was written."""
    return TransferError(f"{shown}: {why}")


def too_large(shown: str, max_bytes: int) -> ResponseTooLarge:
    """The body has more bytes than the call allows."""
    return ResponseTooLarge(f"{shown}: the body has more than the {max_bytes} bytes allowed")


def reason(error: BaseException) -> str:
    """A short text that cannot carry anything of ours."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return type(error).__name__
