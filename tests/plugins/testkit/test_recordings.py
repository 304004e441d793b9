"""Recordings: loading, filters, splits and playing them back."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_testkit import Recordings, Simulator, splits
from penstock_testkit.plan import Data, Head, Plan, body_of, head_of
from penstock_testkit.recordings import events

RECORDED = {
    "source": "a test",
    "provider": "openai",
    "endpoint": "chat/completions",
    "method": "POST",
    "url": "https://api.openai.com/v1/chat/completions?x=1",
    "request_headers": {},
    "request_body": {"model": "m"},
    "status": 200,
    "response_headers": {"Content-Type": "text/event-stream", "transfer-encoding": "chunked"},
    "response_body": 'data: {"a": "\u2028"}\n\ndata: [DONE]\n\ntail',
    "stream": True,
    "features": ["stream"],
    "notes": ["url_inferred"],
}
REPORTED = {
    "source": "an issue",
    "provider": "ollama",
    "method": "POST",
    "url": "http://localhost/api/chat",
    "request_headers": {},
    "request_body": None,
    "status": 404,
    "response_headers": {},
    "response_body": '{"error": "x"}',
    "stream": False,
    "basis": "issue",
    "partial": True,
    "name": "gone",
}
CASE = {"name": "lf", "kind": "sse", "chunks_b64": ["ZGE=", "dGE6"], "expect": [{"data": "1"}], "why": "w"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, content in (
        ("interactions/openai/one.json", RECORDED),
        ("reported/gone.json", REPORTED),
        ("edge/stream_edge_cases.json", [CASE]),
    ):
        file = tmp_path / place
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content), "utf-8")
    return tmp_path


def test_recordings_are_loaded_with_what_they_tell(folder: Path) -> None:
    first, second = Recordings(folder)
    assert (first.name, first.path) == ("interactions/openai/one", "/v1/chat/completions")
    assert (first.notes, first.basis) == ({"url_inferred"}, "")
    assert first.response_headers["content-type"] == "text/event-stream"
    assert (second.endpoint, second.basis, second.partial) == ("", "issue", True)
    assert len(Recordings(folder)) == 2


def test_recordings_are_filtered_by_every_condition(folder: Path) -> None:
    recordings = Recordings(folder)
    for conditions in (
        {"provider": "openai"},
        {"endpoint": "chat/completions"},
        {"status": 200},
        {"stream": True},
        {"feature": "stream"},
        {"reported": False},
        {"matching": lambda recording: recording.request_body is not None},
    ):
        assert [r.provider for r in recordings.where(**conditions)] == ["openai"], conditions  # type: ignore[arg-type]
    assert [r.provider for r in recordings.where(without_note="url_inferred")] == ["ollama"]
    assert recordings.where(provider="openai", status=404) == []


def test_stream_cases_are_bytes_and_expectations(folder: Path) -> None:
    (case,) = Recordings(folder).stream_cases()
    assert (case.chunks, case.body, case.expect) == ((b"da", b"ta:"), b"data:", ({"data": "1"},))


def test_a_recorded_stream_is_played_event_by_event(folder: Path, plan_of: Callable[..., Plan]) -> None:
    recording = Recordings(folder).where(stream=True)[0]
    simulator = Simulator([recording.fault()])
    plan = plan_of(simulator)
    assert plan[0] == Head(200, {"content-type": "text/event-stream"}, "chunked")
    assert [step.data for step in plan if isinstance(step, Data)] == [
        'data: {"a": "\u2028"}\n\n'.encode(),
        b"data: [DONE]\n\n",
        b"tail",
    ]
    assert repr(recording.fault()) == "recording('interactions/openai/one')"


def test_lines_are_the_events_of_ndjson() -> None:
    body = '{"a": "\u2028"}\n{"b": 1}\r\n{"c"'.encode()
    assert list(events(body)) == ['{"a": "\u2028"}\n'.encode(), b'{"b": 1}\r\n', b'{"c"']


def test_splits_keep_the_bytes_and_repeat_with_their_seed() -> None:
    body = os.urandom(5000)
    ways = dict(splits(body, seed=4, rounds=2))
    assert all(b"".join(pieces) == body and all(pieces) for pieces in ways.values())
    assert [len(pieces) for pieces in ways.values()][:2] == [1, 5000]
    assert dict(splits(body, seed=4, rounds=2)) == ways
    assert dict(splits(body, seed=5, rounds=2)) != ways
    assert [pieces for _, pieces in splits(b"")] == [[], [], [], [], []]


def test_a_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_RECORDINGS", raising=False)
    with pytest.raises(LookupError, match="PENSTOCK_RECORDINGS"):
        Recordings()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Recordings(tmp_path / "nowhere")


@pytest.mark.skipif("PENSTOCK_RECORDINGS" not in os.environ, reason="PENSTOCK_RECORDINGS names no folder")
def test_the_real_recordings_load_and_play(plan_of: Callable[..., Plan]) -> None:
    recordings = Recordings()
    listed = [
        json.loads(line) for line in (recordings.folder / "manifest.jsonl").read_text("utf-8").splitlines()
    ]
    recorded = recordings.where(reported=False)
    assert {f"{recording.name}.json" for recording in recorded} == {entry["file"] for entry in listed}
    for recording in recordings:
        plan = plan_of(Simulator([recording.fault()]))
        head = head_of(plan)
        assert head is not None
        assert (head.status, body_of(plan)) == (recording.status, recording.body), recording.name
    raw: list[dict[str, Any]] = json.loads(
        (recordings.folder / "edge" / "stream_edge_cases.json").read_text("utf-8")
    )
    assert [case.body for case in recordings.stream_cases()] == [
        b"".join(map(base64.b64decode, case["chunks_b64"])) for case in raw
    ]
