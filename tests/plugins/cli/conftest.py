"""The command in front of a simulated provider: in this process, in one of its own, and on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from penstock_cli.main import cli
from penstock_testkit.server import SimulatorServer

KEY = "sk-cli-test-0123456789abcdef"
COMMAND = [sys.executable, "-c", "from penstock_cli.main import main; main()"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and an environment that says nothing of Penstock."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts the tests in the background lets all its descendants ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(("PENSTOCK", "OPENAI", "LOG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run() -> Callable[..., Result]:
    """Invoke the command in this process."""

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="penstock")

    return invoke


@pytest.fixture
def upstream(
    penstock_simulator: Callable[..., SimulatorServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimulatorServer]:
    """Start a simulated provider that `openai/...` reaches; waits between attempts are tiny."""

    def start(*arguments: Any, **options: Any) -> SimulatorServer:
        server = penstock_simulator(*arguments, **options)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("PENSTOCK__PROVIDERS__OPENAI__BASE_URL", server.url)
        monkeypatch.setenv("PENSTOCK__RETRY__BASE", "0.001")
        monkeypatch.setenv("PENSTOCK__RETRY__THROTTLE_BASE", "0.001")
        return server

    return start


@pytest.fixture
def key() -> str:
    """The key of the environment `upstream` sets up."""
    return KEY


@pytest.fixture
def command() -> list[str]:
    """How to start the command in a process of its own."""
    return COMMAND


class Terminal:
    """The command on a pseudo-terminal; what it writes to stdout and stderr comes together."""

    def __init__(self, *arguments: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)

    def until(self, text: str, *, within: float = 30.0) -> str:
        """Read until `text` has come; what came with it."""
        begin, due = len(self.shown), time.monotonic() + within
        while text not in self.shown[begin:]:
            assert time.monotonic() < due, f"{text!r} did not come; so far: {self.shown!r}"
            assert self._read(), f"the command ended before {text!r} came: {self.shown!r}"
        return self.shown[begin:]

    def type(self, text: str) -> None:
        """What a person types; `\\x03` is Ctrl-C, `\\x04` Ctrl-D."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(30)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.shown += data.decode()
        return bool(data)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start the command on a terminal."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a plugin of one module for this test, in this process and those it starts."""
    from penstock.plugins import installed

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def add(name: str, source: str, *, distribution: str = "", version: str = "9.9") -> None:
        distribution = distribution or f"other-{name}"
        module = distribution.replace("-", "_")
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[penstock]\n{name} = {module}\n", encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
        installed.cache_clear()
        fresh_group(monkeypatch)

    yield add
    installed.cache_clear()


def fresh_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the group ask the plugins again: it does so once for each process."""
    commands: dict[str, click.Command] = {}
    monkeypatch.setattr(cli, "_plugins_asked", False)
    monkeypatch.setattr(cli, "commands", commands)
