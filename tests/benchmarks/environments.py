"""
The environments candidates run in: one for each peer, outside of the checkout, made when first needed.

They live in the folder PENSTOCK_CACHE names, else in `~/.cache/penstock/bench`. Penstock itself is installed
from the work tree as a user gets it, in wheels, anew whenever a source has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("guard", "cache", "routing", "cost", "retry", "breaker", "limiter")
"""The stages of the full pipeline, outermost first."""
INSTALL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Environment:
    """
    A virtual environment.

    Args:
        name: its folder.
        requirements: what to install; folders of this project are relative to its root.
    """

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return cache_folder() / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def own(self) -> bool:
        """Whether this project is what it holds."""
        return self.requirements[0] == "core"


def _folders(*plugins: str) -> tuple[str, ...]:
    return ("core", *(f"plugins/{name}" for name in plugins))


ENVIRONMENTS = (
    Environment("penstock", _folders("wire", "openai", *STAGES)),
    Environment("penstock-turbo", _folders("wire", "turbo", "openai", *STAGES)),
    Environment("penstock-minimal", _folders("wire", "openai", "retry")),
    Environment("openai", ("openai",)),
    Environment("any-llm-sdk", ("any-llm-sdk[openai]",)),
    Environment("langchain-openai", ("langchain-openai",)),
    Environment("pydantic-ai", ("pydantic-ai-slim[openai]",)),
    Environment("litellm", ("litellm",)),
    # LiteLLM's cache imports its proxy, and that a soundfile with its library inside.
    Environment("litellm-proxy", ("litellm[proxy]", "soundfile<0.14")),
)


def cache_folder() -> Path:
    """Where environments live."""
    given = os.environ.get("PENSTOCK_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "penstock" / "bench"


def prepare(environment: Environment, *, upgrade: bool = False) -> str | None:
    """Make the environment ready; what went wrong when it cannot be."""
    mark = environment.folder / "installed.json"
    wanted = _fingerprint(environment)
    if not upgrade and mark.exists() and json.loads(mark.read_text())["fingerprint"] == wanted:
        return None
    print(f"setting up {environment.name}", flush=True)
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    made = _run([sys.executable, "-m", "venv", "--without-pip", str(environment.folder)])
    failure = made or _install(environment)
    if failure is None:
        distributions, size = _measured(environment)
        mark.write_text(json.dumps({"fingerprint": wanted, "distributions": distributions, "bytes": size}))
    return failure


def _install(environment: Environment) -> str | None:
    wanted: Sequence[str] = environment.requirements
    if environment.own:
        wanted = [*(str(ROOT / folder) for folder in wanted), "-c", str(ROOT / "constraints.txt")]
    python = str(environment.python)
    uv = [sys.executable, str(ROOT / "tools" / "uv.py"), "pip", "install", "--quiet"]
    uv += ["--python", python, "--compile-bytecode"]  # as pip does
    if environment.own:
        uv += ["--no-cache", "--no-sources"]  # the version stays, the sources do not; wheels, not links
    # Where there is no uv, pip does the same work.
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        python,
        "install",
        "--quiet",
    ]
    if _run([*uv, *wanted]) is None:
        return None
    return _run([*pip, *wanted])


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, cwd=ROOT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit status {done.returncode}")


def _fingerprint(environment: Environment) -> str:
    found = hashlib.sha256(repr((sys.version, environment.requirements)).encode())
    if environment.own:
        for folder in environment.requirements:
            for path in sorted((ROOT / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    status = path.stat()
                    found.update(f"{path.relative_to(ROOT)} {status.st_mtime_ns} {status.st_size}\n".encode())
    return found.hexdigest()


def _measured(environment: Environment) -> tuple[int, int]:
    packages = next((environment.folder / "lib").glob("python*/site-packages"))
    files = [path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return len(list(packages.glob("*.dist-info"))), sum(path.stat().st_size for path in files)


def size(environment: Environment) -> dict[str, int]:
    """Its distributions, and the bytes of their files without compiled caches."""
    noted = json.loads((environment.folder / "installed.json").read_text())
    return {"distributions": noted["distributions"], "bytes": noted["bytes"]}


def versions(environment: Environment) -> dict[str, str]:
    """The version of each distribution in it."""
    packages = next((environment.folder / "lib").glob("python*/site-packages"))
    names = (path.name.removesuffix(".dist-info").rpartition("-") for path in packages.glob("*.dist-info"))
    return {name.replace("_", "-").lower(): version for name, _, version in sorted(names)}
