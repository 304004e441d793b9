"""
The one place where JSON becomes Python and back.

`pydantic_core`, which the core brings, reads in half the time of the standard library and writes in an
eighth; `orjson` is used where it is installed. All accept and refuse the same things: what the others will
not read or write (lone surrogates, deep nesting; NaN and integers over 64 bits with orjson) goes to `json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pydantic_core import from_json, to_json


def _plain(value: object) -> object:
    """Read-only mappings travel inside requests; nothing else unknown is guessed at."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _loads(text: str) -> Any:
    try:
        return from_json(text)
    except (ValueError, TypeError):  # the latter for a text with a lone surrogate in it
        pass  # out of here, or the error below would carry this one
    return _loads_slowly(text)


def _loads_slowly(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        error.doc = ""  # the whole document, which may quote a secret, would hang on the error
        raise
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def _dumps(value: object) -> bytes:
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None


def _implementation() -> tuple[Callable[[str], Any], Callable[[object], bytes]]:
    try:
        orjson = import_module("orjson")
    except ImportError:
        return _loads, _dumps
    parse, serialise = orjson.loads, orjson.dumps
    # Only what `json` can write: no dataclasses, dates or UUIDs by a side door.
    options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

    def loads(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            pass  # out of here, or the error below would carry this one, and that the document
        return _loads_slowly(text)

    def dumps(value: object) -> bytes:
        try:
            return serialise(value, _plain, options)  # type: ignore[no-any-return]
        except TypeError:
            return _dumps(value)

    return loads, dumps


loads, dumps = _implementation()
"""
`loads(text)` reads a document, raising ValueError for whatever is none. `dumps(value)` writes compact
UTF-8 bytes, raising TypeError or ValueError for what JSON cannot hold.
"""


def dumps_plain(value: object) -> bytes:
    """
    `dumps` for what is known to hold dicts, lists, texts, numbers, booleans and None alone.

    Anything else would be guessed at, dates and bytes among it, so who calls this has looked.
    """
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate
        return _dumps(value)


_decode_first = json.JSONDecoder().raw_decode


def loads_bytes(body: bytes) -> Any:
    """
    Read a document from a body: UTF-8 whatever the content type says, one BOM and white space allowed.

    Raises:
        ValueError: it is no JSON document, or is empty.
    """
    text = body.decode("utf-8", "replace")
    # The codec that drops a BOM by itself is written in Python.
    return loads(text[1:] if text[:1] == "\ufeff" else text)


def loads_first(text: str) -> Any:
    """Read the document that `text` begins with and ignore what follows it; raises ValueError."""
    try:
        return _decode_first(text.lstrip())[0]
    except json.JSONDecodeError as error:
        error.doc = ""
        raise
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
