"""The listeners of plugins: found by name, and undone when the client cannot be built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock import ListenerSpec, hookimpl
from penstock.config import Config
from penstock.errors import ConfigError, PluginNotFoundError


class Listening:
    """A plugin with one listener that notes its life."""

    def __init__(self, name: str, *, fails: bool = False, waits: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.closed = 0
        if waits:
            self.close = self.close_and_wait  # type: ignore[method-assign]

    def create(self, config: Any, services: Any) -> Any:
        if self.fails:
            raise ConfigError(f"{self.name} cannot")
        return self

    def __call__(self, event: Any) -> None:
        pass

    def close(self) -> Any:
        self.closed += 1

    async def close_and_wait(self) -> None:
        self.closed += 1

    @hookimpl
    def penstock_register_listeners(self) -> list[ListenerSpec]:
        return [ListenerSpec(name=self.name, config=Config, create=self.create)]


def test_a_listener_is_found_by_its_name(world: Callable[..., Any]) -> None:
    listening = Listening("ears")
    made = world(plugins=[("ears", listening)])
    assert made.client.listener("ears") is listening
    made.chat()
    made.run(made.client.close())
    assert listening.closed == 1


def test_one_that_is_not_there_says_how_to_get_it(world: Callable[..., Any]) -> None:
    with pytest.raises(PluginNotFoundError, match="'ears' is not installed; pip install penstock-ears"):
        world().client.listener("ears")


def test_those_made_before_one_that_fails_are_closed(make_world: Callable[..., Any]) -> None:
    first, second = Listening("first"), Listening("second", waits=True)
    plugins = [("first", first), ("second", second), ("third", Listening("third", fails=True))]
    with pytest.raises(ConfigError, match="third cannot"):
        make_world(plugins=plugins)
    assert first.closed == 1
    assert second.closed == 0  # it would have to wait for something, and nothing has begun
