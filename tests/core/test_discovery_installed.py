"""
Discovery as users meet it: real packages, installed into a fresh environment by pip.

The environment holds the core as a wheel and its dependencies by symbolic links, so nothing is downloaded.
Each test runs its own interpreter in it, in an empty folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

CORE = Path(__file__).parents[2] / "core"

# A provider and the transport it needs, in one module; the transport answers without a network.
ECHO = """
from penstock import ChatResponse, Choice, ProviderSpec, TransportSpec, hookimpl
from penstock.config import Config
from penstock.errors import ServerError
from penstock.http import HttpHead, HttpRequest

class EchoConfig(Config):
    pass

class TransportConfig(Config):
    pass

class Echo:
    base_url = "http://echo.invalid"

    def encode(self, request, model):
        return HttpRequest("POST", self.base_url, {}, request.messages[-1].content.encode())

    def decode(self, request, response):
        return ChatResponse(choices=(Choice(text=response.body.decode(), finish_reason="stop"),))

    def decoder(self, request, head):
        raise NotImplementedError

    def error(self, response):
        return ServerError("echo is broken", status=response.status)

class Exchange:
    def __init__(self, body):
        self.head = HttpHead(200, {})
        self.body = body

    async def read_all(self, due):
        return self.body

    async def close(self, *, reuse=False):
        pass

class Loopback:
    async def send(self, request, limits):
        return Exchange(b"echo: " + request.body)

    async def close(self):
        pass

@hookimpl
def penstock_register_providers():
    return [ProviderSpec(name="echo", config=EchoConfig, create=lambda config, services: Echo())]

@hookimpl
def penstock_register_transports():
    make = lambda config: Loopback()
    return [TransportSpec(name="echo", config=TransportConfig, blocking=make, asynchronous=make)]
"""

# Leaves a trace when it is imported, then fails as a package with a missing dependency does.
BROKEN = """
import pathlib
pathlib.Path("broken-was-imported").touch()
raise RuntimeError("libflux is missing")
"""

NOTHING = "pathless = True\n"

FUTURE = """
from penstock import StageSpec, Slot, hookimpl
from penstock.config import StageConfig

def create(config, services):
    raise AssertionError("a spec of another contract is never created")

@hookimpl
def penstock_register_stages():
    return [StageSpec(name="future", config=StageConfig, create=create, slot=Slot("call"), api=(2, 0))]
"""

# The first spec is fine, the second is not: nothing of the plugin may be used.
HALF = """
from penstock import StageSpec, Slot, hookimpl
from penstock.config import StageConfig

def create(config, services):
    raise AssertionError("a stage of a broken plugin is never created")

@hookimpl
def penstock_register_stages():
    yield StageSpec(name="half", config=StageConfig, create=create, slot=Slot("call"))
    raise RuntimeError("the other half is missing")
"""

MISPELT = """
from penstock import hookimpl

@hookimpl
def penstock_register_stagse():
    return []
