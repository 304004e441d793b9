from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_wire.headers import RateLimits, duration, exhausted_for, rate_limits, retry_after, wait

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8.64s", 8.64),
        ("120ms", 0.12),
        ("14m24s", 864.0),
        ("1m19.156s", 79.156),
        ("6m0s", 360.0),
        ("23h47m36.648s", 85656.648),
        ("0s", 0.0),
        ("1d2h", 93600.0),
        ("5", None),
        ("s", None),
        ("-1s", None),
        ("1m 2s", None),
    ],
)
def test_go_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        (str(int(NOW) + 30), 30.0),
        (str(int(NOW * 1000) + 1500), 1.5),
        (str(int(NOW) - 30), 0.0),
        ("2026-09-21T14:14:20Z", 60.0),
        (formatdate(NOW + 7, usegmt=True), 7.0),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("1_000", None),
        ("nan", None),
        ("inf", None),
        ("\u0661", None),
    ],
)
def test_every_way_to_write_a_wait(text: str, seconds: float | None) -> None:
    assert wait(text, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
        ({"retry-after": formatdate(NOW + 12, usegmt=True)}, 12.0),
        ({"retry-after": formatdate(NOW - 12, usegmt=True)}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_the_first_hint_that_parses_counts(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_the_headers_of_openai() -> None:
    headers = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "8.64s",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    limits = rate_limits(headers, NOW)
    assert limits == RateLimits(10000, 9999, 8.64, 200000, 0, 360.0)
    assert exhausted_for(limits) == 360.0


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        (
            {"x-ratelimit-limit-tokens-minute": "500", "x-ratelimit-remaining-req-minute": "7"},
            RateLimits(None, 7, None, 500),
        ),
        (
            {
                "x-ratelimit-limit": "1",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": str(int(NOW * 1000) + 2000),
            },
            RateLimits(1, 0, 2.0),
        ),
        (
            {"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'},
            RateLimits(500, 0, 55.0),
        ),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-limit-requests": "9223372036854775807"}, None),
        ({"content-type": "text/plain"}, None),
    ],
)
def test_the_variants_of_other_vendors(headers: dict[str, str], limits: RateLimits | None) -> None:
    assert rate_limits(headers, NOW) == limits


def test_a_reset_is_a_wait_only_when_nothing_is_left() -> None:
    assert exhausted_for(RateLimits(10, 3, 60.0)) is None
    assert exhausted_for(RateLimits(10, 0, 60.0, 100, 0, 5.0)) == 60.0
    assert exhausted_for(None) is None


NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-reset",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ]
)
VALUES = st.one_of(
    st.text(max_size=80),
    st.text(alphabet='0123456789.smh:TZ+-;=rtq" ', max_size=80),
    st.integers().map(str),
    st.datetimes().map(str),
)


@given(st.dictionaries(NAMES, VALUES), st.floats(0, 1e12))
def test_no_value_raises_and_no_wait_is_negative(headers: dict[str, str], received: float) -> None:
    limits = rate_limits(headers, received) or RateLimits()
    for seconds in (retry_after(headers, received), limits.reset_requests, limits.reset_tokens):
        assert seconds is None or seconds >= 0.0
    assert limits.limit_tokens is None or limits.limit_tokens >= 0
