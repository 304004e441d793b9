"""
Feature extraction: a list of texts out, nested lists of numbers back.

What comes back has the shape the model's pipeline gives it:

    [x, y, ...]            the vector of a single text
    [[x, y], ...]          a vector for each text; for a single text also a vector for each of its tokens
    [[[x, y], ...], ...]   a vector for each token of each text; some servers add a level of length 1

Vectors of tokens are averaged: mean pooling, what sentence models do with them.
"""

from __future__ import annotations

from typing import Any

from penstock.messages import EmbedRequest

_DEPTH = 4


def feature_payload(request: EmbedRequest) -> dict[str, Any]:
    """The body of a feature-extraction request; `normalize`, `truncate`, `prompt_name` come from `extra`."""
    payload: dict[str, Any] = {"inputs": request.inputs}
    if request.dimensions is not None:
        payload["dimensions"] = request.dimensions
    if request.user is not None:
        payload["user"] = request.user
    if request.extra:
        payload.update(request.extra)
    return payload


def vectors_of(payload: Any, inputs: int) -> tuple[tuple[float, ...], ...]:
    """
    One vector for each text.

    Args:
        payload: what the server sent.
        inputs: how many texts were sent.

    Raises:
        ValueError: no such shape; the message says what is wrong.
    """
    if not isinstance(payload, list) or not payload:
        raise ValueError("no list of vectors")
    if not isinstance(payload[0], list):
        if inputs != 1:
            raise ValueError(f"one vector for {inputs} inputs")
        return (_vector(payload),)
    if len(payload) == inputs:
        return tuple(_pooled(item, 1) for item in payload)
    if inputs != 1:
        raise ValueError(f"{len(payload)} vectors for {inputs} inputs")
    return (_pooled(payload, 1),)


def _pooled(item: Any, depth: int) -> tuple[float, ...]:
    """A vector, or the mean of the vectors of its tokens."""
    if not isinstance(item, list) or not item or depth > _DEPTH:
        raise ValueError("an embedding that is no vector of numbers")
    if not isinstance(item[0], list):
        return _vector(item)
    if len(item) == 1:
        return _pooled(item[0], depth + 1)
    rows = [_vector(row) for row in item]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("vectors of different lengths for one text")
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def _vector(values: Any) -> tuple[float, ...]:
    if isinstance(values, list) and values:
        try:
            return tuple(map(float, values))
        except (TypeError, ValueError, OverflowError):
            pass
    raise ValueError("an embedding that is no vector of numbers")
