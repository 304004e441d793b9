"""
Secrets that are planted, and a net over everything that comes out of Penstock.

A secret is a core of letters and digits that occurs nowhere else, in whatever wrapping its place asks for.
The scanner looks for the core, so neither another encoding nor half of a masked text hides a leak; and for
the core in base64 and in hexadecimal.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SHOWN = 12
"""Characters of a core that are a leak: providers themselves show the last four of a key."""


@dataclass(frozen=True)
class Planted:
    """One secret: its core, and the value in which it is planted."""

    core: str
    value: str

    def forms(self) -> Iterator[str]:
        """What may not be found anywhere, in lower case."""
        for start in range(len(self.core) - SHOWN + 1):
            yield self.core[start : start + SHOWN].lower()
        for lead in range(3):
            coded = base64.b64encode(bytes(lead) + self.core.encode()).decode()
            # Without the characters that what comes before and after has a part in.
            yield coded[4 if lead else 0 : len(coded) - 4].lower()
        yield self.core.encode().hex()


class Secrets:
    """The secrets of a test, by the place they are planted in."""

    def __init__(self) -> None:
        self.planted: dict[str, Planted] = {}

    def plant(self, place: str, wrapping: str = "{}") -> str:
        """A new secret for a place; `wrapping` holds `{}` where the core goes."""
        digest = hashlib.sha256(place.encode()).digest()
        core = base64.b32encode(digest).decode()[:24]
        core = core[:12] + core[12:].lower()
        self.planted[place] = Planted(core, wrapping.format(core))
        return self.planted[place].value

    def found_in(self, text: str | bytes) -> set[str]:
        """The places whose secret is in the text."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        lowered = text.lower()
        return {
            place for place, each in self.planted.items() if any(form in lowered for form in each.forms())
        }

    def quoted(self) -> str:
        """All of them in one text, as a server or a plugin might say them."""
        said = []
        for each in self.planted.values():
            basic = base64.b64encode(f"ada:{each.value}".encode()).decode()
            said.append(f"Bearer {each.value} Basic {basic} ?key={each.value}")
        return "; ".join(said)


