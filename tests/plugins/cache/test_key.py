"""The key: different requests differ, the same request in another order does not."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidRequestError
from penstock.http import HttpRequest
from penstock.messages import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    RawPart,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock_cache import key as key_module
from penstock_cache.key import Keyer, Unhashable, identity

KEYER = Keyer("target", "openai/gpt-4o")
HELLO = ChatRequest(model="m", messages=(Message("user", "Hello"),))


def key(request: Any, namespace: str = "") -> str:
    return KEYER.key(request, namespace)


def canonical(value: Any) -> Any:
    """The slow, obvious reference: types and values all the way down, mappings without an order."""
    if isinstance(value, Mapping):
        return ("mapping", frozenset((name, canonical(item)) for name, item in value.items()))
    if isinstance(value, (list, tuple)):
        return ("sequence", tuple(canonical(item) for item in value))
    if dataclasses.is_dataclass(value):
        skipped = {"stream"} if isinstance(value, (ChatRequest, EmbedRequest)) else set()
        names = [field.name for field in dataclasses.fields(value) if field.name not in skipped]
        return (type(value).__name__, tuple(canonical(getattr(value, name)) for name in names))
    return (type(value).__name__, repr(value))  # repr tells 0.0 from -0.0


TEXT = st.text(max_size=6)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, math.inf]),
    TEXT,
    st.sampled_from(["1", "1.0", "true", "null", "None", "\ud800", "é", "\u2028"]),
)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPPING = st.dictionaries(TEXT, JSON, max_size=3)
PART = st.one_of(
    st.builds(Text, TEXT),
    st.builds(lambda url: Image(url=url), TEXT),
    st.builds(lambda data, kind: Image(data=data, media_type=kind), st.binary(max_size=4), TEXT),
    st.builds(RawPart, MAPPING),
)
CALL = st.builds(ToolCall, TEXT, TEXT, TEXT, MAPPING)
MESSAGE = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.one_of(st.none(), TEXT, st.lists(PART, max_size=2).map(tuple)),
    name=st.none() | TEXT,
    tool_calls=st.lists(CALL, max_size=2).map(tuple),
    tool_call_id=st.none() | TEXT,
    extra=MAPPING,
)
TOOL = st.one_of(st.builds(Tool, TEXT, TEXT, MAPPING, st.none() | st.booleans()), st.builds(RawPart, MAPPING))
NUMBER = st.one_of(st.none(), st.integers(0, 2), st.sampled_from([0.0, 1.0, 0.5]))
CHAT = st.builds(
    ChatRequest,
    model=TEXT,
    messages=st.lists(MESSAGE, min_size=1, max_size=2).map(tuple),
    max_tokens=NUMBER,
    temperature=NUMBER,
    top_p=NUMBER,
    stop=st.none() | TEXT | st.lists(TEXT, max_size=2),
    seed=NUMBER,
    n=NUMBER,
    logit_bias=st.none() | st.dictionaries(TEXT, st.floats(allow_nan=False), max_size=2),
    logprobs=st.none() | st.booleans(),
    tools=st.lists(TOOL, max_size=2).map(tuple),
    tool_choice=st.none() | TEXT | MAPPING,
    response_format=st.none() | MAPPING,
    schema=st.none() | st.builds(Schema, TEXT, MAPPING, st.booleans()),
    user=st.none() | TEXT,
    metadata=st.none() | MAPPING,
    extra=MAPPING,
)
EMBED = st.builds(
    EmbedRequest,
    model=TEXT,
    inputs=st.lists(TEXT, max_size=3).map(tuple),
    dimensions=NUMBER,
    user=st.none() | TEXT,
    extra=MAPPING,
)
REQUEST = CHAT | EMBED


def shuffled(value: Any, dice: random.Random) -> Any:
    """The same value with every mapping in another order, and some of them read-only."""
    if isinstance(value, Mapping):
        items = [(name, shuffled(item, dice)) for name, item in value.items()]
        dice.shuffle(items)
        return MappingProxyType(dict(items)) if dice.random() < 0.3 else dict(items)
    if isinstance(value, (list, tuple)):
        return type(value)(shuffled(item, dice) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: shuffled(getattr(value, f.name), dice) for f in dataclasses.fields(value)}
        return type(value)(**fields)
    return value


@settings(max_examples=150, deadline=None)
@given(REQUEST, REQUEST)
def test_two_requests_have_one_key_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (canonical(one) == canonical(other))


@settings(max_examples=120, deadline=None)
@given(CHAT, CHAT, st.sampled_from([field.name for field in dataclasses.fields(ChatRequest)]))
def test_a_change_of_any_single_field_is_another_key(one: Any, other: Any, name: str) -> None:
    changed = dataclasses.replace(one, **{name: getattr(other, name)})
    assert (key(one) == key(changed)) == (canonical(one) == canonical(changed))


@settings(max_examples=200, deadline=None)
@given(REQUEST, st.integers(0, 2**32))
def test_the_order_of_keys_does_not_count(request: Any, seed: int) -> None:
    assert key(request) == key(shuffled(request, random.Random(seed)))


def test_a_streamed_and_a_plain_request_share_a_key() -> None:
    streamed = dataclasses.replace(HELLO, stream=True, extra={"stream_options": {"include_usage": True}})
    assert key(streamed) == key(HELLO)
    assert key(dataclasses.replace(HELLO, extra={"stream": True, "k": 1})) == key(
        dataclasses.replace(HELLO, extra={"k": 1})
    )


def test_absent_and_null_differ_in_what_is_passed_through() -> None:
    assert key(dataclasses.replace(HELLO, extra={"k": None})) != key(HELLO)
    nested = dataclasses.replace(HELLO, extra={"a": {"k": None}})
    assert key(nested) != key(dataclasses.replace(HELLO, extra={"a": {}}))


@pytest.mark.parametrize("values", [(1, 1.0, True, "1"), (0, 0.0, False, "", None), ([1], {"0": 1}, "[1]")])
def test_values_of_different_types_differ(values: tuple[Any, ...]) -> None:
    keys = {key(dataclasses.replace(HELLO, extra={"k": value})) for value in values}
    assert len(keys) == len(values)


def test_parameters_that_allow_lists_forget_are_part_of_the_key() -> None:
    """Known wrong hits of peers: seed, tools' schemas, logit_bias, images, reasoning, provider parameters."""
    image = Image.from_bytes(b"\x89PNG1")
    variants = [
        HELLO,
        dataclasses.replace(HELLO, seed=1),
        dataclasses.replace(HELLO, logit_bias={"50256": -100}),
        dataclasses.replace(HELLO, reasoning_effort="low"),
        dataclasses.replace(HELLO, response_format={"type": "json_object"}),
        dataclasses.replace(HELLO, user="ada"),
        dataclasses.replace(HELLO, tools=(Tool("f"),)),
        dataclasses.replace(HELLO, tools=(Tool("f", parameters={"type": "object"}),)),
        dataclasses.replace(HELLO, extra={"reasoning": {"effort": "high"}}),
        dataclasses.replace(HELLO, extra={"seed": 1}),
        dataclasses.replace(HELLO, extra={"timeout": 1}),
        dataclasses.replace(HELLO, messages=(Message("user", "Hello", name="ada"),)),
        dataclasses.replace(HELLO, messages=(Message("user", "Hello", extra={"cache_control": {}}),)),
        dataclasses.replace(HELLO, messages=(Message("user", (Text("Hello"), image)),)),
        dataclasses.replace(
            HELLO, messages=(Message("user", (Text("Hello"), Image.from_bytes(b"\x89PNG2"))),)
        ),
    ]
    assert len({key(request) for request in variants}) == len(variants)


