"""One blocking client, many threads: nothing is lost, nothing counted twice."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

import pytest

from penstock import Call, ChatResponse, Choice, Client, ProviderSpec, Reply, hookimpl
from penstock.config import Config
from penstock.errors import ServerError

THREADS, CALLS = 64, 25
RESPONSE = ChatResponse(choices=(Choice(text="ok", finish_reason="stop"),))


class Provider:
    """Model `bad` fails every time."""

    base_url = "http://provider.invalid"

    async def send(self, call: Call) -> Reply:
        if call.target is not None and call.target.model == "bad":
            raise ServerError("down", status=500)
        return Reply(RESPONSE)


class Plugin:
    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name="here", config=Config, create=lambda config, services: Provider())]


@pytest.fixture
def _switching() -> Any:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching")
def test_threads_share_a_route() -> None:
    targets: Counter[str] = Counter()
    problems: list[BaseException] = []
    lock = threading.Lock()
    with Client(
        False,
        environ={},
        plugins=[("here", Plugin())],
        pipeline=["routing"],
        routes={"fast": {"targets": ["here/bad", ["here/x", "here/y"], "here/z"]}},
    ) as client:

        def calls() -> None:
            try:
                for _ in range(CALLS):
                    answer = client.chat("fast", "Hello")
                    with lock:
                        targets[str(answer.target)] += 1
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=calls) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = client.stage("routing").stats()["fast"].targets
    assert problems == []
    assert (stats["here/bad"].chosen, stats["here/bad"].failed) == (THREADS * CALLS, THREADS * CALLS)
    for name in ("here/x", "here/y"):
        assert stats[name].chosen == targets[name] > 0
    assert targets.total() == THREADS * CALLS
