"""The provider conformance suite finds what is wrong: one defect at a time, in a codec that was right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from penstock.errors import ProviderError, ServerError
from penstock.http import HttpHead, HttpRequest, HttpResponse
from penstock.messages import EMPTY, ChatRequest
from penstock.responses import ChatResponse, Chunk, Usage
from penstock.specs import ProviderSpec
from penstock_testkit.provider_conformance import ProviderConformance
from penstock_wire.openai import OpenAIDialect


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    api_key: SecretStr | None = None


def subject(codec: type[OpenAIDialect], **names: Any) -> ProviderConformance:
    """The suite for a codec."""

    def create(config: Settings, services: Any) -> OpenAIDialect:
        key = config.api_key.get_secret_value() if config.api_key else ""
        return codec(
            base_url=config.base_url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            name=services.name,
            redact=services.redactor,
        )

    spec = ProviderSpec(
        name="trial",
        config=Settings,
        create=create,
        capabilities=names.pop(
            "capabilities", frozenset({"chat", "stream", "embed", "models", "tools", "vision", "schema"})
        ),
    )
    made: ProviderConformance = type("TestTrial", (ProviderConformance,), {"spec": spec, **names})()
    return made


class Dropping(OpenAIDialect):
    """A parameter is silently dropped."""

    def encode(self, request: Any, model: str) -> HttpRequest:
        if isinstance(request, ChatRequest):
            request = replace(request, seed=None, extra=EMPTY)
        return super().encode(request, model)


class Chatty(OpenAIDialect):
    """The decoder is replaced by one with a defect."""

    def decoder(self, request: Any, head: HttpHead) -> Any:
        return self.Wrapped(super().decoder(request, head))

    class Wrapped:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def feed(self, data: bytes) -> Iterable[Chunk]:
            return self._inner.feed(data)  # type: ignore[no-any-return]

        def close(self) -> Iterable[Chunk]:
            return self._inner.close()  # type: ignore[no-any-return]


class Trusting(Chatty):
    """The end of the bytes counts as the end of the answer."""

    class Wrapped(Chatty.Wrapped):
        complete = True

        def close(self) -> Iterable[Chunk]:
            try:
                return list(self._inner.close())
            except ProviderError:
                return ()


class Splitting(Chatty):
    """Every read is decoded by itself."""

    class Wrapped(Chatty.Wrapped):
        def feed(self, data: bytes) -> Iterable[Chunk]:
            return self._inner.feed(data.decode("utf-8", "ignore").encode())  # type: ignore[no-any-return]


class Doubling(Chatty):
    """Usage is added up."""

    class Wrapped(Chatty.Wrapped):
        def feed(self, data: bytes) -> Iterable[Chunk]:
            for chunk in self._inner.feed(data):
                if chunk.usage is not None:
                    chunk.usage = Usage((chunk.usage.input_tokens or 0) * 2, chunk.usage.output_tokens)
                yield chunk


class Hoarding(Chatty):
    """What has no end is kept."""

    class Wrapped(Chatty.Wrapped):
        def feed(self, data: bytes) -> Iterable[Chunk]:
            return () if len(data) >= 1024 * 1024 else self._inner.feed(data)


class Blurring(OpenAIDialect):
    """Every refusal is a server's error."""

    def error(self, response: HttpResponse) -> ProviderError:
        return ServerError(f"it said {response.body[:100]!r}", status=response.status)


class Raising(OpenAIDialect):
    """An odd body is an exception of another kind."""

    def error(self, response: HttpResponse) -> ProviderError:
        response.body.decode()
        return super().error(response)


class Telling(OpenAIDialect):
    """The repr shows the headers."""

    def __repr__(self) -> str:
        return f"<Telling {self._headers}>"


class Waiting(OpenAIDialect):
    """It waits."""

    def decode(self, request: Any, response: HttpResponse) -> Any:
        time.sleep(0.0)
        return super().decode(request, response)


class Remembering(OpenAIDialect):
    """It keeps the last answer."""

    def decode(self, request: Any, response: HttpResponse) -> Any:
        self.last = super().decode(request, response)
        return self.last


