"""What is looked up, what is kept, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import (
    AllTargetsFailed,
    AuthenticationError,
    BreakerOpen,
    DeadlineExceeded,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
    RequestRejected,
)
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest, Tool, ToolCall
from penstock.responses import ChatResponse, Choice, EmbedResponse
from penstock_cache.policy import may_serve_stale, why_not_asked, why_not_kept
from penstock_cache.ttl import content_ttl

ASK = ChatRequest(model="m", messages=(Message("user", "Explain tides."),), temperature=0)
EMBED = EmbedRequest(model="m", inputs=("a",))


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": None},
        {"temperature": 0.1},
        {"n": 2},
        {"tools": (Tool("f"),)},
        {"extra": {"temperature": 1}},
        {"extra": {"n": 3}},
        {"extra": {"functions": []}},
    ],
)
def test_conservative_leaves_out_what_may_differ_from_call_to_call(changes: dict[str, Any]) -> None:
    request = replace(ASK, **changes)
    assert why_not_asked(request, "conservative", False) == "sampled"
    assert why_not_asked(request, "conservative", True) is None
    assert why_not_asked(request, "aggressive", False) is None


def test_conservative_takes_embeddings_and_chat_at_temperature_zero() -> None:
    for request in (ASK, replace(ASK, temperature=0.0, n=1), replace(ASK, extra={"top_k": 1}), EMBED):
        assert why_not_asked(request, "conservative", False) is None


def test_selective_takes_only_what_is_named() -> None:
    for request in (ASK, EMBED):
        assert why_not_asked(request, "selective", False) == "not_selected"
        assert why_not_asked(request, "selective", True) is None


def test_lists_of_models_are_never_cached() -> None:
    assert why_not_asked(ModelsRequest(model="m"), "aggressive", True) == "kind"


CALL = (ToolCall("id", "f", "{}"),)


@pytest.mark.parametrize(
    ("choices", "mode", "reason"),
    [
        ((Choice("a", finish_reason="stop"),), "conservative", None),
        ((Choice("a", finish_reason="length"),), "aggressive", "incomplete"),
        ((Choice("a", finish_reason="content_filter"),), "aggressive", "incomplete"),
        ((Choice("a", finish_reason="other"),), "aggressive", "incomplete"),
        ((Choice("a"),), "aggressive", "incomplete"),
        ((Choice("", finish_reason="stop"),), "aggressive", "empty"),
        ((Choice("", reasoning="hm", finish_reason="stop"),), "aggressive", "empty"),
        ((), "aggressive", "empty"),
        ((Choice(tool_calls=CALL, finish_reason="tool_calls"),), "aggressive", None),
        ((Choice(tool_calls=CALL, finish_reason="tool_calls"),), "selective", "incomplete"),
        (
            (Choice("a", finish_reason="stop"), Choice("b", finish_reason="length")),
            "aggressive",
            "incomplete",
        ),
    ],
)
def test_only_complete_answers_are_kept(choices: Any, mode: Any, reason: str | None) -> None:
    assert why_not_kept(ASK, ChatResponse(choices), mode) == reason


def test_an_answer_with_an_error_inside_is_not_kept() -> None:
    answer = ChatResponse((Choice("a", finish_reason="stop"),), extra={"error": {"message": "late"}})
    assert why_not_kept(ASK, answer, "aggressive") == "error"


def test_vectors_are_kept_when_there_is_one_for_each_input() -> None:
    assert why_not_kept(EMBED, EmbedResponse(((0.1,),)), "conservative") is None
    assert why_not_kept(EMBED, EmbedResponse(()), "conservative") == "incomplete"
    assert why_not_kept(EMBED, EmbedResponse(((),)), "conservative") == "incomplete"
    assert why_not_kept(EMBED, None, "conservative") == "incomplete"


def test_an_old_answer_replaces_errors_of_availability_only() -> None:
    for error in (
        OverloadedError("busy"),
        RateLimitError("slow down"),
        BreakerOpen("open", stage="breaker"),
        DeadlineExceeded("late"),
        AllTargetsFailed("all", [AuthenticationError("who"), OverloadedError("busy")]),
    ):
        assert may_serve_stale(error)
    for other in (
        InvalidRequestError("bad"),
        AuthenticationError("who"),
        RequestRejected("no"),
        AllTargetsFailed("all", [AuthenticationError("who"), AuthenticationError("who")]),
        RuntimeError("bug"),
    ):
        assert not may_serve_stale(other)


# Life


def ttl(text: str = "x" * 100, question: str = "Explain tides.", model: str = "gpt-4o") -> float:
    request = replace(ASK, messages=(Message("system", "What is the news today?"), Message("user", question)))
    answer = ChatResponse((Choice(text, finish_reason="stop"),))
    return content_ttl(request, answer, model=model, min_ttl=30.0, max_ttl=3600.0)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "gpt-4-0613", "mistral-large-2411", "m@1a2b3c4d"],
)
def test_answers_of_a_dated_model_live_longest(model: str) -> None:
    assert ttl(model=model) == 3600.0


@pytest.mark.parametrize("model", ["gpt-4o", "llama3.2:3b", "org/name-8b", "gpt-4o-latest"])
def test_answers_of_a_moving_alias_live_a_quarter_of_that(model: str) -> None:
    assert ttl(model=model) == 900.0


def test_short_answers_and_passing_questions_live_shorter() -> None:
    assert ttl("yes") == 225.0
    for question in ("What is the weather like?", "Wie ist das Wetter heute?", "Latest news?", "今天天气"):
        assert ttl(question=question) == 30.0
    for question in ("What's up, (today)?", "“Now”…", "Who won this week?", "Qu'y a-t-il aujourd'hui ?"):
        assert ttl(question=question) == 30.0
    for question in ("Is this a week?", "What does knowledge weigh?", "A snow_now_cat", "Do it this way."):
        assert ttl(question=question) == 900.0


def test_of_a_long_question_both_ends_are_looked_at() -> None:
    book = "tide " * 10_000
    assert ttl(question=f"What of it is true now? {book}") == ttl(question=f"{book}. And today?") == 30.0
    assert ttl(question=f"Sum it up: {book}now {book}") == 900.0


def test_vectors_live_longest_and_tool_calls_shortest() -> None:
    bounds = {"model": "m", "min_ttl": 30.0, "max_ttl": 3600.0}
    assert content_ttl(EMBED, EmbedResponse(((0.1,),)), **bounds) == 3600.0  # type: ignore[arg-type]
    tools = ChatResponse((Choice(tool_calls=CALL, finish_reason="tool_calls"),))
    assert content_ttl(ASK, tools, **bounds) == 30.0  # type: ignore[arg-type]


@given(st.text(), st.text(), st.text(), st.floats(1, 100), st.floats(100, 10_000))
def test_a_life_is_within_its_bounds(text: str, question: str, model: str, low: float, high: float) -> None:
    request = replace(ASK, messages=(Message("user", question),))
    answer = ChatResponse((Choice(text, finish_reason="stop"),))
    assert low <= content_ttl(request, answer, model=model, min_ttl=low, max_ttl=high) <= high
