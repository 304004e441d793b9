"""
Recorded provider traffic as objects: for tests of codecs, and played back by the simulator.

A folder holds one JSON file per interaction under `interactions/` and `reported/`, and byte-level stream
cases in `edge/stream_edge_cases.json`. It is read where it is, named by `PENSTOCK_RECORDINGS`.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from penstock_testkit.faults import Fault
from penstock_testkit.plan import END, Data, Head, Plan

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion

VARIABLE = "PENSTOCK_RECORDINGS"

_EVENT_END = re.compile(rb"(?:\r\n\r\n|\n\n|\r\r)")
# The body was stored decompressed and whole; these told how it had been moved.
_FRAMING = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """
    One interaction.

    Args:
        name: the file's place inside the folder, without `.json`.
        source: where it was recorded, or who reported it.
        provider: such as `openai`, `tgi`, `ollama`.
        endpoint: such as `chat/completions`; "" when it was not told.
        method, url: of the request.
        request_headers: as recorded.
        request_body: the parsed JSON, None when it was not recorded.
        status: HTTP status.
        response_headers: names in lower case.
        response_body: the decompressed body.
        stream: whether the answer was streamed.
        features: what it shows, such as `tools`.
        notes: what is not original, such as `body_reserialized`.
        basis: where a reported body comes from, such as `issue`; "" for recorded ones.
        partial: a reported body is abridged.
    """

    name: str
    source: str
    provider: str
    endpoint: str
    method: str
    url: str
    request_headers: Mapping[str, str] = field(repr=False)
    request_body: Any = field(repr=False)
    status: int
    response_headers: Mapping[str, str] = field(repr=False)
    response_body: str = field(repr=False)
    stream: bool
    features: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    basis: str = ""
    partial: bool = False

    @property
    def body(self) -> bytes:
        """The response body in bytes."""
        return self.response_body.encode("utf-8", "surrogatepass")

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path

    def plan(self) -> Plan:
        """What the server did, for the simulator: a stream goes event by event."""
        headers = {name: value for name, value in self.response_headers.items() if name not in _FRAMING}
        if not self.stream:
            return (Head(self.status, headers), Data(self.body, "content"), END)
        pieces = (Data(event, "content") for event in events(self.body))
        return (Head(self.status, headers, "chunked"), *pieces, END)

    def fault(self) -> Fault:
        """An entry for a script: this recording is the answer, whatever was asked."""
        plan = self.plan()

        def change(_: Plan, occasion: Occasion) -> Plan:
            return plan

        return Fault(f"recording({self.name!r})", change)

    def splits(self, *, seed: int = 0, rounds: int = 3) -> Iterator[tuple[str, list[bytes]]]:
        """The response body in pieces; see `splits`."""
        return splits(self.body, seed=seed, rounds=rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCase:
    """
    A synthetic case for a stream decoder.

    Args:
        name: what it is called.
        kind: `sse` or `ndjson`.
        chunks: the bytes as they are read, split where it hurts.
        expect: the events that must come out.
        why: who sends this.
    """

    name: str
    kind: Literal["sse", "ndjson"]
    chunks: tuple[bytes, ...]
    expect: tuple[Any, ...]
    why: str

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join(self.chunks)


class Recordings:
    """
    A folder of recordings; iterates over `Recording` objects in the order of their names.

    Args:
        folder: None takes the folder that `PENSTOCK_RECORDINGS` names.

    Raises:
        LookupError: no folder is named.
        FileNotFoundError: it does not exist.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        named = folder if folder is not None else os.environ.get(VARIABLE, "")
        if not named:
            raise LookupError(f"no recordings: set {VARIABLE} to their folder")
        self.folder = Path(named)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"the folder of recordings {str(self.folder)!r} does not exist")
        self._loaded: tuple[Recording, ...] | None = None

    def __iter__(self) -> Iterator[Recording]:
        if self._loaded is None:
            files = [*self.folder.glob("interactions/**/*.json"), *self.folder.glob("reported/**/*.json")]
            self._loaded = tuple(_load(file, self.folder) for file in sorted(files))
        return iter(self._loaded)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def where(
        self,
        *,
        provider: str | None = None,
        endpoint: str | None = None,
        status: int | None = None,
        stream: bool | None = None,
        feature: str | None = None,
        without_note: str | None = None,
        reported: bool | None = None,
        matching: Callable[[Recording], bool] | None = None,
    ) -> list[Recording]:
        """
        The recordings that meet every condition given.

        Args:
            provider, endpoint, status, stream: equal to this.
            feature: among the features.
            without_note: not among the notes.
            reported: quoted from reports (True) or recorded (False).
            matching: any other condition.
        """
        return [
            recording
            for recording in self
            if (provider is None or recording.provider == provider)
            and (endpoint is None or recording.endpoint == endpoint)
            and (status is None or recording.status == status)
            and (stream is None or recording.stream is stream)
            and (feature is None or feature in recording.features)
            and (without_note is None or without_note not in recording.notes)
            and (reported is None or bool(recording.basis) is reported)
            and (matching is None or matching(recording))
        ]

    def stream_cases(self) -> tuple[StreamCase, ...]:
        """The byte-level cases; empty when the folder has none."""
        file = self.folder / "edge" / "stream_edge_cases.json"
        if not file.is_file():
            return ()
        return tuple(
            StreamCase(
                name=case["name"],
                kind=case["kind"],
                chunks=tuple(base64.b64decode(chunk) for chunk in case["chunks_b64"]),
                expect=tuple(case["expect"]),
                why=case.get("why", ""),
            )
            for case in json.loads(file.read_text("utf-8"))
        )

    def __repr__(self) -> str:
        return f"<Recordings in {str(self.folder)!r}>"