"""


@dataclass(frozen=True)
class Package:
    """A plugin package to be built: the distribution, its entry point, and the module behind it."""

    distribution: str
    version: str
    name: str
    source: str

    def build(self, folder: Path) -> Path:
        module = self.distribution.replace("-", "_")
        package = folder / self.distribution / "src" / module
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(self.source, encoding="utf-8")
        (folder / self.distribution / "pyproject.toml").write_text(
            dedent(
                f"""
                [build-system]
                requires = ["hatchling"]
                build-backend = "hatchling.build"

                [project]
                name = "{self.distribution}"
                version = "{self.version}"

                [project.entry-points.penstock]
                {self.name} = "{module}.plugin"

                [tool.hatch.build.targets.wheel]
                packages = ["src/{module}"]
                """
            ),
            encoding="utf-8",
        )
        return build(folder / self.distribution, folder)


GOOD = [Package("penstock-echo", "1.2.0", "echo", ECHO)]
CROWD = [
    *GOOD,
    Package("penstock-broken", "3.1.4", "broken", BROKEN),
    Package("penstock-future", "9.0", "future", FUTURE),
    Package("penstock-half", "0.5", "half", HALF),
    Package("penstock-mispelt", "0.3", "mispelt", MISPELT),
]
TWINS = [
    *GOOD,
    Package("penstock-twin", "1.0", "twin", NOTHING),
    Package("acme-twin", "2.0", "twin", NOTHING),
]


def build(project: Path, folder: Path) -> Path:
    (wheel,) = WheelBuilder(str(project)).build(directory=str(folder), versions=["standard"])
    return Path(wheel)


class Environment:
    """A fresh virtual environment with the core and some plugins in it."""

    def __init__(self, folder: Path, packages: list[Package]) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        self._link_dependencies()
        wheels = [build(CORE, folder), *(package.build(folder / "sources") for package in packages)]
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", *map(str, wheels)],
            check=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        )

    def _link_dependencies(self) -> None:
        parent = Path(sysconfig.get_path("purelib"))
        own = self.folder / "venv" / parent.relative_to(sys.prefix)
        for entry in parent.iterdir():
            if "penstock" not in entry.name and entry.suffix != ".pth":
                (own / entry.name).symlink_to(entry)

    def run(self, code: str, cwd: Path, environ: Mapping[str, str] = {}) -> Any:
        """What the code prints as its last line, read as JSON; an error it raises as `[type, message]`."""
        script = (
            "import json, logging\n"
            "logging.basicConfig()\n"
            "from penstock import *\n"
            "result = None\n"
            "try:\n" + indent(dedent(code), "    ") + "\n"
            "except Exception as error:\n"
            "    result = [type(error).__name__, str(error), type(error.__cause__).__name__]\n"
            "print(json.dumps(result))\n"
        )
        done = subprocess.run(
            [self.python, "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environ},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.stderr = done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One good plugin."""
    return Environment(tmp_path_factory.mktemp("clean"), GOOD)


@pytest.fixture(scope="session")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A good plugin among broken ones."""
    return Environment(tmp_path_factory.mktemp("crowded"), CROWD)


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A good plugin, and two of one name."""
    return Environment(tmp_path_factory.mktemp("twins"), TWINS)


ASK = """
with Client({}, transport="echo"{}) as client:
    result = client.chat("echo/any", "hello").text
"""


def test_an_installed_provider_serves_a_call_without_any_configuration(
    clean: Environment, tmp_path: Path
) -> None:
    assert clean.run(ASK.format("None", ""), tmp_path) == "echo: hello"
    assert clean.stderr == ""


def test_an_installed_provider_serves_an_async_call(clean: Environment, tmp_path: Path) -> None:
    code = """
    import asyncio

    async def ask():
        async with AsyncClient(transport="echo") as client:
            return (await client.chat("echo/any", "hello")).text

    result = asyncio.run(ask())
    """
    assert clean.run(code, tmp_path) == "echo: hello"


def test_an_installed_provider_serves_under_a_name_of_the_configuration(
    clean: Environment, tmp_path: Path
) -> None:
    (tmp_path / "penstock.toml").write_text('transport = "echo"\n[providers.mine]\nplugin = "echo"\n')
    code = """
    with Client() as client:
        answer = client.chat("mine/any", "hello")
    result = [answer.text, str(answer.target)]
    """
    assert clean.run(code, tmp_path) == ["echo: hello", "mine/any"]


def test_a_broken_plugin_that_is_not_used_has_no_effect(crowded: Environment, tmp_path: Path) -> None:
    config = {"pipeline": [], "providers": {"echo": {}}}
    assert crowded.run(ASK.format(config, ""), tmp_path) == "echo: hello"
    assert crowded.stderr == ""
    assert not (tmp_path / "broken-was-imported").exists()


