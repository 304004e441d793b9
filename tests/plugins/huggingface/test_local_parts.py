"""What a local model is made of, as far as it works without torch."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from penstock import errors
from penstock.messages import ChatRequest, Message, Tool
from penstock_huggingface import shelf as shelf_module
from penstock_huggingface.local_folder import listed, source_of
from penstock_huggingface.local_request import Task, refuse
from penstock_huggingface.local_text import AnswerText
from penstock_huggingface.shelf import ModelKey, Shelf

SMILE = "🙂".encode()


class Bytes:
    """A tokenizer whose tokens are bytes."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", "replace")


def spoken(text: bytes, **values: Any) -> tuple[list[Any], AnswerText]:
    """The chunks of an answer that comes byte by byte, until it stops."""
    answer = AnswerText(Bytes(), Task(inputs={}, prompt_tokens=1, max_new_tokens=9, options={}, **values))
    chunks = []
    for token in text:
        chunks += answer.add(token)
        if answer.stopped:
            break
    return chunks + answer.flush(), answer


def joined(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_character_is_given_out_when_it_is_whole() -> None:
    chunks, _ = spoken(b"a" + SMILE + b"b")
    assert [chunk.text for chunk in chunks] == ["a", "🙂", "b"]


def test_bytes_that_never_become_a_character_are_given_out_all_the_same() -> None:
    chunks, _ = spoken(b"\xff" * 20 + b"a" + SMILE[:2])
    assert joined(chunks) == "\ufffd" * 20 + "a" + "\ufffd"


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        (b"one two END three", ("END",), "one two "),
        (b"one ENd two", ("END",), "one ENd two"),
        (b"one EN", ("END",), "one EN"),
        (b"a\n\nb", ("\n\n", "zz"), "a"),
        (b"aab", ("aa", "aab"), ""),
    ],
)
def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(
    text: bytes, stops: tuple[str, ...], expected: str
) -> None:
    chunks, answer = spoken(text, stops=stops)
    assert joined(chunks) == expected
    assert answer.stopped == (expected != text.decode())


def test_tool_calls_are_taken_out_of_the_text() -> None:
    call = b'<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    chunks, answer = spoken(b"Well. " + call + call, tools=True)
    deltas = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert [(delta.position, delta.name, json.loads(delta.arguments)) for delta in deltas] == [
        (0, "f", {"a": 1}),
        (1, "f", {"a": 1}),
    ]
    assert len({delta.id for delta in deltas}) == 2
    assert joined(chunks) == "Well. "
    assert answer.called


@pytest.mark.parametrize(
    "text", [b"<tool_call>no json</tool_call>", b'<tool_call>{"name": 1}</tool_call>', b"a <tool_call>{"]
)
def test_a_tool_call_that_cannot_be_read_is_text(text: bytes) -> None:
    chunks, answer = spoken(text, tools=True)
    assert joined(chunks) == text.decode()
    assert not answer.called


def test_marks_of_tools_are_text_where_no_tools_were_offered() -> None:
    text = b'<tool_call>{"name": "f"}</tool_call>'
    assert joined(spoken(text)[0]) == text.decode()