def test_a_field_that_is_added_later_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    later = dataclasses.make_dataclass(
        "Part", [("text", str), ("verbosity", str, "low")], frozen=True, slots=True
    )
    one = dataclasses.replace(HELLO, messages=(Message("user", (later("Hello"),)),))
    other = dataclasses.replace(HELLO, messages=(Message("user", (later("Hello", "high"),)),))
    assert key(one) != key(other)


def test_who_is_asked_and_as_whom_is_part_of_the_key() -> None:
    keyers = [
        Keyer("target", "openai/m", "a", ""),
        Keyer("target", "openai/m", "b", ""),
        Keyer("target", "openai/m", "a", "tenant"),
        Keyer("route", "openai/m", "a", ""),
        Keyer("target", "openai/ma", "", ""),
    ]
    assert len({keyer.key(HELLO) for keyer in keyers} | {keyers[0].key(HELLO, "tenant")}) == 6


@pytest.mark.parametrize("value", [{1, 2}, object(), [float], {"huge": 10**5000}])
def test_what_json_cannot_hold_has_no_key(value: Any) -> None:
    with pytest.raises(Unhashable):
        key(dataclasses.replace(HELLO, extra={"k": value}))


def test_a_structure_that_contains_itself_has_no_key() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(Unhashable):
        key(dataclasses.replace(HELLO, extra=loop))


def test_a_layout_of_other_fields_gives_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Keyer("n").key(HELLO)
    monkeypatch.setattr(key_module, "layout", lambda: ("1", "ChatRequest:model"))
    assert Keyer("n").key(HELLO) != before


# Identity


class FakeCodec:
    def __init__(self, headers: dict[str, str], *, chat: bool = True, url: str = "http://h/v1") -> None:
        self.headers, self.chat, self.url = headers, chat, url

    def encode(self, request: Any, model: str) -> HttpRequest:
        if isinstance(request, ChatRequest) and not self.chat:
            raise InvalidRequestError("no chat")
        return HttpRequest("POST", f"{self.url}/{model}", dict(self.headers), b"{}")


def who(codec: Any, base_url: str = "http://h/v1") -> str:
    provider: Any = SimpleNamespace(base_url=base_url, codec=codec)
    return identity(provider)


def test_credentials_and_addresses_tell_providers_apart() -> None:
    ada, bob = FakeCodec({"Authorization": "Bearer a"}), FakeCodec({"Authorization": "Bearer b"})
    assert who(ada) == who(FakeCodec({"authorization": "Bearer a"}))
    assert (
        len({who(ada), who(bob), who(ada, "http://other"), who(FakeCodec(ada.headers, url="http://o"))}) == 4
    )
    assert who(FakeCodec({"x": "1"}, chat=False)) != who(FakeCodec({"x": "2"}, chat=False))


def test_an_identity_shows_no_secret_and_outlives_an_upgrade() -> None:
    secret = "sk-secret-0123456789"
    old = FakeCodec({"Authorization": secret, "User-Agent": "penstock/0.1"})
    new = FakeCodec({"Authorization": secret, "User-Agent": "penstock/0.2"})
    assert who(old) == who(new)
    assert secret not in who(old)


def test_a_provider_that_sends_by_itself_is_known_by_its_address() -> None:
    one: Any = SimpleNamespace(base_url="local://a")
    other: Any = SimpleNamespace(base_url="local://b")
    assert identity(one) != identity(other)
