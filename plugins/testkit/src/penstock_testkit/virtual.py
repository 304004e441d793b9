"""
The simulator as a transport: the same plans, played on the runtime's clock instead of a socket.

It has no colour of its own: it awaits nothing but `runtime.sleep` and, for a hang without a limit, an
event that nobody sets. With a fake clock a test of minutes takes no time. Where a socket would
suspend it sleeps for zero seconds, so that the simulated runtime can interleave and cancel there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.errors import (
    AttemptTimeout,
    ConnectError,
    InvalidRequestError,
    ProviderError,
    ResponseTooLarge,
    TransferError,
    UsageError,
)
from penstock.http import HttpHead
from penstock_testkit.plan import Close, Data, End, Hang, Head, Pause, Plan, Refuse, Reset, Simple, steps

if TYPE_CHECKING:
    from penstock.http import HttpRequest, Limits
    from penstock.runtime import Runtime
    from penstock_testkit.simulator import Simulator

EPOCH = 1_767_225_600.0
"""Seconds since the epoch when a virtual clock reads zero (2026-01-01), the base of HTTP dates."""

_NEVER = float("inf")


class SimulatedTransport:
    """
    A `penstock.http.Transport` over a simulator.

    Args:
        simulator: who answers; it counts these requests like those of a real server.
        runtime: clock and sleep. A runtime wants its transport first, so it may be set later:
            `transport.runtime = BlockingRuntime(transport, ...)`.

    Attributes:
        opened: exchanges whose head arrived.
        closed: whether `close` was called.
    """

    def __init__(self, simulator: Simulator, runtime: Runtime | None = None) -> None:
        self.simulator = simulator
        self.runtime = runtime
        self.opened = 0
        self.closed = False
        self._open: set[SimulatedExchange] = set()

    @property
    def open(self) -> tuple[SimulatedExchange, ...]:
        """Exchanges that nobody has closed yet; empty when nothing leaked."""
        return tuple(self._open)

    async def send(self, request: HttpRequest, limits: Limits) -> SimulatedExchange:
        """Play the plan up to its head; raises as `Transport.send` says."""
        runtime = self.runtime
        if runtime is None:
            raise UsageError("SimulatedTransport has no runtime; pass it, or set `transport.runtime`")
        if self.closed:
            raise UsageError("the SimulatedTransport is closed")
        headers = _checked(request.headers)
        await runtime.sleep(0.0)  # other calls may run, or cancel this one, where a real client connects
        plan = self.simulator.receive(
            method=request.method,
            target=_target(request.url),
            headers=headers,
            body=request.body or b"",
            at=runtime.now(),
            wall=EPOCH + runtime.now(),
        )
        exchange = SimulatedExchange(self, runtime, plan, limits.max_bytes)
        await exchange.open(limits.due)
        self.opened += 1
        self._open.add(exchange)
        return exchange

    async def close(self) -> None:
        """Close what is open; may be called twice."""
        self.closed = True
        for exchange in self.open:
            await exchange.close()

    def forget(self, exchange: SimulatedExchange) -> None:
        """For exchanges: this one is closed."""
        self._open.discard(exchange)

    def __repr__(self) -> str:
        return f"<SimulatedTransport {len(self._open)} open of {self.opened}, {self.simulator!r}>"


class SimulatedExchange:
    """
    A `penstock.http.Exchange` that plays the rest of a plan; each read brings one piece of data.

    Attributes:
        reused: whether it was closed with the connection fit for the next request.
    """

    __slots__ = (
        "_failure",
        "_max_bytes",
        "_received",
        "_runtime",
        "_steps",
        "_transport",
        "_until_eof",
        "head",
        "reused",
    )

    def __init__(self, transport: SimulatedTransport, runtime: Runtime, plan: Plan, max_bytes: int) -> None:
        self._transport = transport
        self._runtime = runtime
        self._steps: Iterator[Simple] | None = steps(plan)
        self._max_bytes = max_bytes
        self._received = 0
        self._failure: ProviderError | None = None
        self._until_eof = False
        self.head: HttpHead
        self.reused = False

    async def open(self, due: float) -> None:
        """For the transport: play up to the head; raises as `Transport.send` says."""
        step = await self._next(due)
        if not isinstance(step, Head):
            raise self._fail(TransferError("the simulated server closed the connection without an answer"))
        headers = {name.lower(): value for name, value in step.headers.items()}
        self.head = HttpHead(step.status, headers, EPOCH + self._runtime.now())
        self._until_eof = step.framing == "eof"

    async def read(self, due: float) -> bytes:
        """The next piece of data; raises as `Exchange.read` says."""
        if self._failure is not None:
            raise self._failure
        step = await self._next(due)
        if not isinstance(step, Data):
            return b""
        self._received += len(step.data)
        if self._received > self._max_bytes:
            raise self._fail(ResponseTooLarge(f"the body is longer than {self._max_bytes} bytes"))
        return step.data

    async def read_all(self, due: float) -> bytes:
        """The rest of the body; raises as `Exchange.read_all` says."""
        pieces = []
        while piece := await self.read(due):
            pieces.append(piece)
        return b"".join(pieces)

    async def close(self, *, reuse: bool = False) -> None:
        """Give the exchange back; may be called twice."""
        if self._failure is None:
            self.reused = reuse
            self._fail(TransferError("the exchange is closed"))
        self._transport.forget(self)

    async def _next(self, due: float) -> Simple | None:
        """Let time pass until the plan brings a head or data; None at its end."""
        if self._steps is None:
            return None
        for step in self._steps:
            match step:
                case Data(data=b""):
                    continue
                case Head() | Data():
                    await self._runtime.sleep(0.0)
                    return step
                case Pause():
                    await self._wait(step.seconds, due)
                case Hang():
                    await self._wait(_NEVER, due)
                case Reset():
                    raise self._fail(TransferError("the simulated connection was reset"))
                case Refuse():
                    raise self._fail(ConnectError("the simulated server refused the connection"))
                case Close() if not self._until_eof:
                    raise self._fail(TransferError("the simulated connection ended before the answer did"))
                case Close() | End():
                    break
        self._steps = None
        return None

    async def _wait(self, seconds: float, due: float) -> None:
        runtime = self._runtime
        left = due - runtime.now()
        if seconds <= left and seconds != _NEVER:
            await runtime.sleep(seconds)
            return
        if left == _NEVER:
            if runtime.colour == "blocking":
                raise UsageError(
                    "the simulated server hangs and the request has no limit: it would never end"
                )
            await runtime.event().wait(_NEVER)
        await runtime.sleep(max(0.0, left))
        raise self._fail(AttemptTimeout("the simulated server sent nothing in time", phase="read"))

    def _fail(self, error: ProviderError) -> ProviderError:
        """Every later read raises the same."""
        self._failure = error
        self._steps = None
        return error


def _target(url: str) -> str:
    """Path and query of a URL; which host it names does not matter here."""
    _, scheme, rest = url.partition("://")
    if not scheme:
        raise InvalidRequestError("the URL of the request has no scheme")
    _, slash, path = rest.partition("/")
    return f"{slash}{path.partition('#')[0]}" or "/"


def _checked(headers: dict[str, str]) -> dict[str, str]:
    """Headers by lower-case name; raises InvalidRequestError for what no HTTP client would send."""
    checked = {}
    for name, value in headers.items():
        if not name or any(c in "\r\n\0: " for c in name) or any(c in "\r\n\0" for c in value):
            # The value could be a key, so only the name is shown.
            raise InvalidRequestError(f"the header {name!r} cannot be sent: it holds forbidden characters")
        checked[name.lower()] = value
    return checked
