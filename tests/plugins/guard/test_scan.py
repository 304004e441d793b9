"""Private data and secrets in prompts and answers: found, masked, rejected, never logged."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.call import Outcome, Reply
from penstock.config import Settings
from penstock.errors import ConfigError, RequestRejected, StreamInterrupted
from penstock.events import GuardFound
from penstock.messages import ChatRequest, EmbedRequest, Message, RawPart, Text, ToolCall
from penstock.responses import Assembly, Chunk, ToolCallDelta
from penstock.runtime import drive
from penstock_guard import GuardConfig, ScanHooks, Scanner
from penstock_guard.stream import HOLD, ScannedStream
from penstock_testkit import Simulator

EMAIL = "ada.lovelace@example.org"
SECRET = "sk-proj-0123456789abcdefABCDEF"
CARD = "4111 1111 1111 1111"
PIPELINE = ["guard", "retry"]
SCANNER = Scanner(("secret", "credit_card", "iban", "us_ssn", "email"))


def names(text: str, *patterns: str) -> list[str]:
    return [find.name for find in Scanner(patterns or ("secret", "credit_card", "iban", "email")).finds(text)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("email", f"write to {EMAIL}."),
        ("secret", f"key={SECRET}"),
        ("secret", "hf_abcdefghijklmnopqrstuvwx"),
        ("secret", "AKIAIOSFODNN7EXAMPLE"),
        ("secret", "postgres://user:hunter22@db.example.com/x"),
        ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----"),
        ("credit_card", CARD),
        ("credit_card", "378282246310005"),
        ("credit_card", "3782 822463 10005"),
        ("credit_card", "4111-1111-1111-1111 4242"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("us_ssn", "123-45-6789"),
        ("phone", "+44 20 7946 0958"),
        ("ip_address", "at 192.168.1.254 now"),
    ],
)
def test_private_data_is_found(name: str, text: str) -> None:
    assert names(text, name) == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("credit_card", "4111 1111 1111 1112"),  # the sum is wrong
        ("credit_card", "0000 0000 0000 0000"),
        ("credit_card", "order 12345-4111111111111111-9"),
        ("iban", "DE89 3704 0044 0532 0130 01"),
        ("us_ssn", "666-45-6789"),
        ("email", "a@b"),
        ("ip_address", "version 1.2.3.4.5"),
        ("secret", "risk-averse and sk-short"),
    ],
)
def test_what_only_looks_like_it_is_not(name: str, text: str) -> None:
    assert names(text, name) == []


def test_of_two_finds_that_overlap_the_first_and_longer_is_masked_once() -> None:
    scanner = Scanner((), {"long": "[0-9]{6}", "short": "[0-9]{3}"})
    text = "x 123456 y"
    assert scanner.masked(text, scanner.finds(text)) == "x [long] y"


def test_a_request_without_finds_is_the_same_object() -> None:
    request = ChatRequest(model="m", messages=(Message("user", "hello"), Message("user", (Text("you"),))))
    assert SCANNER.request(request)[0] is request


def test_every_text_of_a_request_is_masked() -> None:
    request = ChatRequest(
        model="m",
        messages=(
            Message("system", f"{EMAIL} is private"),
            Message("user", (Text(EMAIL), RawPart({"type": "x", "deep": [{"text": EMAIL}]}))),
            Message("assistant", None, tool_calls=(ToolCall("1", "mail", f'{{"to": "{EMAIL}"}}'),)),
        ),
    )
    masked, count = SCANNER.request(request)
    assert EMAIL not in repr(masked)
    assert count == {"email": 4}
    inputs, count = SCANNER.request(EmbedRequest(model="m", inputs=("fine", EMAIL)))
    assert inputs.inputs == ("fine", "[email]")  # type: ignore[union-attr]


def test_long_texts_without_finds_are_scanned_in_linear_time() -> None:
    """A quadratic pattern would need hours for these."""
    for text in (
        "a." * 200_000,
        "1 " * 200_000,
        "sk-" * 100_000,
        "A1" * 200_000,
        "x@" * 100_000,
        "+1 " * 99_999,
    ):
        Scanner().finds(text)


# In the pipeline


def scanned(**scan: Any) -> dict[str, Any]:
    return {"pipeline": PIPELINE, "guard": {"scan": scan}}


def sent(there: Any) -> str:
    return repr([request.body for request in there.simulator.requests])


def test_a_prompt_is_masked_before_it_is_sent(world: Callable[..., Any]) -> None:
    there = world(**scanned(prompts="mask"))
    there.chat(f"I am {EMAIL}")
    assert there.count == 1
    assert EMAIL not in sent(there)
    assert "[email]" in sent(there)
    found = [event for event in there.events if isinstance(event, GuardFound)]
    assert [(event.where, event.action, event.found) for event in found] == [("prompt", "mask", {"email": 1})]
    assert there.client.stage("guard").stats()["found.email"] == 1


def test_a_prompt_is_rejected_and_not_sent(world: Callable[..., Any]) -> None:
    there = world(**scanned(prompts="reject"))
    with pytest.raises(RequestRejected, match=r"prompt holds secret \(1\)") as caught:
        there.chat(f"use {SECRET}")
    assert SECRET not in str(caught.value)
    assert there.count == 0


def test_logging_tells_the_pattern_and_never_the_find(
    world: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    there = world(**scanned(prompts="log"))
    with caplog.at_level(logging.DEBUG):
        there.chat(f"I am {EMAIL}")
    assert EMAIL in sent(there)
    assert "email (1)" in caplog.text
    assert EMAIL not in caplog.text


def answering(text: str) -> Simulator:
    return Simulator(text=text)


def test_an_answer_is_masked(world: Callable[..., Any]) -> None:
    there = world(simulator=answering(f"Ask {EMAIL} about it"), **scanned(answers="mask"))
    assert there.chat().text == "Ask [email] about it"


def test_a_streamed_answer_is_masked_while_it_is_read(world: Callable[..., Any]) -> None:
    text = "word " * 100 + f"Ask {EMAIL} about it " + "word " * 100
    there = world(simulator=answering(text), **scanned(answers="mask"))
    chunks, stream = there.stream()
    assert "".join(chunk.text for chunk in chunks) == text.replace(EMAIL, "[email]")
    assert stream.answer.text == text.replace(EMAIL, "[email]")
    assert len(chunks) > 3
    found = [event for event in there.events if isinstance(event, GuardFound)]
    assert [(event.where, event.found) for event in found] == [("answer", {"email": 1})]


def test_an_answer_is_rejected_plain_and_streamed(world: Callable[..., Any]) -> None:
    there = world(simulator=answering(f"Ask {EMAIL} about it"), **scanned(answers="reject"))
    with pytest.raises(RequestRejected, match="answer holds email"):
        there.chat()
    with pytest.raises(RequestRejected, match="answer holds email"):
        there.stream()


def test_an_answer_is_looked_at_when_only_logged(world: Callable[..., Any]) -> None:
    there = world(simulator=answering(f"Ask {EMAIL} about it"), **scanned(answers="log"))
    assert EMAIL in there.chat().text
    there.stream()
    assert [event.action for event in there.events if isinstance(event, GuardFound)] == ["log", "log"]


def test_a_stream_that_is_left_early_is_closed(world: Callable[..., Any]) -> None:
    there = world(simulator=answering("word " * 400), **scanned(answers="mask"))
    chunks, _ = there.stream(take=1)
    assert len(chunks) == 1  # `make_world` asserts that nothing is left open


def test_the_hooks_do_the_same_without_the_stage(world: Callable[..., Any]) -> None:
    hooks = ScanHooks(prompts="mask", answers="mask", patterns=("email",))
    there = world(simulator=answering(f"Ask {EMAIL}"), pipeline=["retry"], plugins=[("scan", hooks)])
    assert there.chat(f"I am {EMAIL}").text == "Ask [email]"
    assert EMAIL not in sent(there)
    strict = world(pipeline=["retry"], plugins=[("scan", ScanHooks(prompts="reject"))])
    with pytest.raises(RequestRejected):
        strict.chat(f"I am {EMAIL}")
    assert strict.count == 0


@pytest.mark.parametrize(
    "scan", [{"patterns": ["nonsense"]}, {"custom": {"x": "("}}, {"custom": {"x": "a*"}}, {"prompts": "eat"}]
)
def test_a_scan_that_cannot_work_is_a_configuration_error(scan: Any) -> None:
    settings = Settings.load({"guard": {"scan": scan}}, environ={})
    with pytest.raises(ConfigError):
        settings.section("guard", GuardConfig)


# Streams by themselves


class Source:
    """A live stream of given chunks, ended by an error or not."""

    def __init__(self, chunks: list[Chunk], error: Exception | None = None) -> None:
        self._chunks = iter(chunks)
        self._assembly = Assembly()
        self._error = error
        self.closed = False
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        for chunk in self._chunks:
            self._assembly.add(chunk)
            return chunk
        if self._error is not None:
            if isinstance(self._error, StreamInterrupted):
                self._error.partial = self._assembly.response()
            self.reply.finish(Outcome("failed", self._assembly.response(), self._error))
            raise self._error
        self.reply.finish(Outcome("ok", self._assembly.response()))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True
        self.reply.finish(Outcome("abandoned", self._assembly.response()))


def masking(source: Source, reports: list[Any] | None = None) -> ScannedStream:
    return ScannedStream(
        source.reply,
        SCANNER,
        "mask",
        (reports if reports is not None else []).append,
        lambda count: RequestRejected("no"),
    )


def read(stream: ScannedStream) -> list[Chunk]:
    async def all_of_it() -> list[Chunk]:
        return [chunk async for chunk in stream]

    return drive(all_of_it())


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


@given(
    before=st.text("ab c.@-1", max_size=600),
    after=st.text("ab c.@-1", max_size=600),
    cuts=st.lists(st.integers(0, 5000), max_size=40),
)
def test_however_a_text_is_split_the_masked_stream_is_the_masked_text(
    before: str, after: str, cuts: list[int]
) -> None:
    text = f"{before} {EMAIL} {after} {SECRET}"
    source = Source([Chunk(text=piece) for piece in pieces(text, cuts)] + [Chunk(finish_reason="stop")])
    stream = masking(source)
    chunks = read(stream)
    told = "".join(chunk.text for chunk in chunks)
    assert EMAIL not in told
    assert SECRET not in told
    assert told == SCANNER.masked(text, SCANNER.finds(text))
    outcome = stream.reply.outcome
    assert outcome is not None
    assert outcome.response.text == told  # type: ignore[union-attr]
    assert chunks[-1].finish_reason == "stop"


def test_reasoning_tool_arguments_and_choices_are_held_apart() -> None:
    half, rest = EMAIL[:8], EMAIL[8:]
    source = Source(
        [
            Chunk(reasoning=half),
            Chunk(text=half),
            Chunk(text=half, choice=1),
            Chunk(tool_calls=[ToolCallDelta(0, "1", "mail", half)]),
            Chunk(reasoning=rest),
            Chunk(text=rest),
            Chunk(text=rest, choice=1),
            Chunk(tool_calls=[ToolCallDelta(0, arguments=rest)]),
            Chunk(finish_reason="tool_calls"),
            Chunk(finish_reason="stop", choice=1),
        ]
    )
    assembly = Assembly()
    for chunk in read(masking(source)):
        assembly.add(chunk)
    response = assembly.response()
    assert (response.text, response.reasoning) == ("[email]", "[email]")
    assert response.tool_calls[0].arguments == "[email]"
    assert response.tool_calls[0].name == "mail"
    assert response.choices[1].text == "[email]"


def test_no_more_than_the_end_of_a_text_is_held_back() -> None:
    source = Source([Chunk(text="x" * 50) for _ in range(40)] + [Chunk(finish_reason="stop")])
    stream = masking(source)
    told = 0

    async def follow() -> None:
        nonlocal told
        async for chunk in stream:
            told += len(chunk.text)
            if source._assembly.response().finish_reason is None:
                arrived = len(source._assembly.response().text)
                assert arrived - told <= HOLD

    drive(follow())
    assert told == 2000


def test_the_partial_answer_of_an_error_is_masked_too() -> None:
    source = Source([Chunk(text=f"Ask {EMAIL}")], StreamInterrupted("cut"))
    stream = masking(source)
    with pytest.raises(StreamInterrupted) as caught:
        read(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Ask [email]"
    assert stream.reply.outcome is not None
    assert stream.reply.outcome.kind == "failed"
    assert source.closed


def test_a_reset_forgets_what_was_held() -> None:
    source = Source([Chunk(text="one"), Chunk(reset=True), Chunk(text="two"), Chunk(finish_reason="stop")])
    assert "".join(chunk.text for chunk in read(masking(source))) == "two"


def test_a_cancelled_reader_closes_the_stream_once() -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        class Endless(Source):
            async def __anext__(self) -> Chunk:
                started.set()
                await asyncio.sleep(3600)
                raise AssertionError

        source = Endless([])
        stream = masking(source)
        task = asyncio.ensure_future(stream.__anext__())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closed
        assert stream.reply.outcome is not None
        assert stream.reply.outcome.kind == "abandoned"

    asyncio.run(scenario())


def test_random_answers_are_told_whole() -> None:
    dice = random.Random(11)
    for seed in range(200):
        text = "".join(
            dice.choice(["word ", EMAIL + " ", "\n ", CARD + " ", "é "]) for _ in range(dice.randrange(200))
        )
        cuts = [dice.randrange(len(text) + 1) for _ in range(dice.randrange(60))]
        source = Source([Chunk(text=piece) for piece in pieces(text, cuts)] + [Chunk(finish_reason="stop")])
        told = "".join(chunk.text for chunk in read(masking(source)))
        assert told == SCANNER.masked(text, SCANNER.finds(text)), f"seed {seed}"
