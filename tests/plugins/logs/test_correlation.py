"""Whoever makes a record inside a call, it carries that call; outside it carries none."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penstock import AsyncClient, Call, Client, ProviderSpec, Reply, hookimpl
from penstock.config import Config
from penstock.responses import ChatResponse, Choice, Chunk
from penstock_logs import CallFilter, setup_logging
from penstock_testkit import Simulator, faults

THIRD = logging.getLogger("third.party")


class Talkative:
    """A provider with a library that logs; it says the id of the call, to compare."""

    base_url = "http://talkative.invalid"

    async def send(self, call: Call) -> Reply:
        THIRD.info("sending %s", call.id)
        await call.runtime.sleep(0.001)
        THIRD.info("sent %s", call.id)
        await call.runtime.run_blocking(THIRD.info, "in a thread %s", call.id)
        if call.request.stream:
            return Reply(chunks=self.chunks(call))
        return Reply(ChatResponse(choices=(Choice(text="Hello"),)))

    async def chunks(self, call: Call) -> AsyncIterator[Chunk]:
        for text in ("one", "two"):
            THIRD.info("reading %s", call.id)
            yield Chunk(text=text)

    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name="talkative", config=Config, create=lambda config, services: self)]


@pytest.fixture
def logged(stderr: Any) -> Any:
    """The entries of the third party, and of the application, of everything logged so far."""
    with setup_logging(json=True, loggers=("third", "application")):
        yield stderr.entries


OPTIONS: dict[str, Any] = {
    "config": False,
    "environ": {},
    "pipeline": [],
    "plugins": [("talkative", Talkative())],
}


def check(entries: list[dict[str, Any]], count: int) -> None:
    third = [entry for entry in entries if entry["logger"] == "third.party"]
    assert len(third) == count
    for entry in third:
        assert entry["message"].endswith(entry["request_id"])
        assert (entry["provider"], entry["model"], entry["attempt"]) == ("talkative", "m", 1)


def test_tasks_of_one_loop(logged: Any) -> None:
    async def ask() -> None:
        async with AsyncClient(**OPTIONS) as client:
            await asyncio.gather(*(client.chat("talkative/m", "Hello") for _ in range(20)))

    asyncio.run(ask())
    check(logged(), 60)


def test_threads(logged: Any) -> None:
    with Client(**OPTIONS) as client:
        threads = [threading.Thread(target=client.chat, args=("talkative/m", "Hello")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    check(logged(), 24)


def test_tasks_in_virtual_time(make_world: Callable[..., Any], logged: Any) -> None:
    world = make_world("simulated", pipeline=[], plugins=OPTIONS["plugins"])
    for _ in range(20):
        world.runtime.spawn(world.client.chat("talkative/m", "Hello"))
    world.runtime.settle()
    check(logged(), 60)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_streams_that_are_read_in_turns(logged: Any) -> None:
    application = logging.getLogger("application")
    with Client(**OPTIONS) as client:
        with client.stream("talkative/m", "a") as first, client.stream("talkative/m", "b") as second:
            for _ in zip(first, second, strict=False):
                application.info("mine")
        application.info("mine")
    entries = logged()
    check(entries, 10)
    mine = [entry for entry in entries if entry["logger"] == "application"]
    assert len(mine) == 3
    assert all("request_id" not in entry for entry in mine)


def test_the_records_of_urllib3_carry_the_attempt_they_belong_to(stderr: Any) -> None:
    with Simulator([faults.status(503)]).serve() as server:
        openai = {"api_key": "sk-test-0123456789", "base_url": server.url}
        with Client(
            False,
            environ={},
            providers={"openai": openai},
            pipeline=["retry"],
            retry={"base": 0, "throttle_base": 0},
            logs={"level": "DEBUG", "format": "json"},
        ) as client:
            answer = client.chat("openai/gpt-4o-mini", "Hello")
    entries = stderr.entries()
    third = [entry for entry in entries if entry["logger"].startswith("urllib3")]
    assert third
    assert {entry["request_id"] for entry in third} == {answer.request_id}
    assert third[0]["attempt"] == 1


def test_an_application_with_handlers_of_its_own_can_have_the_fields(make_world: Callable[..., Any]) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("%(request_id)s %(provider)s/%(model)s#%(attempt)s %(message)s"))
    handler.addFilter(CallFilter())
    logger = logging.getLogger("penstock")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        make_world(faults=[faults.status(503)], logs={}).chat(request_id="ada-1")
        logger.info("outside")
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
    scheduled, outside = handler.stream.getvalue().splitlines()
    assert scheduled.startswith("ada-1 openai/gpt-4o-mini#1 openai/gpt-4o-mini is tried again")
    assert outside == " /# outside"


def test_a_record_carries_the_trace_of_its_call_and_of_the_application(
    make_world: Callable[..., Any], stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    tracer = provider.get_tracer("application")
    world = make_world(faults=[faults.status(400)], logs={"level": "INFO", "format": "json"})
    with tracer.start_as_current_span("request") as span:
        with pytest.raises(Exception, match="400"):
            world.chat()
        logging.getLogger("penstock.mine").info("mine")
    failed, mine = stderr.entries()
    expected = f"{span.get_span_context().trace_id:032x}"
    assert failed["trace_id"] == mine["trace_id"] == expected
    world.simulator.reset()
    with pytest.raises(Exception, match="400"):
        world.chat()
    alone = stderr.entries()[-1]
    assert len(alone["trace_id"]) == 32
    assert alone["trace_id"] != expected