class _Everything(logging.Handler):
    """Keeps each record as a handler of the application would write it, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Net:
    """
    Everything that came out, with the name of the door it came through.

    Attributes:
        caught: `(door, text)`.
    """

    def __init__(self, secrets: Secrets, spans: InMemorySpanExporter, logged: list[str]) -> None:
        self.secrets = secrets
        self.caught: list[tuple[str, str | bytes]] = []
        self._spans = spans
        self._logged = logged
        self.events: list[Any] = []

    def text(self, door: str, text: str | bytes) -> None:
        """A text or file as it is."""
        self.caught.append((door, text))

    def thing(self, door: str, thing: Any) -> None:
        """An object, by every way to look at it or take it elsewhere."""
        for name, look in (("repr", repr), ("str", str), ("format", format), ("ascii", ascii)):
            self.text(f"{name} of {door}", look(thing))
        for name, take in (("pickle", pickle.dumps), ("copy", copy.copy), ("deepcopy", copy.deepcopy)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a copy of a client was never closed
                    taken = take(thing)
                    self.text(f"{name} of {door}", taken if isinstance(taken, bytes) else repr(taken))
                    del taken
            except Exception as refused:
                self.text(f"refused {name} of {door}", str(refused))

    def error(self, door: str, error: BaseException) -> None:
        """An exception with everything that hangs on it."""
        waiting: list[BaseException] = [error]
        seen: set[int] = set()
        while waiting:
            each = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            name = f"{door}: {type(each).__name__}"
            formatted = traceback.TracebackException.from_exception(each)
            self.text(f"traceback of {name}", "".join(formatted.format()))
            self.thing(name, each)
            self.text(f"fields of {name}", repr((each.args, vars(each), getattr(each, "__notes__", ()))))
            attempts = getattr(each, "attempts", ())
            self.text(f"attempts of {name}", repr([(a, a.head and a.head.status) for a in attempts]))
            more = [each.__cause__, each.__context__, *(a.error for a in attempts)]
            for name in ("errors", "exceptions"):
                held = getattr(each, name, ())
                more += held if isinstance(held, tuple | list) else ()
            waiting += [other for other in more if other is not None]

    def client(self, client: Any) -> None:
        """A client and its parts, what it says of itself, and its metrics."""
        parts = client._engine.parts
        self.thing("client", client)
        self.thing("settings", client.settings)
        self.thing("redactor", client.settings.redactor)
        self.thing("engine", client._engine)
        for name in parts.instances():
            self.thing(f"provider {name}", parts.provider(name))
            self.thing(f"codec {name}", client.provider(name))
        self.thing("transport", client._engine.runtime.transport)
        for ring in parts.rings:
            self.thing(f"stage {ring.spec.name}", ring.stage)
            stats = getattr(ring.stage, "stats", None)
            if stats is not None:
                self.text(f"stats of {ring.spec.name}", repr(stats()))
        self.thing("health", client.health())
        metrics = client.listener("metrics")
        self.text("exposition", metrics.exposition())
        self.thing("snapshot", client.metrics())

    def found(self) -> list[str]:
        """Each leak: which secret, through which door."""
        spans = "\n".join(span.to_json() for span in self._spans.get_finished_spans())
        everything = [
            *self.caught,
            ("spans", spans),
            *((f"log: {line[:60]!r}", line) for line in self._logged),
            *((f"event {type(event).__name__}", repr(event)) for event in self.events),
        ]
        return sorted(
            {f"{place} in {door}" for door, text in everything for place in self.secrets.found_in(text)}
        )


@pytest.fixture
def secrets() -> Secrets:
    """The secrets of this test."""
    return Secrets()


@pytest.fixture
def net(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Net]:
    """A net over logs at DEBUG of every logger, spans, events and the standard streams."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    handler, root = _Everything(), logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("urllib3", "requests", "aiohttp", "asyncio")}
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    net = Net(secrets, exporter, handler.lines)
    yield net
    left = [each for each in root.handlers if type(each).__module__.startswith("penstock_logs")]
    assert not left, "a client has left its logging behind"
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as home and working directory, and an environment that says nothing of Penstock."""
    import os

    for name in list(os.environ):
        if name.startswith(("PENSTOCK", "OPENAI", "LOG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Setting:
    """
    A configuration with a secret in every place that takes one, in use.

    Attributes:
        folder: holds the files.
        environ: the environment of the client.
        path: the configuration.
    """

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        self.folder = folder
        self._secrets = secrets
        self.path = folder / "penstock.toml"
        self.key = secrets.plant("key from a file", "sk-{}")
        (folder / "key").write_text(f"{self.key}\n", encoding="utf-8")
        spare = secrets.plant("key from the environment", "hf_{}+/=")
        self.environ = {
            "SPARE_KEY": spare,
            "OPENAI_API_KEY": secrets.plant("key for another server", "sk-{}"),
            "PENSTOCK__PROVIDERS__SPARE__ORGANIZATION": "org-no-secret",
        }
        netrc = folder / ".netrc"
        netrc.write_text(f"default login ada password {secrets.plant('netrc')}\n", encoding="utf-8")
        netrc.chmod(0o600)

    def write(self, url: str, *, logs: str = 'existing = "keep"', more: str = "") -> Path:
        """The configuration for an upstream at `url`."""
        plant, folder = self._secrets.plant, self.folder
        header, query = plant("header", 'To"k\\en {}/+'), plant("query", "{}%2F+")
        self.path.write_text(
            f"""
version = 1
pipeline = ["guard", "cache", "routing", "cost", "retry", "breaker", "limiter"]
[providers.openai]
api_key = "file:{folder / "key"}"
base_url = "{url}?key={query}"
headers = {{ x-extra = {json.dumps(header)} }}
[providers.spare]
plugin = "openai"
api_key = "${{SPARE_KEY}}"
base_url = "{url}"
[profiles.production.providers.idle]
plugin = "openai"
api_key = "{plant("key of a profile")}"
base_url = "http://127.0.0.1:9/v1"
[routes.fast]
targets = ["openai/first", "spare/second"]
[retry]
base = 0
throttle_base = 0
max_attempts = 2
[limiter]
learn = "off"
[breaker]
consecutive_failures = 0
failure_rate = 0
[cache]
mode = "aggressive"
store = "sqlite"
path = "{folder / "cache.sqlite"}"
[metrics]
[tracing]
propagate = true
content = true
[logs]
level = "DEBUG"
format = "json"
file = "{folder / "log.txt"}"
loggers = ["root"]
{logs}
{more}
""",
            encoding="utf-8",
        )
        return self.path

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What Penstock wrote: the cache with its write-ahead log, and the logs."""
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.name.startswith(("cache.sqlite", "log.txt")):
                yield path.name, path.read_bytes()


@pytest.fixture
def setting(bare_environment: Path, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """A configuration with a secret in every place that takes one."""
    made = Setting(bare_environment, secrets)
    monkeypatch.setenv("NETRC", str(bare_environment / ".netrc"))
    return made
