"""What `[routing]` and `[routes]` may say, and what is said when they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Client, ConfigError, MissingCredentialError, SimulatedClient
from penstock.config import Settings, undescribed
from penstock.plugins import Plugins
from penstock.simulated import SimulatedRuntime
from penstock_routing import HedgeConfig, RouteConfig, Routes, RoutingConfig, TargetConfig

World = Callable[..., Any]
KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}


def built(tmp_path: Path, text: str, *, environ: Any = KEY, **options: Any) -> Client:
    path = tmp_path / "penstock.toml"
    path.write_text(text, encoding="utf-8")
    return Client(path, environ=environ, **options)


def problem(tmp_path: Path, text: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        built(tmp_path, text, **options)
    return str(caught.value)


def test_every_key_is_described() -> None:
    assert [undescribed(each) for each in (RoutingConfig, HedgeConfig, RouteConfig, TargetConfig)] == [[]] * 4


def test_targets_are_names_tables_and_groups() -> None:
    route = RouteConfig.model_validate(
        {"targets": ["openai/a", {"target": "openai/b"}, ["openai/c", {"target": "openai/d", "weight": 3}]]}
    )
    assert [[each.target for each in group] for group in route.targets] == [
        ["openai/a"],
        ["openai/b"],
        ["openai/c", "openai/d"],
    ]
    assert [each.weight for each in route.targets[2]] == [1, 3]


def test_routes_need_no_table_of_their_stage(tmp_path: Path) -> None:
    text = 'pipeline = ["routing"]\n[providers.openai]\n[routes.fast]\ntargets = ["openai/gpt-4o"]\n'
    with built(tmp_path, text) as client:
        assert [str(target) for target in client.stage("routing").targets("fast")] == ["openai/gpt-4o"]


def test_explaining_a_route_names_its_targets(tmp_path: Path) -> None:
    from penstock_cli.explain import explained

    with built(tmp_path, '[routes.fast]\ntargets = ["openai/b", ["openai/c", "openai/a"]]\n') as client:
        assert [str(target) for target in client.explain("fast").targets] == [
            "openai/b",
            "openai/c",
            "openai/a",
        ]
        assert [str(target) for target in client.explain("openai/a").targets] == ["openai/a"]
        assert "targets: openai/b, openai/c, openai/a" in explained(client, "fast")


def test_a_bare_name_goes_to_the_provider_that_claims_it(tmp_path: Path) -> None:
    with built(tmp_path, '[routes.fast]\ntargets = ["gpt-4o"]\n') as client:
        assert [str(target) for target in client.stage("routing").targets("fast")] == ["openai/gpt-4o"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("targets = []", "penstock.toml:2: [routes.fast] targets:"),
        ("targets = [[]]", "penstock.toml:2: [routes.fast] targets[0]:"),
        ("hedge = true", "penstock.toml:1: [routes.fast] targets: is required"),
        ('target = "openai/a"', "did you mean 'targets'?"),
        ('targets = [{target = "openai/a", wieght = 2}]', "unknown key 'wieght'"),
        ("targets = [7]", "penstock.toml:2: [routes.fast] targets[0]"),
        ('targets = ["openai/a", ["openai/a"]]', "names the target 'openai/a' twice"),
        ('targets = ["gpt-4o", "openai/gpt-4o"]', "is the target openai/gpt-4o a second time"),
        ('targets = [{target = "openai/a", weight = 2}]', "the weight of 'openai/a' has no effect"),
        ('targets = [{target = "openai/a", capabilities = ["visoin"]}]', "capabilities[0]"),
        ('targets = ["openai/a"]\non_interrupt = "explode"', "on_interrupt"),
        ('targets = ["nobody"]', "routes.fast: the target 'nobody' cannot be used: no provider claims"),
    ],
)
def test_a_wrong_route_says_where_and_what(tmp_path: Path, table: str, said: str) -> None:
    assert said in problem(tmp_path, f"[routes.fast]\n{table}\n")


def test_the_key_of_every_target_is_needed_when_the_client_is_built(tmp_path: Path) -> None:
    text = '[providers.openai]\n[routes.fast]\ntargets = ["openai/gpt-4o"]\n'
    with pytest.raises(MissingCredentialError, match="OPENAI_API_KEY"):
        built(tmp_path, text, environ={})


def test_without_the_plugin_a_route_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock import plugins

    found = {name: claims for name, claims in plugins.installed().items() if name != "routing"}
    monkeypatch.setattr(plugins, "installed", lambda: found)
    text = '[routes.fast]\ntargets = ["openai/gpt-4o"]\n'
    assert problem(tmp_path, text) == (
        f"{tmp_path}/penstock.toml:1: unknown key 'routes'; "
        "if it belongs to a plugin that is not installed: pip install penstock-routing"
    )


@pytest.mark.parametrize(
    "text",
    [
        '[routing.hedge]\nenabled = true\n[routes.fast]\ntargets = ["openai/a", "openai/b"]\n',
        '[routes.fast]\ntargets = ["openai/a", "openai/b"]\nhedge = true\n',
    ],
)
def test_the_blocking_client_refuses_to_hedge(tmp_path: Path, text: str) -> None:
    assert "routes.fast: hedging is switched on, and the blocking client cannot" in problem(tmp_path, text)
    path = tmp_path / "penstock.toml"
    AsyncClient(path, environ=KEY)._closed = True
    SimulatedClient(SimulatedRuntime(object()), path, environ=KEY)._closed = True  # type: ignore[arg-type]


def test_the_blocking_client_hedges_no_more_once_it_is_switched_off(tmp_path: Path) -> None:
    text = '[routing.hedge]\nenabled = true\n[routes.fast]\ntargets = ["openai/a", "openai/b"]\n'
    built(tmp_path, text, routing={"hedge": {"enabled": False}}).close()
    built(tmp_path, text, environ={**KEY, "PENSTOCK__ROUTING__HEDGE__ENABLED": "false"}).close()


def test_a_route_that_is_switched_off_is_no_route(tmp_path: Path) -> None:
    text = '[routing]\nenabled = false\n[routes.fast]\ntargets = ["openai/a"]\n'
    with built(tmp_path, text) as client:
        assert not client.stage("routing").claims("fast")


def test_the_schema_of_the_file_knows_routes() -> None:
    plugins = Plugins()
    assert plugins.load("routing")
    schema = Settings.schema({"routing": RoutingConfig, "routes": Routes})
    route = schema["properties"]["routes"]["additionalProperties"]
    assert route["$ref"].endswith("RouteConfig")
    member = schema["$defs"]["RouteConfig"]["properties"]["targets"]["items"]
    assert {"type": "string"} in member["anyOf"]


def test_overrides_for_a_route_live_with_the_stage(make_world: World) -> None:
    here = make_world(
        "blocking",
        pipeline=["routing"],
        routes={"fast": {"targets": ["openai/a"]}, "slow": {"targets": ["openai/b"]}},
        routing={"on_interrupt": "restart", "routes": {"fast": {"on_interrupt": "continue"}}},
    )
    ring = here.client._engine.parts.rings[0]
    assert ring.bind("fast", None, None).policy.on_interrupt == "continue"
    assert ring.bind("slow", None, None).policy.on_interrupt == "restart"