def events(body: bytes) -> Iterator[bytes]:
    """A streamed body in pieces that keep their ends: events of SSE, else lines."""
    marks = list(_EVENT_END.finditer(body))
    if not marks:
        yield from body.splitlines(keepends=True)
        return
    start = 0
    for mark in marks:
        yield body[start : mark.end()]
        start = mark.end()
    if start < len(body):
        yield body[start:]


def splits(body: bytes, *, seed: int = 0, rounds: int = 3) -> Iterator[tuple[str, list[bytes]]]:
    """
    The same bytes as different reads, each with a name for messages: whole, byte by byte, at random.

    Args:
        body: the bytes; pieces are never empty, an empty body has no pieces.
        seed: of the random splits; equal seeds give equal splits.
        rounds: how many random splits.
    """
    yield "whole", [body] if body else []
    yield "byte by byte", [body[i : i + 1] for i in range(len(body))]
    for turn in range(rounds):
        dice = random.Random(f"{seed}/{turn}")
        pieces, start = [], 0
        while start < len(body):
            # Mostly a few bytes, sometimes a long read, as sockets bring them.
            width = dice.randint(1, 12) if dice.random() < 0.7 else dice.randint(13, 2000)
            pieces.append(body[start : start + width])
            start += width
        yield f"random split {turn} of seed {seed}", pieces


def _load(file: Path, folder: Path) -> Recording:
    data = json.loads(file.read_text("utf-8"))
    return Recording(
        name=file.relative_to(folder).with_suffix("").as_posix(),
        source=data.get("source", ""),
        provider=data["provider"],
        endpoint=data.get("endpoint", ""),
        method=data.get("method", "POST"),
        url=data["url"],
        request_headers=data.get("request_headers") or {},
        request_body=data.get("request_body"),
        status=data["status"],
        response_headers={name.lower(): value for name, value in data["response_headers"].items()},
        response_body=data["response_body"],
        stream=data["stream"],
        features=frozenset(data.get("features", ())),
        notes=frozenset(data.get("notes", ())),
        basis=data.get("basis", ""),
        partial=data.get("partial", False),
    )
