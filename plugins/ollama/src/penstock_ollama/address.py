"""
Where the server is: every form people write into `OLLAMA_HOST`, as one base URL.

The rules are Ollama's own. Without a scheme it is http on port 11434; with one, and without a port, it is
the scheme's port. Without a host, and for the addresses a server binds to be reached by everyone
(`0.0.0.0`, `::`), it is this machine.
"""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:11434"
_PORT = 11434
_EVERYONE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)


def read_address(text: str) -> str:
    """
    The base URL that `host`, `host:port`, `:port` or `scheme://host:port/path` stands for.

    A path `/api`, as in Ollama's documentation, is left out: the endpoints bring it.

    Raises:
        ValueError: no address; the text is not quoted, it may carry a credential.
    """
    text = text.strip().strip("\"'").strip()
    bare = "://" not in text
    if bare and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address by itself
    try:
        parts = urlsplit(f"http://{text}" if bare else text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("expected an address such as 127.0.0.1:11434 or https://example.com") from None
    if parts.scheme not in ("http", "https") or any(character.isspace() for character in parts.netloc):
        raise ValueError("expected an address such as 127.0.0.1:11434 or https://example.com")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("expected scheme, host, port and path only; use api_key for a credential")
    host = _EVERYONE.get(host, host)
    if port is None and bare:
        port = _PORT
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority = f"{authority}:{port}"
    path = parts.path.rstrip("/").removesuffix("/api")
    if path.endswith("/v1"):
        raise ValueError("expected the address of the native API: leave /v1 out, or use the plugin 'openai'")
    return f"{parts.scheme}://{authority}{path}"
