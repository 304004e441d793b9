"""
Play the scenes: real clients, a real server, and a judgement of every call.

The blocking scenes run one after another, the async ones all at once. Each call asks a model of its own, so
that the simulator can count its requests however the calls interleave. Each scene is a provider instance with
a key of its own, so that what a stage learns from one (a rate limit, a bad key) does not reach the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from penstock import AsyncClient, Client, PenstockError
from penstock.asynchronous import AsyncioRuntime
from penstock.events import CallEvent
from penstock.plugins import Plugins
from penstock.runtime import BlockingRuntime
from penstock.specs import TransportSpec
from penstock_cli.demo.scenes import MAX_ATTEMPTS, Scene
from penstock_testkit import Simulator

if TYPE_CHECKING:
    from penstock.call import Attempt
    from penstock.events import Event
    from penstock.http import Transport
    from penstock_testkit import ReceivedRequest

ROOM = 1000
"""The retry budget and the room in pools: the demo counts retries, so none may be denied."""


@dataclass(slots=True)
class Played:
    """
    One call of a scene, and what came of it.

    Args:
        scene: what it belongs to.
        number: which of the scene's calls, from 0.
        provider: the provider instance of its scene.
        model: the model of its own that it asks.
        expected: requests the script implies.
        received: requests the simulator counted.
        answer: what the model said, None without an answer.
        error: what ended it, None with an answer.
        attempts: every attempt, as the library recorded them.
        seconds: how long it took.
        problems: what is not as the script implies.
    """

    scene: Scene
    number: int
    provider: str
    model: str
    expected: int
    received: int = 0
    answer: Any = None
    error: PenstockError | None = None
    attempts: Sequence[Attempt] = ()
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Who is asked, as a caller writes it."""
        return f"{self.provider}/{self.model}"

    @property
    def prompt(self) -> str:
        """What is asked; no other call asks it."""
        return f"{self.scene.name}, call {self.number + 1}"

    @property
    def waited(self) -> float:
        """Seconds between attempts."""
        return sum(attempt.delay for attempt in self.attempts)


class Audience(Protocol):
    """Who watches: told when a call begins, what happens to it, and how it was judged."""

    def began(self, call: Played) -> None: ...

    def happened(self, call: Played, event: CallEvent) -> None: ...

    def ended(self, call: Played) -> None: ...


