from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from penstock.config import Config, Env, Origin, Seconds, Settings, StageConfig
from penstock.errors import ConfigError


class CacheConfig(StageConfig):
    ttl: Annotated[Seconds, Env("CACHE_TTL")] = Field(default=1.0, description="Time to live.")
    tries: Annotated[int, Env("MAX_RETRIES", lambda text: int(text) + 1)] = Field(
        default=3, ge=1, description="Tries."
    )
    tags: list[str] = Field(default=[], description="Tags.")
    name: str = Field(default="", description="Name.")
    size: int | str = Field(default=0, description="A number or a word.")
    label: Annotated[str, Env("LABEL"), Env("OLD_LABEL")] = Field(default="", description="Label.")


class ServerConfig(Config):
    url: Annotated[str, Env("SERVER_URL")] = Field(default="", description="Where it is.")


def load(source: object = False, **more: Any) -> Settings:
    more.setdefault("environ", {})
    return Settings.load(source, **more)


def cache(source: object = False, **more: Any) -> CacheConfig:
    return load(source, **more).section("cache", CacheConfig)


def write(folder: Path, text: str, name: str = "penstock.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


# Which file


def test_the_file_is_searched_upwards(tmp_path: Path) -> None:
    write(tmp_path, "[cache]\nttl = 7")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = load(None, start=below)
    assert settings.section("cache", CacheConfig).ttl == 7.0
    assert settings.path == str(tmp_path / "penstock.toml")


def test_the_nearest_file_wins_and_is_named_relative_to_the_start(tmp_path: Path) -> None:
    write(tmp_path, "[cache]\nttl = 7")
    write(tmp_path / "a", "[cache]\nttl = 8")
    settings = load(None, start=tmp_path / "a")
    assert settings.section("cache", CacheConfig).ttl == 8.0
    assert settings.path == "penstock.toml"


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "HOME"])
def test_the_users_config_folder_comes_after_the_search(tmp_path: Path, variable: str) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    write((home / ".config" if variable == "HOME" else home) / "penstock", "[cache]\nttl = 9")
    work.mkdir()
    assert cache(None, environ={variable: str(home)}, start=work).ttl == 9.0
    write(work, "[cache]\nttl = 10")
    assert cache(None, environ={variable: str(home)}, start=work).ttl == 10.0


def test_a_variable_names_the_file_and_beats_the_search(tmp_path: Path) -> None:
    write(tmp_path, "[cache]\nttl = 7")
    other = write(tmp_path, "[cache]\nttl = 8", "other.toml")
    assert cache(None, environ={"PENSTOCK_CONFIG": str(other)}, start=tmp_path).ttl == 8.0
    assert cache(None, environ={"PENSTOCK_CONFIG": ""}, start=tmp_path).ttl == 7.0


def test_an_argument_names_the_file_and_beats_the_variable(tmp_path: Path) -> None:
    file = write(tmp_path, "[cache]\nttl = 7", "mine.toml")
    environ = {"PENSTOCK_CONFIG": str(tmp_path / "absent.toml")}
    assert cache(file, environ=environ).ttl == 7.0
    assert cache(str(file), environ=environ).ttl == 7.0
    assert cache({"cache": {"ttl": 8}}, environ=environ).ttl == 8.0
    assert cache(False, environ=environ).ttl == 1.0


def test_without_any_file_everything_has_its_default(tmp_path: Path) -> None:
    settings = load(None, start=tmp_path)
    assert settings.path == ""
    assert settings.section("cache", CacheConfig) == CacheConfig()
    assert settings.tables() == ()
    assert settings.providers == {}


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_named_file_that_is_absent_is_an_error(tmp_path: Path, how: str) -> None:
    absent = str(tmp_path / "absent.toml")
    environ = {"PENSTOCK_CONFIG": absent} if how == "variable" else {}
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*absent\.toml: No such file"):
        load(absent if how == "argument" else None, environ=environ)


@pytest.mark.parametrize("source", [True, 3, ["penstock.toml"]])
def test_a_source_of_another_kind_is_an_error(source: object) -> None:
    with pytest.raises(ConfigError, match="config must be a path, a mapping"):
        load(source)


