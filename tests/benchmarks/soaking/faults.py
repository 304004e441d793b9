"""
What goes wrong, and how often: the dice of both upstreams of the soak, in the process and behind sockets.

Single faults are drawn; beside them every model has outages, a row of requests that all get a 503, so that
breakers open, probe and close all the time.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from typing import Any, Literal, TypeAlias

from upstream import HEAD, TEXT, USAGE

Fate: TypeAlias = Literal[
    "ok", "slow", "503", "500", "429", "400", "reset", "malformed", "cut", "unterminated", "error_event"
]
SHARES: dict[Fate, float] = {
    "slow": 0.01,
    "503": 0.02,
    "500": 0.01,
    "429": 0.004,
    "400": 0.003,
    "reset": 0.01,
}
PLAIN_SHARES: dict[Fate, float] = {"malformed": 0.005}
STREAM_SHARES: dict[Fate, float] = {"cut": 0.03, "unterminated": 0.01, "error_event": 0.01}
EVERY, OUTAGE = 1000, 9
"""Of so many requests for one model, so many in a row fail."""
SLOW_SECONDS = 0.01
WORDS = ("A penstock ", "is a gated pipe ", "that carries ", "water ", "to a turbine.")


class Dice:
    """
    Decides what a request meets, and counts; safe for threads.

    Args:
        seed: of the dice.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._by_model: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()

    def throw(self, model: str, *, stream: bool) -> Fate:
        """What this request meets."""
        with self._lock:
            self._by_model[model] += 1
            fate = self._fate(self._by_model[model], stream=stream)
            self.fates[fate] += 1
            return fate

    def _fate(self, number: int, *, stream: bool) -> Fate:
        if number % EVERY >= EVERY - OUTAGE:
            return "503"
        dice = self._random.random()
        for shares in (SHARES, STREAM_SHARES if stream else PLAIN_SHARES):
            for fate, share in shares.items():
                dice -= share
                if dice < 0:
                    return fate
        return "ok"

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.fates.total()


HEADS: dict[Fate, tuple[int, str]] = {
    "503": (503, "1"),
    "500": (500, ""),
    "429": (429, "2"),
    "400": (400, ""),
}
"""Status, and milliseconds in `retry-after-ms`."""


def _answer() -> bytes:
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": USAGE, **HEAD}).encode()


def _event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return (
        b"data: " + json.dumps({"id": "chatcmpl-1", **HEAD, "choices": [choice], **more}).encode() + b"\n\n"
    )


PLAIN = _answer()
MALFORMED = b'{"choices": [{'
ERROR = b'{"error":{"message":"The server says no.","type":"server_error","code":null}}'
DONE = b"data: [DONE]\n\n"
EVENTS = (
    _event({"role": "assistant", "content": ""}),
    *(_event({"content": word}) for word in WORDS),
    _event({}, "stop", usage=USAGE),
)


def pieces(fate: Fate) -> tuple[bytes, ...]:
    """The events of a stream that ends this way, one piece each."""
    half = EVENTS[: len(EVENTS) // 2]
    match fate:
        case "cut":
            return half
        case "unterminated":
            return EVENTS
        case "error_event":
            return (*half, b"data: " + ERROR + b"\n\n")
        case _:
            return (*EVENTS, DONE)
