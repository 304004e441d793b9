"""Every way a call can go, against a server that repeats every secret it hears: nothing comes out again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock import AsyncClient, Client, hookimpl
from penstock_testkit import Simulator, faults

ECHO = "<<echo>>"
"""Replaced by everything that is planted."""

ROWS: dict[str, Callable[[str], list[Any]]] = {
    "all is well": lambda said: [],
    "connection refused": lambda said: [faults.refuse()] * 9,
    "reset": lambda said: [faults.reset()] * 9,
    "reset behind the head": lambda said: [faults.reset(after=0)] * 9,
    "cut": lambda said: [faults.cut(after=1)] * 9,
    "unterminated": lambda said: [faults.unterminated()] * 9,
    "html": lambda said: [faults.status(502, body=f"<html><p>{said}</p></html>")] * 9,
    "html in a 200": lambda said: (
        [faults.status(200, body=f"<html>{said}</html>", headers={"content-type": "text/html"})] * 9
    ),
    "broken JSON in a 200": lambda said: [faults.status(200, body=f'{{"choices": "{said}')] * 9,
    "another shape in a 200": lambda said: (
        [faults.status(200, body=f'{{"choices": 7, "said": "{said}"}}')] * 9
    ),
    "error event": lambda said: [faults.error_event(500, message=said)] * 9,
    "error event after content": lambda said: [faults.error_event(500, after=1, message=said)] * 9,
    "malformed event": lambda said: [faults.malformed(after=1)] * 9,
    "redirect": lambda said: (
        [faults.status(307, headers={"location": f"http://127.0.0.1:1/?key={said}"})] * 9
    ),
    "echoing headers": lambda said: (
        [
            faults.status(
                429,
                message=said,
                headers={
                    "retry-after": said,
                    "x-ratelimit-reset-requests": said,
                    "x-request-id": said,
                    "x-should-retry": said,
                    "www-authenticate": said,
                    "set-cookie": f"session={said}",
                },
            )
        ]
        * 9
    ),
    **{
        f"status {code}": lambda said, code=code: [faults.status(code, message=said, body=None)] * 9
        for code in (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
    },
    "context length": lambda said: [faults.status(400, kind="context_length", message=said)] * 9,
    "content filter": lambda said: [faults.status(400, kind="content_filter", message=said)] * 9,
    "quota": lambda said: [faults.status(429, kind="quota", message=said)] * 9,
    "empty": lambda said: [faults.empty()] * 9,
}


class Careless:
    """Hooks that raise, quoting everything they know."""

    def __init__(self, said: str) -> None:
        self._said = said

    @hookimpl
    def penstock_pre_request(self, call: Any) -> Any:
        raise ValueError(self._said)

    @hookimpl
    def penstock_post_response(self, call: Any, response: Any) -> Any:
        raise KeyError(self._said)

    @hookimpl
    def penstock_register_health_checks(self) -> Any:
        from penstock import HealthCheckSpec

        def check(client: Any) -> Any:
            raise LookupError(self._said)

        return [HealthCheckSpec(name="careless", check=check)]


def asking(colour: str, net: Any, setting: Any, plugins: Any, **more: Any) -> None:
    """The same calls in both colours: plain, streamed, embedded, by a route, past their deadline."""

    def listener(event: Any) -> None:
        net.events.append(event)
        raise RuntimeError(net.secrets.quoted())

    given = {"environ": setting.environ, "listeners": [listener], "plugins": plugins, **more}
    if colour == "blocking":
        with Client(setting.path, **given) as client:
            _ask_blocking(client, net)
            net.client(client)
    else:
        asyncio.run(_ask_async(lambda: AsyncClient(setting.path, **given), net))
    for name, data in setting.files():
        net.text(name, data)


def _ask_blocking(client: Any, net: Any) -> None:
    def streamed(model: str) -> Any:
        with client.stream(model, "Hello") as stream:
            net.text("stream", repr(stream) + str(stream))
            return stream.read()

    calls: dict[str, Callable[[], Any]] = {
        "chat": lambda: client.chat("openai/first", "Hello", temperature=0),
        "chat again": lambda: client.chat("openai/first", "Hello", temperature=0),
        "stream": lambda: streamed("openai/first"),
        "route": lambda: client.chat("fast", "Hello"),
        "streamed route": lambda: streamed("fast"),
        "embed": lambda: client.embed("openai/vectors", "Hello"),
        "models": lambda: client.models("openai"),
    }
    for name, call in calls.items():
        try:
            net.thing(f"answer of {name}", call())
        except Exception as error:
            net.error(name, error)


async def _ask_async(make: Callable[[], Any], net: Any) -> None:
    async with make() as client:

        async def streamed(model: str) -> Any:
            async with client.stream(model, "Hello") as stream:
                net.text("stream", repr(stream) + str(stream))
                return await stream.read()

        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "chat": lambda: client.chat("openai/first", "Hello", temperature=0),
            "chat again": lambda: client.chat("openai/first", "Hello", temperature=0),
            "stream": lambda: streamed("openai/first"),
            "route": lambda: client.chat("fast", "Hello"),
            "streamed route": lambda: streamed("fast"),
            "embed": lambda: client.embed("openai/vectors", "Hello"),
            "models": lambda: client.models("openai"),
        }
        for name, call in calls.items():
            try:
                net.thing(f"answer of {name}", await call())
            except Exception as error:
                net.error(name, error)
        net.client(client)


@pytest.mark.parametrize("colour", ["blocking", "async"])
@pytest.mark.parametrize("name", ROWS)
def test_nothing_of_what_a_server_repeats_comes_out(
    name: str, colour: str, net: Any, setting: Any, secrets: Any
) -> None:
    setting.write("http://127.0.0.1:9/v1")
    said = secrets.quoted()
    script = {model: ROWS[name](said) for model in ("first", "second", "vectors")}
    with Simulator(script=script).serve() as server:
        setting.write(server.url)
        asking(colour, net, setting, [("careless", Careless(said))])
        sent = server.requests
    assert any(setting.key in request.headers["authorization"] for request in sent)
    assert any(secrets.found_in(repr(request.query)) for request in sent), "the query was not sent"
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_nothing_comes_out_of_a_server_that_is_not_there(
    colour: str, net: Any, setting: Any, secrets: Any
) -> None:
    setting.write("http://127.0.0.1:9/v1")
    asking(colour, net, setting, [("careless", Careless(secrets.quoted()))])
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_nothing_comes_out_of_a_host_without_an_address(colour: str, net: Any, setting: Any) -> None:
    setting.write("http://nobody.invalid/v1")
    asking(colour, net, setting, [])
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_nothing_comes_out_of_a_server_without_tls(colour: str, net: Any, setting: Any) -> None:
    with Simulator().serve() as server:
        setting.write(server.url.replace("http://", "https://"), more='[timeouts]\nconnect = "100ms"\n')
        asking(colour, net, setting, [])
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("colour", ["blocking", "async"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("proxy", ["refuses", "absent"])
def test_nothing_comes_out_of_a_proxy_with_a_password(
    colour: str, secure: bool, proxy: str, net: Any, setting: Any, secrets: Any
) -> None:
    password = secrets.plant("password of the proxy", "p%40{}")
    scheme = "https" if secure else "http"
    with Simulator(repeat=True, faults=[faults.status(407, message="proxy says no")]).serve() as server:
        host = server.url.removeprefix("http://").partition("/")[0] if proxy == "refuses" else "127.0.0.1:9"
        setting.write(
            f"{scheme}://upstream.invalid/v1", more=f'[wire]\nproxy = "http://ada:{password}@{host}"\n'
        )
        asking(colour, net, setting, [("careless", Careless(secrets.quoted()))])
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_nothing_comes_out_of_a_call_past_its_deadline(colour: str, net: Any, setting: Any) -> None:
    with Simulator([faults.hang()], repeat=True).serve() as server:
        setting.write(server.url, more='[timeouts]\ntotal = "200ms"\n')
        asking(colour, net, setting, [])
    found = net.found()
    assert not found, "\n".join(found)


def test_nothing_comes_out_of_a_call_that_is_cancelled(net: Any, setting: Any) -> None:
    with Simulator([faults.hang()], repeat=True).serve() as server:
        setting.write(server.url)

        async def scenario() -> None:
            async with AsyncClient(setting.path, environ=setting.environ) as client:
                call = asyncio.create_task(client.chat("fast", "Hello"))
                while not server.count():
                    await asyncio.sleep(0.01)
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await call
                net.thing("task", call)
                net.client(client)

        asyncio.run(scenario())
    for name, data in setting.files():
        net.text(name, data)
    found = net.found()
    assert not found, "\n".join(found)
