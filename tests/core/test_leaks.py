"""A key never leaves by any door: messages, causes, tracebacks, logs, reprs, pickles, redirects, netrc."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, CallError, Client, PenstockError
from penstock.events import Event
from penstock_testkit import Simulator, faults

SECRET = "sk-planted-1234567890abcdef"
QUERY_SECRET = "planted-query-0987654321"


class Everything(logging.Handler):
    """Keeps every formatted record of every logger."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(level)


def clean(*texts: object) -> None:
    for text in texts:
        assert SECRET not in str(text)
        assert QUERY_SECRET not in str(text)
        assert SECRET not in repr(text)
        assert QUERY_SECRET not in repr(text)


def everything_about(error: BaseException) -> list[str]:
    """The error, its causes and contexts, with tracebacks and locals' reprs left to the reader."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(vars(seen)), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return texts


SCRIPT = {
    "refused key": [faults.status(401, message=f"Incorrect API key provided: {SECRET}")],
    "echoing server error": [faults.status(500, body=f"<html>Bearer {SECRET}</html>")] * 3,
    "echoing bad request": [faults.status(400, message=f"bad header Bearer {SECRET}")],
    "html": [faults.html()] * 3,
    "reset": [faults.reset()] * 3,
    "cut": [faults.cut(after=1)],
    "error event": [faults.error_event(after=1)],
    "redirect": [faults.status(307, headers={"location": "http://127.0.0.1:1/elsewhere"})],
}


def provider(url: str) -> dict[str, Any]:
    return {"openai": {"api_key": SECRET, "base_url": url}}


@pytest.mark.parametrize("name", SCRIPT)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_no_error_path_shows_the_key(logged: list[str], name: str, streamed: bool, colour: str) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {
        "environ": {},
        "listeners": [events.append],
        "retry": {"base": 0, "throttle_base": 0},
    }
    error: BaseException | None = None
    with Simulator(SCRIPT[name]).serve() as server:
        options["providers"] = provider(server.url)

        async def call() -> None:
            async with AsyncClient(False, **options) as client:
                clean(client, client._engine.parts.provider("openai"), client._settings)
                if not streamed:
                    await client.chat("openai/gpt-4o", "hi")
                    return
                async with client.stream("openai/gpt-4o", "hi") as stream:
                    await stream.read()

        try:
            if colour == "async":
                asyncio.run(call())
            else:
                with Client(False, **options) as client:
                    clean(client, client._engine.parts.provider("openai"), client._settings)
                    if streamed:
                        with client.stream("openai/gpt-4o", "hi") as stream:
                            stream.read()
                    else:
                        client.chat("openai/gpt-4o", "hi")
        except CallError as caught:
            error = caught
        assert all(request.headers["authorization"] == f"Bearer {SECRET}" for request in server.requests)
    if error is not None:
        clean(*everything_about(error))
        clean(pickle.dumps(str(error)))
    assert error is not None or (name in ("cut", "error event") and not streamed)
    clean(*logged, *events)


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_a_key_in_the_query_of_a_dead_server_is_not_shown(logged: list[str], colour: str) -> None:
    options: dict[str, Any] = {
        "environ": {},
        "retry": False,
        "providers": {
            "dead": {
                "plugin": "openai",
                "api_key": SECRET,
                "base_url": f"http://user:{QUERY_SECRET}@127.0.0.1:9/v1?key={QUERY_SECRET}",
            }
        },
    }

    async def call() -> None:
        async with AsyncClient(False, **options) as client:
            await client.chat("dead/m", "hi")

    def call_blocking() -> None:
        with Client(False, **options) as client:
            client.chat("dead/m", "hi")

    with pytest.raises(PenstockError) as caught:
        asyncio.run(call()) if colour == "async" else call_blocking()
    clean(*everything_about(caught.value), *logged)


def test_a_key_with_a_trailing_newline_works_and_one_with_a_break_inside_is_not_echoed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    with Simulator(api_key=SECRET).serve() as server:
        settings = {"openai": {"api_key": f"file:{file}", "base_url": server.url}}
        with Client(False, environ={}, providers=settings) as client:
            assert client.chat("openai/gpt-4o", "hi").text
    broken = {"openai": {"api_key": f"{SECRET}\n{SECRET}", "base_url": "http://127.0.0.1:9/v1"}}
    with pytest.raises(PenstockError) as caught, Client(False, environ={}, providers=broken) as client:
        client.chat("openai/gpt-4o", "hi")
    clean(*everything_about(caught.value))


def test_a_misspelt_key_in_the_configuration_is_not_echoed() -> None:
    with pytest.raises(PenstockError) as caught:
        Client(False, environ={}, providers={"openai": {"api_kye": SECRET}})
    clean(*everything_about(caught.value))
    with pytest.raises(PenstockError) as caught:
        Client(False, environ={}, providers={"openai": {"api_key": [SECRET]}})
    clean(*everything_about(caught.value))


def test_netrc_does_not_replace_our_authorization(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login eve password evil\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Simulator(api_key=SECRET).serve() as server:
        with Client(False, environ={}, providers=provider(server.url)) as client:
            assert client.chat("openai/gpt-4o", "hi").text

        async def call() -> str:
            async with AsyncClient(False, environ={}, providers=provider(server.url)) as client:
                return (await client.chat("openai/gpt-4o", "hi")).text

        assert asyncio.run(call())


def test_what_holds_a_key_refuses_to_be_pickled() -> None:
    with Client(False, environ={}, providers=provider("http://127.0.0.1:9/v1")) as client:
        for part in (
            client,
            client._settings,
            client._settings.redactor,
            client._engine.parts.provider("openai"),
        ):
            with pytest.raises(TypeError, match="holds secrets and cannot be pickled"):
                pickle.dumps(part)


def test_a_key_from_the_environment_does_not_replace_the_one_a_file_gives_for_its_own_server(
    tmp_path: Path,
) -> None:
    path = tmp_path / "penstock.toml"
    with Simulator().serve() as server:
        path.write_text(f'[providers.openai]\nbase_url = "{server.url}"\napi_key = "key-of-the-proxy-1"\n')
        with Client(path, environ={"OPENAI_API_KEY": SECRET}) as client:
            client.chat("openai/gpt-4o", "hi")
        (request,) = server.requests
        assert request.headers["authorization"] == "Bearer key-of-the-proxy-1"
