"""The token estimate: the numbers of the heuristic, and what is counted."""

from __future__ import annotations

from penstock.messages import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    ModelsRequest,
    RawPart,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock.responses import ChatResponse, Choice
from penstock.tokens import estimate_input, estimate_output, text_tokens

PRIMED = 3


def chat(*messages: Message, **values: object) -> ChatRequest:
    return ChatRequest(model="m", messages=messages, **values)  # type: ignore[arg-type]  # by name


def test_ascii_is_a_quarter_cjk_four_fifths_and_the_rest_a_third() -> None:
    assert text_tokens("abcd" * 10) == 10.0
    assert abs(text_tokens("漢字かな한글") - 6 * 0.8) < 1e-9
    assert abs(text_tokens("äöü") - 1.0) < 1e-9
    assert abs(text_tokens("Grüße, 世界!") - (6 * 0.25 + 2 * 0.8 + 2 / 3)) < 1e-9
    assert text_tokens("") == 0.0


def test_each_message_costs_three_and_the_answer_is_primed_with_three() -> None:
    assert estimate_input(chat(Message("user", "abcd"))) == 1 + 3 + PRIMED
    assert estimate_input(chat(Message("system", "abcd"), Message("user", "abcd"))) == 2 + 6 + PRIMED


def test_names_tools_schemas_and_tool_calls_count() -> None:
    bare = estimate_input(chat(Message("user", "Hi")))
    tool = Tool(
        "get_weather", "The weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}}
    )
    call = ToolCall("1", "get_weather", '{"city": "Oslo"}')
    assert estimate_input(chat(Message("user", "Hi", name="Ada"))) == bare + 1 + 1
    assert estimate_input(chat(Message("user", "Hi"), tools=(tool,))) > bare + 20
    assert estimate_input(chat(Message("user", "Hi"), tools=(RawPart({"type": "web_search"}),))) > bare
    assert estimate_input(chat(Message("user", "Hi"), schema=Schema("s", {"type": "object"}))) > bare
    assert (
        estimate_input(chat(Message("user", "Hi"), Message("assistant", None, tool_calls=(call,)))) > bare + 6
    )


def test_images_cost_what_the_table_says() -> None:
    low = Message("user", (Text("abcd"), Image.from_url("https://x.test/a.png", detail="low")))
    high = Message("user", (Text("abcd"), Image.from_url("https://x.test/a.png")))
    assert estimate_input(chat(low)) == 1 + 85 + 3 + PRIMED
    assert estimate_input(chat(high)) == 1 + 765 + 3 + PRIMED


def test_embeddings_cost_their_texts_and_a_list_of_models_nothing() -> None:
    assert estimate_input(EmbedRequest(model="m", inputs=("abcd" * 5, "abcd"))) == 6
    assert estimate_input(ModelsRequest()) == 0


def test_a_factor_scales_the_text_and_not_the_frame() -> None:
    request = chat(Message("user", "abcd" * 100))
    assert estimate_input(request, 1.1) == 110 + 3 + PRIMED


def test_a_partial_answer_costs_what_has_arrived() -> None:
    choice = Choice(text="abcd" * 5, reasoning="abcd" * 2, tool_calls=(ToolCall("1", "abcd", "abcd"),))
    assert estimate_output(ChatResponse(choices=(choice,))) == 5 + 2 + 2 + 3
    assert estimate_output(None) == 0


def test_lone_surrogates_do_not_break_the_estimate() -> None:
    assert text_tokens("a\ud800b") > 0
