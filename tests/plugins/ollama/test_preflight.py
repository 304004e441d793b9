"""The window: what a long prompt asks for, what is refused, and how little the server is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from penstock import ContextLengthError, Image, InvalidRequestError
from penstock_ollama import window
from penstock_ollama.catalogue import Catalogue
from penstock_testkit import Simulator, faults
from penstock_testkit.ollama import OllamaDialect

MODEL = "ollama/llama3.2:3b"
World = Callable[..., Any]


def words(count: int) -> str:
    """A text of about `count` tokens: four characters each."""
    return "abc " * count


@pytest.fixture
def ollama(world: World) -> World:
    def make(
        script: Any = (), *, context: int = 32_768, config: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        dialect = OllamaDialect(context_length=context)
        simulator = Simulator(script, dialects=[dialect], **options)
        return world(simulator=simulator, providers={"ollama": config or {}})

    return make


def counts(world: Any) -> tuple[int, int]:
    """Requests to `/api/chat` and to `/api/show`."""
    count = world.simulator.count
    return count(path="/api/chat"), count(path="/api/show")


def num_ctx(world: Any) -> Any:
    return (world.simulator.requests[-1].json.get("options") or {}).get("num_ctx")


def test_a_short_prompt_asks_nothing(ollama: World) -> None:
    world = ollama()
    world.chat(words(500), MODEL)
    assert counts(world) == (1, 0)
    assert num_ctx(world) is None
    assert world.simulator.requests[-1].json["truncate"] is False


def test_a_prompt_that_fits_the_usual_window_leaves_it_alone(ollama: World) -> None:
    world = ollama()
    world.chat(words(2000), MODEL)
    assert counts(world) == (1, 1)
    assert num_ctx(world) is None


def test_a_long_prompt_gets_a_window_that_holds_it_and_its_answer(ollama: World) -> None:
    world = ollama()
    world.chat(words(5000), MODEL)
    assert num_ctx(world) == 8192
    world.chat(words(5000), MODEL, max_tokens=10_000)
    assert num_ctx(world) == 16_384
    assert counts(world) == (2, 1)


def test_a_window_does_not_shrink_for_shorter_prompts(ollama: World) -> None:
    world = ollama()
    world.chat(words(5000), MODEL)
    world.chat("Hi", MODEL)
    assert num_ctx(world) == 8192
    assert counts(world) == (2, 1)


def test_a_window_ends_where_the_model_does(ollama: World) -> None:
    world = ollama(context=6000)
    world.chat(words(5000), MODEL)
    assert num_ctx(world) == 6000


def test_a_prompt_beyond_the_model_is_refused_before_it_is_sent(ollama: World) -> None:
    world = ollama(context=4096)
    for _ in range(2):
        with pytest.raises(ContextLengthError, match="window of 4096; nothing was sent") as caught:
            world.chat(words(6000), MODEL)
    assert caught.value.status is None
    assert caught.value.failover == "larger_window"
    assert counts(world) == (0, 1)


@pytest.mark.parametrize("given", ["config", "request", "options"])
def test_a_window_somebody_chose_is_kept_and_guarded_without_a_look(ollama: World, given: str) -> None:
    world = ollama(config={"num_ctx": 2048} if given == "config" else None)
    extra: dict[str, Any] = {
        "config": {},
        "request": {"num_ctx": 2048},
        "options": {"options": {"num_ctx": 2048}},
    }[given]
    world.chat(words(1500), MODEL, extra=extra)
    assert num_ctx(world) == 2048
    with pytest.raises(ContextLengthError, match="2048"):
        world.chat(words(3000), MODEL, extra=extra)
    assert counts(world) == (1, 0)


def test_without_preflight_ollama_may_cut(ollama: World) -> None:
    world = ollama(config={"preflight": False}, context=4096)
    answer = world.chat(words(6000), MODEL)
    assert answer.usage.input_tokens == 4096  # cut
    assert counts(world) == (1, 0)
    assert "truncate" not in world.simulator.requests[-1].json


def test_options_of_the_caller_stay_beside_the_window(ollama: World) -> None:
    world = ollama()
    world.chat(words(5000), MODEL, temperature=0.5, extra={"top_k": 5, "options": {"min_p": 0.1}})
    assert world.simulator.requests[-1].json["options"] == {
        "temperature": 0.5,
        "top_k": 5,
        "min_p": 0.1,
        "num_ctx": 8192,
    }


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.status(404), faults.reset(), faults.html(), faults.hang()], ids=repr
)
def test_a_look_that_fails_costs_the_chat_nothing(ollama: World, fault: Any) -> None:
    world = ollama([fault.when(lambda request: request.path == "/api/show")], text="Hello")
    for _ in range(2):
        answer = world.chat(words(5000), MODEL)
        assert answer.text == "Hello"
        assert len(answer.attempts) == 1
    assert counts(world) == (2, 1)
    assert num_ctx(world) == 8192
    assert world.now() <= 5.0


def test_a_look_is_no_attempt_and_no_event(ollama: World) -> None:
    world = ollama()
    world.chat(words(5000), MODEL)
    names = [type(event).__name__ for event in world.events]
    assert names.count("AttemptStarted") == 1
    assert world.simulator.count() == 2


def test_retries_look_once(ollama: World) -> None:
    script = [faults.status(503).when(lambda request: request.path == "/api/chat")] * 2
    world = ollama(script)
    world.stream(words(5000), MODEL)
    assert counts(world) == (3, 1)
    assert num_ctx(world) == 8192


def test_details_are_looked_up_again_when_they_are_old(ollama: World) -> None:
    world = ollama(config={"details_ttl": "30s"})
    world.chat(words(2000), MODEL)
    world.run(world.runtime.sleep(31.0)) if world.colour != "blocking" else world.runtime._sleep(31.0)
    world.chat(words(2000), MODEL)
    assert counts(world) == (2, 2)


def test_what_was_seen_is_told_with_the_list(ollama: World) -> None:
    world = ollama(models=["llama3.2:3b", "other:1b"])
    world.chat(words(2000), MODEL)
    known, unknown = world.run(world.client.models("ollama"))
    assert known.context_length == 32_768
    assert "tools" in known.capabilities
    assert (unknown.context_length, unknown.capabilities) == (None, None)


@pytest.mark.parametrize("sees", [True, False])
def test_images_are_refused_for_a_model_that_does_not_see_them(world: World, sees: bool) -> None:
    words_of_server = ("completion", "vision") if sees else ("completion",)
    simulator = Simulator(dialects=[OllamaDialect(capabilities=words_of_server)])
    made = world(simulator=simulator, providers={"ollama": {}})
    message = {"role": "user", "content": ["What is this?", Image.from_bytes(b"\x89PNG")]}
    if sees:
        made.chat([message], MODEL)
        assert counts(made) == (1, 1)
    else:
        with pytest.raises(InvalidRequestError, match="sees no images; nothing was sent"):
            made.chat([message], MODEL)
        assert counts(made) == (0, 1)


@pytest.mark.parametrize(
    ("tokens", "answer", "before", "limit", "usual", "expected"),
    [
        (1000, None, None, 8192, 4096, None),
        (5000, None, None, 131_072, 4096, 8192),
        (5000, 0, None, None, 4096, 8192),
        (5000, 20_000, None, 131_072, 4096, 32_768),
        (5000, 20_000, None, 8192, 4096, 8192),
        (1000, None, 16_384, 131_072, 4096, 16_384),
        (20_000, None, 8192, 131_072, 4096, 32_768),
        (1000, -1, None, 1500, 4096, None),
        (3000, 10_000, None, 4096, 2048, 4096),
    ],
)
def test_windows(
    tokens: int, answer: int | None, before: int | None, limit: int | None, usual: int, expected: int | None
) -> None:
    assert window.enlarged(tokens, answer, before=before, limit=limit, usual=usual) == expected


def test_the_catalogue_forgets_the_model_used_longest_ago() -> None:
    catalogue = Catalogue(ttl=60.0, max_models=2)
    for model in ("a", "b"):
        catalogue.enlarge(model, 8192)
    catalogue.enlarge("a", 4096)
    catalogue.enlarge("c", 8192)
    assert (catalogue.window("a"), catalogue.window("b"), catalogue.window("c")) == (8192, None, 8192)


def test_threads_share_one_look(make_world: World) -> None:
    gate, seen = threading.Event(), threading.Event()

    def slowly(request: Any, prompt: str) -> str:
        return "Hello"

    dialect = OllamaDialect()
    show = dialect._show

    def held(occasion: Any, text: Any) -> Any:
        seen.set()
        assert gate.wait(10)
        return show(occasion, text)

    dialect._show = held  # type: ignore[method-assign]
    simulator = Simulator(dialects=[dialect], text=slowly)
    from penstock import Client

    with (
        simulator.serve() as server,
        Client(False, environ={}, providers={"ollama": {"base_url": server.origin}}) as client,
    ):
        threads = [
            threading.Thread(target=client.chat, args=(MODEL, words(5000)), daemon=True) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert seen.wait(10)
        gate.set()
        for thread in threads:
            thread.join(10)
        assert server.count(path="/api/show") == 1
        assert server.count(path="/api/chat") == 4
        windows = {r.json["options"]["num_ctx"] for r in server.requests if r.path == "/api/chat"}
    assert windows == {8192}


def test_a_cancelled_look_leaves_the_others_free(make_world: World) -> None:
    from penstock.simulated import CancelledError

    simulator = Simulator(
        [faults.hang().when(lambda request: request.path == "/api/show")],
        dialects=[OllamaDialect()],
        text="Hello",
    )
    world = make_world("simulated", simulator=simulator, providers={"ollama": {}})
    first = world.runtime.spawn(world.client.chat(MODEL, words(5000)), "first")
    second = world.runtime.spawn(world.client.chat(MODEL, words(5000)), "second")

    async def cancel() -> None:
        await world.runtime.sleep(1.0)
        first.cancel()

    world.runtime.run(cancel())
    world.runtime.settle()
    with pytest.raises(CancelledError):
        first.result()
    assert second.result().text == "Hello"
    assert world.now() < 5.0
    world.chat(words(9000), MODEL)  # nothing was remembered, so this one looks
    assert counts(world) == (2, 2)
