"""Every attribute that a span is to have, error by error; prompts and answers only for those who ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError, Image, Tool
from penstock.errors import ConfigError
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def test_both_spans_name_the_server_with_the_port_of_its_scheme(world: World, exported: Any) -> None:
    world().chat()
    call, (attempt,) = exported.by_name()
    for span in (call, attempt):
        assert span.attributes["server.address"] == "sim.test"
        assert span.attributes["server.port"] == 80


def test_a_port_in_the_address_and_no_other_part_of_it_is_shown(world: World, exported: Any) -> None:
    url = "https://[::1]:8443/v1?key=planted"
    providers = {"openai": {"api_key": "sk-test-0123456789", "base_url": url}}
    world(providers=providers).chat()
    call, (attempt,) = exported.by_name()
    for span in (call, attempt):
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("::1", 8443)
        assert "planted" not in span.to_json()


def test_a_call_that_nobody_was_asked_for_has_no_server(world: World, exported: Any) -> None:
    here = world(pipeline=["limiter"], limiter={"rate": "1/min", "burst": 1, "max_wait": 0})
    here.chat()
    exported.clear()
    with pytest.raises(CallError):
        here.chat()
    call, attempts = exported.by_name()
    assert attempts == []
    assert "server.address" not in call.attributes


def test_all_of_a_request_and_of_its_answer_is_there(world: World, exported: Any) -> None:
    here = world()
    answer = here.chat(temperature=0.5, top_p=0.9, max_tokens=10, stop=["x"])
    call, _ = exported.by_name()
    usage = answer.usage
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.id": answer.response.id,
        "gen_ai.response.model": answer.response.model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "server.address": "sim.test",
        "server.port": 80,
        "penstock.request.id": answer.request_id,
    }


TYPES: list[tuple[Any, str]] = [
    (faults.status(401), "401"),
    (faults.status(429), "429"),
    (faults.status(500), "500"),
    (faults.refuse(), "connection_error"),
    (faults.reset(), "connection_error"),
    (faults.html(), "connection_error"),
    (faults.hang(), "timeout"),
]


@pytest.mark.parametrize(("fault", "expected"), TYPES, ids=lambda value: str(value))
def test_each_kind_of_failure_has_its_error_type_on_both_spans(
    world: World, exported: Any, fault: Any, expected: str
) -> None:
    with pytest.raises(CallError):
        world([fault], pipeline=[]).chat()
    call, (attempt,) = exported.by_name()
    assert call.attributes["error.type"] == attempt.attributes["error.type"] == expected


def test_the_call_s_own_deadline_is_a_timeout(world: World, exported: Any) -> None:
    with pytest.raises(CallError):
        world([faults.hang()]).chat(timeout=3)
    call, _ = exported.by_name()
    assert call.attributes["error.type"] == "timeout"


def test_what_was_refused_here_says_by_whom(world: World, exported: Any) -> None:
    limited = world(pipeline=["limiter"], limiter={"rate": "1/min", "burst": 1, "max_wait": 0})
    limited.chat()
    exported.clear()
    with pytest.raises(CallError):
        limited.chat()
    assert exported.by_name()[0].attributes["error.type"] == "rate_limited_local"
    open_ = world(pipeline=["breaker"])
    open_.client.stage("breaker").force_open("openai/gpt-4o-mini")
    exported.clear()
    with pytest.raises(CallError):
        open_.chat()
    assert exported.by_name()[0].attributes["error.type"] == "circuit_open"


def test_a_cancelled_call_ends_both_spans(make_world: World, exported: Any) -> None:
    here = make_world("simulated", [faults.hang()])

    async def cancelled() -> None:
        task = here.runtime.spawn(here.client.chat("openai/gpt-4o-mini", "Hello"))
        await here.runtime.sleep(1.0)
        task.cancel()

    here.run(cancelled())
    here.runtime.settle()
    call, (attempt,) = exported.by_name()
    assert call.attributes["error.type"] == "CancelledError"
    assert attempt.attributes["penstock.attempt.outcome"] == "cancelled"


def test_a_stream_that_its_reader_leaves_is_no_error(world: World, exported: Any) -> None:
    world(simulator=Simulator(text="one two three four")).stream(take=1)
    call, (attempt,) = exported.by_name()
    assert "error.type" not in call.attributes
    assert attempt.attributes["penstock.attempt.outcome"] == "abandoned"


# What was said


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_prompts_and_answers_are_left_out_unless_asked_for(
    world: World, exported: Any, streamed: bool
) -> None:
    here = world(simulator=Simulator(text="a private answer"))
    for value in ("", "false", "no_content", "NO_CONTENT", "event_only"):
        there = world(simulator=Simulator(text="a private answer"), environ={VARIABLE: value})
        for each in (here, there):
            (each.stream if streamed else each.chat)("a private prompt")
    assert "private" not in "".join(span.to_json() for span in exported.get_finished_spans())


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("value", ["true", "span_only", "SPAN_AND_EVENT"])
def test_the_variable_of_opentelemetry_puts_both_into_the_call_s_span(
    world: World, exported: Any, streamed: bool, value: str
) -> None:
    here = world(simulator=Simulator(text="It is a cat."), environ={VARIABLE: value})
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                "What is this?",
                Image.from_bytes(PNG),
                Image.from_url("https://images.test/cat.png"),
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
    ]
    (here.stream if streamed else here.chat)(messages)
    call, (attempt,) = exported.by_name()
    assert json.loads(call.attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "What is this?"},
                {"type": "blob", "modality": "image", "mime_type": "image/png"},
                {"type": "uri", "modality": "image", "uri": "https://images.test/cat.png"},
                {"type": "input_audio"},
            ],
        },
    ]
    assert json.loads(call.attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It is a cat."}],
            "finish_reason": "stop",
        }
    ]
    assert "gen_ai.input.messages" not in attempt.attributes


def test_calls_of_tools_and_their_results_are_messages_too(world: World, exported: Any) -> None:
    here = world(tracing={"content": True})
    here.chat(
        [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        tools=[Tool("weather")],
    )
    call, _ = exported.by_name()
    said = json.loads(call.attributes["gen_ai.input.messages"])
    assert said[1]["parts"] == [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": "{}"}]
    assert said[2] == {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}],
    }
    exported.clear()
    here.chat("Weather?", tools=[Tool("weather")])
    (answer,) = json.loads(exported.by_name()[0].attributes["gen_ai.output.messages"])
    assert [part["type"] for part in answer["parts"]] == ["tool_call"]
    assert answer["finish_reason"] == "tool_call"


def test_the_texts_of_an_embedding_are_its_input(world: World, exported: Any) -> None:
    world(tracing={"content": True}).embed(["a", "b"])
    call, _ = exported.by_name()
    said = json.loads(call.attributes["gen_ai.input.messages"])
    assert [message["parts"][0]["content"] for message in said] == ["a", "b"]


def test_a_key_in_a_prompt_is_masked_there_as_well(world: World, exported: Any) -> None:
    key = 'odd"key\\0123456789'
    providers = {"openai": {"api_key": key, "base_url": "http://sim.test/v1"}}
    here = world(simulator=Simulator(text=f"You said {key}."), tracing={"content": True}, providers=providers)
    here.chat(f"My key is {key} and sk-live-0123456789.")
    for span in exported.get_finished_spans():
        for value in map(str, span.attributes.values()):
            assert "0123456789" not in value


def test_another_word_for_the_capture_is_an_error_that_names_the_variable(make_world: World) -> None:
    with pytest.raises(ConfigError, match=VARIABLE):
        make_world(environ={VARIABLE: "perhaps"})
