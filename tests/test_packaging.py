"""
Every package has the same shape, and nothing of one machine is in the project.

Builds all wheels once, offline, with the backend the packages name.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
IDS = [folder.name for folder in FOLDERS]
PLUGINS = FOLDERS[1:]
MAX_LINES = 400
MAX_WHEEL_BYTES = {"core": 120_000, "testkit": 115_000, "wire": 100_000}
"""Of the larger packages; another one has at most OTHER_WHEEL_BYTES."""
OTHER_WHEEL_BYTES = 60_000
WheelOf = Callable[[Path], zipfile.ZipFile]

each_package = pytest.mark.parametrize("folder", FOLDERS, ids=IDS)
each_plugin = pytest.mark.parametrize("folder", PLUGINS, ids=IDS[1:])


def read(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def package_of(folder: Path) -> Path:
    name = "penstock" if folder.name == "core" else f"penstock_{folder.name}"
    return folder / "src" / name


def modules(folder: Path) -> list[Path]:
    return sorted(package_of(folder).rglob("*.py"))


def tracked() -> list[Path]:
    """The files git knows, those not yet committed included."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("this is no git checkout, so there are no tracked files to look at")
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def wheel_of(tmp_path_factory: pytest.TempPathFactory) -> WheelOf:
    """Builds the wheel of a package, once."""
    from hatchling.builders.wheel import WheelBuilder

    @functools.cache
    def build(folder: Path) -> zipfile.ZipFile:
        target = tmp_path_factory.mktemp(folder.name)
        (path,) = WheelBuilder(str(folder)).build(directory=str(target), versions=["standard"])
        return zipfile.ZipFile(path)

    return build


# What a package says about itself


@each_package
def test_a_package_describes_itself_like_all_others(folder: Path) -> None:
    project = read(folder)["project"]
    core = read(ROOT / "core")["project"]
    assert project["name"] == ("penstock" if folder.name == "core" else f"penstock-{folder.name}")
    for field in ("version", "requires-python", "license", "readme", "classifiers"):
        assert project[field] == core[field], field
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert re.fullmatch(r"[A-Z].+\.", project["description"])
    assert len((folder / "README.md").read_text(encoding="utf-8")) > 100
    assert (package_of(folder) / "py.typed").exists()


@each_package
def test_a_package_holds_no_tool_settings_but_what_its_wheel_contains(folder: Path) -> None:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    package = package_of(folder).relative_to(folder).as_posix()
    assert read(folder)["tool"] == {"hatch": {"build": {"targets": {"wheel": {"packages": [package]}}}}}
    assert len(text.splitlines()) <= 45


def entry_of(folder: Path) -> str:
    """The entry point's name: the folder's, but for the testkit, whose one contribution is a stage."""
    return {"testkit": "chaos"}.get(folder.name, folder.name)


@each_plugin
def test_a_plugin_has_one_entry_point_named_as_its_folder(folder: Path) -> None:
    points = read(folder)["project"]["entry-points"]["penstock"]
    assert points == {entry_of(folder): f"penstock_{folder.name}.plugin"}


@each_plugin
def test_the_specs_of_a_plugin_carry_its_name(folder: Path) -> None:
    from penstock.plugins import Plugins
    from penstock.specs import (
        HealthCheckSpec,
        ListenerSpec,
        ProviderSpec,
        StageSpec,
        StoreSpec,
        TransportSpec,
    )

    plugins = Plugins()
    assert plugins.load(entry_of(folder))
    kinds = (HealthCheckSpec, ListenerSpec, ProviderSpec, StageSpec, StoreSpec, TransportSpec)
    specs = [spec for kind in kinds for spec in plugins.specs(kind)]
    assert [spec.name for spec in specs] == [entry_of(folder)] * len(specs)
    for spec in specs:
        config = getattr(spec, "config", None)
        if config is not None:
            assert config.model_config.get("frozen")
            assert config.model_config.get("extra") == "forbid"
            undescribed = [name for name, field in config.model_fields.items() if not field.description]
            assert undescribed == []


@each_plugin
def test_packages_of_the_workspace_are_required_in_lockstep(folder: Path) -> None:
    project = read(folder)["project"]
    lockstep = [need for need in project["dependencies"] if need.startswith("penstock")]
    assert lockstep
    assert all(need.endswith(f"=={project['version']}") for need in lockstep)


def test_the_core_depends_on_four_distributions() -> None:
    names = [re.split(r"[<>=]", need)[0] for need in read(ROOT / "core")["project"]["dependencies"]]
    assert names == ["importlib-metadata", "opentelemetry-api", "pluggy", "pydantic"]


