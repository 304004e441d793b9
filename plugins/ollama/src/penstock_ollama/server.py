"""
The rest of an Ollama server's API, as coroutines that know no colour.

Every request goes through the runtime's transport, is bounded by the clock, and is closed on every path.
None of them is an attempt of a call: nothing here retries, counts or tells a listener.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import CallError, StreamInterrupted
from penstock.frozen import dataclass
from penstock.http import HttpResponse, Limits
from penstock_ollama.details import LoadedModel, ModelDetails, loaded_models, model_details
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import loads
from penstock_wire.ndjson import NDJSONDecoder

if TYPE_CHECKING:
    from penstock.http import Exchange, HttpRequest
    from penstock.runtime import Runtime
    from penstock_ollama.codec import OllamaCodec

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """
    One line of a download's progress.

    Args:
        status: what is being done, in the server's words; the last one is `success`.
        digest: the layer that is being loaded, or "".
        total: bytes of that layer, or None.
        completed: bytes of it that are there, or None.
    """

    status: str
    digest: str = ""
    total: int | None = None
    completed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    How a server is.

    Args:
        status: `pass`, or `fail` when it cannot be reached.
        reachable: whether it answered.
        version: of the server, "" when unknown.
        loaded: models in memory.
        error: what went wrong, or None.
    """

    status: Literal["pass", "fail"]
    reachable: bool
    version: str = ""
    loaded: tuple[LoadedModel, ...] = ()
    error: str | None = None


class OllamaServer:
    """
    One server.

    Args:
        codec: builds the requests and reads the refusals.
        max_bytes: decompressed bytes one answer may have.
    """

    def __init__(self, codec: OllamaCodec, *, max_bytes: int) -> None:
        self._codec = codec
        self._max_bytes = max_bytes

    async def show(self, runtime: Runtime, model: str, due: float) -> ModelDetails:
        """The details of a model; raises CallError."""
        request = self._codec.post("show", {"model": model})
        return model_details(model, await self._ask(runtime, request, due))

    async def ps(self, runtime: Runtime, due: float) -> tuple[LoadedModel, ...]:
        """The models in memory; raises CallError."""
        return loaded_models(await self._ask(runtime, self._codec.get("ps"), due))

    async def version(self, runtime: Runtime, due: float) -> str:
        """The server's version, such as `0.9.3`; raises CallError."""
        version = (await self._ask(runtime, self._codec.get("version"), due)).get("version")
        return version if isinstance(version, str) else ""

    async def health(self, runtime: Runtime, due: float) -> Health:
        """How the server is; a server that is down is an answer, not an error."""
        version = ""
        try:
            version = await self.version(runtime, due)
            loaded = await self.ps(runtime, due)
        except CallError as error:
            reachable = bool(version) or getattr(error, "status", None) is not None
            return Health(status="fail", reachable=reachable, version=version, error=str(error))
        return Health(status="pass", reachable=True, version=version, loaded=loaded)

    async def pull(self, runtime: Runtime, model: str, idle: float) -> AsyncGenerator[PullProgress]:
        """
        Download a model; one event for each line of progress.

        Args:
            runtime: clock and transport.
            model: its name in the library.
            idle: seconds without a line after which the download counts as stuck.

        Raises:
            CallError: the server refused, said that something went wrong, or stopped before `success`.
        """
        codec = self._codec
        request = codec.post("pull", {"model": model, "stream": True}, stream=True)
        exchange = await runtime.transport.send(request, self._limits(runtime.now() + idle))
        reuse = False
        try:
            if not 200 <= exchange.head.status < 300:
                raise codec.error(await self._whole(exchange, runtime.now() + idle))
            lines, status = NDJSONDecoder(), ""
            while not reuse:
                data = await exchange.read(runtime.now() + idle)
                for line in lines.feed(data) if data else lines.close():
                    payload = _line(line)
                    if carries_error(payload):
                        raise codec.embedded(payload, exchange.head)
                    status = _text(payload, "status")
                    yield PullProgress(
                        status=status,
                        digest=_text(payload, "digest"),
                        total=_count(payload, "total"),
                        completed=_count(payload, "completed"),
                    )
                reuse = status == "success"
                if not data and not reuse:
                    raise StreamInterrupted(f"{codec.name}: the download of {model!r} stopped at {status!r}")
        finally:
            await exchange.close(reuse=reuse)

    async def _ask(self, runtime: Runtime, request: HttpRequest, due: float) -> Mapping[str, Any]:
        codec = self._codec
        exchange = await runtime.transport.send(request, self._limits(due))
        reuse = False
        try:
            response = await self._whole(exchange, due)
            reuse = True
        finally:
            await exchange.close(reuse=reuse)
        if not 200 <= response.status < 300:
            raise codec.error(response)
        try:
            return codec.document(response)
        except ValueError:
            raise codec.malformed(response) from None

    @staticmethod
    async def _whole(exchange: Exchange, due: float) -> HttpResponse:
        head = exchange.head
        return HttpResponse(head.status, head.headers, head.received, await exchange.read_all(due))

    def _limits(self, due: float) -> Limits:
        return Limits(connect=CONNECT_SECONDS, pool=CONNECT_SECONDS, due=due, max_bytes=self._max_bytes)


def _line(line: str) -> dict[str, Any]:
    try:
        payload = loads(line)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _count(payload: Mapping[str, Any], name: str) -> int | None:
    value = payload.get(name)
    return value if type(value) is int and value >= 0 else None
