"""Assertions of the shipped suite are explained like those of tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "penstock_testkit.provider_answers",
    "penstock_testkit.provider_calls",
    "penstock_testkit.provider_failures",
    "penstock_testkit.provider_scenarios",
    "penstock_testkit.standard",
)
