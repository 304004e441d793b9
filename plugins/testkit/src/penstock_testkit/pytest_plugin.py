"""
The pytest fixture for users of the library.

It is loaded into every pytest run of an environment that has the testkit, so nothing else is imported
before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from penstock_testkit.server import SimulatorServer


@pytest.fixture
def penstock_simulator() -> Iterator[Callable[..., SimulatorServer]]:
    """
    A factory of running provider simulators; it takes the arguments of `Simulator`.

        def test_it(penstock_simulator):
            server = penstock_simulator(faults=[faults.status(503)])
            ...  # talk to server.url
            assert server.count() == 2

    Every server is stopped at the end of the test, and what its script raised is raised here.
    """
    from penstock_testkit.simulator import Simulator

    servers: list[SimulatorServer] = []

    def start(*arguments: Any, **options: Any) -> SimulatorServer:
        server = Simulator(*arguments, **options).serve().start()
        servers.append(server)
        return server

    yield start
    for server in reversed(servers):
        server.stop()
    for server in servers:
        server.check()