class Sharing(OpenAIDialect):
    """Every request has the same headers."""

    def encode(self, request: Any, model: str) -> HttpRequest:
        sent = super().encode(request, model)
        sent.headers = self._headers
        return sent


class Inventing(OpenAIDialect):
    """Missing ids stay missing, and calls are told twice."""

    def decode(self, request: Any, response: HttpResponse) -> Any:
        answer = super().decode(request, response)
        if not isinstance(answer, ChatResponse):
            return answer
        choice = answer.choices[0]
        calls = tuple(replace(call, id="") for call in choice.tool_calls)
        return replace(answer, choices=(replace(choice, tool_calls=calls),))


DEFECTS: list[tuple[type[OpenAIDialect], Callable[[Any], Any]]] = [
    (Dropping, lambda s: s.test_a_parameter_is_sent_or_refused_but_never_dropped("seed")),
    (Dropping, lambda s: s.test_extra_arrives_as_it_is()),
    (Trusting, lambda s: s.test_a_stream_without_its_terminal_marker_is_cut(False)),
    (Trusting, lambda s: s.test_a_stream_cut_before_its_terminal_marker_is_never_complete()),
    (Splitting, lambda s: s.test_every_character_survives_wherever_the_bytes_are_cut()),
    (Doubling, lambda s: s.test_a_streamed_answer_equals_the_plain_one_however_it_is_split()),
    (Doubling, lambda s: s.test_of_several_counts_the_last_is_the_whole()),
    (Hoarding, lambda s: s.test_a_line_without_an_end_is_refused(b"data: ")),
    (Blurring, lambda s: s.test_a_refusal_is_of_the_class_the_error_table_gives("quota")),
    (Blurring, lambda s: s.test_a_wait_is_read_in_every_form("date")),
    (Blurring, lambda s: s.test_what_the_server_echoes_of_a_key_is_masked()),
    (Raising, lambda s: s.test_no_refusal_is_an_exception_of_another_kind(500)),
    (Telling, lambda s: s.test_the_key_is_sent_and_in_nothing_that_is_shown()),
    (Remembering, lambda s: s.test_a_codec_keeps_nothing_of_a_call()),
    (Sharing, lambda s: s.test_the_same_request_gives_the_same_bytes_and_headers_of_its_own()),
    (Inventing, lambda s: s.test_tool_calls_are_whole_and_told_apart_plain_and_streamed()),
]


@pytest.mark.parametrize(
    ("codec", "check"), DEFECTS, ids=[f"{codec.__name__}-{n}" for n, (codec, _) in enumerate(DEFECTS)]
)
def test_a_defect_is_found_and_the_right_codec_passes(
    codec: type[OpenAIDialect], check: Callable[[Any], Any]
) -> None:
    check(subject(OpenAIDialect))
    with pytest.raises((AssertionError, UnicodeDecodeError, pytest.fail.Exception)):
        check(subject(codec))


def test_a_codec_that_waits_or_opens_files_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    subject(OpenAIDialect).test_a_codec_does_no_input_or_output(monkeypatch)
    with pytest.raises(AssertionError, match="the codec called sleep"):
        subject(Waiting).test_a_codec_does_no_input_or_output(monkeypatch)


def test_a_hidden_retry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.exchange import CodecProvider

    once = CodecProvider.send

    async def twice(self: CodecProvider, call: Any) -> Any:
        try:
            return await once(self, call)
        except ProviderError:
            return await once(self, call)

    monkeypatch.setattr(CodecProvider, "send", twice)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        subject(OpenAIDialect).test_a_plain_attempt_is_one_request_whatever_happens("blocking", "overloaded")


def test_what_the_spec_does_not_promise_is_skipped_with_that_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="does not promise 'tools'"):
        subject(OpenAIDialect, capabilities=frozenset({"chat"})).test_a_conversation_with_tools_goes_on()
    lacking = subject(OpenAIDialect, lacks={"tools": "it has no hands"})
    with pytest.raises(pytest.skip.Exception, match="no tools: it has no hands"):
        lacking.test_a_conversation_with_tools_goes_on()