class Play:
    """
    The whole performance.

    Args:
        scenes: what is played.
        seed: of the dice behind the waits.
        fast: keep the waits short.
        audience: who watches.

    Attributes:
        calls: every call, in the order of the scenes.
        total: requests the simulator received in all.
    """

    def __init__(self, scenes: Sequence[Scene], *, seed: int, fast: bool, audience: Audience) -> None:
        self.calls = [
            Played(scene, number, f"scene-{place:02}", f"model-{place:02}-{number:02}", expected)
            for place, scene in enumerate(scenes, 1)
            for number, expected in enumerate(scene.requests)
        ]
        self.total = 0
        self._audience = audience
        self._dice = random.Random(seed)
        self._retry = {"base": 0.02, "throttle_base": 0.03} if fast else {"base": 0.3, "throttle_base": 0.5}
        self._by_name = {call.name: call for call in self.calls}
        self._simulator = Simulator(
            script={
                call.model: [met.fault for met in call.scene.scripts[call.number]] for call in self.calls
            },
            text=say,
        )

    def perform(self) -> None:
        """Play everything and judge it."""
        with self._simulator.serve() as server:
            self._play_blocking(server.url)
            asyncio.run(self._play_async(server.url))
        self.total = self._simulator.count()

    def _arguments(self, url: str) -> dict[str, Any]:
        """A client that knows nothing of the user's configuration and environment."""
        return {
            "config": False,
            "environ": {},
            "pipeline": ["retry"],  # the other stages have acts of their own
            "listeners": [self._hear],
            "providers": {
                name: {"plugin": "openai", "base_url": url, "api_key": f"sk-demo-{name}"}
                for name in dict.fromkeys(call.provider for call in self.calls)
            },
            "retry": {"max_attempts": MAX_ATTEMPTS, **self._retry},
            "budget": {"capacity": ROOM},
        }

    def _hear(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            self._audience.happened(self._by_name[event.call.request.model], event)

    def _play_blocking(self, url: str) -> None:
        runtime = BlockingRuntime(demo_transport("blocking"), random=self._dice.random)
        with Client(runtime=runtime, **self._arguments(url)) as client:
            for call in self._of("blocking"):
                self._audience.began(call)
                started = time.monotonic()
                try:
                    call.answer = self._ask(client, call)
                except PenstockError as error:
                    call.error = error
                self._judge(call, time.monotonic() - started)

    def _ask(self, client: Client, call: Played) -> Any:
        name, options = call.name, _options(call.scene)
        if call.scene.kind == "embed":
            return client.embed(name, call.prompt, **options)
        if call.scene.kind == "chat":
            return client.chat(name, call.prompt, **options)
        with client.stream(name, call.prompt, **options) as stream:
            return stream.read()

    async def _play_async(self, url: str) -> None:
        runtime = AsyncioRuntime(demo_transport("asynchronous"), random=self._dice.random)
        client = AsyncClient(runtime=runtime, **self._arguments(url))
        async with client, asyncio.TaskGroup() as group:
            for call in self._of("async"):
                group.create_task(self._play_one(client, call))

    async def _play_one(self, client: AsyncClient, call: Played) -> None:
        self._audience.began(call)
        started = time.monotonic()
        try:
            call.answer = await self._ask_async(client, call)
        except PenstockError as error:
            call.error = error
        self._judge(call, time.monotonic() - started)

    async def _ask_async(self, client: AsyncClient, call: Played) -> Any:
        name, options = call.name, _options(call.scene)
        if call.scene.kind == "embed":
            return await client.embed(name, call.prompt, **options)
        if call.scene.kind == "chat":
            return await client.chat(name, call.prompt, **options)
        async with client.stream(name, call.prompt, **options) as stream:
            return await stream.read()

    def _of(self, colour: str) -> Iterator[Played]:
        return (call for call in self.calls if call.scene.colour == colour)

    def _judge(self, call: Played, seconds: float) -> None:
        """Compare a call with what its script implies."""
        received = [request for request in self._simulator.requests if request.model == call.model]
        ended = call.answer if call.error is None else call.error
        call.seconds = seconds
        call.received = len(received)
        call.attempts = getattr(ended, "attempts", ())
        call.problems = list(_problems(call, received))
        self._audience.ended(call)


def answer_to(prompt: str) -> str:
    """What the simulated model says."""
    return f"Understood: {prompt}. The pipe held."


def say(request: ReceivedRequest, prompt: str) -> str:
    """The simulator's rule for what models say."""
    return answer_to(prompt)


def _options(scene: Scene) -> dict[str, Any]:
    return {} if scene.timeouts is None else {"timeout": scene.timeouts}


def demo_transport(colour: str) -> Transport:
    """The installed transport, without a proxy: the server is on this machine."""
    spec = Plugins().need(TransportSpec, "wire", "demo")
    create: Any = spec.blocking if colour == "blocking" else spec.asynchronous
    return cast(
        "Transport", create(spec.config.model_validate({"proxy": "", "limit_per_host": 0, "limit": ROOM}))
    )


def _problems(call: Played, received: Sequence[ReceivedRequest]) -> Iterator[str]:
    """What is not as the script implies, in words."""
    scene, ended = call.scene, type(call.error).__name__
    if scene.ends is None:
        if call.error is not None:
            yield f"no answer: {ended}: {call.error}"
        elif not _is_right(call):
            yield "the answer is not the one the model gave"
    elif call.error is None:
        yield f"an answer instead of {scene.ends}"
    elif ended != scene.ends:
        yield f"{ended} instead of {scene.ends}: {call.error}"
    elif scene.partial and not _is_partial(call):
        yield "the error does not carry what had arrived"
    if call.received != call.expected:
        yield f"{call.received} requests, the script implies {call.expected}"
    if len(call.attempts) != call.received:
        yield f"{len(call.attempts)} attempts are recorded, {call.received} requests were received"
    if scene.hint and len(received) > 1:
        gap = received[1].at - received[0].at
        if gap < scene.hint:
            yield f"asked again after {gap:.2f} s, the server asked for {scene.hint:g} s"


def _is_right(call: Played) -> bool:
    if call.scene.kind == "embed":
        return len(call.answer.vectors) == 1 and any(call.answer.vectors[0])
    return bool(call.answer.text == answer_to(call.prompt))


def _is_partial(call: Played) -> bool:
    partial = getattr(call.error, "partial", None)
    text = partial.text if partial is not None else ""
    return bool(text) and answer_to(call.prompt).startswith(text)
