"""
Tokens of what is no text: images, sounds and files inside a message.

Penstock knows images; what else a provider takes comes as a part of unknown kind, in which the encoded
bytes are found by their form. Without this a picture in base64 would be counted as a very long word.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from penstock_cost.images import ASSUMED, pixels

if TYPE_CHECKING:
    from penstock.messages import Image
    from penstock_cost.families import Family

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*,")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]+")
_LONG = 512
"""Characters from which a text without spaces counts as encoded bytes."""
_HEAD = 65536
"""Characters of an encoded image that are decoded to find its size."""
SOUND = 12.5
"""Tokens of a second of sound."""
_RATES = {"wav": 48_000, "x-wav": 48_000, "pcm16": 48_000}
"""Bytes of a second, by format; `_COMPRESSED` otherwise."""
_COMPRESSED = 16_000
_PER_BYTE = 0.01
_LEAST = 250
"""Tokens of a document: for each byte of its file, and at least."""


def image_tokens(image: Image, family: Family) -> int:
    """Tokens of an image; one that is given by the URL of another server counts as 1024 x 1024."""
    size = pixels(image.data)
    if image.url is not None and image.url.startswith("data:"):
        size = pixels(_decoded(image.url.partition(",")[2]))
    return family.image(*size, image.detail == "low")


def part_tokens(payload: Mapping[str, Any], family: Family) -> tuple[int, list[str]]:
    """Tokens of the media in a part of unknown kind, and the texts that are left."""
    tokens, texts = 0, []
    kind = str(payload.get("type", ""))
    for key, text in _texts(payload):
        found = _media(text, key, kind, payload, family)
        if found is None:
            texts.append(text)
        else:
            tokens += found
    return tokens, texts


def _media(text: str, key: str, kind: str, payload: Mapping[str, Any], family: Family) -> int | None:
    """Tokens of one text of a part; None when it is nothing but text."""
    match = _DATA_URL.match(text)
    if match is not None:
        media_type, data = match[1] or "", text[match.end() :]
    elif len(text) >= _LONG and _BASE64.fullmatch(text) is not None:
        inner = payload.get(kind)
        form = inner.get("format") if isinstance(inner, Mapping) else None
        media_type = f"{'audio' if 'audio' in kind else kind}/{form or ''}"
        data = text
    elif "image" in kind and key in ("url", "image_url") and text.startswith("http"):
        return family.image(*ASSUMED, False)
    else:
        return None
    size = len(data) * 3 // 4
    if media_type.startswith("image"):
        return family.image(*pixels(_decoded(data)), False)
    if media_type.startswith("audio"):
        return ceil(SOUND * size / _RATES.get(media_type.partition("/")[2], _COMPRESSED))
    return max(_LEAST, ceil(size * _PER_BYTE))


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode(data[:_HEAD] + "=" * (-len(data[:_HEAD]) % 4))
    except (binascii.Error, ValueError):
        return None


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text inside plain data, with its key; the name of the kind itself is none."""
    if isinstance(value, str):
        if key != "type":
            yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, key)
