"""Secrets in every place a user can put one, every error path, at DEBUG: nothing is found."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from penstock import AsyncClient, Client, PenstockError
from penstock_logs import setup_logging
from penstock_testkit import Simulator, faults

KEY = "sk-planted-aaaa1111bbbb2222"
HEADER = "planted-header-cccc3333/dddd"
QUERY = "planted-query-eeee4444"
PASSWORD = "planted:password-ffff5555"
SECRETS = (KEY, HEADER, QUERY, PASSWORD, quote(HEADER, safe=""), quote(PASSWORD, safe=""))

SCRIPT = {
    "ok": [],
    "refused": [faults.status(401, message=f"Incorrect API key provided: {KEY}")],
    "echo": [faults.status(500, body=f"<html>Bearer {KEY} x-extra: {HEADER}</html>")] * 3,
    "bad request": [faults.status(400, message=f"header {HEADER} and ?key={QUERY}")],
    "reset": [faults.reset()] * 3,
    "cut": [faults.cut(after=1)],
    "html": [faults.html()] * 3,
    "redirect": [faults.status(307, headers={"location": f"http://127.0.0.1:1/?key={QUERY}"})],
}


def options(url: str, logs: dict[str, Any]) -> dict[str, Any]:
    openai = {"api_key": KEY, "base_url": f"{url}?key={QUERY}", "headers": {"x-extra": HEADER}}
    return {
        "config": False,
        "environ": {},
        "providers": {"openai": openai},
        "pipeline": ["cache", "retry", "breaker", "limiter"],
        "retry": {"base": 0, "throttle_base": 0},
        "logs": {"level": "DEBUG", "loggers": ["root"], **logs},
        "metrics": {},
    }


def ask(colour: str, streamed: bool, given: dict[str, Any]) -> str:
    """Make a call; whoever gets its error logs it, as applications do. The metrics' text."""
    application = logging.getLogger("application")

    async def call() -> str:
        async with AsyncClient(**given) as client:
            try:
                if streamed:
                    async with client.stream("openai/gpt-4o", "hi") as stream:
                        await stream.read()
                else:
                    await client.chat("openai/gpt-4o", "hi", temperature=0)
            except PenstockError:
                application.exception("it failed")
            application.debug("with %s and %r", given["providers"], {"authorization": f"Bearer {KEY}"})
            return str(client.listener("metrics").exposition())

    if colour == "async":
        return asyncio.run(call())
    with Client(**given) as client:
        try:
            if streamed:
                with client.stream("openai/gpt-4o", "hi") as stream:
                    stream.read()
            else:
                client.chat("openai/gpt-4o", "hi", temperature=0)
        except PenstockError:
            application.exception("it failed")
        application.debug("with %s and %r", given["providers"], {"authorization": f"Bearer {KEY}"})
        return str(client.listener("metrics").exposition())


@pytest.mark.parametrize("name", SCRIPT)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_nothing_is_found_in_logs_and_metrics(
    name: str, streamed: bool, colour: str, tmp_path: Path, stderr: Any
) -> None:
    file = tmp_path / "log.txt"
    logs = {"file": str(file), "stderr": True, "format": "json" if streamed else "text"}
    own = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    root.addHandler(own)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        with Simulator(SCRIPT[name]).serve() as server:
            metrics = ask(colour, streamed, options(server.url, logs))
            sent = server.requests[-1]
    finally:
        root.setLevel(level)
        root.removeHandler(own)
    # The secrets were really used, and something was really written.
    assert sent.headers["x-extra"] == HEADER
    assert KEY in sent.headers["authorization"]
    written = file.read_text()
    assert "application" in written
    assert "urllib3.connectionpool" in written or colour == "async"
    for place in (written, stderr.getvalue(), own.stream.getvalue(), metrics):
        assert "gpt-4o" in place
        for secret in SECRETS:
            assert secret not in place


def test_a_key_with_a_break_inside_is_not_found_either(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    broken = f"{KEY}\r\nx-forged: {HEADER}"
    given = options("http://127.0.0.1:9/v1", {"file": str(file)})
    given["providers"]["openai"] |= {"api_key": broken}
    with setup_logging(level="DEBUG", file=str(file)):
        try:
            ask("blocking", False, given | {"logs": {}})
        except PenstockError:
            logging.getLogger("application").exception("it failed")
    written = file.read_text()
    assert written
    for secret in SECRETS:
        assert secret not in written


def test_a_proxy_with_a_password_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_world: Callable[..., Any]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ada:{quote(PASSWORD, safe='')}@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", f"http://ada:{quote(PASSWORD, safe='')}@127.0.0.1:9")
    for colour in ("blocking", "async"):
        file = tmp_path / f"{colour}.txt"
        given = options("http://192.0.2.1:9/v1", {"file": str(file)})
        ask(colour, False, given)
        for secret in SECRETS:
            assert secret not in file.read_text()
