"""An instance called openai takes OPENAI_API_KEY by itself, so it may not be another vendor's server."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Client, ConfigError


@pytest.mark.parametrize(
    "settings", [{"preset": "groq"}, {"base_url": "https://api.groq.com/openai/v1"}], ids=["preset", "host"]
)
def test_openai_is_no_name_for_another_vendor(settings: dict[str, Any]) -> None:
    environ = {"OPENAI_API_KEY": "sk-0123456789abcdef"}
    with pytest.raises(ConfigError, match="another vendor's"):
        Client(False, environ=environ, providers={"openai": settings})


def test_a_vendor_under_its_own_name_wants_its_own_key() -> None:
    environ = {"OPENAI_API_KEY": "sk-0123456789abcdef"}
    with pytest.raises(ConfigError, match="GROQ_API_KEY"):
        Client(False, environ=environ, providers={"groq": {"plugin": "openai", "preset": "groq"}})
