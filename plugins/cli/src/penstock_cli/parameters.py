"""From the options of `penstock chat` to the keywords of `client.chat`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

RESERVED = frozenset({"model", "messages", "stream", "schema", "timeout"})
"""What has an argument or option of its own, so that one call never says a thing twice."""


def parse_parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """
    The `-p key=value` pairs; a value that is JSON is taken as JSON, any other as text.

    `extra.key=value` goes to the provider as it is, under a name Penstock does not know.

    Raises:
        click.BadParameter: a pair without a key or `=`, or a key that has an option of its own.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not key=value", param_hint="'-p'")
        if key in RESERVED:
            raise click.BadParameter(f"{key!r} has an option or argument of its own", param_hint="'-p'")
        try:
            value: Any = json.loads(text)
        except ValueError:
            value = text
        if key.startswith("extra."):
            key, value = "extra", {key.removeprefix("extra."): value}
        before = parameters.get(key)
        if key == "extra" and isinstance(value, dict) and isinstance(before, dict):
            value = {**before, **value}
        parameters[key] = value
    return parameters


def read_schema(path: Path | None) -> Any:
    """
    The JSON Schema in a file, None without one.

    Raises:
        click.BadParameter: the file holds no JSON object.
    """
    if path is None:
        return None
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="'--schema'") from None
    if not isinstance(schema, dict):
        raise click.BadParameter(f"{path}: must hold a JSON object", param_hint="'--schema'")
    return schema


def content_of(prompt: str, images: tuple[str, ...]) -> Any:
    """
    What a user message holds: the prompt, or the prompt with images, each a file or a URL.

    Raises:
        click.BadParameter: an image cannot be read or is of no known format.
    """
    if not images:
        return prompt
    from penstock import Image, Text

    parts: list[Any] = [Text(prompt)] if prompt else []
    for place in images:
        try:
            if place.startswith(("http://", "https://", "data:")):
                parts.append(Image.from_url(place))
            else:
                parts.append(Image.from_path(place))
        except OSError as error:
            raise click.BadParameter(f"{place}: {error.strerror}", param_hint="'--image'") from None
        except ValueError:
            message = f"{place}: is no PNG, JPEG, GIF or WebP image"
            raise click.BadParameter(message, param_hint="'--image'") from None
    return tuple(parts)
