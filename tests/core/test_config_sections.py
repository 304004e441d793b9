from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, RootModel, SecretStr, model_validator

from penstock.call import Target, Timeouts
from penstock.config import Config, CoreConfig, Rate, Seconds, Settings, StageConfig
from penstock.errors import ConfigError, MissingCredentialError


class Store(Config):
    url: str = Field(default="", description="Where.")
    shards: list[int] = Field(default=[], description="Which.")


class LimiterConfig(StageConfig):
    rate: Rate | None = Field(default=None, description="Rate.")
    burst: int = Field(default=1, ge=1, description="Burst.")
    wait: Seconds | Literal["never"] = Field(default=1.0, description="Wait.")
    store: Store = Field(default=Store(), description="Store.")
    headers: dict[str, str] = Field(default={}, description="Headers.")

    @model_validator(mode="after")
    def _fits(self) -> LimiterConfig:
        if self.burst > 1000:
            raise ValueError("'burst' cannot hold")
        return self


class ServerConfig(Config):
    url: str = Field(description="Where it is.")
    api_key: SecretStr | None = Field(default=None, description="Key.")


def load(source: object = False, **more: Any) -> Settings:
    more.setdefault("environ", {})
    return Settings.load(source, **more)


def file(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "penstock.toml").write_text(text)
    return load(None, start=tmp_path)


