"""
The router's list of models: who serves each, and what that says about the model.

An entry holds `architecture` (modalities) and `providers`, each with `status`, `context_length`, `pricing`
(USD for a million tokens), `supports_tools`, `supports_structured_output`. All of it stays in
`Model.extra`; what it amounts to becomes `context_length` and `capabilities`: what at least one live
provider can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.responses import Model, ModelsResponse


def with_providers(listed: ModelsResponse) -> ModelsResponse:
    """The list with what the entries' providers say."""
    return replace(listed, models=tuple(map(_model, listed.models)))


def _model(model: Model) -> Model:
    providers = model.extra.get("providers")
    if not isinstance(providers, list):
        return model
    serving = [entry for entry in providers if isinstance(entry, dict) and entry.get("status") != "error"]
    lengths = [length for entry in serving if type(length := entry.get("context_length")) is int]
    return replace(
        model,
        context_length=max(lengths, default=model.context_length),
        capabilities=frozenset(_capabilities(serving, model.extra)),
    )


def _capabilities(serving: list[dict[str, Any]], extra: Mapping[str, Any]) -> set[str]:
    found = {"chat", "stream"} if serving else set()
    if any(entry.get("supports_tools") is True for entry in serving):
        found.add("tools")
    if any(entry.get("supports_structured_output") is True for entry in serving):
        found.add("schema")
    architecture = extra.get("architecture")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    if serving and isinstance(modalities, list) and "image" in modalities:
        found.add("vision")
    return found