def test_a_leading_thought_is_reasoning() -> None:
    chunks, _ = spoken(b"<think>so</think>\nYes", think_tags=True)
    assert "".join(chunk.reasoning for chunk in chunks) == "so"
    assert joined(chunks) == "Yes"


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, architecture in (("chatty", "LlamaForCausalLM"), ("embedder", "BertModel")):
        (tmp_path / name).mkdir()
        config = {"architectures": [architecture], "max_position_embeddings": 512}
        (tmp_path / name / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_a_folder_of_models_serves_each_by_its_name(folder: Path) -> None:
    assert source_of("chatty", folder, "local") == str(folder / "chatty")
    with pytest.raises(errors.ModelNotFoundError, match="there are: chatty, embedder"):
        source_of("notes", folder, "local")


def test_the_folder_of_a_model_serves_that_model_only(folder: Path) -> None:
    assert source_of("chatty", folder / "chatty", "local") == str(folder / "chatty")
    with pytest.raises(errors.ModelNotFoundError):
        source_of("embedder", folder / "chatty", "local")


@pytest.mark.parametrize("name", ["../chatty", "/etc", ".", "", "chatty/../chatty"])
def test_no_name_leads_out_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        source_of(name, folder, "local")


def test_without_a_folder_names_are_those_of_the_hub() -> None:
    assert source_of("org/name-1.5", None, "local") == "org/name-1.5"
    for name in ("/etc/passwd", "../x", "./x", "a/b/c", "~/x", ""):
        with pytest.raises(errors.ModelNotFoundError):
            source_of(name, None, "local")


def test_the_models_of_a_folder_are_listed_with_what_their_files_say(folder: Path) -> None:
    chatty, embedder = listed(folder, "local", {str(folder / "chatty"): 1000})
    assert (chatty.id, chatty.context_length) == ("chatty", 512)
    assert chatty.capabilities == {"chat", "stream", "embed"}
    assert chatty.extra == {"loaded": True, "memory_bytes": 1000}
    assert embedder.capabilities == {"embed"}
    assert embedder.extra == {"loaded": False}
    (folder / "embedder" / "config.json").write_text("no json", "utf-8")
    assert listed(folder, "local", {})[1].context_length is None


# Requests


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
        ({"frequency_penalty": 0.1}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": (Tool("f"),), "tool_choice": "required"}, "tool_choice"),
        ({"extra": {"unheard_of": 1}}, "extra"),
    ],
)
def test_what_a_local_model_cannot_do_is_refused_by_name(values: dict[str, Any], param: str) -> None:
    request = ChatRequest(model="m", messages=(Message("user", "Hi"),), **values)
    with pytest.raises(errors.InvalidRequestError, match="local") as caught:
        refuse(request, "local")
    assert caught.value.param == param


# The shelf


def key_of(source: str = "m") -> ModelKey:
    return ModelKey(source, "chat", None, "auto", 1, False, 0)


def test_a_model_is_loaded_once_for_all_who_ask_and_let_go_with_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads: list[ModelKey] = []
    gate = threading.Event()

    def load(key: ModelKey) -> Any:
        gate.wait(10)
        loads.append(key)
        return object()

    monkeypatch.setattr(shelf_module, "load", load)
    shelf = Shelf()
    places = [shelf.take(key_of(), "local") for _ in range(3)]
    assert places[0].wait(0) is None
    gate.set()
    assert len({id(place.wait(10)) for place in places}) == 1
    assert len(loads) == 1
    for left, place in zip((1, 1, 0), places, strict=True):
        shelf.give_back(place)
        assert shelf.count() == left
    shelf.take(key_of(), "local").wait(10)
    assert len(loads) == 2


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError("no file named config.json\nand much more"), errors.ModelNotFoundError),
        (ValueError("unrecognized model"), errors.ModelNotFoundError),
        (RuntimeError("CUDA out of memory"), errors.OverloadedError),
        (RuntimeError("shape mismatch"), errors.ServerError),
    ],
)
def test_a_load_that_fails_is_told_to_all_and_tried_anew(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[errors.ProviderError]
) -> None:
    def load(key: ModelKey) -> Any:
        raise raised

    monkeypatch.setattr(shelf_module, "load", load)
    shelf = Shelf()
    place = shelf.take(key_of(), "local")
    caught = []
    for _ in range(2):
        with pytest.raises(kind) as failed:
            place.wait(10)
        caught.append(failed.value)
    assert caught[0] is not caught[1]
    assert "\n" not in str(caught[0])
    # The place of a failed load is gone already; giving it back must not touch another's.
    other = shelf.take(key_of(), "local")
    shelf.give_back(place)
    assert other is not place
    with pytest.raises(kind):
        other.wait(10)
