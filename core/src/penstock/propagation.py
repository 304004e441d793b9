"""
The trace goes on at the provider: W3C `traceparent` and `tracestate` of the attempt's span, sent when asked.

Rules
1. Off unless `[tracing] propagate` says otherwise, and then absent: the transport is wrapped when the client
   starts, so that a client without it has nothing more to do for a call.
2. Only a request of an attempt carries it. Whatever else is sent meanwhile (an image from outside, a count of
   tokens) does not, and neither does a request to a provider that is not listed.
3. Never baggage: it holds what the application wrote, and that is nobody's business outside of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.call import current
from penstock.spans import attempt_span

if TYPE_CHECKING:
    from penstock.http import Exchange, HttpRequest, Limits, Transport
    from penstock.runtime import Runtime

HEADERS = frozenset({"traceparent", "tracestate"})


def propagate(runtime: Runtime, to: tuple[str, ...] | None) -> None:
    """
    Let the runtime's transport send the trace's context from now on; a second time changes nothing.

    Args:
        to: names of provider instances, None for all of them.
    """
    if not isinstance(runtime.transport, TracingTransport):
        runtime.transport = TracingTransport(runtime.transport, to)


class TracingTransport:
    """
    A transport that adds the context of the attempt's span to each of its requests.

    Args:
        transport: does the work, and everything else that it can do.
        to: names of provider instances, None for all of them.
    """

    def __init__(self, transport: Transport, to: tuple[str, ...] | None) -> None:
        self._transport = transport
        self._to = to

    def __getattr__(self, name: str) -> Any:
        if name == "_transport":  # a copy that is being made asks before there is one
            raise AttributeError(name)
        return getattr(self._transport, name)

    async def send(self, request: HttpRequest, limits: Limits) -> Exchange:
        """As the transport's own."""
        context = self._context()
        if context:
            # A codec may give the same headers to every request: what is added goes to a copy.
            kept = {name: value for name, value in request.headers.items() if name.lower() not in HEADERS}
            request = replace(request, headers=kept | context)
        return await self._transport.send(request, limits)

    async def close(self) -> None:
        """As the transport's own."""
        await self._transport.close()

    def _context(self) -> dict[str, str]:
        """The headers of the attempt that this thread or task is making; none without a span."""
        call = current.get()
        if call is None or call.target is None or call.attempt is None:
            return {}
        if self._to is not None and call.target.provider not in self._to:
            return {}
        span = attempt_span(call, call.attempt)
        if span is None:
            return {}
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
        return headers
