"""What is set up, what stays as it was, and how all of it is undone."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import Client
from penstock.errors import ConfigError
from penstock.redaction import Redactor
from penstock_logs import redactors, setup_logging
from penstock_testkit import Simulator, faults

SECRET = "tulip-0123456789"
THIRD = logging.getLogger("third")


@pytest.fixture
def application() -> Iterator[logging.StreamHandler[io.StringIO]]:
    """An application with a handler of its own at the root."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("app %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_without_configuration_nothing_is_set_up(
    make_world: Callable[..., Any], stderr: Any, state: Callable[[], Any]
) -> None:
    before = state()
    world = make_world(faults=[faults.status(400)], logs={})
    assert state() == before
    with pytest.raises(Exception, match="400"):
        world.chat()
    assert stderr.getvalue() == ""


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"LOG_LEVEL": "warn"}, " WARNING penstock.call ["),
        ({"LOG_JSON": "true"}, '"level": "WARNING"'),
        ({"LOG_JSON": "1", "LOG_LEVEL": "ERROR"}, ""),
    ],
)
def test_the_environment_can_switch_it_on(environ: dict[str, str], line: str, stderr: Any) -> None:
    simulator = Simulator([faults.status(400)])
    openai = {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}
    transport = simulator.transport()
    with Client(
        False, environ=environ, providers={"openai": openai}, pipeline=[], logs={}, transport=transport
    ) as client:
        transport.runtime = client._engine.runtime
        with pytest.raises(Exception, match="400"):
            client.chat("openai/m", "Hello")
    assert line in stderr.getvalue()
    assert bool(stderr.getvalue()) == bool(line)


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        ({"level": "LOUD"}, "level"),
        ({"format": "xml"}, "format"),
        ({"loggers": []}, "loggers"),
        ({"file": "/nowhere/at/all.log"}, "file: /nowhere/at/all.log cannot be written: No such file"),
    ],
)
def test_a_wrong_value_is_named(make_world: Callable[..., Any], logs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_world(logs=logs)


def test_an_application_can_set_it_up_for_its_own_records(stderr: Any) -> None:
    with setup_logging(level="DEBUG", loggers=("third",), redactor=Redactor((SECRET,))):
        logging.getLogger("third.inner").debug("key %s", SECRET)
    THIRD.warning("afterwards")
    (line,) = stderr.getvalue().splitlines()
    assert line.endswith("DEBUG third.inner key ***")


def test_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'LOUD'"):
        setup_logging(level="LOUD")


def test_an_application_masks_the_keys_of_every_client_also_of_closed_ones(
    make_world: Callable[..., Any], stderr: Any
) -> None:
    with setup_logging(loggers=("third",)):
        world = make_world(
            providers={"openai": {"api_key": SECRET, "base_url": "http://sim.test/v1"}}, logs={}
        )
        THIRD.info("one %s", SECRET)
        world.client.close()
        THIRD.info("two %s", SECRET)
    assert [line.rpartition(" ")[2] for line in stderr.getvalue().splitlines()] == ["***", "***"]
    assert redactors(f"anywhere {SECRET}") == "anywhere ***"


def test_a_file_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with setup_logging(file=str(path), max_bytes=2000, backups=2, loggers=("third",)):
        for number in range(100):
            THIRD.info("line %d", number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log.txt", "log.txt.1", "log.txt.2"]
    assert all(file.stat().st_size <= 2000 for file in files)
    assert path.read_text().splitlines()[-1].endswith("line 99")


def test_a_file_takes_the_place_of_stderr_unless_both_are_wanted(tmp_path: Path, stderr: Any) -> None:
    path = tmp_path / "log.txt"
    with setup_logging(file=str(path), loggers=("third",)):
        THIRD.info("one")
    assert stderr.getvalue() == ""
    with setup_logging(file=str(path), stderr=True, loggers=("third",)):
        THIRD.info("two \udc80")
    assert stderr.getvalue().endswith("two \\udc80\n")
    assert path.read_text().splitlines()[1].endswith("two \\udc80")


def test_handlers_of_the_application_stay_and_see_no_more_than_before(application: Any, stderr: Any) -> None:
    root = logging.getLogger()
    handlers = list(root.handlers)
    with setup_logging(level="DEBUG", loggers=("third",)):
        assert root.handlers == handlers
        logging.getLogger("third.inner").debug("a detail")
        logging.getLogger("third.inner").warning("a warning")
    assert application.stream.getvalue() == "app WARNING a warning\n"
    assert stderr.getvalue().count("\n") == 2


def test_what_handlers_of_the_application_write_is_masked_unless_they_are_to_be_kept(
    application: Any,
) -> None:
    before = application.formatter
    for existing, shown in (("redact", "***"), ("keep", SECRET)):
        with setup_logging(
            loggers=("third",),
            existing=existing,
            redactor=Redactor((SECRET,)),
            stderr=False,  # type: ignore[arg-type]
        ):
            THIRD.warning("key %s", SECRET)
        assert application.stream.getvalue().splitlines()[-1] == f"app WARNING key {shown}"
    assert application.formatter is before


def test_handlers_of_the_application_can_be_replaced_for_a_while(application: Any, stderr: Any) -> None:
    handlers = list(logging.getLogger().handlers)
    with setup_logging(existing="replace"):
        THIRD.warning("ours")
        assert application not in logging.getLogger().handlers
    THIRD.warning("theirs")
    assert application.stream.getvalue() == "app WARNING theirs\n"
    assert stderr.getvalue().endswith("ours\n")
    assert logging.getLogger().handlers == handlers


def test_a_formatter_that_the_application_sets_meanwhile_stays(application: Any) -> None:
    newer = logging.Formatter("newer %(message)s")
    with setup_logging(loggers=("third",)):
        application.setFormatter(newer)
    assert application.formatter is newer


def test_two_clients_with_the_same_settings_write_each_line_once(
    make_world: Callable[..., Any], stderr: Any
) -> None:
    logs = {"level": "INFO", "loggers": ["third"]}
    first, second = make_world(logs=logs), make_world(logs=logs)
    THIRD.info("both")
    first.client.close()
    THIRD.info("one")
    second.client.close()
    THIRD.info("none")
    assert [line.rpartition(" ")[2] for line in stderr.getvalue().splitlines()] == ["both", "one"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_setups_can_be_undone_in_any_order(order: tuple[int, int], application: Any, stderr: Any) -> None:
    handles = [
        setup_logging(level="DEBUG", loggers=("third",), redactor=Redactor((SECRET,))),
        setup_logging(level="INFO", json=True, loggers=("third", "root")),
    ]
    handles[order[0]].close()
    THIRD.info("still heard")
    THIRD.warning("key %s", SECRET)
    assert "still heard" in stderr.getvalue()
    assert application.stream.getvalue() == "app WARNING key ***\n"
    handles[order[1]].close()
    handles[order[1]].close()
    assert THIRD.level == logging.NOTSET


def test_a_logger_that_was_more_talkative_stays_so(stderr: Any) -> None:
    THIRD.setLevel(logging.DEBUG)
    try:
        with setup_logging(level="WARNING", loggers=("third",)):
            assert THIRD.level == logging.DEBUG
            THIRD.debug("not for us")
        assert THIRD.level == logging.DEBUG
    finally:
        THIRD.setLevel(logging.NOTSET)
    assert stderr.getvalue() == ""


def test_a_level_that_the_application_sets_meanwhile_stays() -> None:
    with setup_logging(level="DEBUG", loggers=("third",)):
        THIRD.setLevel(logging.ERROR)
    try:
        assert THIRD.level == logging.ERROR
    finally:
        THIRD.setLevel(logging.NOTSET)


def test_a_logger_below_another_one_writes_once(stderr: Any) -> None:
    with setup_logging(loggers=("third", "third.inner", "root")):
        logging.getLogger("third.inner").info("once")
    assert stderr.getvalue().count("once") == 1


def test_a_write_that_fails_shows_no_record(
    stderr: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with setup_logging(file=str(tmp_path / "log.txt"), loggers=("third",)) as handle:
        assert handle
        (handler,) = THIRD.handlers
        monkeypatch.setattr(handler, "format", lambda record: 1 / 0)
        THIRD.info("key %s", SECRET)
    assert stderr.getvalue() == "penstock-logs: a record was lost: ZeroDivisionError\n"


@pytest.mark.parametrize("colour", ["blocking", "async", "simulated"])
def test_closing_the_client_undoes_all_of_it(
    colour: str, make_world: Callable[..., Any], application: Any, tmp_path: Path
) -> None:
    logs = {"level": "DEBUG", "file": str(tmp_path / "log.txt"), "existing": "replace", "loggers": ["root"]}
    handlers = list(logging.getLogger().handlers)
    world = make_world(colour, logs=logs)
    world.chat()
    world.run(world.client.close())
    assert logging.getLogger().handlers == handlers
    assert "call answered" in (tmp_path / "log.txt").read_text()


def test_a_client_that_cannot_be_built_leaves_nothing_behind(make_world: Callable[..., Any]) -> None:
    # The fixture of this folder compares the loggers before and after.
    with pytest.raises(ConfigError, match="api_key"):
        make_world(logs={"level": "DEBUG"}, providers={"openai": {}})
    with pytest.raises(ConfigError, match="exporters"):
        make_world(logs={"level": "DEBUG"}, metrics={"exporters": ["pigeon"]})
