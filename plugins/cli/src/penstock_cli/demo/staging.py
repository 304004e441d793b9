"""
Play the acts: a client and a server for each, its steps one after another, and a judgement of every step.

The requests are counted by the server, what the stages did is taken from the events; neither knows of the
other, and both must be exactly what the act says.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from penstock import AsyncClient, Client, PenstockError
from penstock.asynchronous import AsyncioRuntime
from penstock.errors import Rejection
from penstock.events import AttemptFinished
from penstock.runtime import BlockingRuntime
from penstock_cli.demo.board import short
from penstock_cli.demo.facts import fact_of
from penstock_cli.demo.play import answer_to, demo_transport, say
from penstock_cli.failure import seconds
from penstock_testkit import Simulator

if TYPE_CHECKING:
    from penstock.events import Event
    from penstock_cli.demo.acts import Act, Step

CLOCK_TICK = 0.01
"""Seconds a rest is made longer, for clocks that round."""


@dataclass(slots=True)
class PlayedStep:
    """
    A step, and what came of it.

    Args:
        act: what it belongs to.
        step: what was to be done.
        answers: of the calls that got one.
        errors: of the others.
        wrong: answers that are not what the model says.
        resets: times a reader was told to begin again.
        facts: what the stages did.
        words: the same for people, in order, and how each attempt ended.
        received: requests by target.
        seconds: how long it took.
        problems: what is not as the act says.
    """

    act: Act
    step: Step
    answers: list[Any] = field(default_factory=list)
    errors: list[PenstockError] = field(default_factory=list)
    wrong: int = 0
    resets: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)
    received: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        """What is asked."""
        return f"{self.act.name}, {self.step.prompt or self.step.name}"

    @property
    def expected(self) -> int:
        """Requests the step must amount to."""
        return sum(self.step.requests.values())

    def read(self, answer: Any, text: str) -> None:
        """Take in an answer, and the text a reader was left with."""
        self.answers.append(answer)
        if not text == answer.text == answer_to(self.prompt):
            self.wrong += 1


class StepAudience(Protocol):
    """Who watches: told when a step begins, that something happened, and how it was judged."""

    def began(self, played: PlayedStep) -> None: ...

    def happened(self, played: PlayedStep) -> None: ...

    def ended(self, played: PlayedStep) -> None: ...


class Staging:
    """
    All acts.

    Args:
        acts: what is played.
        seed: of the dice behind request ids and jitter.
        audience: who watches.

    Attributes:
        played: every step, in order.
        total: requests the servers received in all.
    """

    def __init__(self, acts: Sequence[Act], *, seed: int, audience: StepAudience) -> None:
        self.played: list[PlayedStep] = []
        self.total = 0
        self._acts = acts
        self._dice = random.Random(seed)
        self._audience = audience

    def perform(self) -> None:
        """Play everything and judge it."""
        for act in self._acts:
            script = {target.partition("/")[2]: met for target, met in act.targets.items()}
            simulator = Simulator(script=script, text=say)
            with simulator.serve() as server:
                steps = _Steps(act, simulator, self._audience)
                if act.colour == "blocking":
                    self._play_blocking(act, steps, server.url)
                else:
                    asyncio.run(self._play_async(act, steps, server.url))
            self.played += steps.played
            self.total += simulator.count()

    def _play_blocking(self, act: Act, steps: _Steps, url: str) -> None:
        runtime = BlockingRuntime(demo_transport("blocking"), random=self._dice.random)
        with Client(runtime=runtime, **_arguments(act, steps, url)) as client:
            for played, rest in steps:
                time.sleep(rest)
                for _ in range(played.step.calls):
                    try:
                        _ask(client, played)
                    except PenstockError as error:
                        played.errors.append(error)

    async def _play_async(self, act: Act, steps: _Steps, url: str) -> None:
        runtime = AsyncioRuntime(demo_transport("asynchronous"), random=self._dice.random)
        async with AsyncClient(runtime=runtime, **_arguments(act, steps, url)) as client:
            for played, rest in steps:
                await asyncio.sleep(rest)
                asking = [_ask_async(client, played) for _ in range(played.step.calls)]
                for ended in await asyncio.gather(*asking, return_exceptions=True):
                    if isinstance(ended, PenstockError):
                        played.errors.append(ended)
                    elif ended is not None:
                        raise ended


class _Steps:
    """
    Goes through the steps of an act, and judges each when the next is asked for.

    Iterating gives the step, and the seconds to rest before it.
    """

    def __init__(self, act: Act, simulator: Simulator, audience: StepAudience) -> None:
        self.played: list[PlayedStep] = []
        self._act = act
        self._simulator = simulator
        self._audience = audience
        self._several = len({target.partition("/")[0] for target in act.targets}) > 1

    def __iter__(self) -> Iterator[tuple[PlayedStep, float]]:
        asked_for = 0.0
        for step in self._act.steps:
            played = PlayedStep(self._act, step)
            self.played.append(played)
            self._audience.began(played)
            before, began = self._counts(), time.monotonic()
            if step.rest:
                played.words.append(f"rests {seconds(asked_for)}")
            yield played, asked_for + CLOCK_TICK if step.rest else 0.0
            played.seconds = time.monotonic() - began
            after = self._counts()
            played.received = {target: after[target] - before[target] for target in after}
            played.problems = list(_problems(played))
            asked_for = max((error_hint(error) for error in played.errors), default=asked_for)
            self._audience.ended(played)

    def hear(self, event: Event) -> None:
        """A listener: what happens belongs to the step that is under way."""
        if not self.played:
            return
        played = self.played[-1]
        if isinstance(event, AttemptFinished):
            where = f" at {event.attempt.target.provider}" if self._several else ""
            played.words.append(f"{short(event.attempt)}{where}")
        fact = fact_of(event)
        if fact is not None:
            played.facts[fact[0]] += 1
            played.words.append(fact[1])
        self._audience.happened(played)

    def _counts(self) -> dict[str, int]:
        return {target: self._simulator.count(model=target.partition("/")[2]) for target in self._act.targets}


def error_hint(error: PenstockError) -> float:
    """Seconds an error asks to wait, 0 when it does not say."""
    return getattr(error, "retry_after", None) or 0.0


def _arguments(act: Act, steps: _Steps, url: str) -> dict[str, Any]:
    """A client that knows nothing of the user's configuration and environment."""
    instances = dict.fromkeys(target.partition("/")[0] for target in act.targets)
    return {
        "config": {
            "pipeline": list(act.pipeline),
            "providers": {
                name: {"plugin": "openai", "base_url": url, "api_key": f"sk-demo-{name}"}
                for name in instances
            },
            **act.tables,
        },
        "environ": {},
        "listeners": [steps.hear],
    }