def problems(settings: Settings, name: str = "limiter", model: Any = LimiterConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings.section(name, model)
    assert caught.value.__context__ is None
    return str(caught.value).split("\n")


# Problems


def test_an_unknown_key_says_file_and_line_and_the_nearest_one(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter]\n\nburts = 2\n")
    assert problems(settings) == ["penstock.toml:3: unknown key 'burts' in [limiter]; did you mean 'burst'?"]


def test_an_unknown_key_that_resembles_nothing_gets_no_hint(tmp_path: Path) -> None:
    assert problems(file(tmp_path, "limiter.xyz = 2")) == ["penstock.toml:1: unknown key 'xyz' in [limiter]"]


def test_an_unknown_key_is_found_at_any_depth(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter]\nstore = { ulr = 'x' }\n")
    assert problems(settings) == [
        "penstock.toml:2: unknown key 'ulr' in [limiter.store]; did you mean 'url'?"
    ]


def test_a_wrong_value_says_file_and_line_and_key(tmp_path: Path) -> None:
    assert problems(file(tmp_path, "[limiter]\nrate = 1\nburst = 0\n")) == [
        "penstock.toml:3: [limiter] burst: Input should be greater than or equal to 1"
    ]


def test_a_wrong_element_is_named_by_its_index_and_line(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter.store]\nshards = [\n  1,\n  'x',\n]\n")
    (problem,) = problems(settings)
    assert problem.startswith("penstock.toml:4: [limiter.store] shards[1]: Input should be a valid integer")


def test_all_problems_of_a_section_come_at_once(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter]\nbursd = 1\nbrust = 2\nrate = 'x'\nstore = 5\n")
    lines = problems(settings)
    assert len(lines) == 4
    assert [line.split(":")[1] for line in sorted(lines)] == ["2", "3", "4", "5"]
    assert "penstock.toml:5: [limiter] store: must be a table" in lines


def test_the_alternatives_of_a_union_make_one_problem(tmp_path: Path) -> None:
    (problem,) = problems(file(tmp_path, "[limiter]\nwait = 'always'\n"))
    assert problem.startswith("penstock.toml:2: [limiter] wait: expected a duration")
    assert problem.endswith(", or: Input should be 'never'")


def test_a_rule_over_several_keys_is_a_problem_of_the_table(tmp_path: Path) -> None:
    assert problems(file(tmp_path, "\n[limiter]\nburst = 2000\n")) == [
        "penstock.toml:2: [limiter]: 'burst' cannot hold"
    ]


def test_a_section_that_is_no_table_is_an_error(tmp_path: Path) -> None:
    assert problems(file(tmp_path, "limiter = 3")) == ["penstock.toml:1: limiter: must be a table"]


def test_a_problem_names_the_variable_or_the_argument() -> None:
    assert problems(load(environ={"PENSTOCK__LIMITER__BURST": "0"})) == [
        (
            "environment variable PENSTOCK__LIMITER__BURST: [limiter] burst: "
            "Input should be greater than or equal to 1"
        )
    ]
    assert problems(load(environ={"PENSTOCK__LIMITER__BRUST": "1"})) == [
        (
            "environment variable PENSTOCK__LIMITER__BRUST: unknown key 'brust' in [limiter]; "
            "did you mean 'burst'?"
        )
    ]
    assert problems(load(arguments={"limiter": {"brust": 1}})) == [
        "argument limiter: unknown key 'brust' in [limiter]; did you mean 'burst'?"
    ]
    assert problems(load({"limiter": {"brust": 1}})) == [
        "argument config: unknown key 'brust' in [limiter]; did you mean 'burst'?"
    ]


def test_a_problem_of_a_profile_is_shown_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("[limiter]\nburst = 1\n[profiles.live.limiter]\nbrust = 2\n")
    settings = load(None, start=tmp_path, profile="live")
    assert problems(settings) == [
        "penstock.toml:4: unknown key 'brust' in [profiles.live.limiter]; did you mean 'burst'?"
    ]


def test_a_missing_key_is_named_with_its_table(tmp_path: Path) -> None:
    settings = file(tmp_path, "\n[providers.server]\n")
    assert problems(settings, "providers.server", ServerConfig) == [
        "penstock.toml:2: [providers.server] url: is required"
    ]
    assert problems(load(), "providers.server", ServerConfig) == ["[providers.server] url: is required"]


def test_a_key_with_strange_characters_is_quoted(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter.headers]\n'X Y.\"z' = 1\n")
    (problem,) = problems(settings)
    assert problem.startswith('penstock.toml:2: [limiter.headers] "X Y.\\"z": Input should be a valid string')


# Top level


def test_an_unknown_table_says_file_and_line_and_the_nearest_one(tmp_path: Path) -> None:
    settings = file(tmp_path, "version = 1\npipelin = []\n[limitre]\n[cost]\n[limiter]\n")
    with pytest.raises(ConfigError) as caught:
        settings.check_unknown(["limiter", "cache"])
    assert str(caught.value).split("\n") == [
        "penstock.toml:2: unknown key 'pipelin'; did you mean 'pipeline'?",
        "penstock.toml:3: unknown key 'limitre'; did you mean 'limiter'?",
        (
            "penstock.toml:4: unknown key 'cost'; "
            "if it belongs to a plugin that is not installed: pip install penstock-cost"
        ),
    ]


def test_known_tables_pass(tmp_path: Path) -> None:
    settings = file(
        tmp_path, "version = 1\n[limiter]\n[providers.x]\n[timeouts]\n[profiles.y.cache]\n[cache]\n"
    )
    settings.check_unknown(["limiter", "cache"])
    assert settings.tables() == ("limiter", "cache")


def test_keys_are_listed_in_the_order_of_the_sources(tmp_path: Path) -> None:
    settings = file(tmp_path, "[routes.smart]\n[routes.fast]\n")
    assert settings.keys("routes") == ("smart", "fast")
    assert settings.keys("absent", "deeper") == ()


# Providers


def test_an_instance_is_called_like_its_plugin_unless_it_says_otherwise() -> None:
    settings = load({"providers": {"openai": {"url": "a"}, "local": {"plugin": "openai", "url": "b"}}})
    assert settings.providers == {"openai": "openai", "local": "openai"}
    assert settings.provider("local", ServerConfig).url == "b"


@pytest.mark.parametrize(
    ("providers", "problem"),
    [
        (3, "providers: must be a table"),
        ({"a": 3}, "providers.a: must be a table"),
        ({"a": {"plugin": 3}}, "providers.a.plugin: must be a plugin's name"),
    ],
)
def test_a_malformed_providers_table_is_an_error(providers: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"argument config: {problem}"):
        _ = load({"providers": providers}).providers


# Overrides

OVERRIDES = """
[limiter]
burst = 1
headers = { a = "base", b = "base" }
[limiter.targets."openai/gpt-4*"]
burst = 4
[limiter.targets."*"]
burst = 2
headers = { b = "any" }
[limiter.targets."openai/*"]
burst = 3
[limiter.targets."openai/gpt-[45]*"]
burst = 5
[limiter.routes.fast]
burst = 10
wait = "never"
"""


@pytest.mark.parametrize(
    ("route", "target", "burst"),
    [
        (None, None, 1),
        ("fast", None, 10),
        ("slow", None, 1),
        (None, "ollama/llama3", 2),
        (None, "openai/o3", 3),
        (None, Target("openai", "gpt-4o"), 4),
        (None, "openai/gpt-5", 5),
        ("fast", "ollama/llama3", 2),
    ],
)
def test_the_most_specific_override_wins(
    tmp_path: Path, route: str | None, target: Target | None, burst: int
) -> None:
    settings = file(tmp_path, OVERRIDES)
    config = settings.resolve("limiter", LimiterConfig, route=route, target=target)
    assert config.burst == burst
    assert config.wait == ("never" if route == "fast" else 1.0)
    assert config.headers == {"a": "base", "b": "any" if target else "base"}


def test_patterns_of_equal_length_apply_in_file_order(tmp_path: Path) -> None:
    settings = file(tmp_path, '[limiter.targets."a/*"]\nburst = 2\n[limiter.targets."*/b"]\nburst = 3\n')
    assert settings.resolve("limiter", LimiterConfig, target="a/b").burst == 3


def test_equal_overrides_give_the_same_object(tmp_path: Path) -> None:
    settings = file(tmp_path, OVERRIDES)
    first = settings.resolve("limiter", LimiterConfig, target="openai/o3")
    assert settings.resolve("limiter", LimiterConfig, target="openai/o4") is first
    assert settings.resolve("limiter", LimiterConfig, target="x/o4") is not first


def test_overrides_are_listed(tmp_path: Path) -> None:
    assert file(tmp_path, OVERRIDES).overrides("limiter") == [
        ("route", "fast"),
        ("target", "openai/gpt-4*"),
        ("target", "*"),
        ("target", "openai/*"),
        ("target", "openai/gpt-[45]*"),
    ]


def test_only_sections_of_plugins_have_overrides(tmp_path: Path) -> None:
    settings = file(tmp_path, "[routes.fast]\ntargets = ['a/b']\n[providers.server.routes.fast]\nurl = 'u'\n")
    assert settings.overrides("") == settings.overrides("providers.server") == []
    assert problems(settings, "providers.server", ServerConfig) == [
        "penstock.toml:3: [providers.server] url: is required",
        "penstock.toml:3: unknown key 'routes' in [providers.server]",
    ]


def test_an_override_reaches_below_an_argument_too() -> None:
    settings = load({"limiter": {"routes": {"fast": {"burst": 3}}}}, arguments={"limiter": {"burst": 9}})
    assert settings.section("limiter", LimiterConfig).burst == 9
    assert settings.resolve("limiter", LimiterConfig, route="fast").burst == 3


def test_every_override_is_validated_with_its_own_place(tmp_path: Path) -> None:
    text = '[limiter]\nburst = 0\n[limiter.routes.fast]\nbrust = 1\n[limiter.targets."a/*"]\nburst = -1\n'
    with pytest.raises(ConfigError) as caught:
        file(tmp_path, text).validate("limiter", LimiterConfig)
    assert str(caught.value).split("\n") == [
        "penstock.toml:2: [limiter] burst: Input should be greater than or equal to 1",
        "penstock.toml:4: unknown key 'brust' in [limiter.routes.fast]; did you mean 'burst'?",
        'penstock.toml:6: [limiter.targets."a/*"] burst: Input should be greater than or equal to 1',
    ]


def test_a_pattern_that_can_match_no_target_is_an_error(tmp_path: Path) -> None:
    settings = file(tmp_path, "[limiter.targets.openai]\nburst = 1\n[limiter.targets.'*gpt*']\nburst = 1\n")
    with pytest.raises(ConfigError) as caught:
        settings.validate("limiter", LimiterConfig)
    assert str(caught.value) == (
        "penstock.toml:1: [limiter.targets.openai]: matches no target, they are called provider/model; "
        "did you mean 'openai/*'?"
    )


def test_a_section_without_problems_validates(tmp_path: Path) -> None:
    file(tmp_path, OVERRIDES).validate("limiter", LimiterConfig)


def test_a_model_of_free_keys_keeps_keys_called_like_overrides() -> None:
    class Route(Config):
        targets: list[str] = Field(description="Who.")

    class Routes(RootModel[dict[str, Route]]):
        pass

    settings = load({"routes": {"fast": {"targets": ["a/b"]}, "targets": {"targets": ["c/d"]}}})
    routes = settings.section("routes", Routes).root
    assert {name: route.targets for name, route in routes.items()} == {"fast": ["a/b"], "targets": ["c/d"]}


# The core's own keys


def test_the_core_has_defaults() -> None:
    core = load().core
    assert core == CoreConfig()
    assert core.timeouts.limits() == Timeouts()
    assert core.limits.max_response_bytes == 64 * 1024 * 1024
    assert core.budget.policy().capacity == 10.0


def test_the_core_reads_its_keys(tmp_path: Path) -> None:
    core = file(
        tmp_path,
        'version = 1\npipeline = ["cache", "retry"]\ntransport = "fast"\n[cache]\nany = 1\n'
        '[timeouts]\ntotal = "20s"\nconnect = "500ms"\n[limits]\nmax_response_bytes = "1MiB"\n'
        "[budget]\ncapacity = 5\n[plugins]\ndeny = ['x']\n",
    ).core
    assert core.pipeline == ("cache", "retry")
    assert core.transport == "fast"
    assert core.limits.max_response_bytes == 1024 * 1024
    assert core.budget.policy().capacity == 5.0
    assert core.plugins.deny == ("x",)
    assert core.timeouts.limits() == Timeouts(
        connect=0.5, pool=10.0, first_token=20.0, idle=60.0, attempt=20.0, total=20.0
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 2", "penstock.toml:1: version: Input should be 1"),
        ("pipeline = ['a', 'b', 'a']", "penstock.toml:1: pipeline: names 'a' more than once"),
        (
            "[timeouts]\nattempt = 30\ntotal = 20",
            (
                "penstock.toml:1: [timeouts]: 'attempt' (30 s) is longer than 'total' (20 s); "
                "lower 'attempt' or raise 'total'"
            ),
        ),
        (
            "[timeouts]\nattempt = '1h'",
            (
                "penstock.toml:1: [timeouts]: 'attempt' (3600 s) is longer than 'total' "
                "(600 s, the default); lower 'attempt' or raise 'total'"
            ),
        ),
        ("[timeouts]\nidle = 0", "penstock.toml:2: [timeouts] idle: Input should be greater than 0"),
        (
            "[timeouts]\ntotl = 0",
            "penstock.toml:2: unknown key 'totl' in [timeouts]; did you mean 'total'?",
        ),
    ],
)
def test_a_wrong_key_of_the_core_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _ = file(tmp_path, text).core
    assert str(caught.value) == problem


