"""
What every client has inside, whatever its colour: it runs calls.

For each call: find the compiled chain for the model's name, and wrap it in hooks and events. What the chains
are made of is put together once, in `parts`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from penstock import spans
from penstock.call import NEVER, Call, Outcome, Reply, Target, Timeouts, current, leave
from penstock.errors import CallError, ConfigError, InvalidRequestError, UsageError
from penstock.events import CallFinished, CallStarted
from penstock.exchange import replay
from penstock.frozen import dataclass
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest
from penstock.parts import NOTHING, Parts
from penstock.responses import ChatResponse, EmbedResponse, ModelsResponse
from penstock.specs import Proceed

if TYPE_CHECKING:
    from penstock.config import Settings
    from penstock.events import Listener
    from penstock.messages import Request
    from penstock.plugins import Plugins
    from penstock.responses import Model, Response
    from penstock.runtime import Runtime

logger = logging.getLogger("penstock")
LOOK_UP_SECONDS = 30.0
"""How long a server may take to describe a model."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


_ANSWERS: dict[type, type] = {
    ChatRequest: ChatResponse,
    EmbedRequest: EmbedResponse,
    ModelsRequest: ModelsResponse,
}
"""What each kind of request is answered with, unless it is streamed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where calls by one name go: the compiled chain, and the target or route behind the name."""

    proceed: Proceed
    target: Target | None
    route: str | None


