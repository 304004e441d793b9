"""The scanner itself: a leak in any dress is found, and what is no leak is not."""

from __future__ import annotations

import base64
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry import trace

DRESSES: dict[str, Callable[[str], str | bytes]] = {
    "plain": lambda value: f"the key is {value}.",
    "upper case": str.upper,
    "url": lambda value: quote(value, safe=""),
    "json": lambda value: json.dumps({"a": value}),
    "twice json": lambda value: json.dumps(json.dumps({"a": value})),
    "repr": lambda value: repr({"a": value.encode()}),
    "basic": lambda value: base64.b64encode(f"ada:{value}".encode()).decode(),
    "basic, another user": lambda value: base64.b64encode(f"bob:{value}".encode()).decode(),
    "basic, a third user": lambda value: base64.b64encode(f"carol:{value}".encode()).decode(),
    "base64 for urls": lambda value: base64.urlsafe_b64encode(value.encode()),
    "hexadecimal": lambda value: value.encode().hex(),
    "half of it": lambda value: value[: len(value) - 10],
    "bytes": lambda value: b"\x00\xff" + value.encode() + b"\x00",
}


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("wrapping", ["{}", "sk-{}", 'with "quotes" /+&\n{}'])
def test_a_leak_is_found_in_any_dress(secrets: Any, dress: str, wrapping: str) -> None:
    value = secrets.plant("here", wrapping)
    secrets.plant("elsewhere")
    assert secrets.found_in(DRESSES[dress](value)) == {"here"}


def test_what_is_masked_is_no_leak(secrets: Any) -> None:
    value = secrets.plant("here")
    assert secrets.found_in(f"***{value[-4:]} and nothing else, the rest is words") == set()


def test_each_secret_is_of_its_own(secrets: Any) -> None:
    values = [secrets.plant(f"place {number}") for number in range(60)]
    for number, value in enumerate(values):
        assert secrets.found_in(value) == {f"place {number}"}


def test_the_net_is_over_every_door(net: Any, secrets: Any) -> None:
    value = secrets.plant("here")

    class Careless:
        def __repr__(self) -> str:
            return f"<Careless {value}>"

    net.thing("careless", Careless())
    net.text("file", pickle.dumps(value))
    net.events.append(Careless())
    logging.getLogger("urllib3.connectionpool").debug("with %s", value)
    with trace.get_tracer("test").start_as_current_span("s", attributes={"a": value}):
        pass
    doors = {leak.removeprefix("here in ").partition(" ")[0].rstrip(":") for leak in net.found()}
    assert {"repr", "file", "event", "log", "spans"} <= doors


def test_a_chain_of_errors_is_followed_to_its_end(net: Any, secrets: Any) -> None:
    hidden, noted, tried = (secrets.plant(name) for name in ("hidden", "noted", "tried"))
    try:
        try:
            raise ValueError(hidden)
        except ValueError:
            raise KeyError("shown") from None
    except KeyError as caught:
        error = caught
    error.add_note(noted)
    error.errors = (RuntimeError(tried),)  # as AllTargetsFailed has them
    net.error("it", error)
    assert {leak.partition(" ")[0] for leak in net.found()} == {"hidden", "noted", "tried"}
