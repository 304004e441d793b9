"""Records of a run, and a logging system that is as it was before."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NAMES = (None, "penstock", "urllib3", "requests", "aiohttp", "asyncio")


def logging_state() -> Any:
    """Everything about the loggers that we touch."""
    return [
        (
            name,
            logger.level,
            logger.propagate,
            tuple(logger.filters),
            [
                (each, each.level, each.formatter, tuple(each.filters))
                for each in logger.handlers
                if not isinstance(each, logging.NullHandler)
            ],
        )
        for name, logger in ((name, logging.getLogger(name)) for name in NAMES)
    ]


@pytest.fixture
def state() -> Callable[[], Any]:
    """Reads everything about the loggers that we touch."""
    return logging_state


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = logging_state()
    yield
    assert logging_state() == before


class Stderr:
    """What went to stderr so far."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text

    def entries(self) -> list[dict[str, Any]]:
        """The objects of its JSON lines."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    """What goes to stderr."""
    return Stderr(capsys)
