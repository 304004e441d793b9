"""Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from penstock_metrics.book import Point
from penstock_metrics.cells import Distribution
from penstock_metrics.instruments import Instrument

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def exposition(collected: Iterable[tuple[Instrument, Sequence[Point]]]) -> str:
    """
    Every series as text, to be served with `CONTENT_TYPE`.

    Args:
        collected: instruments and their points.
    """
    return "".join(f"{line}\n" for instrument, points in collected for line in _family(instrument, points))


def _family(instrument: Instrument, points: Iterable[Point]) -> Iterator[str]:
    name = instrument.prometheus_name
    yield f"# HELP {name} {instrument.description}"
    yield f"# TYPE {name} {instrument.kind}"
    for point in points:
        value = point.value
        labels = _labels(point.attributes)
        if isinstance(value, Distribution):
            below = value.cumulated(instrument.bounds)
            opened = f"{labels[:-1]}," if labels else "{"
            for bound, count in zip(instrument.bounds, below, strict=True):
                yield f'{name}_bucket{opened}le="{_number(bound)}"}} {count}'
            yield f'{name}_bucket{opened}le="+Inf"}} {value.count}'
            yield f"{name}_sum{labels} {_number(value.total)}"
            yield f"{name}_count{labels} {value.count}"
        else:
            yield f"{name}{labels} {_number(value.value)}"


def _labels(attributes: Mapping[str, str]) -> str:
    if not attributes:
        return ""
    pairs = (f'{name.replace(".", "_")}="{value.translate(_ESCAPES)}"' for name, value in attributes.items())
    return "{" + ",".join(pairs) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
