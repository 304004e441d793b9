"""`penstock chat` as a conversation on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer

MODEL = "openai/gpt-4o-mini"

Upstream = Callable[..., SimulatorServer]
Start = Callable[..., Any]


def said(server: SimulatorServer) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in server.requests[-1].json["messages"]]


def test_it_keeps_its_history_and_ctrl_d_leaves(upstream: Upstream, terminal: Start) -> None:
    server = upstream([faults.ok("First answer."), faults.ok("Second answer.")])
    talk = terminal("chat", MODEL, "--system", "Be brief.")
    talk.until("> ")
    talk.type("one\n")
    talk.until("First answer.\r\n> ")
    talk.type("\n")  # an empty line asks nothing
    talk.until("> ")
    talk.type("two\n")
    talk.until("Second answer.\r\n> ")
    talk.type("\x04")
    assert talk.end() == 0
    assert server.count() == 2
    assert said(server) == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "First answer."),
        ("user", "two"),
    ]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(upstream: Upstream, terminal: Start) -> None:
    server = upstream([faults.hang(after=2)], text="alpha beta gamma")
    talk = terminal("chat", MODEL)
    talk.until("> ")
    talk.type("one\n")
    talk.until("alpha beta")
    talk.type("\x03")
    talk.until("(stopped)\r\n> ")
    talk.type("two\n")
    talk.until("gamma\r\n> ")
    talk.type("\x04")
    assert talk.end() == 0
    assert said(server) == [("user", "one"), ("assistant", "alpha beta"), ("user", "two")]


def test_an_error_is_shown_and_the_question_forgotten(upstream: Upstream, terminal: Start) -> None:
    server = upstream([faults.status(400)])
    talk = terminal("chat", MODEL)
    talk.until("> ")
    talk.type("one\n")
    assert "error: InvalidRequestError" in talk.until("\r\n> ")
    talk.type("two\n")
    talk.until("answer to: two\r\n> ")
    talk.type("\x03\n")  # at the prompt it only begins a new line; so does Enter
    talk.until("> ")
    talk.type("\x04")
    assert talk.end() == 0
    assert said(server) == [("user", "two")]