class Engine:
    """
    Runs the calls of one client.

    Args:
        settings: the merged configuration.
        plugins: what may be loaded.
        runtime: the colour.
        listeners: callables handed over in code, told before those of plugins.

    Raises:
        ConfigError: names the culprit and the fix; nothing was sent.
    """

    MAX_NAMES = 4096
    """Names remembered; they come from outside, so their number has no other bound."""

    def __init__(
        self, settings: Settings, plugins: Plugins, runtime: Runtime, listeners: Sequence[Listener] = ()
    ) -> None:
        self.runtime = runtime
        self.parts = Parts(settings, plugins, runtime, listeners)
        self.resolver = self.parts.resolver
        self._timeouts: Timeouts = settings.core.timeouts.limits()
        self._listeners = self.parts.listeners
        self._redactor = settings.redactor
        tracing = settings.core.tracing
        self._propagate = tracing.propagate
        self._spans = spans.SpanListener(settings.redactor, self.parts.base_url, content=tracing.content)
        self._entries: dict[tuple[str, frozenset[str]], Entry] = {}
        order = settings.core.pipeline or ()
        self._pre = plugins.hooks("penstock_pre_request", order)
        self._post = plugins.hooks("penstock_post_response", order)
        self._closed = False

    def new_call(
        self,
        request: Request,
        *,
        options: Mapping[str, Any] | None = None,
        timeout: float | Timeouts | None = None,
        request_id: str | None = None,
    ) -> tuple[Call, Proceed]:
        """
        A call and the chain it goes through.

        Args:
            request: a checked request.
            options: what the caller says to single stages; False leaves a stage out.
            timeout: total seconds, or all limits.
            request_id: the caller's id of the call: 1 to 128 letters, digits, `.`, `_` or `-`.

        Raises:
            InvalidRequestError: the model is nobody's, or a value is wrong; nothing was sent.
            ConfigError: the provider behind the model cannot be used.
        """
        runtime, timeouts, stream_deadline = self.runtime, self._timeouts, NEVER
        if request_id is not None and not _is_request_id(request_id):
            raise InvalidRequestError(
                "request_id must be 1 to 128 letters, digits, '.', '_' or '-'", param="request_id"
            )
        without = NOTHING
        if options:
            without = frozenset(name for name, value in options.items() if value is False)
        entry = self._entries.get((request.model, without)) or self._enter(request.model, without)
        now = runtime.now()
        if timeout is not None:
            timeouts = (
                timeout if isinstance(timeout, Timeouts) else replace(timeouts, total=_seconds(timeout))
            )
            stream_deadline = now + timeouts.total
        call = Call(
            id=request_id or f"{int(runtime.random() * 2**64):016x}",
            request=request,
            target=entry.target,
            route=entry.route,
            runtime=runtime,
            timeouts=timeouts,
            started=now,
            deadline=now + timeouts.total,
            stream_deadline=stream_deadline,
            options=options,
            without=without,
            listeners=(self._spans, *self._listeners) if spans.active() else self._listeners,
        )
        return call, entry.proceed

    def batches(self, request: EmbedRequest) -> Iterator[EmbedRequest]:
        """The request in pieces that its provider takes at once; just itself in the usual case."""
        entry = self._entries.get((request.model, NOTHING)) or self._enter(request.model, NOTHING)
        targets = [entry.target] if entry.target is not None else self.parts.targets(request.model)
        sizes = (getattr(self.parts.provider(target.provider), "max_inputs", None) for target in targets)
        size = min((size for size in sizes if size is not None), default=None)
        if size is None or len(request.inputs) <= size:
            yield request
            return
        for first in range(0, len(request.inputs), size):
            yield replace(request, inputs=request.inputs[first : first + size])

    def _enter(self, name: str, without: frozenset[str]) -> Entry:
        with self.parts.lock:
            entry = self._entries.get((name, without))
            if entry is not None:  # another thread was first
                return entry
            pipeline = self.parts.pipeline(without)
            routed = any(ring.stage.claims(name) for ring in pipeline.rings if hasattr(ring.stage, "claims"))
            target = None if routed else self.resolver.resolve(name)
            route = name if routed else None
            if len(self._entries) >= self.MAX_NAMES:
                self._entries.clear()
            entry = Entry(pipeline.entry(route, target), target, route)
            self._entries[name, without] = entry
            return entry

    async def run(self, call: Call, proceed: Proceed) -> Reply:
        """Run a call through hooks and pipeline; its errors leave with every attempt attached."""
        outer = current.get()
        current.set(call)
        try:
            if call.listeners:
                call.emit(CallStarted(call.started, call))
            try:
                if self._pre:
                    proceed = self._before(call, proceed)
                reply = await proceed(call)
                request = call.request
                if type(reply) is not Reply or (
                    reply.chunks is None
                    if request.stream
                    else type(reply.response) is not _ANSWERS.get(type(request))
                ):
                    reply = await _fitting(reply, call)
            except BaseException as error:
                self._failed(call, error)
                raise
            if self._post and reply.outcome is not None and reply.response is not None:
                reply.response = self._after(call, reply.response)
            if call.listeners or reply.outcome is None:
                reply.on_finish(lambda outcome: self._finished(call, outcome))
            return reply
        finally:
            leave(call, outer)

    async def models(self, provider: str | None) -> tuple[Model, ...]:
        """
        The models a provider offers; without a name, those of every provider that can be used.

        Raises:
            CallError: the provider did not answer; without a name, such a provider is left out and the reason
                is logged.
            ConfigError: there is no such provider, or it cannot be used.
        """
        if provider is not None:
            return await self._models_of(provider)
        found: list[Model] = []
        for name in self.resolver.instances():
            try:
                found += await self._models_of(name)
            except (ConfigError, CallError) as error:
                wanted = name in self.parts.settings.providers or isinstance(error, CallError)
                # A provider that nobody configured and that has no key is no news.
                level = logging.WARNING if wanted else logging.INFO
                logger.log(level, "models of %s left out: %s", name, self._redactor(str(error)))
        return tuple(found)

    async def _models_of(self, provider: str) -> tuple[Model, ...]:
        self.parts.provider(provider)  # or the name would be taken for an organisation's
        call, proceed = self.new_call(ModelsRequest(model=f"{provider}/*"))
        response = cast("ModelsResponse", (await self.run(call, proceed)).response)
        return tuple(replace(model, provider=provider) for model in response.models)

    async def capabilities(self, model: str) -> frozenset[str]:
        """
        What a model can do: by its server's word where the provider can ask, else by the provider's own.

        Raises:
            UnknownModelError, ConfigError: as a call would.
            CallError: the server was asked and did not know the model.
        """
        target = self.resolver.resolve(model)
        look_up = getattr(self.parts.provider(target.provider), "look_up", None)
        if look_up is not None:
            await look_up(target.model, self.runtime.now() + LOOK_UP_SECONDS)
        return self.parts.describe(target).capabilities or frozenset()

    def _before(self, call: Call, proceed: Proceed) -> Proceed:
        for hook in self._pre:
            try:
                request = cast("Request | None", hook.function(*(call for _ in hook.argnames)))
            except CallError:
                raise
            except Exception as error:
                _skipped(hook, error)
                continue
            if request is None:
                continue
            if type(request) is type(call.request) and request.stream == call.request.stream:
                call.request = request
            else:
                # The caller waits for an answer of the kind that was asked for.
                _skipped(hook, TypeError("a request of another kind"))
        if call.request.model != (call.route or str(call.target)):
            entry = self._entries.get((call.request.model, call.without))
            entry = entry or self._enter(call.request.model, call.without)
            call.target, call.route, proceed = entry.target, entry.route, entry.proceed
        return proceed

    def _after(self, call: Call, response: Response) -> Response:
        for hook in self._post:
            given = {"call": call, "response": response}
            try:
                changed = cast("Response | None", hook.function(*(given[name] for name in hook.argnames)))
            except Exception as error:
                _skipped(hook, error)
                continue
            if changed is None:
                continue
            if type(changed) is type(response):
                response = changed
            else:
                _skipped(hook, TypeError("a response of another kind"))
        return response

    def _finished(self, call: Call, outcome: Outcome) -> None:
        if isinstance(outcome.error, CallError):
            outcome.error.attempts = tuple(call.attempts)
        if call.request.stream and self._post and outcome.kind == "ok" and outcome.response is not None:
            self._after(call, outcome.response)
        if call.listeners:
            call.emit(CallFinished(self.runtime.now(), call, outcome))

    def _failed(self, call: Call, error: BaseException) -> None:
        if isinstance(error, CallError):
            error.attempts = tuple(call.attempts)
        if call.listeners:
            call.emit(CallFinished(self.runtime.now(), call, Outcome("failed", error=error)))

    # Life

    async def start(self) -> None:
        """Start stages, the innermost first; called once before the first call."""
        if self._propagate:
            from penstock.propagation import propagate

            propagate(self.runtime, self._propagate if isinstance(self._propagate, tuple) else None)
        for ring in reversed(self.parts.rings):
            for stage in ring.instances():
                start = getattr(stage, "start", None)
                if start is not None:
                    await start()

    async def close(self) -> None:
        """
        Close everything in reverse order; a second call does nothing.

        What a part raises is logged. A cancellation ends the part it meets, and is passed on at the end.
        """
        if self._closed:
            return
        self._closed = True
        interrupt: BaseException | None = None
        for part in [*self.parts.closable(), self.runtime.transport]:
            close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(part, "close", None)
            if close is None:
                continue
            try:
                closing = close()
                if closing is not None:
                    await closing
            except Exception as error:
                logger.error("closing %r raised %s; skipped", part, type(error).__name__)
            except GeneratorExit:
                raise
            except BaseException as error:  # cancelled, or Ctrl-C: nobody will come back for the rest
                interrupt = error
        if interrupt is not None:
            raise interrupt


