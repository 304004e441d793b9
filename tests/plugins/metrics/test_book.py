"""The book: its cap, its names, its lock and its process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.call import Target
from penstock.redaction import Redactor
from penstock_metrics import instruments
from penstock_metrics.book import Book


def book(
    max_targets: int = 10, opened: Callable[[], None] = lambda: None, secret: str = "tulip-0123"
) -> Book:
    return Book(max_targets=max_targets, redactor=Redactor((secret,)), opened=opened, wall=lambda: 1000.0)


def test_models_beyond_the_cap_share_one_name_for_each_provider() -> None:
    pages = book(max_targets=3)
    for number in range(100):
        for provider in ("a", "b"):
            page = pages.page(Target(provider, f"model-{number}"))
            page.add(instruments.ATTEMPT_ERRORS, "500")
    names = [str(page.target) for page in pages.pages()]
    assert names == ["a/model-0", "b/model-0", "a/model-1", "b/other", "a/other"]
    ((_, points),) = pages.collect()
    assert sum(point.value.value for point in points) == 200  # type: ignore[union-attr]
    assert pages.name(Target("b", "model-77")) == "b/other"


def test_a_call_by_a_name_that_is_a_key_does_not_show_it() -> None:
    pages = book(secret="tulip-0123")
    for model in ("tulip-0123", "sk-abcdefghijkl0123"):
        assert pages.page(Target("openai", model)).target == Target("openai", "***")


@pytest.mark.parametrize(
    ("model", "shown"),
    [("a\nb", "a?b"), ("\x1b[31m", "?[31m"), ("x" * 1000, "x" * 200), ("\udc80", "?"), ("déjà", "déjà")],
)
def test_a_label_has_one_line_and_a_bounded_length(model: str, shown: str) -> None:
    assert book().page(Target("openai", model)).target.model == shown


def test_the_first_page_is_told_once() -> None:
    told: list[int] = []
    pages = book(opened=lambda: told.append(1))
    for number in range(5):
        pages.page(Target("openai", str(number % 2)))
    assert told == [1]


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_nothing_is_lost_between_threads() -> None:
    pages = book(max_targets=4)
    start = threading.Barrier(16)

    def count(worker: int) -> None:
        start.wait()
        for number in range(300):
            page = pages.page(Target("openai", str(number % 8)))
            with pages.lock:
                page.add(instruments.ATTEMPT_ERRORS, "500")
                page.record(instruments.CALL_DURATION, 0.1, "chat", "")

    threads = [threading.Thread(target=count, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collected = dict(pages.collect())
    assert sum(p.value.value for p in collected[instruments.ATTEMPT_ERRORS]) == 16 * 300  # type: ignore[union-attr]
    assert sum(p.value.count for p in collected[instruments.CALL_DURATION]) == 16 * 300  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_counts_from_zero_even_when_its_parent_was_counting(
    make_world: Callable[..., Any],
) -> None:
    client = make_world(metrics={}).client
    client.chat("openai/gpt-4o-mini", "Hello")
    pages = client.listener("metrics")._book
    with pages.lock:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                before = client.metrics().total.calls
                client.chat("openai/gpt-4o-mini", "Hello")
                os.write(writer, f"{before} {client.metrics().total.calls}".encode())
            finally:
                os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "0 1"
    os.waitpid(child, 0)
    assert client.metrics().total.calls == 1
