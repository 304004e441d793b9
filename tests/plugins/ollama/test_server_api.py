"""The server's own API by `client.provider("ollama")`: each method in the colour of the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock import ModelNotFoundError, StreamInterrupted
from penstock.errors import AttemptTimeout, ConnectError, ServerError
from penstock_ollama import PullProgress
from penstock_testkit import Simulator, faults
from penstock_testkit.ollama import OllamaDialect

World = Callable[..., Any]


@pytest.fixture
def ollama(world: World) -> World:
    def make(script: Any = (), **options: Any) -> Any:
        simulator = Simulator(script, dialects=[OllamaDialect()], **options)
        return world(simulator=simulator, providers={"ollama": {}})

    return make


def ask(world: Any, method: str, *arguments: Any, **options: Any) -> Any:
    return world.run(getattr(world.client.provider("ollama"), method)(*arguments, **options))


def pull(world: Any, take: int | None = None) -> list[PullProgress]:
    events = world.client.provider("ollama").pull("llama3.2:3b")
    got: list[PullProgress] = []
    if world.colour == "blocking":
        for event in events:
            got.append(event)
            if len(got) == take:
                break
        events.close()
        return got

    async def read() -> None:
        async for event in events:
            got.append(event)
            if len(got) == take:
                break
        await events.aclose()

    world.run(read())
    return got


def test_a_model_is_shown(ollama: World) -> None:
    details = ask(ollama(), "show", "llama3.2:3b")
    assert (details.name, details.context_length) == ("llama3.2:3b", 131_072)
    assert details.capabilities == {"chat", "stream", "schema", "tools", "vision", "reasoning"}
    assert (details.family, details.parameter_size, details.quantization) == ("llama", "3.2B", "Q4_K_M")
    assert details.raw["template"] == "{{ .Prompt }}"


def test_a_model_that_is_not_there_is_an_error_of_ours(ollama: World) -> None:
    with pytest.raises(ModelNotFoundError):
        ask(ollama(models=["a"]), "show", "b")


def test_capabilities_are_asked_for_once_and_remembered(ollama: World) -> None:
    world = ollama()
    assert "tools" in world.run(world.client.capabilities("ollama/m"))
    assert "tools" in world.run(world.client.capabilities("ollama/m"))
    assert world.count == 1


def test_capabilities_of_a_model_that_is_not_there_are_those_of_the_provider(ollama: World) -> None:
    world = ollama(models=["a"])
    assert {"chat", "stream"} <= world.run(world.client.capabilities("ollama/b"))


def test_loaded_models_are_listed_with_their_windows(ollama: World) -> None:
    (loaded,) = ask(ollama(models=["a:1b"]), "ps")
    assert (loaded.name, loaded.context_length, loaded.size_vram) == ("a:1b", 4096, 0)


def test_the_version_is_told(ollama: World) -> None:
    assert ask(ollama(), "version") == "0.12.11"


def test_health_tells_version_and_loaded_models(ollama: World) -> None:
    health = ask(ollama(models=["a:1b"]), "health")
    assert (health.status, health.reachable, health.version, health.error) == ("pass", True, "0.12.11", None)
    assert [model.name for model in health.loaded] == ["a:1b"]


def test_health_of_a_server_that_is_down_does_not_raise(ollama: World) -> None:
    health = ask(ollama([faults.refuse()]), "health")
    assert (health.status, health.reachable) == ("fail", False)
    assert health.error
    health = ask(ollama([faults.status(500)]), "health")
    assert (health.status, health.reachable) == ("fail", True)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(faults.refuse(), ConnectError), (faults.hang(), AttemptTimeout), (faults.status(500), ServerError)],
    ids=repr,
)
def test_a_method_fails_with_an_error_of_ours_in_bounded_time(
    ollama: World, fault: Any, kind: type[Exception]
) -> None:
    world = ollama([fault])
    with pytest.raises(kind):
        ask(world, "version", timeout=3.0)
    assert world.now() <= 3.0
    assert world.count == 1


def test_a_download_tells_its_progress(ollama: World) -> None:
    events = pull(ollama())
    assert events[0] == PullProgress(status="pulling manifest")
    assert events[-1].status == "success"
    layers = [event for event in events if event.digest]
    assert [event.completed for event in layers] == [100_000 * n for n in range(1, 11)]
    assert all(event.total == 1_000_000 for event in layers)


def test_a_download_that_is_given_up_leaves_nothing_open(ollama: World) -> None:
    world = ollama()
    assert len(pull(world, take=2)) == 2
    assert world.transport.open == ()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.unterminated(), StreamInterrupted),
        (faults.error_event(500, after=3), ServerError),
        (faults.status(500), ServerError),
        (faults.hang(after=2), AttemptTimeout),
    ],
    ids=repr,
)
def test_a_download_that_does_not_succeed_is_an_error(
    ollama: World, fault: Any, kind: type[Exception]
) -> None:
    world = ollama([fault])
    with pytest.raises(kind):
        pull(world)
    assert world.transport.open == ()
