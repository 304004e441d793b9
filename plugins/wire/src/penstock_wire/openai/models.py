"""
From the JSON of a models list to models: the common fields, and every vendor's name for the context.
"""

from __future__ import annotations

from typing import Any

from penstock.responses import Model, ModelsResponse

_CONTEXT_FIELDS = ("context_length", "max_model_len", "context_window", "max_context_length")


def models_response(payload: Any, provider: str, upstream_id: str | None) -> ModelsResponse | None:
    """The models in a document (`data`, a bare list, or one model), None when it holds none of these."""
    if isinstance(payload, dict):
        items = payload.get("data")
        if items is None and isinstance(payload.get("id"), str):
            items = [payload]
    else:
        items = payload
    if not isinstance(items, list):
        return None
    return ModelsResponse(
        models=tuple(
            _model(item, provider)
            for item in items
            if isinstance(item, dict) and isinstance(item.get("id"), str)
        ),
        upstream_id=upstream_id,
    )


def _model(item: dict[str, Any], provider: str) -> Model:
    context = next((item[name] for name in _CONTEXT_FIELDS if type(item.get(name)) is int), None)
    meta = item.get("meta")
    if context is None and isinstance(meta, dict) and type(meta.get("n_ctx_train")) is int:
        context = meta["n_ctx_train"]  # llama.cpp
    return Model(
        id=item["id"],
        provider=provider,
        context_length=context,
        extra={name: value for name, value in item.items() if name not in ("id", "object")},
    )
