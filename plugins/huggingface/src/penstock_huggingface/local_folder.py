"""
Which files a model's name stands for.

A configured folder is a model itself (it holds `config.json`) and then serves under its own name only, or
it holds one folder for each model. Without one, a name is one of the Hub's, found in its cache on this
machine. Names come from outside: none may leave the folder, or name a path where a Hub name is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.errors import ModelNotFoundError
from penstock.responses import Model

_on_the_hub = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII).fullmatch


def source_of(model: str, folder: Path | None, who: str) -> str:
    """
    The folder or Hub name to load.

    Raises:
        ModelNotFoundError: there is no such model; lists those there are.
    """
    if folder is None:
        if _on_the_hub(model) is None:
            raise ModelNotFoundError(f"{who}: {model!r} is no name of a model; write it as org/name")
        return model
    found = _models_in(folder)
    if model not in found:
        there = ", ".join(found) or "none"
        raise ModelNotFoundError(f"{who}: there is no model {model!r} in its folder; there are: {there}")
    return str(found[model])


def listed(folder: Path | None, who: str, memory: Mapping[str, int]) -> tuple[Model, ...]:
    """
    The models of a folder, or those in memory when there is none.

    Args:
        folder: the configured one.
        who: the provider.
        memory: bytes of those in memory, by source.
    """
    if folder is None:
        return tuple(Model(id=source, provider=who, extra=_extra(source, memory)) for source in memory)
    return tuple(
        _described(name, path, who, _extra(str(path), memory)) for name, path in _models_in(folder).items()
    )


def _models_in(folder: Path) -> dict[str, Path]:
    if (folder / "config.json").is_file():
        return {folder.absolute().name: folder}
    if not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if (path / "config.json").is_file()}


def _described(name: str, path: Path, who: str, extra: dict[str, Any]) -> Model:
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict):
        config = {}
    length = config.get("max_position_embeddings")
    architectures = config.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    chats = any(isinstance(each, str) and each.endswith("ForCausalLM") for each in names)
    return Model(
        id=name,
        provider=who,
        context_length=length if type(length) is int else None,
        capabilities=frozenset({"chat", "stream", "embed"} if chats else {"embed"}),
        extra=extra,
    )


def _extra(source: str, memory: Mapping[str, int]) -> dict[str, Any]:
    held = memory.get(source)
    return {"loaded": False} if held is None else {"loaded": True, "memory_bytes": held}
