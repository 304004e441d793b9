"""
How a compatible server differs from OpenAI, as data.

A preset is one `Quirks` beside a base URL; no vendor has code of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """
    What a server deviates in. The defaults suit an unknown compatible server.

    Args:
        reasoning_fields: where the model's reasoning is, first that is filled; `reasoning_details` and
            thinking parts of the content are always read.
        think_tags: take a leading `<think>...</think>` out of the text. Off by default: it is text.
        stream_usage: ask for usage on streams (`stream_options`); off where the server refuses the field.
        max_tokens: the name of that field; `by_model` asks `reasons()`.
        developer_role: what the role `developer` is called.
        schema_as: `json_schema`, or `json_object` with the schema in a system message, for servers that
            guarantee only JSON.
        embedding_format: the `encoding_format` to ask for; None leaves it to the server.
        max_inputs: how many texts one embedding request takes; OpenAI's own limit is 2048.
        renamed: pairs of a field's usual name and the server's own for it.
        reasoning_rules: refuse at once the sampling parameters that OpenAI's reasoning models refuse.
        foreign_extras: further fields of messages that only other servers know and this one refuses.
    """

    reasoning_fields: tuple[str, ...] = ("reasoning_content", "reasoning")
    think_tags: bool = False
    stream_usage: bool = True
    max_tokens: Literal["max_tokens", "max_completion_tokens", "by_model"] = "max_tokens"
    developer_role: Literal["developer", "system"] = "system"
    schema_as: Literal["json_schema", "json_object"] = "json_schema"
    embedding_format: Literal["base64", "float"] | None = None
    max_inputs: int | None = 2048
    renamed: tuple[tuple[str, str], ...] = ()
    reasoning_rules: bool = False
    foreign_extras: frozenset[str] = frozenset()


@lru_cache(1024)
def reasons(model: str) -> bool:
    """
    Whether an OpenAI model spends tokens on reasoning, which changes how its output is limited.

    Args:
        model: the provider's name, also with a `vendor/` in front or as a fine-tune (`ft:base:...`).
    """
    name = _base(model)
    if name.startswith("gpt-"):
        version = _gpt_version(name)
        return version is not None and version[0] >= 5 and "-chat" not in name
    return name[:1] == "o" and name[1:2].isdigit()


def samples(model: str, effort: object) -> bool:
    """
    Whether a reasoning model may take sampling parameters; True also when only the server can know.

    The o-series and gpt-5 never do. From gpt-5.1 on it depends on the effort: with `none`, which some of
    them have by default, they do.

    Args:
        model: as for `reasons`.
        effort: the reasoning effort asked for, None for the model's own.
    """
    version = _gpt_version(_base(model))
    if version is None:
        return False
    return version >= (5, 1) and effort in (None, "none")


def _base(model: str) -> str:
    name = model.rpartition("/")[2].lower()
    return name[3:].partition(":")[0] if name.startswith("ft:") else name


def _gpt_version(name: str) -> tuple[int, int] | None:
    """The version of `gpt-5.1-mini`; None when the name has none of this form."""
    if not name.startswith("gpt-"):
        return None
    major, _, minor = name[4:].partition("-")[0].partition(".")
    if not (major.isascii() and major.isdigit() and len(major) < 4):
        return None
    known = minor.isascii() and minor.isdigit() and len(minor) < 4
    return int(major), int(minor) if known else 0
