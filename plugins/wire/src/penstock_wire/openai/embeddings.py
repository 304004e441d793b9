"""
From the JSON of an embedding answer to vectors, in the order of the inputs.

Base64 is packed little-endian: float32 by the protocol; some servers pack float64 or int8 instead and do
not say so, which the number of bytes tells when the dimensions are known, and the values when not.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from typing import TYPE_CHECKING, Any

from penstock.responses import EmbedResponse
from penstock_wire.openai.response import usage_of

if TYPE_CHECKING:
    from penstock.messages import EmbedRequest

_SAMPLE = 64
"""Values looked at to tell a packing; below that many, float32 is taken on trust."""
_LARGEST = 1e4
"""No component of an embedding is larger."""


def embed_response(payload: dict[str, Any], request: EmbedRequest, upstream_id: str | None) -> EmbedResponse:
    """
    The vectors of a whole document.

    Raises:
        ValueError: it holds no vectors, or not one for each input; the message says what is wrong.
    """
    data = payload.get("data")
    if not isinstance(data, list):
        raise ValueError("no list of vectors")  # noqa: TRY004  (the caller maps ValueError)
    if len(data) != len(request.inputs):
        raise ValueError(f"{len(data)} vectors for {len(request.inputs)} inputs")
    vectors: list[tuple[float, ...] | None] = [None] * len(data)
    for place, item in enumerate(data):
        if not isinstance(item, dict):
            raise ValueError("an entry that is no vector")  # noqa: TRY004  (as above)
        index = item.get("index", place)
        if type(index) is not int or not 0 <= index < len(data) or vectors[index] is not None:
            raise ValueError("vectors whose index is missing or taken")
        vectors[index] = vector_of(item.get("embedding"), request.dimensions)
    model = payload.get("model")
    return EmbedResponse(
        vectors=tuple(vector for vector in vectors if vector is not None),
        model=model if isinstance(model, str) else "",
        usage=usage_of(payload.get("usage")),
        upstream_id=upstream_id,
    )


def vector_of(value: Any, dimensions: int | None) -> tuple[float, ...]:
    """
    One vector, from a list of numbers or from base64; raises ValueError for anything else.

    Args:
        value: what the server sent.
        dimensions: how many components were asked for, or None.
    """
    if isinstance(value, str):
        return unpack(base64.b64decode(value, validate=True), dimensions)
    if isinstance(value, list) and value:
        try:
            return tuple(map(float, value))
        except (TypeError, OverflowError):
            pass
    raise ValueError("an embedding that is no vector of numbers")


def unpack(packed: bytes, dimensions: int | None = None) -> tuple[float, ...]:
    """The components of a packed vector; raises ValueError when the bytes are no whole vector."""
    size = len(packed)
    if not size:
        raise ValueError("an empty embedding")
    for width, code in ((4, "f"), (8, "d"), (1, "b")):
        if dimensions is not None and size == dimensions * width:
            return tuple(_numbers(code, packed))
    if size % 4:
        raise ValueError("an embedding whose base64 holds no whole floats")
    values = _numbers("f", packed)
    if len(values) < _SAMPLE or _looks_right(values):
        return tuple(values)
    if size % 8 == 0:
        doubles = _numbers("d", packed)
        if _looks_right(doubles):
            return tuple(doubles)
    return tuple(_numbers("b", packed))


def _numbers(code: str, packed: bytes) -> tuple[float, ...]:
    values: array[float] = array(code)
    values.frombytes(packed)
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(map(float, values)) if code == "b" else tuple(values)


def _looks_right(values: tuple[float, ...]) -> bool:
    """Whether the bytes were cut at the right width: components are small, and rarely all but zero."""
    sample = values[:_SAMPLE]
    if not all(math.isfinite(value) and abs(value) < _LARGEST for value in sample):
        return False
    # Doubles that were floats before have words of zeros in every even place when read as floats.
    return any(abs(value) > 1e-12 for value in sample[::2]) or not any(sample)
