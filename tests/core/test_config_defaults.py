"""A table that says nothing is never validated, so the defaults of every model must be valid and final."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from penstock.config import Config, Settings
from penstock.errors import ConfigError

ROOT = Path(__file__).parents[2]


def every_model() -> Iterator[type[BaseModel]]:
    """The configuration models of the core and of every installed plugin, those inside others too."""
    for name in sorted(path.name for path in (ROOT / "plugins").iterdir()):
        package = importlib.import_module(f"penstock_{name}")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name == "config":
                importlib.import_module(f"{package.__name__}.config")
    seen: set[type[BaseModel]] = set()
    queue: list[type[BaseModel]] = [BaseModel]
    while queue:
        for kind in queue.pop().__subclasses__():
            if kind not in seen:
                seen.add(kind)
                queue.append(kind)
    ours = [kind for kind in seen if kind.__module__.endswith((".config", "config.core"))]
    yield from sorted(ours, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


MODELS = [kind for kind in every_model() if not any(f.is_required() for f in kind.model_fields.values())]


def test_the_models_are_found() -> None:
    names = {kind.__name__ for kind in MODELS}
    assert {"TimeoutsConfig", "RetryConfig", "CacheConfig", "LimitConfig", "TurboConfig"} <= names


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_the_defaults_are_what_validation_would_make_of_them(kind: type[BaseModel]) -> None:
    made = kind.model_construct()
    assert made == kind.model_validate({})
    assert made == kind.model_validate(made.model_dump(exclude_unset=True))
    assert made.model_fields_set == set()


def test_a_section_that_says_nothing_needs_no_validator() -> None:
    class Quiet(Config):
        number: int = 3

    settings = Settings.load(False, environ={})
    assert settings.section("quiet", Quiet) == Quiet.defaults()
    assert not Quiet.__pydantic_complete__


@pytest.mark.parametrize("value", [False, 0, "", [], 0.0])
def test_what_is_no_table_is_an_error_however_empty_it_is(value: object) -> None:
    class Quiet(Config):
        number: int = 3

    with pytest.raises(ConfigError, match="quiet: must be a table"):
        Settings.load({"quiet": value}, environ={}).section("quiet", Quiet)
