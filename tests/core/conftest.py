"""A plugin made in code: stages, hooks and a provider of one test, and a client that has just these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock import Call, ChatResponse, Choice, Client, ProviderSpec, Reply, Slot, StageSpec, hookimpl
from penstock.config import Config, StageConfig
from penstock.exchange import replay

RESPONSE = ChatResponse(choices=(Choice(text="Hello!", finish_reason="stop"),))


class Prompt:
    """A provider that answers at once."""

    base_url = "http://prompt.invalid"

    async def send(self, call: Call) -> Reply:
        return replay(RESPONSE) if call.request.stream else Reply(RESPONSE)


def stage_spec(name: str, create: Callable[[Any, Any], Any], slot: str = "call", **more: Any) -> StageSpec:
    """A stage without keys of its own."""
    return StageSpec(name=name, config=StageConfig, create=create, slot=Slot(slot), **more)  # type: ignore[arg-type]


def plugin(
    stages: Iterable[StageSpec] = (), provider: Callable[[], Any] = Prompt, **hooks: Callable[..., Any]
) -> Any:
    """A plugin with these stages, these other hooks, and the provider `prompt`."""

    def penstock_register_providers() -> Any:
        return [ProviderSpec(name="prompt", config=Config, create=lambda config, services: provider())]

    def penstock_register_stages() -> Any:
        return [*stages]

    hooks |= {
        "penstock_register_providers": penstock_register_providers,
        "penstock_register_stages": penstock_register_stages,
    }
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


class Bench:
    """What a test of the core builds clients with."""

    response = RESPONSE
    Prompt = Prompt
    plugin = staticmethod(plugin)
    stage = staticmethod(stage_spec)

    def __init__(self) -> None:
        self._clients: list[Client] = []

    def options(
        self, *stages: StageSpec, provider: Callable[[], Any] = Prompt, **hooks: Any
    ) -> dict[str, Any]:
        """Arguments of a client in any colour, with the stages as its pipeline."""
        return {
            "config": False,
            "environ": {},
            "pipeline": [stage.name for stage in stages],
            "plugins": [("bench", plugin(stages, provider, **hooks))],
        }

    def client(self, *stages: StageSpec, provider: Callable[[], Any] = Prompt, **hooks: Any) -> Client:
        """A blocking client, closed after the test."""
        client = Client(transport=SimpleNamespace(), **self.options(*stages, provider=provider, **hooks))
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


class Exported(InMemorySpanExporter):
    """The spans of a test."""

    def by_name(self) -> tuple[Any, list[Any]]:
        """The call's span, and its attempts' in order."""
        spans = self.get_finished_spans()
        attempts = [span for span in spans if span.name == "penstock.attempt"]
        (call,) = (span for span in spans if span.name != "penstock.attempt")
        return call, attempts


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A tracer for the process, for this test only."""
    exporter = Exported()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter
