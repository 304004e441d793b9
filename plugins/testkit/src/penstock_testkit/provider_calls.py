"""Provider conformance: the subject inside a client of every colour, its secrets, and what it must not do."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import builtins
import inspect
import io
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from penstock import errors
from penstock.http import HttpResponse
from penstock.messages import ModelsRequest
from penstock.runtime import drive
from penstock_testkit import faults
from penstock_testkit.faults import Fault
from penstock_testkit.provider_scenarios import (
    COLOURS,
    EMPTY_HEADERS,
    INSTANCE,
    SECRET,
    TEXT,
    TOOLS,
    Colour,
    ProviderScenarios,
    World,
    said,
    secret_fields,
)

each_colour = pytest.mark.parametrize("colour", COLOURS)
FAULTS: dict[str, Fault] = {
    "server error": faults.status(500),
    "overloaded": faults.status(503, retry_after=1.0),
    "rate limit": faults.status(429, retry_after=1.0),
    "conflict": faults.status(409),
    "timeout": faults.status(408),
    "refused": faults.refuse(),
    "reset": faults.reset(),
    "cut": faults.cut(),
    "hang": faults.hang(),
    "html": faults.html(),
    "empty": faults.empty(),
    "broken": faults.malformed(),
    "error inside": faults.error_event(500),
}


class CallConformance(ProviderScenarios, standard=True):
    """A provider in a client without any stage: one attempt, one request, the same in every colour."""

    @contextmanager
    def world(self, colour: Colour, *script: Fault, **arguments: Any) -> Iterator[World]:
        """A client with the subject in it; leaves nothing open."""
        world = World(self, colour, *script, **arguments)
        try:
            yield world
        finally:
            world.close()

    @each_colour
    @pytest.mark.parametrize("name", FAULTS)
    def test_a_plain_attempt_is_one_request_whatever_happens(self, colour: Colour, name: str) -> None:
        with self.world(colour, FAULTS[name]) as world:
            with pytest.raises(errors.CallError):
                world.chat()
            assert world.simulator.count() == 1

    @each_colour
    @pytest.mark.parametrize("name", [name for name in FAULTS if name != "empty"])
    def test_a_streamed_attempt_is_one_request_whatever_happens(self, colour: Colour, name: str) -> None:
        self.needs("stream")
        with self.world(colour, FAULTS[name]) as world:
            with pytest.raises(errors.CallError):
                world.stream()
            assert world.simulator.count() == 1

    @each_colour
    def test_a_stream_cut_in_the_middle_is_an_interruption_with_what_came(self, colour: Colour) -> None:
        self.needs("stream")
        with self.world(colour, faults.cut(after=2)) as world:
            with pytest.raises(errors.StreamInterrupted) as caught:
                world.stream()
            assert world.simulator.count() == 1
        partial = caught.value.partial
        assert partial is not None
        assert partial.text
        assert TEXT.startswith(partial.text)
        assert partial.finish_reason is None

    @each_colour
    def test_a_stream_that_is_left_early_leaves_nothing_open(self, colour: Colour) -> None:
        self.needs("stream")
        with self.world(colour) as world:
            assert len(world.stream(take=1)) == 1
            assert world.transport.open == ()
            assert world.simulator.count() == 1

    def test_every_colour_says_the_same(self) -> None:
        found = []
        for colour in COLOURS:
            with self.world(colour) as world:
                answer = world.chat()
                heard: list[Any] = [said(answer.response), str(answer.target)]
                if self.can("stream"):
                    heard.append(world.stream())
                if self.can("embed"):
                    heard.append(world.embed(["one", "two"]).vectors)
                heard.append([(r.method, r.path, r.query, r.body) for r in world.simulator.requests])
                found.append(heard)
        assert found[0] == found[1] == found[2]

    def test_every_colour_fails_the_same(self) -> None:
        for name, fault in FAULTS.items():
            kinds = set()
            for colour in COLOURS:
                with self.world(colour, fault) as world:
                    with pytest.raises(errors.CallError) as caught:
                        world.chat()
                    kinds.add((type(caught.value), str(caught.value)))
            assert len(kinds) == 1, name

    @each_colour
    def test_an_answer_larger_than_allowed_is_refused(self, colour: Colour) -> None:
        limit = 100_000
        provider = {"plugin": self.spec.name, **self.values}
        if "max_response_bytes" in self.spec.config.model_fields:
            provider["max_response_bytes"] = limit
        arguments = {"limits": {"max_response_bytes": limit}, "providers": {INSTANCE: provider}}
        with (
            self.world(colour, faults.oversized(4 * limit), **arguments) as world,
            pytest.raises(errors.ProviderError),
        ):
            world.chat()

    def test_the_models_of_a_client_are_its_own(self) -> None:
        self.needs("models")
        with self.world("blocking") as world:
            models = world.client.models(INSTANCE)
        assert models
        assert {model.provider for model in models} == {INSTANCE}

    def test_closing_a_provider_twice_is_allowed(self) -> None:
        made: Any = self.make()
        close = getattr(made, "close", None)
        for _ in range(2):
            closing = close() if close is not None else None
            if inspect.isawaitable(closing):
                drive(closing)  # type: ignore[arg-type]  # a provider's close is a coroutine


class SecretConformance(ProviderScenarios, standard=True):
    """A key reaches the server, and nobody else."""

    def test_the_key_is_sent_and_in_nothing_that_is_shown(self) -> None:
        settings = self.settings()
        if not any(getattr(settings, name).get_secret_value() == SECRET for name in secret_fields(settings)):
            pytest.skip("the subject is configured without a key")
        made: Any = self.make()
        codec = self.codec()
        sent = codec.encode(self.chat(), self.model)
        assert any(SECRET in value for value in sent.headers.values())
        assert SECRET not in sent.url
        assert SECRET.encode() not in (sent.body or b"")
        shown = [settings, made, codec, sent, vars(made) if hasattr(made, "__dict__") else ""]
        assert not [type(thing).__name__ for thing in shown[:4] if SECRET in repr(thing) + str(thing)]

    @pytest.mark.parametrize("bad", ["sk-with\nnewline-secret", "sk-with\u2019quote-secret"])
    def test_a_key_no_header_can_carry_is_refused_without_an_echo(self, bad: str) -> None:
        if "api_key" not in self.spec.config.model_fields:
            pytest.skip("the subject takes no key")
        values = {**self.values, "api_key": bad}
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whichever boundary notices it
            self._send_with(values)
        assert isinstance(caught.value, errors.PenstockError)
        cause: BaseException | None = caught.value
        while cause is not None:
            assert "secret" not in str(cause)
            cause = cause.__cause__

    def _send_with(self, values: dict[str, Any]) -> None:
        world = World(self, "blocking", providers={INSTANCE: {"plugin": self.spec.name, **values}})
        try:
            world.chat()
        finally:
            world.close()

    def test_no_error_shows_the_key(self) -> None:
        for fault in (faults.status(401, message=f"bad key {SECRET}"), faults.status(500, body=SECRET)):
            world = World(self, "blocking", fault)
            try:
                with pytest.raises(errors.ProviderError) as caught:
                    world.chat()
            finally:
                world.close()
            assert SECRET not in str(caught.value) + repr(caught.value)


class PurityConformance(ProviderScenarios, standard=True):
    """A codec is functions of bytes: no sockets, no files, no processes, no waiting."""

    def test_a_codec_does_no_input_or_output(self, monkeypatch: pytest.MonkeyPatch) -> None:
        codec = self.codec()
        self._use_all(codec)  # whatever is imported late is imported now
        for owner, name in (
            (socket, "socket"),
            (socket, "create_connection"),
            (socket, "getaddrinfo"),
            (builtins, "open"),
            (io, "open"),
            (os, "open"),
            (os, "system"),
            (subprocess, "Popen"),
            (time, "sleep"),
        ):
            monkeypatch.setattr(owner, name, _forbidden(name))
        try:
            self._use_all(codec)
        finally:
            monkeypatch.undo()

    def _use_all(self, codec: Any) -> None:
        assert self.ask(self.chat(), codec=codec).text == TEXT
        with pytest.raises(errors.ProviderError):
            self.ask(self.chat(), faults.status(500), codec=codec)
        with pytest.raises(errors.MalformedResponse):
            self.ask(self.chat(), faults.html(), codec=codec)
        codec.error(HttpResponse(503, EMPTY_HEADERS, 0.0, b"busy"))
        if self.can("tools"):
            self.ask(self.chat("get weather", tools=TOOLS), codec=codec, text=None)
        if self.can("embed"):
            self.ask(self.embedding("one"), codec=codec)
        if self.can("models"):
            self.ask(ModelsRequest(), codec=codec)
        if self.can("stream"):
            request = self.chat(stream=True)
            head, pieces = self.exchange(codec, request)
            assert self.read(request, head, pieces, codec).response.text == TEXT

    def test_a_codec_keeps_nothing_of_a_call(self) -> None:
        """One codec serves every thread: what it is asked leaves no trace in it."""
        codec = self.codec()
        before = _state(codec)
        self._use_all(codec)
        assert _state(codec) == before


def _state(thing: Any) -> dict[str, str]:
    names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
    return {name: repr(getattr(thing, name, None)) for name in names}


def _forbidden(name: str) -> Callable[..., NoReturn]:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"the codec called {name}")

    return refuse
