"""`penstock chat` against a real server."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer

MODEL = "openai/gpt-4o-mini"
ANSI = "\x1b[31mred\x1b]0;title\x07 alert\x1b[0m"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16

Run = Callable[..., Result]
Upstream = Callable[..., SimulatorServer]


def sent(server: SimulatorServer, number: int = -1) -> dict[str, Any]:
    body: dict[str, Any] = server.requests[number].json
    return body


# Asking


def test_an_answer_is_streamed_to_stdout(run: Run, upstream: Upstream) -> None:
    server = upstream(text="Hello to you.")
    result = run("chat", MODEL, "Hello")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hello to you.\n", "")
    assert sent(server)["stream"] is True
    assert sent(server)["messages"] == [{"role": "user", "content": "Hello"}]


def test_no_stream_waits_for_the_whole_answer(run: Run, upstream: Upstream) -> None:
    server = upstream(text="Hello to you.")
    result = run("chat", MODEL, "Hello", "--no-stream")
    assert (result.exit_code, result.stdout) == (0, "Hello to you.\n")
    assert not sent(server).get("stream")


def test_a_bare_name_finds_its_provider(run: Run, upstream: Upstream) -> None:
    upstream(text="Hi.")
    assert run("chat", "gpt-4o-mini", "Hello").stdout == "Hi.\n"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_piped_prompt_is_read_from_stdin(run: Run, upstream: Upstream, arguments: list[str]) -> None:
    server = upstream()
    result = run("chat", MODEL, *arguments, stdin="two\nlines\n")
    assert result.exit_code == 0
    assert sent(server)["messages"] == [{"role": "user", "content": "two\nlines"}]


def test_the_argument_is_the_prompt_even_when_stdin_is_a_pipe(run: Run, upstream: Upstream) -> None:
    server = upstream()
    run("chat", MODEL, "the argument", stdin="the pipe")
    assert sent(server)["messages"] == [{"role": "user", "content": "the argument"}]


def test_options_become_parameters_of_the_request(run: Run, upstream: Upstream, tmp_path: Path) -> None:
    server = upstream()
    image = tmp_path / "cat.png"
    image.write_bytes(PNG)
    arguments = ("--system", "Be brief.", "--temperature", "0.5", "--max-tokens", "9", "--image", str(image))
    result = run("chat", MODEL, "What is this?", *arguments, "-p", "seed=7", "-p", "extra.top_k=5")
    assert result.exit_code == 0
    body = sent(server)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    text, picture = body["messages"][1]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert picture["image_url"]["url"].endswith(base64.b64encode(PNG).decode())
    assert (body["temperature"], body["seed"], body["top_k"]) == (0.5, 7, 5)
    assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_a_schema_is_sent_and_the_answer_parsed(run: Run, upstream: Upstream, tmp_path: Path) -> None:
    server = upstream()
    schema = {
        "type": "object",
        "title": "person",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    path = tmp_path / "person.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    result = run("chat", MODEL, "Ada Lovelace", "--schema", str(path), "--json")
    assert result.exit_code == 0
    wanted = sent(server)["response_format"]["json_schema"]
    assert (wanted["name"], wanted["schema"]["required"]) == ("person", ["name"])
    assert isinstance(json.loads(result.stdout)["parsed"]["name"], str)


def test_an_answer_that_does_not_fit_the_schema_is_an_error(
    run: Run, upstream: Upstream, tmp_path: Path
) -> None:
    upstream([faults.ok("this is no JSON")])
    path = tmp_path / "schema.json"
    path.write_text('{"type": "object"}', encoding="utf-8")
    result = run("chat", MODEL, "x", "--schema", str(path))
    assert result.exit_code == 1
    assert result.stdout == "this is no JSON\n"
    assert "OutputValidationError" in result.stderr


def test_tool_calls_are_shown(run: Run, upstream: Upstream) -> None:
    upstream()
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    result = run("chat", MODEL, "use get weather", "-p", f"tools={json.dumps(tools)}")
    assert result.stdout == "get_weather({})\n"


def test_an_answer_cut_off_by_the_limit_of_tokens_says_so(run: Run, upstream: Upstream) -> None:
    upstream(text="one two three four")
    result = run("chat", MODEL, "count", "--max-tokens", "2")
    assert result.stdout == "one two\n"
    assert "cut off" in result.stderr


def test_a_config_file_and_a_profile_are_used(
    run: Run, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = upstream([faults.status(503)] * 5)
    path = tmp_path / "other.toml"
    path.write_text("[retry]\nmax_attempts = 2\n[profiles.patient.retry]\nmax_attempts = 4\n", "utf-8")
    assert run("chat", MODEL, "x", "--config", str(path)).exit_code == 1
    assert server.count() == 2
    server.reset()
    assert run("chat", MODEL, "x", "--config", str(path), "--profile", "patient").exit_code == 1
    assert server.count() == 4


# The JSON document


def test_json_prints_one_document_with_everything(run: Run, upstream: Upstream) -> None:
    upstream([faults.status(503)], text="Hello to you.")
    result = run("chat", MODEL, "Hello", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert set(document) == {
        "age", "attempts", "cached", "cost", "finish_reason", "model", "parsed", "reasoning",
        "refusal", "request_id", "target", "text", "tool_calls", "upstream_id", "usage",
    }  # fmt: skip
    assert document["text"] == "Hello to you."
    assert document["target"] == MODEL
    assert document["finish_reason"] == "stop"
    assert document["usage"]["output_tokens"] == 3
    assert document["cached"] is False
    first, second = document["attempts"]
    assert (first["number"], first["target"], first["delay"], first["status"]) == (1, MODEL, 0.0, 503)
    assert first["error"]["type"] == "OverloadedError"
    assert (second["number"], second["error"], second["status"]) == (2, None, 200)
    assert second["delay"] > 0
    assert second["duration"] > 0


def test_streamed_or_not_the_document_is_the_same(run: Run, upstream: Upstream) -> None:
    server = upstream(text="Hello to you.")
    documents = []
    for arguments in ([], ["--no-stream"]):
        document = json.loads(run("chat", MODEL, "Hello", "--json", *arguments).stdout)
        assert document["attempts"][0].pop("duration") > 0
        for changing in ("request_id", "upstream_id"):
            assert document.pop(changing)
        documents.append(document)
    assert documents[0] == documents[1]
    assert [request.stream for request in server.requests] == [True, False]


# The trace


@pytest.mark.parametrize("arguments", [[], ["--no-stream"], ["--json"]])
def test_the_trace_shows_attempts_waits_and_where_the_time_went(
    run: Run, upstream: Upstream, arguments: list[str]
) -> None:
    upstream([faults.status(503), faults.status(429, retry_after=0.05)], text="Hello to you.")
    result = run("chat", MODEL, "Hello", "--trace", *arguments)
    assert result.exit_code == 0
    assert "Hello to you." in result.stdout
    lines = result.stderr.splitlines()
    rows = [line for line in lines if line.strip()[:1].isdigit()]
    assert ["503 OverloadedError" in rows[0], "429 RateLimitError" in rows[1], " ok " in rows[2]] == [
        True
    ] * 3
    assert "waited" in result.stderr
    assert "ms" in rows[1]
    (total,) = [line for line in lines if line.startswith("total ")]
    assert "waiting between attempts" in total
    assert "until the first token" in total


def test_a_failed_call_has_a_trace_too_and_says_why_it_was_not_tried_again(
    run: Run, upstream: Upstream
) -> None:
    upstream([faults.status(503)] * 3)
    result = run("chat", MODEL, "Hello", "--trace")
    assert result.exit_code == 1
    assert "no further attempt: exhausted" in result.stderr
    assert result.stderr.count("503 OverloadedError") == 6  # three rows, three lines of the message


# Errors


def test_a_call_error_is_one_readable_message_and_exit_code_1(run: Run, upstream: Upstream) -> None:
    server = upstream([faults.status(429, retry_after=90)])
    result = run("chat", MODEL, "Hello")
    assert (result.exit_code, result.stdout, server.count()) == (1, "", 1)
    assert result.stderr.startswith("error: RateLimitError: ")
    assert "attempts: 1" in result.stderr
    assert "retry after: 90 s" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_cut_stream_shows_what_had_arrived_and_fails(run: Run, upstream: Upstream) -> None:
    upstream([faults.cut(after=2)], text="one two three four")
    result = run("chat", MODEL, "count")
    assert result.exit_code == 1
    assert result.stdout == "one two\n"
    assert "error: StreamInterrupted: " in result.stderr


def test_debug_adds_the_traceback(run: Run, upstream: Upstream) -> None:
    upstream([faults.status(401)] * 2)
    for arguments in (["--debug", "chat", MODEL, "x"], ["chat", MODEL, "x", "--debug"]):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr


def test_the_key_is_never_shown_even_when_the_server_quotes_it(
    run: Run, upstream: Upstream, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    odd = "a-key-of-no-known-shape"
    upstream([faults.status(401, message=f"wrong key {odd}")] * 4)
    monkeypatch.setenv("OPENAI_API_KEY", odd)
    for arguments in ([], ["--debug"], ["--trace"], ["--json"]):
        result = run("chat", MODEL, "x", *arguments)
        assert result.exit_code == 1
        assert "***" in result.stderr
        assert odd not in result.output


def test_the_key_is_masked_in_the_attempts_of_a_document(run: Run, upstream: Upstream, key: str) -> None:
    upstream([faults.status(503, message=f"no room for {key}")])
    result = run("chat", MODEL, "x", "--json")
    assert result.exit_code == 0
    assert key not in result.output
    assert "***" in json.loads(result.stdout)["attempts"][0]["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat"], "MODEL"),
        (["chat", MODEL, ""], "the prompt is empty"),
        (["chat", "nosuch", "x"], "no provider claims the model 'nosuch'"),
        (["chat", MODEL, "x", "-p", "temprature=1"], "did you mean 'temperature'?"),
        (["chat", MODEL, "x", "-p", "model=y"], "has an option or argument of its own"),
        (["chat", MODEL, "x", "--temperature", "warm"], "--temperature"),
        (["chat", MODEL, "x", "--timeout", "-1"], "timeout"),
        (["chat", MODEL, "x", "-p", "n=many"], "n: "),
        (["chat", MODEL, "x", "--config", "none.toml"], "none.toml"),
        (["chat", MODEL, "x", "--schema", "none.json"], "none.json"),
        (["chat", MODEL, "x", "--image", "none.png"], "none.png"),
        (["chat", MODEL, "x", "--profile", "none"], "none"),
    ],
)
def test_bad_input_is_exit_code_2_and_no_request(
    run: Run, upstream: Upstream, arguments: list[str], says: str
) -> None:
    server = upstream()
    result = run(*arguments)
    assert (result.exit_code, result.stdout, server.count()) == (2, "", 0)
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_key_names_the_variable(run: Run) -> None:
    result = run("chat", MODEL, "x")
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr


def test_a_wrong_configuration_is_exit_code_2(run: Run, surroundings: Path) -> None:
    (surroundings / "penstock.toml").write_text("[retry]\nmax_atempts = 3\n", encoding="utf-8")
    result = run("chat", MODEL, "x")
    assert result.exit_code == 2
    assert "penstock.toml:2" in result.stderr
    assert "did you mean 'max_attempts'?" in result.stderr


# The terminal


def test_into_a_pipe_the_answer_goes_unchanged(run: Run, upstream: Upstream) -> None:
    upstream(text=ANSI)
    assert run("chat", MODEL, "x").stdout == f"{ANSI}\n"


@pytest.mark.parametrize("arguments", [[], ["--no-stream"]])
def test_on_a_terminal_the_answer_is_stripped(
    upstream: Upstream, terminal: Callable[..., Any], arguments: list[str]
) -> None:
    upstream(text=ANSI)
    shown = terminal("chat", MODEL, "x", *arguments)
    assert shown.end() == 0
    assert shown.shown == "red alert\r\n"


def test_in_a_document_control_characters_are_escaped(run: Run, upstream: Upstream) -> None:
    upstream(text=ANSI)
    result = run("chat", MODEL, "x", "--json")
    assert "\x1b" not in result.stdout
    assert json.loads(result.stdout)["text"] == ANSI


def test_ctrl_c_is_exit_code_130_without_a_traceback(upstream: Upstream, command: list[str]) -> None:
    server = upstream([faults.hang(after=1)], text="one two three")
    process = subprocess.Popen(
        [*command, "chat", MODEL, "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == "one"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip() == ""
    assert server.count() == 1


def test_a_reader_that_goes_away_is_no_traceback(upstream: Upstream, command: list[str]) -> None:
    upstream([faults.drip(0.02)], text="word " * 400)
    process = subprocess.Popen(
        [*command, "chat", MODEL, "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(4)
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr.read() == ""
    process.stderr.close()
