"""
What the server says about its models: the lists of `/api/tags` and `/api/ps`, the details of `/api/show`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from penstock.frozen import Shared, dataclass
from penstock.messages import EMPTY
from penstock.responses import Model, ModelsResponse

# Ollama's words for what a model can do, as the ones every provider here uses.
_CAPABILITIES = {
    "completion": ("chat", "stream", "schema"),
    "embedding": ("embed",),
    "thinking": ("reasoning",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """
    One model by the server's word; None is unknown.

    Args:
        name: as it was asked for.
        context_length: the largest window the model was made for, in tokens.
        num_ctx: the window its Modelfile sets, in tokens.
        capabilities: such as `chat`, `embed`, `tools`, `vision`, `reasoning`; None when the server is too
            old to say.
        family, parameter_size, quantization: such as `llama`, `8.0B`, `Q4_K_M`.
        raw: the whole document.
    """

    name: str
    context_length: int | None = None
    num_ctx: int | None = None
    capabilities: frozenset[str] | None = None
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    raw: Mapping[str, Any] = field(default_factory=Shared(EMPTY), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """
    A model that is in memory now.

    Args:
        name: its name.
        context_length: the window it was loaded with, in tokens; None from older servers.
        size: bytes in all.
        size_vram: bytes of these on a GPU.
        expires_at: when it will be unloaded, RFC 3339.
    """

    name: str
    context_length: int | None = None
    size: int | None = None
    size_vram: int | None = None
    expires_at: str = ""


def model_details(name: str, payload: Mapping[str, Any]) -> ModelDetails:
    """The details in a document of `/api/show`."""
    info = _mapping(payload.get("model_info"))
    context = _positive(info.get(f"{info.get('general.architecture')}.context_length"))
    if context is None:
        # One architecture inside another (vision models) names the key after the inner one.
        found = (_positive(value) for key, value in info.items() if key.endswith(".context_length"))
        context = next((value for value in found if value is not None), None)
    about = _mapping(payload.get("details"))
    said = payload.get("capabilities")
    return ModelDetails(
        name=name,
        context_length=context,
        num_ctx=_parameter(payload.get("parameters"), "num_ctx"),
        capabilities=_capabilities(said) if isinstance(said, list) else None,
        family=_text(about.get("family")),
        parameter_size=_text(about.get("parameter_size")),
        quantization=_text(about.get("quantization_level")),
        raw=payload,
    )


def loaded_models(payload: Mapping[str, Any]) -> tuple[LoadedModel, ...]:
    """The models in a document of `/api/ps`."""
    return tuple(
        LoadedModel(
            name=_text(item.get("name")) or _text(item.get("model")),
            context_length=_positive(item.get("context_length")),
            size=_positive(item.get("size")),
            size_vram=item["size_vram"] if type(item.get("size_vram")) is int else None,
            expires_at=_text(item.get("expires_at")),
        )
        for item in _items(payload)
    )


def models_response(payload: Mapping[str, Any], provider: str, upstream_id: str | None) -> ModelsResponse:
    """The models in a document of `/api/tags`; raises ValueError when it holds no list."""
    if not isinstance(payload.get("models"), list):
        raise ValueError("no list of models")  # noqa: TRY004  (the caller maps ValueError)
    return ModelsResponse(
        models=tuple(
            Model(
                id=name,
                provider=provider,
                extra={key: value for key, value in item.items() if key not in ("name", "model")},
            )
            for item in _items(payload)
            if (name := _text(item.get("name")) or _text(item.get("model")))
        ),
        upstream_id=upstream_id,
    )


def _capabilities(said: list[Any]) -> frozenset[str]:
    found: set[str] = set()
    for word in said:
        if isinstance(word, str):
            found.update(_CAPABILITIES.get(word, (word,)))
    return frozenset(found)


def _parameter(text: Any, name: str) -> int | None:
    """A number in the lines of a Modelfile's parameters: a name, white space, a value."""
    if not isinstance(text, str):
        return None
    found = None
    for line in text.split("\n"):
        words = line.split()
        if len(words) == 2 and words[0] == name and words[1].isascii() and words[1].isdigit():
            found = int(words[1][:12])
    return found or None


def _items(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = payload.get("models")
    return [item for item in models if isinstance(item, dict)] if isinstance(models, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else EMPTY


def _positive(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
