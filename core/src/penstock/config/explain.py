"""Show a section: each key, its value in force and its origin, with nothing secret in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr

from penstock.config.shape import fields
from penstock.config.tree import EMPTY, Node, Origin, find, written
from penstock.redaction import MASK, Redactor

Entry = tuple[str, Any, Origin]


def explain(
    config: BaseModel, node: Node, path: tuple[str, ...], templates: list[Node], redactor: Redactor
) -> Iterator[Entry]:
    """
    The entries of a validated section.

    Args:
        config: the section.
        node: what was said about it.
        path: where it stands.
        templates: nodes with `${VAR}` in them; they are shown as written, the value may be a secret.
        redactor: masks what looks like a secret in the other strings.
    """
    if isinstance(config, RootModel):
        if isinstance(config.root, Mapping) and all(isinstance(v, BaseModel) for v in config.root.values()):
            for key, value in config.root.items():  # tables with names of the user's own, such as routes
                yield from explain(value, find(node, (key,)) or EMPTY, (*path, key), templates, redactor)
            return
        yield written(path), _show(config.root, node, templates, redactor, path[-1]), node.origin
        return
    for key, name in zip(fields(type(config)), type(config).model_fields, strict=True):
        inner, value = find(node, (key,)), getattr(config, name)
        if isinstance(value, BaseModel):
            yield from explain(value, inner or EMPTY, (*path, key), templates, redactor)
        else:
            shown = _show(value, inner, templates, redactor, key)
            yield written((*path, key)), shown, (inner or EMPTY).origin


def _show(value: Any, node: Node | None, templates: list[Node], redactor: Redactor, key: str) -> Any:
    inner = node.value if node is not None else None
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if any(template is node for template in templates):
        value = inner
    if isinstance(value, str):
        label = f"{key}="  # so that the redactor sees the name, which may be all that says "secret"
        return redactor(label + value).removeprefix(label)
    if isinstance(value, Mapping):
        branches = inner if isinstance(inner, dict) else {}
        return {k: _show(v, branches.get(k), templates, redactor, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        elements = inner if isinstance(inner, list) else []
        return [
            _show(v, elements[at] if at < len(elements) else None, templates, redactor, key)
            for at, v in enumerate(value)
        ]
    if isinstance(value, BaseModel):
        return {entry: shown for entry, shown, _ in explain(value, node or EMPTY, (), templates, redactor)}
    return value
