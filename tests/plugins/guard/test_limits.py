"""What a request may be: checked before anything is sent, in every colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import InvalidRequestError
from penstock.events import GuardRejected
from penstock.messages import ChatRequest, EmbedRequest, Image, Message, ModelsRequest, Text, Tool, ToolCall
from penstock_guard import GuardConfig, RequestLimits
from penstock_guard.limits import weight

PIPELINE = ["guard", "retry"]


def chat(*contents: Any, **fields: Any) -> ChatRequest:
    messages = tuple(
        each if isinstance(each, Message) else Message("user", each) for each in contents or ("Hello",)
    )
    return ChatRequest(model="openai/gpt-4o", messages=messages, **fields)


def check(request: Any, **config: Any) -> None:
    RequestLimits(GuardConfig(**config)).check(request)


def refused(request: Any, **config: Any) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequestError) as caught:
        check(request, **config)
    assert caught.value.status is None
    return caught.value.param, str(caught.value)


@pytest.mark.parametrize("temperature", [0.0, 1.3, 2.0])
def test_temperatures_within_the_range_pass(temperature: float) -> None:
    check(chat(temperature=temperature))


@pytest.mark.parametrize("temperature", [-0.1, 2.01, float("nan"), float("inf")])
def test_a_temperature_outside_is_refused_by_name(temperature: float) -> None:
    assert refused(chat(temperature=temperature))[0] == "temperature"


@pytest.mark.parametrize("tokens", [0, -1, 100_001])
def test_max_tokens_outside_is_refused_by_name(tokens: int) -> None:
    assert refused(chat(max_tokens=tokens))[0] == "max_tokens"


def test_max_tokens_at_both_ends_pass() -> None:
    check(chat(max_tokens=1))
    check(chat(max_tokens=100_000))


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_completion_tokens", 100_001), ("max_output_tokens", 0), ("temperature", 3), ("n", 1000)],
)
def test_numbers_in_extra_are_held_to_the_same_limits(name: str, value: Any) -> None:
    assert refused(chat(extra={name: value}))[0] == name


def test_a_hundred_thousand_characters_pass_and_one_more_does_not() -> None:
    check(chat("a" * 60_000, "b" * 40_000))
    param, message = refused(chat("a" * 60_000, "b" * 40_001))
    assert param == "messages"
    assert "100,001 characters are more than the 100,000 allowed" in message


def test_characters_count_wherever_they_are() -> None:
    hidden = [
        Message("user", (Text("a" * 11),)),
        Message("assistant", None, tool_calls=(ToolCall("1", "f", "a" * 11),)),
        Message("assistant", "", tool_calls=(ToolCall("1", "f", "a" * 11),)),
    ]
    for message in hidden:
        assert refused(chat(message), max_chars=10)[0] == "messages"


def test_too_many_messages_images_tools_and_choices_are_refused() -> None:
    image = Image.from_bytes(b"\x89PNG1234")
    assert refused(chat("a", "b", "c"), max_messages=2)[0] == "messages"
    assert refused(chat((image, image)), max_images=1)[0] == "messages"
    assert refused(chat(tools=(Tool("a"), Tool("b"))), max_tools=1)[0] == "tools"
    assert refused(chat(n=3), max_choices=2)[0] == "n"


def test_the_size_counts_bytes_of_images_and_of_text_outside_ascii() -> None:
    big = Image.from_bytes(b"\x89PNG" + bytes(3000))
    assert refused(chat((big,)), max_request_bytes=4000)[0] == "request"
    check(chat("é" * 1000), max_request_bytes=3000)
    assert refused(chat("é" * 1500), max_request_bytes=3000)[0] == "request"


def test_the_size_counts_tools_schemas_and_extra() -> None:
    tool = Tool("f", parameters={"type": "object", "description": "x" * 5000})
    assert refused(chat(tools=(tool,)), max_request_bytes=5000)[0] == "request"
    assert refused(chat(extra={"x": ["y" * 5000]}), max_request_bytes=5000)[0] == "request"


def test_a_weight_is_close_to_the_json_of_the_request() -> None:
    text = "word " * 1000
    assert len(text) <= weight(chat(text)) <= len(text) + 1000


def test_each_text_to_embed_is_held_to_the_limit() -> None:
    request = EmbedRequest(model="m", inputs=("a" * 10, "b" * 11))
    param, message = refused(request, max_chars=10)
    assert param == "inputs"
    assert "inputs[1]" in message
    check(EmbedRequest(model="m", inputs=("a" * 10,) * 50), max_chars=10)
    assert refused(EmbedRequest(model="m", inputs=("a" * 10,) * 50), max_request_bytes=400)[0] == "request"


def test_a_list_of_models_has_nothing_to_check() -> None:
    check(ModelsRequest())


# In the pipeline


def test_what_is_refused_is_never_sent(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE)
    with pytest.raises(InvalidRequestError) as caught:
        there.chat(temperature=2.5)
    assert caught.value.param == "temperature"
    with pytest.raises(InvalidRequestError):
        there.stream("a" * 100_001)
    with pytest.raises(InvalidRequestError):
        there.embed(["a" * 100_001])
    assert there.count == 0
    rejections = [event for event in there.events if isinstance(event, GuardRejected)]
    assert [event.param for event in rejections] == ["temperature", "messages", "inputs"]
    assert there.client.stage("guard").stats()["rejected"] == 3


def test_what_is_within_the_limits_is_sent_as_it_is(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE)
    assert there.chat(temperature=2, max_tokens=100_000).text
    assert there.count == 1


def test_a_target_and_a_call_may_have_limits_of_their_own(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE, guard={"targets": {"openai/gpt-4o*": {"max_chars": 10}}})
    with pytest.raises(InvalidRequestError):
        there.chat("a" * 11)
    there.chat("a" * 11, model="openai/o3")
    there.chat("a" * 11, guard={"max_chars": 20})
    there.chat("a" * 11, guard=False)
    assert there.count == 3


@pytest.mark.parametrize("given", [{"max_chars": 0}, {"nonsense": 1}, 7])
def test_a_call_s_own_limits_are_checked_too(make_world: Callable[..., Any], given: Any) -> None:
    there = make_world(pipeline=PIPELINE)
    with pytest.raises(InvalidRequestError) as caught:
        there.chat(guard=given)
    assert caught.value.param == "guard"
    assert there.count == 0


def test_only_the_models_that_are_listed_may_be_asked(world: Callable[..., Any]) -> None:
    there = world(pipeline=PIPELINE, guard={"models": ["openai/gpt-4o*"]})
    there.chat(model="openai/gpt-4o-mini")
    with pytest.raises(InvalidRequestError) as caught:
        there.chat(model="openai/o3")
    assert caught.value.param == "model"
    assert there.count == 1


@pytest.mark.parametrize("model", ["openai/" + "m" * 300, "openai/a b", "openai/a\nb", "openai/\x1b[31m"])
def test_a_name_no_model_has_is_refused(make_world: Callable[..., Any], model: str) -> None:
    there = make_world(pipeline=PIPELINE)
    with pytest.raises(InvalidRequestError) as caught:
        there.chat(model=model)
    assert caught.value.param == "model"
    assert "\x1b" not in str(caught.value)
    assert there.count == 0
