"""Many threads come first at once: what a client makes when it is first needed is made once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import Client, ProviderSpec, hookimpl
from penstock.config import Config
from penstock.plugins import Installed

THREADS = 8


class Crowd:
    """A place that waits for company: whoever could come in a second time does."""

    def __init__(self) -> None:
        self.visits = 0
        self._company = threading.Event()

    def visit(self) -> None:
        self.visits += 1
        if self.visits > 1:
            self._company.set()
        self._company.wait(0.2)


def all_at_once(work: Callable[[], object]) -> list[BaseException]:
    errors: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def run() -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_plugin_that_the_first_call_asks_for_is_loaded_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd()

    def load() -> Any:
        crowd.visit()
        return bench.plugin()

    entry: Any = SimpleNamespace(load=load)
    found = {"prompt": (Installed("prompt", "penstock-prompt", "1.0", entry),)}
    monkeypatch.setattr("penstock.plugins.installed", lambda: found)
    specs = [ProviderSpec(name="other", config=Config, create=lambda config, services: bench.Prompt())]
    other = SimpleNamespace(penstock_register_providers=hookimpl(lambda: specs))
    transport: Any = SimpleNamespace()
    options: Any = {"pipeline": [], "providers": {"other": {}}, "plugins": [("other", other)]}
    with Client(False, environ={}, transport=transport, **options) as client:
        assert all_at_once(lambda: client.chat("prompt/one", "Hello")) == []
    assert crowd.visits == 1


def test_a_provider_is_created_once(bench: Any) -> None:
    crowd = Crowd()

    def create() -> Any:
        crowd.visit()
        return bench.Prompt()

    client = bench.client(provider=create)
    assert all_at_once(lambda: client.chat("prompt/one", "Hello")) == []
    assert crowd.visits == 1


@pytest.mark.parametrize("slot", ["call", "attempt"])
def test_a_stage_is_bound_to_a_place_once(bench: Any, slot: str) -> None:
    crowd = Crowd()

    class Binding:
        def bind(self, scope: Any) -> Any:
            crowd.visit()
            return self

        async def __call__(self, call: Any, proceed: Any) -> Any:
            return await proceed(call)

    client = bench.client(bench.stage("binding", lambda config, services: Binding(), slot))
    assert all_at_once(lambda: client.chat("prompt/one", "Hello")) == []
    assert crowd.visits == 1


def test_a_call_may_leave_out_the_stage_that_forces_its_neighbours_order(bench: Any) -> None:
    class Through:
        async def __call__(self, call: Any, proceed: Any) -> Any:
            return await proceed(call)

    inner, forced, outer = (
        bench.stage(name, lambda config, services: Through(), slot)
        for name, slot in (("inner", "target"), ("forced", "attempt"), ("outer", "call"))
    )
    options = bench.options(inner, forced, outer)
    with Client(transport=SimpleNamespace(), forced={"force": True}, **options) as client:
        assert client.chat("prompt/one", "Hello", forced=False).text == "Hello!"
