"""
Real servers for the tests in this folder.

`PENSTOCK_PEERS` names the folder with the scripts that make a tiny model and serve it; without it the tests
skip. The packages the scripts need are the dependency group `system`, installed by `make system`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

KEY = "sk-test"
READY_WITHIN = 60.0
NEEDED = ("gguf", "numpy", "safetensors", "tokenizers", "xllamacpp")


@pytest.fixture(scope="session")
def peers() -> Path:
    """The folder with the scripts; skips where it is not named."""
    named = os.environ.get("PENSTOCK_PEERS")
    if not named:
        pytest.skip("PENSTOCK_PEERS names no folder with scripts that start real servers")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    # Not a skip: where the peers are named, these tests are meant to run.
    assert missing == [], f"run `make system`: {', '.join(missing)} are not installed"
    return Path(named)


@pytest.fixture(scope="session")
def models(peers: Path, pytestconfig: pytest.Config) -> Path:
    """The folder with the tiny models, kept in pytest's cache until the script that makes them changes."""
    script = peers / "make_tiny.py"
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
    cache = pytestconfig.cache
    assert cache is not None
    kept = cache.mkdir("tiny-models") / digest
    if not kept.exists():
        fresh = kept.with_name(f"{digest}-{os.getpid()}")
        subprocess.run([sys.executable, script, fresh], check=True, stdout=subprocess.DEVNULL)
        # Another process may have been quicker; its models are the same.
        with contextlib.suppress(OSError):
            fresh.rename(kept)
    return kept


class LlamaServer:
    """
    llama.cpp's server in a process of its own.

    Args:
        command: how to start it, without the port.
        folder: for its output.
        modes: `key` asks for the key, `embed` serves embeddings.
    """

    def __init__(self, command: list[Path | str], folder: Path, *modes: str) -> None:
        self.port = free_port()
        self.log = folder / f"{'-'.join(('llama', *modes))}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([*command, str(self.port), *modes], stdout=log, stderr=log)
        self._wait()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _wait(self) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"llama-server did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    """A port nobody listens on, below the range the system hands out to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def llama(peers: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A llama-server that chats and asks for `KEY`."""
    command = [sys.executable, peers / "xl_server.py", models / "tiny-scripted.gguf"]
    server = LlamaServer(command, tmp_path_factory.mktemp("llama"), "key")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def llama_embed(peers: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A llama-server that serves embeddings."""
    command = [sys.executable, peers / "xl_server.py", models / "tiny-embed.gguf"]
    server = LlamaServer(command, tmp_path_factory.mktemp("llama"), "embed")
    yield server
    server.stop()


class Tap:
    """
    A relay in front of a server that counts the requests which pass.

    Attributes:
        requests: heads of HTTP requests seen so far.
    """

    def __init__(self, port: int) -> None:
        self.requests = 0
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._open += [client, server]
                for source, sink, counted in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._relay, args=(source, sink, counted), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _relay(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if counted:
                    self.requests += data.count(b" HTTP/1.1\r\n")
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        # Shutting down wakes the threads that wait in accept and recv; closing alone would not.
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in (self._listener, *self._open):
            each.close()


@pytest.fixture
def tap(llama: LlamaServer) -> Iterator[Tap]:
    """A relay in front of the chat server."""
    relay = Tap(llama.port)
    yield relay
    relay.close()