def test_a_time_without_limit_is_inf(tmp_path: Path) -> None:
    limits = file(tmp_path, "[timeouts]\ntotal = inf\nattempt = '1h'").core.timeouts.limits()
    assert (limits.attempt, limits.total) == (3600.0, float("inf"))


@pytest.mark.parametrize(
    ("text", "allow", "deny"),
    [
        ("retry, cache", ("retry", "cache"), ("file",)),
        ("-logs", ("file",), ("logs",)),
        ("retry,-logs,", ("retry",), ("logs",)),
        ("", ("file",), ("file",)),
    ],
)
def test_a_variable_locks_plugins_down(text: str, allow: object, deny: object) -> None:
    source = {"plugins": {"allow": ["file"], "deny": ["file"]}}
    plugins = load(source, environ={"PENSTOCK_PLUGINS": text}).core.plugins
    assert plugins.allow == allow
    assert plugins.deny == deny


def test_a_missing_credential_is_its_own_error(tmp_path: Path) -> None:
    settings = file(tmp_path, "[providers.server]\nurl = 'u'\napi_key = '${KEY}'\n")
    with pytest.raises(MissingCredentialError) as caught:
        settings.provider("server", ServerConfig)
    assert str(caught.value) == (
        "penstock.toml:3: [providers.server] api_key: the environment variable KEY is not set"
    )
