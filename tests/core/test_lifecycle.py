"""A client starts once, before its first call, and closes whole, whatever comes between."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import AsyncClient, Client, ConfigError, UsageError
from penstock.simulated import SimulatedRuntime


class Living:
    """A stage that notes its life in a journal."""

    def __init__(self, name: str, journal: list[str], runtime: Any) -> None:
        self.name = name
        self.journal = journal
        self.runtime = runtime

    def note(self, word: str) -> None:
        self.journal.append(f"{self.name} {word}")

    async def start(self) -> None:
        await self.runtime.sleep(0.001)
        self.note("started")

    async def close(self) -> None:
        await self.runtime.sleep(0.001)
        self.note("closed")

    async def __call__(self, call: Any, proceed: Any) -> Any:
        self.note("called")
        return await proceed(call)


@pytest.fixture
def journal() -> list[str]:
    return []


def living(bench: Any, journal: list[str], kind: type[Living] = Living) -> Any:
    return [
        bench.stage(name, lambda config, services: kind(services.name, journal, services.runtime), slot)
        for name, slot in (("outer", "call"), ("inner", "attempt"))
    ]


def transport(journal: list[str]) -> Any:
    async def close() -> None:
        journal.append("transport closed")

    return SimpleNamespace(close=close)


def test_no_call_runs_before_the_stages_have_started(bench: Any, journal: list[str]) -> None:
    async def main() -> None:
        options = bench.options(*living(bench, journal))
        client = AsyncClient(transport=transport(journal), **options)
        await asyncio.gather(*(client.chat("prompt/one", "Hello") for _ in range(3)))
        await client.close()

    asyncio.run(main())
    assert journal[:2] == ["inner started", "outer started"]
    assert journal.count("outer started") == 1
    assert journal[-3:] == ["outer closed", "inner closed", "transport closed"]


def test_a_start_that_fails_is_made_again_by_the_next_call(bench: Any, journal: list[str]) -> None:
    class Shy(Living):
        async def start(self) -> None:
            await super().start()
            if self.name == "outer" and journal.count("outer started") == 1:
                raise ConnectionError("not yet")

    async def main() -> None:
        client = AsyncClient(transport=transport(journal), **bench.options(*living(bench, journal, Shy)))
        with pytest.raises(ConnectionError):
            await client.chat("prompt/one", "Hello")
        assert "outer called" not in journal
        await client.chat("prompt/one", "Hello")
        await client.close()

    asyncio.run(main())
    assert journal.count("outer started") == 2


def test_a_client_that_cannot_start_leaves_nothing_open(bench: Any, journal: list[str]) -> None:
    class Broken(Living):
        async def start(self) -> None:
            if self.name == "outer":
                raise ConnectionError("down")
            self.note("started")

    options = bench.options(*living(bench, journal, Broken))
    with pytest.raises(ConnectionError):
        Client(transport=transport(journal), **options)
    assert journal == ["inner started", "outer closed", "inner closed", "transport closed"]


def test_a_block_that_cannot_be_entered_leaves_nothing_open(bench: Any, journal: list[str]) -> None:
    class Broken(Living):
        async def start(self) -> None:
            raise ConnectionError("down")

    async def main() -> None:
        options = bench.options(*living(bench, journal, Broken))
        with pytest.raises(ConnectionError):
            async with AsyncClient(transport=transport(journal), **options):
                raise AssertionError("entered")

    asyncio.run(main())
    assert journal == ["outer closed", "inner closed", "transport closed"]


def test_a_close_that_is_cancelled_still_closes_the_rest(bench: Any, journal: list[str]) -> None:
    async def main() -> None:
        client = AsyncClient(transport=transport(journal), **bench.options(*living(bench, journal)))
        await client.chat("prompt/one", "Hello")
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(main())
    assert journal[-2:] == ["inner closed", "transport closed"]


def test_ctrl_c_while_closing_still_closes_the_rest(bench: Any, journal: list[str]) -> None:
    class Interrupted(Living):
        async def close(self) -> None:
            self.note("closed")
            raise KeyboardInterrupt

    client = Client(transport=transport(journal), **bench.options(*living(bench, journal, Interrupted)))
    with pytest.raises(KeyboardInterrupt):
        client.close()
    assert journal[-3:] == ["outer closed", "inner closed", "transport closed"]


@pytest.mark.parametrize("ask", [lambda c: c.models("prompt"), lambda c: c.capabilities("prompt/one")])
def test_a_closed_client_answers_no_question(bench: Any, ask: Any) -> None:
    client = bench.client()
    client.close()
    with pytest.raises(UsageError, match="is closed"):
        ask(client)


def test_a_closed_client_is_not_started_again(bench: Any, journal: list[str]) -> None:
    async def main() -> None:
        client = AsyncClient(transport=transport(journal), **bench.options(*living(bench, journal)))
        await client.close()
        with pytest.raises(UsageError, match="is closed"):
            await client.chat("prompt/one", "Hello")

    asyncio.run(main())
    assert "outer started" not in journal


def test_a_stage_that_starts_and_does_not_bind_cannot_differ_for_a_target(
    bench: Any, journal: list[str]
) -> None:
    inner = living(bench, journal)[1]
    options = {**bench.options(inner), "inner": {"targets": {"prompt/two": {"force": True}}}}
    with Client(transport=transport(journal), **options) as client:
        assert client.chat("prompt/one", "Hello").text == "Hello!"
        with pytest.raises(ConfigError, match="cannot differ for prompt/two"):
            client.chat("prompt/two", "Hello")


def test_simulated_clients_start_once_too(bench: Any, journal: list[str]) -> None:
    from penstock import SimulatedClient

    runtime = SimulatedRuntime(transport(journal))
    client = SimulatedClient(runtime, **bench.options(*living(bench, journal)))
    tasks = [runtime.spawn(client.chat("prompt/one", "Hello")) for _ in range(3)]
    runtime.settle()
    assert [task.result().text for task in tasks] == ["Hello!"] * 3
    assert journal.count("outer started") == 1
    client.run(client.close())
