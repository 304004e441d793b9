"""
A simulated provider: requests in, plans out, and a count of everything that came.

It does no I/O and knows no clock: `serve()` puts it behind a real socket, `SimulatedTransport` in front of
a client in any colour. Both pass the time in, so one script means the same everywhere.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock_testkit.dialect import Dialect, Occasion, Settings, TextRule
from penstock_testkit.openai import OpenAIDialect
from penstock_testkit.rate_limits import RateLimits, RateMeter
from penstock_testkit.received import ReceivedRequest
from penstock_testkit.script import Script

if TYPE_CHECKING:
    from penstock.runtime import Runtime
    from penstock_testkit.faults import Fault
    from penstock_testkit.plan import Plan
    from penstock_testkit.server import SimulatorServer
    from penstock_testkit.virtual import SimulatedTransport


class Simulator:
    """
    A provider that can be scripted; safe to use from several threads.

    Args:
        faults: what the first requests meet, one entry each; afterwards all is well.
        repeat: begin the scripts again when they are used up.
        script: scripts for single models, instead of `faults`.
        rate: the share of the other requests that meets a fault, such as `{reset(): 0.05}`.
        seed: of the dice behind `rate`.
        text: what models say: a text, `(request, prompt) -> text`, or None to derive it from the prompt.
        models: the models that exist; None lets every name through.
        api_key: the only key accepted; None accepts every request.
        limits: the upstream's own rate limits, reported in headers and on demand enforced.
        dimensions: length of embeddings when a request does not say.
        dialects: who answers which path, asked in order; the first answers what none claims.
        keep: requests that are remembered, oldest forgotten first; all are counted.

    Raises:
        ValueError: rates that are no shares.
    """

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        *,
        repeat: bool = False,
        script: Mapping[str, Sequence[Fault]] | None = None,
        rate: Mapping[Fault, float] | None = None,
        seed: int = 0,
        text: TextRule | None = None,
        models: Sequence[str] | None = None,
        api_key: str | None = None,
        limits: RateLimits | None = None,
        dimensions: int = 32,
        dialects: Sequence[Dialect] | None = None,
        keep: int = 100_000,
    ) -> None:
        self.settings = Settings(
            text=text,
            models=None if models is None else tuple(models),
            api_key=api_key,
            dimensions=dimensions,
        )
        self.dialects: tuple[Dialect, ...] = tuple(dialects) if dialects else (OpenAIDialect(),)
        self._script = Script(faults, script or {}, rate or {}, repeat=repeat, seed=seed)
        self._limits = limits or RateLimits()
        self._meter = RateMeter(self._limits)
        self._requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self._total = 0
        self._lock = threading.Lock()
        self._faults = tuple(faults)

    def receive(
        self,
        *,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        at: float,
        wall: float,
        connection: int = 0,
    ) -> Plan:
        """
        Count a request and say what happens to it.

        Args:
            method: in upper case.
            target: path and query.
            headers: names in lower case.
            body: the raw bytes.
            at: the clock's reading in seconds.
            wall: seconds since the epoch, for HTTP dates.
            connection: which connection brought it; 0 without one.
        """
        request = ReceivedRequest(
            number=0, at=at, method=method, target=target, headers=headers, body=body, connection=connection
        )
        with self._lock:
            self._total += 1
            request.number = self._total
            self._requests.append(request)
            fault = self._script.next(request)
            reading = self._meter.take(at, len(body) // 4)
        dialect = next((d for d in self.dialects if d.claims(request)), self.dialects[0])
        occasion = Occasion(request, dialect, self.settings, reading, wall)
        plan = dialect.answer(occasion)
        return plan if fault is None else fault(plan, occasion)

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """What arrived since the last reset, oldest first; at most `keep` of them."""
        with self._lock:
            return tuple(self._requests)

    def count(
        self,
        *,
        method: str | None = None,
        path: str | None = None,
        model: str | None = None,
        stream: bool | None = None,
        where: Callable[[ReceivedRequest], bool] | None = None,
    ) -> int:
        """
        How many requests arrived since the last reset; all of them, also those no longer remembered.

        With a filter only the remembered ones are counted.

        Args:
            method: such as `POST`.
            path: the whole path, or its end (`chat/completions`).
            model: the model's name.
            stream: whether a stream was asked for.
            where: any other condition.
        """
        if method is None and path is None and model is None and stream is None and where is None:
            return self._total
        return sum(
            (method is None or request.method == method)
            and (path is None or request.path.endswith(path))
            and (model is None or request.model == model)
            and (stream is None or request.stream is stream)
            and (where is None or where(request))
            for request in self.requests
        )

    def remaining(self) -> int:
        """Entries of the scripts that no request has met."""
        with self._lock:
            return self._script.remaining()

    def reset(self) -> None:
        """Forget the requests and begin the scripts, dice and rate limits again."""
        with self._lock:
            self._requests.clear()
            self._total = 0
            self._script.reset()
            self._meter = RateMeter(self._limits)

    def serve(self, *, port: int = 0) -> SimulatorServer:
        """
        A real server on 127.0.0.1, started by `with` or `start()`.

        Args:
            port: 0 takes any free one.
        """
        from penstock_testkit.server import SimulatorServer

        return SimulatorServer(self, port=port)

    def transport(self, runtime: Runtime | None = None) -> SimulatedTransport:
        """
        A transport that plays the plans on a runtime's clock, without a socket.

        Args:
            runtime: None to set it later, see `SimulatedTransport`.
        """
        from penstock_testkit.virtual import SimulatedTransport

        return SimulatedTransport(self, runtime)

    def __repr__(self) -> str:
        return f"<Simulator faults={list(self._faults)!r} received {self._total}>"