def test_a_file_that_is_no_toml_says_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "version = 1\n[cache]\nttl = soon\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:3: Invalid value"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a = '\xff'", "is not UTF-8 (byte 5)"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a = " + b"9" * 5000, "Exceeds the limit"),
        (b"a = 1\na = 2", "Cannot overwrite a value"),
    ],
)
def test_any_bad_file_is_a_config_error(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "penstock.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert problem in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_bytes(b"\xef\xbb\xbf[cache]\r\nttl = 5\r\n")
    assert cache(file).ttl == 5.0


# Profiles

PROFILES = {
    "cache": {"ttl": 1, "name": "base"},
    "profiles": {"production": {"cache": {"ttl": 2}}, "test": {"cache": {"ttl": 3}}},
}


def test_a_profile_lies_on_top_of_the_file() -> None:
    settings = load(PROFILES, profile="production")
    assert settings.section("cache", CacheConfig).ttl == 2.0
    assert settings.section("cache", CacheConfig).name == "base"
    assert settings.profile == "production"


def test_the_environment_names_a_profile_and_the_argument_beats_it() -> None:
    environ = {"PENSTOCK_ENV": "test"}
    assert cache(PROFILES, environ=environ).ttl == 3.0
    assert cache(PROFILES, environ=environ, profile="production").ttl == 2.0
    assert cache(PROFILES).ttl == 1.0


def test_an_unknown_profile_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'prod'; known are 'production', 'test'"):
        load(PROFILES, profile="prod")
    with pytest.raises(ConfigError, match=r"no profile 'prod', which PENSTOCK_ENV names; known are"):
        load(PROFILES, environ={"PENSTOCK_ENV": "prod"})
    with pytest.raises(ConfigError, match=r"it has no profiles"):
        load({}, profile="prod")


def test_a_profile_of_the_environment_means_nothing_to_a_file_without_profiles() -> None:
    assert load({}, environ={"PENSTOCK_ENV": "prod"}).profile is None


@pytest.mark.parametrize(("profiles", "key"), [(3, "profiles"), ({"live": {}, "test": 3}, r"profiles\.test")])
def test_a_profile_that_is_no_table_is_an_error(profiles: object, key: str) -> None:
    with pytest.raises(ConfigError, match=f"argument config: {key}: must be a table"):
        load({"profiles": profiles})


def test_profiles_are_no_table_of_a_plugin() -> None:
    assert load(PROFILES).tables() == ("cache",)


# The environment


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("TTL", "60", 60.0),
        ("TTL", "1h", 3600.0),
        ("ENABLED", "false", False),
        ("ENABLED", "False", False),
        ("TAGS", '["a", "b"]', ["a", "b"]),
        ("NAME", "plain text, not TOML", "plain text, not TOML"),
        ("NAME", '"quoted"', "quoted"),
        ("NAME", "12345", "12345"),
        ("NAME", "1979-05-27", "1979-05-27"),
        ("NAME", "1\nother = 2", "1\nother = 2"),
        ("NAME", "[", "["),
        ("SIZE", "5", 5),
        ("SIZE", "true", "true"),
        ("SIZE", "large", "large"),
        ("NAME", "", ""),
    ],
)
def test_a_variable_sets_any_key(key: str, text: str, value: object) -> None:
    config = cache(environ={f"PENSTOCK__CACHE__{key}": text})
    assert getattr(config, key.lower()) == value


def test_a_variable_of_two_lines_is_no_toml() -> None:
    with pytest.raises(ConfigError, match="expected a duration"):
        cache(environ={"PENSTOCK__CACHE__TTL": "1\nother = 2"})


def test_a_variable_reaches_keys_it_cannot_spell() -> None:
    source = {"cache": {"targets": {"openai/gpt-4*": {"ttl": 1}}}, "providers": {"My-Server": {"url": "x"}}}
    environ = {"PENSTOCK__CACHE__TARGETS__OPENAI_GPT_4__TTL": "5", "PENSTOCK__PROVIDERS__MY_SERVER__URL": "y"}
    settings = load(source, environ=environ)
    assert settings.provider("My-Server", ServerConfig).url == "y"
    assert list(settings.providers) == ["My-Server"]
    assert settings.resolve("cache", CacheConfig, target="openai/gpt-4o").ttl == 5.0


def test_a_variable_with_an_empty_part_is_an_error() -> None:
    with pytest.raises(ConfigError, match="PENSTOCK__CACHE____TTL: has an empty part; write"):
        load(environ={"PENSTOCK__CACHE____TTL": "5"})


def test_a_variable_that_could_mean_two_keys_is_an_error() -> None:
    source = {"providers": {"a-b": {}, "a.b": {}}}
    with pytest.raises(ConfigError, match=r"PENSTOCK__PROVIDERS__A_B__URL: could mean 'a-b' or 'a\.b'"):
        load(source, environ={"PENSTOCK__PROVIDERS__A_B__URL": "x"})
    exact = {"providers": {"a-b": {}, "a_b": {}}}
    settings = load(exact, environ={"PENSTOCK__PROVIDERS__A_B__URL": "x"})
    assert settings.provider("a_b", ServerConfig).url == "x"
    assert settings.provider("a-b", ServerConfig).url == ""