def _ask(client: Client, played: PlayedStep) -> None:
    step = played.step
    if step.kind == "chat":
        answer = client.chat(step.model, played.prompt)
        played.read(answer, answer.text)
        return
    text = ""
    with client.stream(step.model, played.prompt) as stream:
        for chunk in stream:
            text = _written(played, text, chunk)
        played.read(stream.answer, text)


async def _ask_async(client: AsyncClient, played: PlayedStep) -> None:
    step = played.step
    if step.kind == "chat":
        answer = await client.chat(step.model, played.prompt)
        played.read(answer, answer.text)
        return
    text = ""
    async with client.stream(step.model, played.prompt) as stream:
        async for chunk in stream:
            text = _written(played, text, chunk)
        played.read(stream.answer, text)


def _written(played: PlayedStep, text: str, chunk: Any) -> str:
    """What a reader has after a chunk, as one who heeds resets."""
    if chunk.reset:
        played.resets += 1
        played.words.append(f"reset after {len(text)} characters")
        text = ""
    return text + str(chunk.text)


def _problems(played: PlayedStep) -> Iterator[str]:
    """What is not as the act says, in words."""
    step = played.step
    ended = Counter(type(error).__name__ for error in played.errors)
    if ended != step.errors:
        strange = next((e for e in played.errors if type(e).__name__ not in step.errors), "")
        yield f"errors {_said(ended)} instead of {_said(step.errors)}" + (f": {strange}" if strange else "")
    if played.wrong:
        yield f"{played.wrong} answers are not the one the model gave"
    for target in played.act.targets:
        received, implied = played.received[target], step.requests.get(target, 0)
        if received != implied:
            yield f"{received} requests to {target}, the script implies {implied}"
    if played.facts != step.facts:
        yield f"the stages did {_said(played.facts)} instead of {_said(step.facts)}"
    cached = sum(answer.cached for answer in played.answers)
    if cached != step.cached:
        yield f"{cached} answers came from the cache instead of {step.cached}"
    if played.resets != step.resets:
        yield f"{played.resets} resets instead of {step.resets}"
    if any(isinstance(error, Rejection) and not error_hint(error) for error in played.errors):
        yield "a refusal does not say when asking again may help"


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
