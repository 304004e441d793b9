"""
The documentation is run.

A guide that shows a package is taken at its word: its files are written, built into a wheel and put where
entry points are found; its tests and scripts run there. Other Python blocks run as scripts, those of the
README against the simulator.
"""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from penstock import hookspecs
from penstock_testkit import Simulator

ROOT = Path(__file__).parents[1]
DOCS = sorted(ROOT.glob("docs/**/*.md"))
GUIDES = [path for path in DOCS if path.name.startswith("write-a-")]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    *sorted(ROOT.glob("*/README.md")),
    *ROOT.glob("plugins/*/README.md"),
]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is, and its text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*match.groups(default="")) for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def scripts(page: Path) -> list[str]:
    return [block.text for block in blocks(page) if block.language == "python" and not block.title]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(arguments: list[str], folder: Path, **environ: str) -> str:
    """What a Python command prints; a command that fails is a failure with its words."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Package:
    """A guide's package: its files in `folder`, and where it is installed."""

    folder: Path
    installed: Path


@pytest.fixture(scope="module", params=GUIDES, ids=name_of)
def guide(request: pytest.FixtureRequest) -> Path:
    page: Path = request.param
    return page


@pytest.fixture(scope="module")
def package(guide: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp(guide.stem)
    for block in blocks(guide):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    (wheel,) = WheelBuilder(str(folder)).build(directory=str(folder), versions=["standard"])
    installed = folder / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return Package(folder, installed)


def test_the_package_of_a_guide_passes_its_own_tests(package: Package) -> None:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    assert " passed" in run(command, package.folder, PYTHONPATH=str(package.installed))


def test_the_scripts_of_a_guide_print_what_their_comments_say(guide: Path, package: Package) -> None:
    for text in scripts(guide):
        printed = run(["-c", text], package.folder, PYTHONPATH=str(package.installed))
        for promise in re.findall(r"print\(.*\)  # (.*)$", text, re.MULTILINE):
            for line in promise.split(", then "):
                assert line in printed.splitlines()


def test_the_package_of_a_guide_is_formatted_as_ours(package: Package) -> None:
    root = ROOT / "pyproject.toml"
    run(["-m", "ruff", "check", "--no-cache", "--config", str(root), "src"], package.folder)
    run(["-m", "ruff", "format", "--no-cache", "--check", "--config", str(root), "src"], package.folder)


def test_the_scripts_about_hooks_run(tmp_path: Path) -> None:
    (text,) = scripts(ROOT / "docs" / "hooks.md")
    printed = run(["-c", text], tmp_path)
    assert re.search(r"^\S+ used \d+ tokens$", printed, re.MULTILINE)
    assert "passwords stay in the house" in printed


@pytest.mark.parametrize("number", [0, 1], ids=["by hand", "alone"])
def test_the_scripts_about_resilience_print_what_their_comments_say(number: int, tmp_path: Path) -> None:
    text = scripts(ROOT / "docs" / "resilience.md")[number]
    promised = re.findall(r"print\(.*\)  # (.*)$", text, re.MULTILINE)
    assert promised
    assert run(["-c", text], tmp_path).splitlines() == promised


def test_every_event_of_a_stage_is_on_the_page_about_resilience() -> None:
    from penstock import events

    page = (ROOT / "docs" / "resilience.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", page[page.index("## Events") :]))
    prefixes = ("Breaker", "Cache", "Call", "Credential", "Hedge", "Limiter", "Retry", "Stream", "Target")
    there = {
        name
        for name, value in vars(events).items()
        if isinstance(value, type) and issubclass(value, events.Event) and name.startswith(prefixes)
    }
    assert there - {"CallEvent"} - listed == set()
    assert {name for name in listed if name[0].isupper() and not hasattr(events, name)} == set()


@pytest.mark.parametrize("number", [0, 1], ids=["blocking", "async"])
def test_the_examples_of_the_readme_run(number: int, tmp_path: Path) -> None:
    text = scripts(ROOT / "README.md")[number]
    with Simulator(text="Hello from the simulator").serve() as server:
        printed = run(
            ["-c", text],
            tmp_path,
            OPENAI_API_KEY="sk-test",
            PENSTOCK__PROVIDERS__OPENAI__BASE_URL=server.url,
        )
        assert server.count() == [3, 4][number]
    assert printed.count("Hello from the simulator") == [2, 4][number]


def test_the_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = [block.text for block in blocks(ROOT / "README.md") if block.language == "toml"]
    (tmp_path / "penstock.toml").write_text(text, encoding="utf-8")
    code = "from penstock import Client\nwith Client() as client: print(client.stage('retry'))"
    for profile in ("", "production"):
        assert "RetryStage" in run(["-c", code], tmp_path, OPENAI_API_KEY="sk-test", PENSTOCK_ENV=profile)


def test_every_package_and_no_other_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[`([a-z-]+)`\]\(([a-z/]+)\)", text, re.MULTILINE))
    there = {
        (tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"], name_of(path.parent))
        for path in [ROOT / "core" / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
    }
    assert listed == there


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(penstock_\w+\([^)]*\))`", text, re.MULTILINE))
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("penstock_")}
    signatures = {
        f"{name}({', '.join(hook.__code__.co_varnames[: hook.__code__.co_argcount])})"
        for name, hook in hooks.items()
    }
    assert documented == signatures


def test_every_error_of_the_tree_is_defined() -> None:
    from penstock import errors

    words = set(
        re.findall(
            r"\b[A-Z]\w+(?:Error|Interrupted|Exceeded)\b", "".join(p.read_text("utf-8") for p in PAGES)
        )
    )
    assert {word for word in words if not hasattr(errors, word) and not hasattr(builtins, word)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_every_command_of_make_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert mentioned - targets == set(), page


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_a_decision_is_dated_and_short(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    date = page.name[:10]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", date)
    assert lines[0].startswith("# ")
    assert date in lines
    assert "**Decision.**" in "\n".join(lines)
    assert len(lines) <= 60