def test_a_variable_can_make_a_provider() -> None:
    settings = load(environ={"PENSTOCK__PROVIDERS__LOCAL__PLUGIN": "openai"})
    assert settings.providers == {"local": "openai"}


def test_a_short_name_is_converted() -> None:
    assert cache(environ={"MAX_RETRIES": "2"}).tries == 3


def test_a_short_name_whose_conversion_fails_is_refused_by_the_field() -> None:
    with pytest.raises(ConfigError) as caught:
        cache(environ={"MAX_RETRIES": "many"})
    assert str(caught.value).startswith("environment variable MAX_RETRIES: [cache] tries: Input should be")
    assert "many" not in str(caught.value)


def test_of_several_short_names_the_first_that_is_set_counts() -> None:
    assert cache(environ={"OLD_LABEL": "old"}).label == "old"
    assert cache(environ={"LABEL": "", "OLD_LABEL": "old"}).label == "old"
    assert cache(environ={"LABEL": "new", "OLD_LABEL": "old"}).label == "new"


def test_a_short_name_of_a_provider_reaches_only_the_instance_called_like_its_plugin() -> None:
    source = {"providers": {"server": {}, "other": {"plugin": "server"}, "third": {"plugin": "x"}}}
    settings = load(source, environ={"SERVER_URL": "http://mine"})
    assert settings.provider("server", ServerConfig).url == "http://mine"
    assert settings.provider("other", ServerConfig).url == ""
    assert settings.provider("third", ServerConfig).url == ""
    disguised = load({"providers": {"server": {"plugin": "x"}}}, environ={"SERVER_URL": "http://mine"})
    assert disguised.provider("server", ServerConfig).url == ""


def test_a_provider_nobody_configured_still_hears_its_short_names() -> None:
    assert load(environ={"SERVER_URL": "u"}).provider("server", ServerConfig).url == "u"


# Arguments


def test_an_argument_switches_a_stage_on_and_off() -> None:
    assert cache({"cache": {"ttl": 5}}, arguments={"cache": False}).enabled is False
    assert cache({"cache": {"enabled": False}}, arguments={"cache": True}).enabled is True
    assert cache({"cache": {"enabled": False}}, arguments={"cache": None}).enabled is False


def test_arguments_are_merged_deeply() -> None:
    config = cache({"cache": {"ttl": 5, "name": "n"}}, arguments={"cache": {"ttl": "2m"}})
    assert (config.ttl, config.name) == (120.0, "n")


def test_a_list_replaces_a_list() -> None:
    assert cache({"cache": {"tags": ["a", "b"]}}, arguments={"cache": {"tags": ["c"]}}).tags == ["c"]


# Precedence


def everything(tmp_path: Path) -> tuple[Path, dict[str, str], dict[str, Any]]:
    file = write(tmp_path, "[cache]\nttl = 2\n[profiles.live.cache]\nttl = 3\n")
    return file, {"CACHE_TTL": "4", "PENSTOCK__CACHE__TTL": "5"}, {"cache": {"ttl": 6}}


@pytest.mark.parametrize(
    ("sources", "value", "kind", "place"),
    [
        ("", 1.0, "default", "default"),
        ("file", 2.0, "file", "{file}:2"),
        ("file profile", 3.0, "profile", "{file}:4"),
        ("file profile short", 4.0, "short env", "environment variable CACHE_TTL"),
        ("file profile short env", 5.0, "env", "environment variable PENSTOCK__CACHE__TTL"),
        ("file profile short env argument", 6.0, "argument", "argument cache"),
        ("file env", 5.0, "env", "environment variable PENSTOCK__CACHE__TTL"),
        ("short argument", 6.0, "argument", "argument cache"),
    ],
)
def test_each_source_beats_the_ones_before_it(
    tmp_path: Path, sources: str, value: float, kind: Any, place: str
) -> None:
    file, environ, arguments = everything(tmp_path)
    names = {"short": "CACHE_TTL", "env": "PENSTOCK__CACHE__TTL"}
    used = sources.split()
    settings = load(
        file if "file" in used else False,
        profile="live" if "profile" in used else None,
        environ={name: environ[name] for key, name in names.items() if key in used},
        arguments=arguments if "argument" in used else None,
    )
    assert settings.section("cache", CacheConfig).ttl == value
    shown = {key: (shown, origin) for key, shown, origin in settings.explain("cache", CacheConfig)}
    assert shown["cache.ttl"] == (value, Origin(kind, place.format(file=file)))


def test_a_later_change_of_the_environment_changes_nothing() -> None:
    environ = {"CACHE_TTL": "4"}
    settings = load(environ=environ)
    environ["CACHE_TTL"] = "5"
    assert settings.section("cache", CacheConfig).ttl == 4.0
