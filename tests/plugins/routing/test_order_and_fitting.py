"""The order of targets and the check of what they can take, as functions of values."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock import ChatRequest, EmbedRequest, Image, Message, Model, Schema, Target, Text, Tool
from penstock.tokens import estimate_input
from penstock_routing.fitting import SMALLEST_WINDOW, Candidate, Demand, is_modest
from penstock_routing.order import drawn, ordered

GROUPS = st.lists(st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=5), max_size=5)
ROLES = st.sampled_from(["user", "assistant", "system"])
TEXTS = st.text(max_size=300) | st.text(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=900
)


def chat(content: str | tuple[Text | Image, ...] = "Hello", **parameters: object) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message("user", content),), **parameters)  # type: ignore[arg-type]


@given(GROUPS, st.integers(0, 2**32))
def test_every_candidate_comes_once_and_groups_in_order(weights: list[list[float]], seed: int) -> None:
    groups = [
        [Candidate(Target(str(g), str(n)), weight) for n, weight in enumerate(group)]
        for g, group in enumerate(weights)
    ]
    order = list(ordered(groups, random.Random(seed).random))
    assert len(order) == len(set(order)) == sum(map(len, groups))
    assert [each.target.provider for each in order] == sorted(
        (each.target.provider for each in order), key=int
    )


def test_a_group_of_one_needs_no_dice() -> None:
    def no_dice() -> float:
        raise AssertionError("nothing is to be drawn")

    groups = [[Candidate(Target("a", "x"))], [Candidate(Target("b", "y"))]]
    assert len(list(ordered(groups, no_dice))) == 2


def test_weights_are_shares() -> None:
    dice = random.Random(3).random
    counts = Counter(drawn([1.0, 2.0, 5.0], dice()) for _ in range(80_000))
    for index, share in enumerate((1 / 8, 2 / 8, 5 / 8)):
        assert abs(counts[index] / 80_000 - share) < 0.01


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_an_index(weights: list[float], dice: float) -> None:
    assert 0 <= drawn(weights, dice) < len(weights)


@given(st.lists(st.tuples(ROLES, TEXTS), min_size=1, max_size=6), st.integers(1, 4000))
def test_what_is_modest_fits_every_window_that_is_as_large(
    messages: list[tuple[str, str]], floor: int
) -> None:
    request = ChatRequest(model="m", messages=tuple(Message(r, t) for r, t in messages))  # type: ignore[arg-type]
    if is_modest(request, floor):
        assert estimate_input(request) <= floor + 1
        able = Model("m", context_length=floor, capabilities=frozenset({"chat", "stream"}))
        assert Demand(request).lacks(Candidate(Target("a", "b")), able) is None


def test_what_needs_more_than_text_is_not_modest() -> None:
    assert is_modest(chat(), SMALLEST_WINDOW)
    for request in (
        chat((Text("Hi"),)),
        chat(tools=(Tool("f"),)),
        chat(schema=Schema("s", {})),
        EmbedRequest(model="m", inputs=("x",)),
        chat("x" * 10_000),
    ):
        assert not is_modest(request, SMALLEST_WINDOW)
    assert not is_modest(chat(), -1.0)


def test_needs_follow_from_the_request() -> None:
    image = Image.from_url("https://x.test/i.png")
    assert Demand(chat()).needs == ("chat",)
    assert Demand(chat((Text("Hi"), image), stream=True)).needs == ("chat", "stream", "vision")
    assert Demand(chat(tools=(Tool("f"),), schema=Schema("s", {}))).needs == ("chat", "tools", "schema")
    assert Demand(EmbedRequest(model="m", inputs=("x",))).needs == ("embed",)


def test_what_nobody_knows_is_allowed() -> None:
    request = chat((Image.from_url("https://x.test/i.png"),), tools=(Tool("f"),))
    assert Demand(request).lacks(Candidate(Target("a", "b")), Model("b")) is None
    able = Model("b", capabilities=frozenset({"chat", "vision"}))
    lack = Demand(request).lacks(Candidate(Target("a", "b")), able)
    assert lack is not None
    assert lack[0] == "tools"
    assert lack[1].target == Target("a", "b")


def test_the_table_of_the_route_comes_before_the_word_of_the_provider() -> None:
    candidate = Candidate(Target("a", "b"), context_length=100, capabilities=frozenset({"chat", "prefill"}))
    model = Model("b", context_length=9, capabilities=frozenset())
    assert candidate.window(model) == 100
    assert candidate.prefills(model)
    assert Demand(chat()).lacks(candidate, model) is None
    lack = Demand(chat("x" * 4000)).lacks(candidate, model)
    assert lack is not None
    assert lack[0] == "context_length"
