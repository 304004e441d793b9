"""
Tokenizers that can be used without the network: tiktoken's and those of a tokenizer.json.

tiktoken fetches its ranks when an encoding is first used. Here it is only given ranks that are on this
machine already (in the folder it keeps them in); without them it counts as not installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError
from penstock_cost.pricing import best_match

if TYPE_CHECKING:
    from penstock.call import Target

Count = Callable[[str], int]
_lock = threading.Lock()


class Absent(Exception):
    """The ranks are not on this machine."""


class Tokenizers:
    """
    The tokenizers of one configuration; each is loaded when it is first asked for.

    Args:
        files: `tokenizer.json` files, by target with wildcards.
    """

    def __init__(self, files: Mapping[str, str] | None = None) -> None:
        self._files = dict(files or {})

    def find(self, target: Target) -> tuple[str, Count] | None:
        """The name of a tokenizer that fits a target, and its count; None when there is none."""
        path = best_match(self._files, str(target))
        if path is not None:
            return "tokenizers", _from_file(path)
        name = _encoding_name(target.model)
        count = _tiktoken(name) if name is not None else None
        if count is not None:
            return f"tiktoken:{name}", count
        path = _in_hub_cache(target.model)
        return ("tokenizers", _from_file(path)) if path is not None else None


@functools.lru_cache(maxsize=32)
def _from_file(path: str) -> Count:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError("[cost.tokenizers] needs: pip install 'penstock-cost[tokenizers]'") from None
    try:
        tokenizer = Tokenizer.from_file(str(Path(path).expanduser()))
    except Exception as error:  # the library raises bare Exceptions
        raise ConfigError(f"[cost.tokenizers] cannot read {path!r}: {error}") from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@functools.lru_cache(maxsize=1024)
def _in_hub_cache(model: str) -> str | None:
    """The file of an `org/name` that was downloaded before, by whatever library."""
    name = model.partition(":")[0]
    if name.count("/") != 1:
        return None
    try:
        import tokenizers  # noqa: F401  # without it the file is of no use
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "tokenizer.json")
    except (ImportError, ValueError):
        return None
    return found if isinstance(found, str) else None


@functools.lru_cache(maxsize=1024)
def _encoding_name(model: str) -> str | None:
    try:
        from tiktoken.model import encoding_name_for_model

        return encoding_name_for_model(model.rpartition("/")[2])
    except (ImportError, KeyError):
        return None


def _tiktoken(name: str) -> Count | None:
    with _lock:  # loading takes a second; once is enough
        return _loaded(name)


@functools.lru_cache(maxsize=16)
def _loaded(name: str) -> Count | None:
    import tiktoken
    from tiktoken import registry

    try:
        constructors: Mapping[str, Any] = _constructors(registry)
        encoding = tiktoken.Encoding(**_offline(constructors[name])())
    except (Absent, KeyError, ValueError, OSError):
        return None

    def count(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    return count


def _constructors(registry: Any) -> Mapping[str, Any]:
    registry.list_encoding_names()  # finds them
    return registry.ENCODING_CONSTRUCTORS or {}


def _offline(constructor: Any) -> Any:
    """The function that describes an encoding, with a loader that never fetches in place of its own."""
    names = {**constructor.__globals__, "load_tiktoken_bpe": _ranks, "data_gym_to_mergeable_bpe_ranks": _none}
    return FunctionType(constructor.__code__, names)


def _ranks(address: str, expected_hash: str | None = None) -> Any:
    from tiktoken.load import check_hash, load_tiktoken_bpe

    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder is None:
        folder = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    name = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    kept = Path(folder) / name
    if not folder or not kept.is_file():
        raise Absent
    if expected_hash is not None and not check_hash(kept.read_bytes(), expected_hash):
        raise Absent
    return load_tiktoken_bpe(address, expected_hash)


def _none(*args: Any, **kwargs: Any) -> Any:
    raise Absent
