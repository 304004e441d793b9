"""
Keys and configured headers, checked before a request exists.

One rule for every provider: a key ends up in prepared headers and in the redactor, and no message quotes
a value, because it could be the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from penstock.redaction import Redactor

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VISIBLE = re.compile(r"[!-~]*")


def usable_key(key: SecretStr | None, name: str, redactor: Redactor) -> str:
    """
    The key without white space around it, "" when there is none; the redactor knows it from here on.

    Args:
        key: as it was configured.
        name: the provider instance, for the message.
        redactor: of the client.

    Raises:
        ConfigError: it holds what no key holds.
    """
    text = key.get_secret_value().strip() if key is not None else ""
    if _VISIBLE.fullmatch(text) is None:
        raise ConfigError(
            f"provider {name!r}: the key ([providers.{name}] api_key) holds a space, a control character "
            "or a character outside ASCII; was it pasted with something else?"
        )
    if text:
        redactor.add(text)
    return text


def checked_headers(headers: Mapping[str, str], more: Mapping[str, SecretStr], name: str) -> dict[str, str]:
    """
    The headers of every request, names in lower case.

    Args:
        headers: the provider's own.
        more: configured ones, which may replace them.
        name: the provider instance, for the message.

    Raises:
        ConfigError: a name or a value cannot be sent.
    """
    given = {header.lower(): value.get_secret_value().strip() for header, value in more.items()}
    checked = {**headers, **given}
    for header, text in checked.items():
        if _NAME.fullmatch(header) is None:
            raise ConfigError(f"provider {name!r}: {header!r} is no name for a header")
        if _VISIBLE.fullmatch(text.replace(" ", "")) is None:
            raise ConfigError(
                f"provider {name!r}: the value of the header {header!r} holds a control character "
                "or a character outside ASCII"
            )
    return checked
