"""Assertions of the shipped suites are explained like those of tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "penstock_testkit.transport_conformance",
    "penstock_testkit.transport_framing",
    "penstock_testkit.transport_limits",
    "penstock_testkit.transport_messages",
    "penstock_testkit.transport_public",
    "penstock_testkit.transport_routes",
    "penstock_testkit.transport_scenarios",
)
