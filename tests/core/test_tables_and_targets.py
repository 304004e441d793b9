"""What the core offers to a stage that owns routes: tables, targets, and streams that begin again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import RootModel

from penstock import (
    Call,
    ChatResponse,
    Choice,
    Chunk,
    Client,
    ConfigError,
    Model,
    ProviderSpec,
    Reply,
    Slot,
    StageSpec,
    Target,
    Usage,
    hookimpl,
)
from penstock.config import Config, StageConfig
from penstock.responses import Assembly
from penstock.specs import Proceed, Services


class Lists(RootModel[dict[str, list[int]]]):
    """A table with free keys."""


class Keeper:
    """A stage that owns the table `lists` and keeps what it was given."""

    def __init__(self, config: StageConfig, services: Services) -> None:
        self.services = services
        self.lists = services.section("lists").root
        self.early = services.stage("keeper")

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        call.facts["target"] = Target("told", "model")
        return await proceed(call)


class Provider:
    base_url = "http://provider.invalid"

    def known_model(self, model: str) -> Model | None:
        if model == "small":
            return Model(model, context_length=100, capabilities=frozenset({"chat"}))
        return Model(model, context_length=200) if model == "silent" else None

    async def send(self, call: Call) -> Reply:
        return Reply(ChatResponse(choices=(Choice(text="ok", finish_reason="stop"),)))


class Plugin:
    @hookimpl
    def penstock_register_stages(self) -> list[StageSpec]:
        slot = Slot("call")
        return [
            StageSpec(name="keeper", config=StageConfig, create=Keeper, slot=slot, tables={"lists": Lists})
        ]

    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        able = frozenset({"chat", "stream", "schema", "vision"})
        create = lambda config, services: Provider()  # noqa: E731  (short)
        return [
            ProviderSpec(name="here", config=Config, create=create, capabilities=able),
            ProviderSpec(
                name="mute",
                config=Config,
                create=lambda config, services: SimpleNamespace(base_url="", send=Provider().send),
            ),
        ]


def client(**options: Any) -> Client:
    options = {"pipeline": ["keeper"], "lists": {"a": [1, 2]}, **options}
    return Client(False, environ={}, plugins=[("mine", Plugin())], **options)


def test_a_stage_reads_a_further_table() -> None:
    with client() as here:
        assert here.stage("keeper").lists == {"a": [1, 2]}


def test_a_further_table_is_checked_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"argument lists: \[lists\] a"):
        client(lists={"a": "x"})


def test_a_table_of_a_stage_that_is_not_there_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown key 'lists'"):
        Client(False, environ={}, pipeline=[], lists={"a": [1]})


def test_routes_name_the_plugin_they_belong_to() -> None:
    from penstock.config.section import unknown_key
    from penstock.config.tree import Node, Origin

    node = Node({}, Origin("file", "penstock.toml:3"), ("routes",))
    assert unknown_key(node, ()).endswith("pip install penstock-routing")


def test_a_stage_finds_the_others_once_all_are_there() -> None:
    with client() as here:
        keeper = here.stage("keeper")
        assert keeper.early is None
        assert keeper.services.stage("keeper") is keeper
        assert keeper.services.stage("nobody") is None


def test_a_name_is_resolved_and_its_target_described() -> None:
    with client() as here:
        services = here.stage("keeper").services
        assert services.resolve("here/small") == Target("here", "small")
        small = services.describe(Target("here", "small"))
        assert small.context_length == 100
        assert small.capabilities == {"chat", "stream", "schema"}, "vision is the model's own affair"
        silent = services.describe(Target("here", "silent"))
        assert silent.context_length == 200
        assert silent.capabilities == {"chat", "stream", "schema", "vision"}
        other = services.describe(Target("here", "other"))
        assert (other.context_length, other.capabilities) == (None, silent.capabilities)
        unknown = services.describe(Target("mute", "any"))
        assert (unknown.context_length, unknown.capabilities) == (None, None)


def test_a_stage_may_tell_who_answered() -> None:
    with client() as here:
        assert here.chat("here/small", "Hello").target == Target("told", "model")
        assert here.chat("here/small", "Hello", keeper=False).target == Target("here", "small")


def test_a_reset_makes_an_assembly_forget() -> None:
    assembly = Assembly()
    for chunk in (
        Chunk(text="Hel", usage=Usage(1, 1)),
        Chunk(reset=True),
        Chunk(text="Hi", finish_reason="stop"),
    ):
        assembly.add(chunk)
    response = assembly.response()
    assert (response.text, response.usage) == ("Hi", None)
    assert not Chunk(reset=True).has_content
