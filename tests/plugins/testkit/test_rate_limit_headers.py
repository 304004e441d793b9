"""Durations as OpenAI's headers write them."""

from __future__ import annotations

import pytest

from penstock_testkit.rate_limits import go_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0001, "0s"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (8.64, "8.64s"),
        (79.156, "1m19.156s"),
        (360.0, "6m0s"),
        (864.0, "14m24s"),
        (86266.648, "23h57m46.648s"),
        (3600.0, "1h0m0s"),
        (59.9999, "1m0s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
