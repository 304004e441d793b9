"""Provider conformance: what is sent, and what an answer says, plain and streamed alike."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from penstock.errors import InvalidRequestError
from penstock.messages import Image, Message, ModelsRequest, Schema, Text, ToolCall
from penstock.responses import EmbedResponse, ModelsResponse
from penstock_testkit.plan import Data, Plan
from penstock_testkit.provider_scenarios import (
    TEXT,
    TOOLS,
    UNICODE,
    ProviderScenarios,
    said,
    ways_to_split,
)

PNG = b"\x89PNG\r\n\x1a\nconformance"
PARAMETERS: dict[str, Any] = {
    "max_tokens": 17,
    "temperature": 0.25,
    "top_p": 0.375,
    "stop": ["enough"],
    "seed": 7,
    "n": 2,
    "presence_penalty": 0.125,
    "frequency_penalty": 0.125,
    "logit_bias": {"50256": -100.0},
    "logprobs": True,
    "top_logprobs": 3,
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "schema": Schema("person", {"type": "object", "properties": {"name": {"type": "string"}}}),
    "reasoning_effort": "low",
    "user": "ada",
    "metadata": {"ticket": "42"},
    "extra": {"x_conformance": "kept"},
}
NEEDED = {"tools": "tools", "tool_choice": "tools", "parallel_tool_calls": "tools", "schema": "schema"}
ASK_FOR_TOOLS = "Call get weather and get time, please."


class EncodingConformance(ProviderScenarios, standard=True):
    """What every codec must do with a request."""

    @pytest.mark.parametrize("name", PARAMETERS)
    def test_a_parameter_is_sent_or_refused_but_never_dropped(self, name: str) -> None:
        if name in NEEDED:
            self.needs(NEEDED[name])
        if name in self.granted:
            pytest.skip(self.granted[name])
        codec = self.codec()
        without: dict[str, Any] = {"tools": TOOLS} if name in ("tool_choice", "parallel_tool_calls") else {}
        given: dict[str, Any] = {**without, name: PARAMETERS[name]}
        plain = codec.encode(self.chat(**without), self.model)
        refused: InvalidRequestError | None = None
        try:
            sent = codec.encode(self.chat(**given), self.model)
        except InvalidRequestError as error:
            refused = error
        if refused is None:
            assert (sent.body, sent.url) != (plain.body, plain.url)
        else:
            assert (refused.status, refused.param) == (None, name)

    def test_extra_arrives_as_it_is(self) -> None:
        sent = self.codec().encode(self.chat(extra={"x_conformance": {"a": [1, None]}}), self.model)
        assert b'"x_conformance":{"a":[1,null]}' in (sent.body or b"").replace(b" ", b"")

    def test_the_same_request_gives_the_same_bytes_and_headers_of_its_own(self) -> None:
        tools = TOOLS if self.can("tools") else ()
        codec, request = self.codec(), self.chat(tools=tools, extra={"x": {"y": 1}})
        first = codec.encode(request, self.model)
        first.headers["x-added"] = "by a stage"
        second = codec.encode(request, self.model)
        assert first.body == second.body
        assert "x-added" not in second.headers

    def test_plain_and_streamed_requests_say_so(self) -> None:
        self.needs("stream")
        codec = self.codec()
        assert codec.encode(self.chat(), self.model).stream is False
        assert codec.encode(self.chat(stream=True), self.model).stream is True

    def test_what_cannot_be_written_is_refused_before_it_is_sent(self) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            self.codec().encode(self.chat(extra={"x": object()}), self.model)
        assert caught.value.status is None

    def test_the_name_of_the_model_goes_as_it_is(self) -> None:
        sent = self.codec().encode(self.chat(), self.model)
        assert self.model in (sent.body or b"").decode() or self.model in sent.url

    def test_an_image_is_sent(self) -> None:
        self.needs("vision")
        message = Message("user", (Text("What is this?"), Image.from_bytes(PNG)))
        sent = self.codec().encode(self.chat(messages=(message,)), self.model)
        assert base64.b64encode(PNG) in (sent.body or b"")


class AnswerConformance(ProviderScenarios, standard=True):
    """What every codec must make of a healthy answer."""

    def test_a_plain_answer_says_what_the_model_said(self) -> None:
        answer = self.ask(self.chat())
        assert answer.text == TEXT
        assert answer.finish_reason == "stop"
        assert answer.tool_calls == ()
        assert answer.usage is not None
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 0

    def test_a_streamed_answer_equals_the_plain_one_however_it_is_split(self) -> None:
        self.needs("stream")
        plain = self.ask(self.chat())
        codec, request = self.codec(), self.chat(stream=True)
        head, pieces = self.exchange(codec, request)
        for way in ways_to_split(pieces):
            read = self.read(request, head, way, codec)
            assert read.error is None
            assert read.decoder.complete
            assert said(read.response) == said(plain)
            assert [chunk.finish_reason for chunk in read.chunks if chunk.finish_reason] == ["stop"]

    def test_text_is_told_as_it_comes(self) -> None:
        self.needs("stream")
        read = self.stream(self.chat(stream=True))
        assert sum(1 for chunk in read.chunks if chunk.text) > 1

    def test_every_character_survives_wherever_the_bytes_are_cut(self) -> None:
        self.needs("stream")
        assert self.ask(self.chat(), text=UNICODE).text == UNICODE
        codec, request = self.codec(), self.chat(stream=True)
        head, pieces = self.exchange(codec, request, text=UNICODE)
        for way in ways_to_split(pieces):
            assert self.read(request, head, way, codec).response.text == UNICODE

    def test_an_answer_that_reached_its_limit_says_so(self) -> None:
        assert self.ask(self.chat(max_tokens=2)).finish_reason == "length"
        if self.can("stream"):
            read = self.stream(self.chat(stream=True, max_tokens=2))
            assert read.error is None
            assert read.response.finish_reason == "length"

    def test_tool_calls_are_whole_and_told_apart_plain_and_streamed(self) -> None:
        self.needs("tools")
        answer = self.ask(self.chat(ASK_FOR_TOOLS, tools=TOOLS), text=None)
        self._check_calls(answer)
        if not self.can("stream"):
            return
        codec, request = self.codec(), self.chat(ASK_FOR_TOOLS, tools=TOOLS, stream=True)
        head, pieces = self.exchange(codec, request, text=None)
        for way in ways_to_split(pieces):
            read = self.read(request, head, way, codec)
            assert read.error is None
            self._check_calls(read.response)
            assert said(read.response) == said(answer)
            positions = [delta.position for chunk in read.chunks for delta in chunk.tool_calls]
            assert positions == sorted(positions)
            assert set(positions) == {0, 1}

    def _check_calls(self, answer: Any) -> None:
        assert [call.name for call in answer.tool_calls] == ["get_weather", "get_time"]
        assert all(isinstance(call.parsed(), dict) for call in answer.tool_calls)
        ids = [call.id for call in answer.tool_calls]
        assert all(ids)
        assert len(set(ids)) == 2
        assert answer.finish_reason == "tool_calls"

    def test_a_conversation_with_tools_goes_on(self) -> None:
        self.needs("tools")
        asked = self.ask(self.chat(ASK_FOR_TOOLS, tools=TOOLS), text=None)
        results = [
            Message("tool", f"result of {call.name}", name=call.name, tool_call_id=call.id)
            for call in asked.tool_calls
        ]
        turn = Message("assistant", None, tool_calls=asked.tool_calls, extra=asked.choices[0].extra)
        request = self.chat(messages=(Message("user", ASK_FOR_TOOLS), turn, *results), tools=TOOLS)
        sent = (self.codec().encode(request, self.model).body or b"").decode()
        for call in asked.tool_calls:
            assert call.name in sent
            assert f"result of {call.name}" in sent
        assert self.ask(request).text == TEXT

    def test_the_call_of_a_tool_without_arguments_can_be_sent_back(self) -> None:
        self.needs("tools")
        turn = Message("assistant", None, tool_calls=(ToolCall("c1", "get_time", ""),))
        result = Message("tool", "noon", name="get_time", tool_call_id="c1")
        assert self.ask(self.chat(messages=(Message("user", "Hi"), turn, result), tools=TOOLS)).text == TEXT

    def test_an_answer_has_the_shape_that_was_asked_for(self) -> None:
        self.needs("schema")
        shape = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        answer = self.ask(self.chat(schema=Schema("person", shape)), text=None)
        assert isinstance(json.loads(answer.text)["name"], str)

    def test_vectors_come_in_the_order_of_the_texts(self) -> None:
        self.needs("embed")
        both = self.ask(self.embedding("one", "two"))
        assert isinstance(both, EmbedResponse)
        swapped = self.ask(self.embedding("two", "one"))
        assert both.vectors == swapped.vectors[::-1]
        assert both.vectors[0] != both.vectors[1]
        assert all(isinstance(number, float) for number in both.vectors[0])
        assert both.usage is None or (both.usage.input_tokens or 0) > 0

    def test_models_are_listed(self) -> None:
        self.needs("models")
        listed = self.ask(ModelsRequest(model=f"{self.spec.name}/*"))
        assert isinstance(listed, ModelsResponse)
        assert listed.models
        assert all(model.id for model in listed.models)


class UsageConformance(ProviderScenarios, standard=True):
    """How tokens are counted."""

    def test_usage_that_is_not_told_is_unknown_and_the_answer_whole(self) -> None:
        self.needs("stream")
        codec, request = self.codec(), self.chat(stream=True)
        head, pieces = self.exchange(codec, request, change=_without_usage)
        read = self.read(request, head, pieces, codec)
        assert read.error is None
        assert read.decoder.complete
        assert read.response.usage is None

    def test_the_parts_of_a_count_are_not_more_than_the_whole(self) -> None:
        usage = self.ask(self.chat()).usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert (usage.cached_tokens or 0) <= usage.input_tokens
        assert (usage.reasoning_tokens or 0) <= usage.output_tokens

    def test_of_several_counts_the_last_is_the_whole(self) -> None:
        self.needs("stream")
        counts = [chunk.usage for chunk in self.stream(self.chat(stream=True)).chunks if chunk.usage]
        assert counts
        assert counts[-1] == self.ask(self.chat()).usage


def _without_usage(plan: Plan) -> Plan:
    if not any(isinstance(step, Data) and step.part == "usage" for step in plan):
        pytest.skip("this dialect tells the usage with the end of the answer")
    return tuple(step for step in plan if not (isinstance(step, Data) and step.part == "usage"))
