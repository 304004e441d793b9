"""
What a plugin registers: one frozen spec for each provider, stage, transport, store or listener.

A spec is data plus one factory. The core reads the data without calling the factory, checks `api`
before it does, and hands it the validated configuration and the `Services` of one client.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from penstock.frozen import Shared, dataclass
from penstock.messages import EMPTY

if TYPE_CHECKING:
    from pydantic import BaseModel

    from penstock.budget import RetryBudget
    from penstock.call import Call, Reply, Target
    from penstock.config import StageConfig
    from penstock.errors import CallError
    from penstock.events import Event, Listener
    from penstock.health import Finding
    from penstock.http import Transport
    from penstock.provider import Codec, Provider
    from penstock.redaction import Redactor
    from penstock.responses import Model
    from penstock.runtime import Runtime

API = (1, 0)
"""The contract this core implements; a spec with the same major and no newer minor fits."""

SlotName = Literal["call", "target", "attempt"]
Proceed: TypeAlias = "Callable[[Call], Coroutine[Any, Any, Reply]]"


@dataclass(frozen=True, slots=True)
class Slot:
    """
    Where a stage stands.

    Args:
        name: `call` sees a logical call once, `target` once for each target tried, `attempt` every
            attempt.
        position: the order inside the slot, outermost lowest.
    """

    name: SlotName
    position: int = 50


class Stage(Protocol):
    """
    A layer of the pipeline: one coroutine function that knows no colour.

    It may change the call, answer without proceeding, proceed more than once, or look at what comes
    back; it awaits only `proceed(call)`, the reply's stream and `call.runtime`. A streamed call may be
    answered with a finished response: it is played as a stream.
    Optional, found by name:

    - `bind(scope) -> Stage | None`, called once for each place of the pipeline; None: absent there.
    - `inner`, a second stage of the bound one that stands innermost, directly around the provider.
    - `peek(call) -> CallError | None` of the bound one: what a call to this target would be refused with
      right now, without side effects; lets a route skip a target without an attempt.
    - `claims(name) -> bool`: the name is a route of this stage, which will choose the target; then also
      `targets(name) -> Sequence[Target]`, those it may choose, in the order they are preferred.
    - `async start()`, before the first call, and again should a start have failed; `async close()`. A stage
      that starts needs `bind` if targets or routes may have values of their own.
    """

    async def __call__(self, call: Call, proceed: Proceed) -> Reply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """
    The place in the pipeline a stage is bound to.

    Args:
        config: the stage's effective configuration there, overrides applied.
        route: the name the caller used when it is a route, else None.
        target: provider and model; None in the `call` slot of a route.
        provider: who answers there (`base_url`, and for codecs `rate_limits(head)`); None with the target.
    """

    config: Any
    route: str | None
    target: Target | None
    provider: Provider | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """
    What the core offers to a factory.

    Args:
        name: the instance name, the key of the configuration table.
        runtime: clock, sleep, randomness and transport of this client.
        emit: hand an event to the listeners; free when there are none, never raises.
        redactor: knows every secret of the configuration; `redactor(text)` is safe to show.
        retry_budget: the budget of extra attempts for a provider instance, shared by all stages.
        peek: what a call to its target would be refused with right now by the stages there, or None.
        store: a configured store by name; raises ConfigError when there is none.
        section: one of the further tables the spec declares, as its model there; raises ConfigError.
        resolve: the target behind a model's name; raises UnknownModelError or ConfigError.
        describe: what is known of a target's model without asking anybody; None where nothing is.
        stage: another stage of this client by its name, None without it; not before all are created.
    """

    name: str
    runtime: Runtime
    emit: Callable[[Event], None]
    redactor: Redactor
    retry_budget: Callable[[str], RetryBudget]
    peek: Callable[[Call], CallError | None]
    store: Callable[[str], Any]
    section: Callable[[str], Any]
    resolve: Callable[[str], Target]
    describe: Callable[[Target], Model]
    stage: Callable[[str], Stage | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """
    A stage.

    Args:
        name: entry-point name and configuration table.
        config: a `StageConfig`, every field described.
        create: `(config, services) -> Stage`.
        slot: where it stands.
        tables: further top-level tables that belong to it, and their models.
        api: the contract it was written for.
    """

    name: str
    config: type[StageConfig]
    create: Callable[[Any, Services], Stage]
    slot: Slot
    tables: Mapping[str, type[BaseModel]] = field(default_factory=Shared(EMPTY))
    api: tuple[int, int] = API


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """
    A provider.

    Args:
        name: entry-point name; instances live in `[providers.<name>]`.
        config: as for a stage; `api_key` fields are `SecretStr`.
        create: `(config, services) -> Codec | Provider`.
        claims: whether a bare model name is this provider's, for provider detection.
        capabilities: what it can do: `chat`, `stream`, `embed`, `tools`, `vision`, `schema`, ...
        api: the contract it was written for.
    """

    name: str
    config: type[BaseModel]
    create: Callable[[Any, Services], Codec | Provider]
    claims: Callable[[str], bool] = lambda model: False
    capabilities: frozenset[str] = frozenset()
    api: tuple[int, int] = API


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSpec:
    """
    An HTTP transport; a factory is None when the colour is not offered.

    Args:
        name: entry-point name and configuration table, chosen by `transport = "<name>"`.
        config: as for a stage.
        blocking: factory for `Client`.
        asynchronous: factory for `AsyncClient`.
        api: the contract it was written for.
    """

    name: str
    config: type[BaseModel]
    blocking: Callable[[Any], Transport] | None
    asynchronous: Callable[[Any], Transport] | None
    api: tuple[int, int] = API


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """A store for stages that keep data (cache); `create(config, services)` returns it."""

    name: str
    config: type[BaseModel]
    create: Callable[[Any, Services], Any]
    api: tuple[int, int] = API


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSpec:
    """A listener to every event; `create(config, services)` returns a callable."""

    name: str
    config: type[BaseModel]
    create: Callable[[Any, Services], Listener]
    api: tuple[int, int] = API


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckSpec:
    """
    What a plugin knows of how a client is.

    Args:
        name: entry-point name.
        check: `check(client)` returns findings by `<who>:<what>`, such as `openai:availability`. It looks at
            what is known and waits for nothing. It may raise: what is not in this client (`client.stage`
            raises PluginNotFoundError) is left out, anything else is a finding by itself.
        api: the contract it was written for.
    """

    name: str
    check: Callable[[Any], Mapping[str, Sequence[Finding]]]
    api: tuple[int, int] = API


Spec: TypeAlias = StageSpec | ProviderSpec | TransportSpec | StoreSpec | ListenerSpec | HealthCheckSpec