def test_the_workspace_names_every_package() -> None:
    root = read(ROOT)["tool"]
    distributions = {read(folder)["project"]["name"] for folder in FOLDERS}
    assert set(root["uv"]["sources"]) == distributions
    assert set(root["mypy"]["mypy_path"]) == {
        (folder / "src").relative_to(ROOT).as_posix() for folder in FOLDERS
    }


def test_constraints_are_bare_pins_of_everything_a_package_requires() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9.+!]*", line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    required = {
        re.split(r"[^A-Za-z0-9._-]", need)[0].lower()
        for folder in FOLDERS
        for need in read(folder)["project"]["dependencies"]
        if not need.startswith("penstock")
    }
    assert required - pinned == set()


# What gets installed


@each_package
def test_a_wheel_contains_only_its_package(folder: Path, wheel_of: WheelOf) -> None:
    package = package_of(folder).name
    names = wheel_of(folder).namelist()
    outside = [name for name in names if not re.match(rf"({package}/|{package}-[^/]+\.dist-info/)", name)]
    assert outside == []
    sources = {path.relative_to(folder / "src").as_posix() for path in modules(folder)}
    assert {name for name in names if name.endswith(".py")} == sources
    assert f"{package}/py.typed" in names


@each_package
def test_a_wheel_carries_the_metadata(folder: Path, wheel_of: WheelOf) -> None:
    wheel = wheel_of(folder)
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = HeaderParser().parsestr(wheel.read(name).decode())
    project = read(folder)["project"]
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"


@each_package
def test_a_wheel_is_small_and_runs_nothing_when_python_starts(folder: Path, wheel_of: WheelOf) -> None:
    wheel = wheel_of(folder)
    # A .pth file, or a sitecustomize, would run in every process of the environment.
    assert [name for name in wheel.namelist() if name.endswith(".pth") or "customize" in name] == []
    size = sum(info.compress_size for info in wheel.infolist())
    assert size <= MAX_WHEEL_BYTES.get(folder.name, OTHER_WHEEL_BYTES)


# The modules


@each_package
def test_modules_are_short(folder: Path) -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in modules(folder)
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@each_package
def test_modules_say_what_they_are_and_postpone_annotations(folder: Path) -> None:
    for path in modules(folder):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        postponed = any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
        )
        assert postponed or path.name == "__init__.py", f"{path} does not postpone annotations"


@each_package
def test_init_modules_only_re_export(folder: Path) -> None:
    for path in modules(folder):
        if path.name != "__init__.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.Expr(ast.Constant()) | ast.Import() | ast.ImportFrom():
                    pass
                case ast.Assign([ast.Name("__all__")]) | ast.AnnAssign(ast.Name("__all__")):
                    pass
                # Costly imports may be re-exported on demand: a block for type checkers, a table, two hooks.
                case ast.If(ast.Name("TYPE_CHECKING")) | ast.FunctionDef("__getattr__" | "__dir__"):
                    pass
                case ast.Assign([ast.Name(name)]) if name.startswith("_"):
                    pass
                case _:
                    pytest.fail(f"{path} has logic: {ast.unparse(node)}")


@each_package
def test_every_name_a_package_lists_can_be_imported(folder: Path) -> None:
    package = importlib.import_module(package_of(folder).name)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_importing_the_core_imports_nothing_heavy() -> None:
    heavy = ["aiohttp", "asyncio", "opentelemetry", "pluggy", "pydantic", "requests", "urllib3"]
    heavy.remove("pluggy")  # the hook markers; 5 ms, and the core's smallest dependency
    script = f"import sys, penstock; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tests_are_no_packages() -> None:
    # With one, pytest's importlib mode runs files of one name several times or not at all.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


# Nothing of one machine

REGISTRY = re.compile(
    r"https?://[^\s\"'<>]*(?:pypi|pythonhosted|artifactory|devpi|nexus|/simple(?:[/\"'\s]|$))", re.IGNORECASE
)
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.~-])/(?:work|farm|home|root|Users|opt/pypi)/", re.MULTILINE)


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        for what in (REGISTRY, MACHINE_PATH):
            found += [f"{path.relative_to(ROOT)}: {match.group()!r}" for match in what.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "index-url = https://" + "pypi.org/simple",
        "https://" + "files.pythonhosted.org/packages/ab/cd",
        "http://mirror.example/root/" + "simple/ruff",
        "/" + "home/ada/penstock",
        'path = "/' + 'work/main"',
    ],
)
def test_the_search_for_hosts_and_paths_finds_them(text: str) -> None:
    assert REGISTRY.search(text) or MACHINE_PATH.search(text)


def test_the_lock_file_is_not_tracked() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert ROOT / "uv.lock" not in tracked()