def _is_request_id(given: Any) -> bool:
    return isinstance(given, str) and _REQUEST_ID.fullmatch(given) is not None


def _seconds(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        number = isinstance(timeout, (int, float))  # of what is none, nobody knows what it may be
        given = repr(timeout) if number else f"a {type(timeout).__name__}"
        raise InvalidRequestError(f"timeout must be seconds above zero, not {given}", param="timeout")
    return float(timeout)


async def _fitting(reply: Any, call: Call) -> Reply:
    """What came back up, as the kind of reply that the caller waits for; raises UsageError."""
    if not isinstance(reply, Reply):
        raise UsageError(
            f"a stage returned {type(reply).__name__} instead of a Reply; did it forget `return`?"
        )
    streamed, wanted = call.request.stream, _ANSWERS.get(type(call.request), object)
    if streamed and reply.chunks is not None:
        return reply
    if reply.chunks is None and isinstance(reply.response, wanted):
        if not streamed:
            return reply
        if isinstance(reply.response, ChatResponse):
            return replay(reply.response)  # a stage answered by itself; the caller still gets a stream
    await reply.close()
    kind = "a live stream" if reply.response is None else type(reply.response).__name__
    asked = type(call.request).__name__
    raise UsageError(f"a stage answered a {asked} that is {'' if streamed else 'not '}streamed with {kind}")


def _skipped(hook: Any, error: Exception) -> None:
    logger.error(
        "hook %s of plugin %r raised %s; skipped",
        hook.function.__name__,
        hook.plugin_name,
        type(error).__name__,
    )