def test_a_broken_plugin_that_nobody_named_is_logged_and_left_out(
    crowded: Environment, tmp_path: Path
) -> None:
    assert crowded.run(ASK.format("None", ""), tmp_path) == "echo: hello"
    assert "'broken' (penstock-broken 3.1.4)" in crowded.stderr
    assert "libflux is missing" in crowded.stderr
    assert "Traceback" not in crowded.stderr


@pytest.mark.parametrize(
    "use",
    ['pipeline=["broken"]', "broken={}", 'providers={"broken": {}}', 'providers={"x": {"plugin": "broken"}}'],
)
def test_a_broken_plugin_that_is_used_names_itself_its_version_and_its_cause(
    crowded: Environment, tmp_path: Path, use: str
) -> None:
    kind, message, cause = crowded.run(ASK.format("None", f", {use}"), tmp_path)
    assert kind == "PluginLoadError"
    assert "'broken' (penstock-broken 3.1.4)" in message
    assert "RuntimeError: libflux is missing" in message
    assert cause == "RuntimeError"


def test_a_plugin_with_a_mispelt_hook_says_so(crowded: Environment, tmp_path: Path) -> None:
    kind, message, _ = crowded.run(ASK.format("None", ', pipeline=["mispelt"]'), tmp_path)
    assert kind == "PluginLoadError"
    assert "'mispelt' (penstock-mispelt 0.3)" in message
    assert "penstock_register_stagse" in message


def test_a_plugin_for_another_contract_is_refused_before_it_is_created(
    crowded: Environment, tmp_path: Path
) -> None:
    kind, message, _ = crowded.run(ASK.format("None", ', pipeline=["future"]'), tmp_path)
    assert kind == "PluginLoadError"
    assert "'future' (penstock-future 9.0)" in message
    assert "2.0" in message
    assert "1.0" in message


@pytest.mark.parametrize("name", ["broken", "future", "half", "mispelt"])
def test_nothing_of_a_broken_plugin_is_used_and_it_stays_broken(
    crowded: Environment, tmp_path: Path, name: str
) -> None:
    code = f"""
    from penstock.plugins import Plugins
    from penstock.specs import StageSpec

    plugins = Plugins()
    plugins.load_all()
    result = [plugins.specs(StageSpec) == ()]
    for _ in range(2):
        try:
            plugins.find(StageSpec, {name!r})
        except PluginLoadError as error:
            result.append(str(error))
    """
    nothing, first, second = crowded.run(code, tmp_path)
    assert nothing
    assert f"penstock-{name} " in first
    assert first == second


def test_what_is_left_of_a_package_removed_by_halves_has_no_effect(
    clean: Environment, tmp_path: Path
) -> None:
    remains = tmp_path / "ghost-1.0.dist-info"
    remains.mkdir()
    (remains / "entry_points.txt").write_text("[penstock]\nghost = ghost.plugin\n")
    assert clean.run(ASK.format("None", ""), tmp_path, {"PYTHONPATH": str(tmp_path)}) == "echo: hello"
    assert "'ghost' (a distribution without metadata, of unknown version)" in clean.stderr


@pytest.mark.parametrize("use", ["", ', pipeline=["twin"]', ", twin={}"])
def test_two_distributions_of_one_name_are_refused_naming_both(
    twins: Environment, tmp_path: Path, use: str
) -> None:
    kind, message, _ = twins.run(ASK.format("None", use), tmp_path)
    assert kind == "DuplicatePluginError"
    assert "'twin'" in message
    assert "penstock-twin 1.0" in message
    assert "acme-twin 2.0" in message


def test_two_distributions_of_a_name_that_is_not_used_have_no_effect(
    twins: Environment, tmp_path: Path
) -> None:
    config = {"pipeline": [], "providers": {"echo": {}}}
    assert twins.run(ASK.format(config, ""), tmp_path) == "echo: hello"


@pytest.mark.parametrize(
    ("plugins", "environ"),
    [
        ({"allow": ["echo"]}, {}),
        ({"deny": ["broken", "future", "half", "mispelt"]}, {}),
        ({}, {"PENSTOCK_PLUGINS": "echo"}),
        ({}, {"PENSTOCK_PLUGINS": "-broken, -future, -half, -mispelt"}),
    ],
)
def test_only_what_the_lists_permit_is_loaded(
    crowded: Environment, tmp_path: Path, plugins: dict[str, list[str]], environ: dict[str, str]
) -> None:
    config = {"plugins": plugins}
    assert crowded.run(ASK.format(config, ""), tmp_path, environ) == "echo: hello"
    assert crowded.stderr == ""
    assert not (tmp_path / "broken-was-imported").exists()


@pytest.mark.parametrize(
    ("plugins", "environ"),
    [
        ({"allow": ["other"]}, {}),
        ({"deny": ["echo"]}, {}),
        ({"allow": ["echo"], "deny": ["echo"]}, {}),
        ({}, {"PENSTOCK_PLUGINS": "other"}),
        ({}, {"PENSTOCK_PLUGINS": "-echo"}),
    ],
)
def test_a_plugin_that_the_lists_forbid_is_refused_when_it_is_named(
    clean: Environment, tmp_path: Path, plugins: dict[str, list[str]], environ: dict[str, str]
) -> None:
    config = {"plugins": plugins}
    kind, message, _ = clean.run(ASK.format(config, ', providers={"echo": {}}'), tmp_path, environ)
    assert kind == "ConfigError"
    assert "'echo' is not permitted" in message


def test_two_twins_are_told_apart_by_no_list(twins: Environment, tmp_path: Path) -> None:
    config = {"plugins": {"deny": ["twin"]}}
    assert twins.run(ASK.format(config, ""), tmp_path) == "echo: hello"


@pytest.mark.parametrize(
    ("use", "noun"),
    [
        ('pipeline=["surge"]', "stage"),
        ('providers={"surge": {}}', "provider"),
        ('providers={"mine": {"plugin": "surge"}}', "provider"),
    ],
)
def test_what_is_named_but_not_installed_says_what_to_install(
    clean: Environment, tmp_path: Path, use: str, noun: str
) -> None:
    kind, message, _ = clean.run(ASK.format("None", f", {use}"), tmp_path)
    assert kind == "PluginNotFoundError"
    assert f"{noun} 'surge' is not installed" in message
    assert "pip install penstock-surge" in message


def test_the_default_transport_says_what_to_install(clean: Environment, tmp_path: Path) -> None:
    kind, message, _ = clean.run("Client()", tmp_path)
    assert kind == "PluginNotFoundError"
    assert "pip install penstock-wire" in message


def test_a_model_of_a_provider_that_is_not_installed_says_what_to_install(
    clean: Environment, tmp_path: Path
) -> None:
    kind, message, _ = clean.run(ASK.format("None", "").replace("echo/any", "surge/any"), tmp_path)
    assert kind == "UnknownModelError"
    assert "asked: echo" in message
    assert "pip install penstock-surge" in message


def test_entry_points_are_listed_without_importing_anything(crowded: Environment, tmp_path: Path) -> None:
    code = """
    import sys
    from penstock.plugins import installed

    listed = {name: [str(claim) for claim in claims] for name, claims in installed().items()}
    result = [listed, [name for name in sys.modules if name.startswith("penstock_")]]
    """
    listed, imported = crowded.run(code, tmp_path)
    assert listed == {
        "broken": ["'broken' (penstock-broken 3.1.4)"],
        "echo": ["'echo' (penstock-echo 1.2.0)"],
        "future": ["'future' (penstock-future 9.0)"],
        "half": ["'half' (penstock-half 0.5)"],
        "mispelt": ["'mispelt' (penstock-mispelt 0.3)"],
    }
    assert imported == []
