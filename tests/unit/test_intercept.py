"""Standard library records into loguru: caller, level, context, exception and extra fields arrive."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger as loguru_logger

from logbus.errors import ConfigurationError
from logbus.producers.intercept import InterceptHandler

if TYPE_CHECKING:
    from loguru import Record


@pytest.fixture
def taken() -> list[Record]:
    """The records that loguru has handed out."""
    records: list[Record] = []
    loguru_logger.add(lambda message: records.append(message.record), level=0, format="{time} {level} {message}")
    return records


@pytest.fixture
def log() -> logging.Logger:
    """A standard library logger that leads to loguru."""
    logger = logging.getLogger("peer.library")
    logger.setLevel(1)
    logger.propagate = False
    logger.addHandler(InterceptHandler())
    return logger


def test_the_caller_is_the_one_who_logged(log: logging.Logger, taken: list[Record]) -> None:
    """Name, module, function, line, file, thread and process are those of the standard library record."""
    log.info("hello %s", "there")
    (record,) = taken
    assert record["message"] == "hello there"
    assert record["name"] == "peer.library"
    assert record["module"] == "test_intercept"
    assert record["function"] == "test_the_caller_is_the_one_who_logged"
    assert record["line"] == sys._getframe().f_lineno - 6
    assert record["file"].path == __file__
    assert record["thread"].name == threading.current_thread().name


def test_stacklevel_is_honoured(log: logging.Logger, taken: list[Record]) -> None:
    """A wrapper that names its own caller is believed."""

    def wrapper() -> None:
        log.info("wrapped", stacklevel=2)

    wrapper()
    assert taken[0]["function"] == "test_stacklevel_is_honoured"


def test_a_record_that_comes_late_keeps_its_caller_and_time(log: logging.Logger, taken: list[Record]) -> None:
    """Behind a queue the record still tells who logged, when, and in which thread."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    log.handlers[:] = [QueueHandler(waiting)]
    log.warning("queued")
    created = 1_000_000_000.5
    late = waiting.get()
    late.created = created
    waiting.put(late)
    listener = QueueListener(waiting, InterceptHandler())
    listener.start()
    listener.stop()
    (record,) = taken
    assert record["function"] == "test_a_record_that_comes_late_keeps_its_caller_and_time"
    assert record["time"].timestamp() == created
    assert record["thread"].name == threading.current_thread().name


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "DEBUG"), (25, "NOTICE"), (40, "ERROR"), (5, "Level 5"), (33, "Level 33"), (34, "SUCCESS"), (20, "INFO")],
)
def test_levels_keep_name_and_number(log: logging.Logger, taken: list[Record], level: int, name: str) -> None:
    """Levels that loguru has are its own; others keep the name that the application gave them."""
    before = logging.getLevelName(level)
    logging.addLevelName(level, name)
    try:
        log.log(level, "levelled")
    finally:
        logging.addLevelName(level, before)
    assert (taken[0]["level"].name, taken[0]["level"].no) == (name, level)


def test_known_levels_have_their_icon(log: logging.Logger, taken: list[Record]) -> None:
    """WARNING is loguru's WARNING."""
    log.warning("careful")
    assert taken[0]["level"].icon == loguru_logger.level("WARNING").icon


def test_context_and_extra_fields_arrive(log: logging.Logger, taken: list[Record]) -> None:
    """What loguru has in context and what the record has in extra stand side by side."""
    with loguru_logger.contextualize(request_id="r1"):
        log.info("with fields", extra={"strategy": "random", "name2": {"a": 1}})
    assert taken[0]["extra"] == {"request_id": "r1", "strategy": "random", "name2": {"a": 1}}


def test_exceptions_arrive(log: logging.Logger, taken: list[Record]) -> None:
    """A record's exception is loguru's; an empty triple is none."""
    error = ZeroDivisionError("told")
    log.error("failed", exc_info=error)
    assert taken[0]["exception"] is not None
    assert taken[0]["exception"].value is error
    log.error("no exception", exc_info=(None, None, None))
    assert taken[1]["exception"] is None


def test_formatted_tracebacks_and_stacks_are_kept(log: logging.Logger, taken: list[Record]) -> None:
    """What a record brings as text is not lost."""
    log.handle(logging.makeLogRecord({"name": "n", "levelno": 40, "msg": "m", "exc_text": "Traceback\nE: x"}))
    log.info("stack", stack_info=True)
    assert taken[0]["message"] == "m\nTraceback\nE: x"
    assert "Stack (most recent call last)" in taken[1]["extra"]["stack_info"]


def test_braces_and_broken_templates_pass(log: logging.Logger, taken: list[Record]) -> None:
    """Braces are not formatted again, and a template that doesn't fit its arguments is shown with them."""
    log.info("a {b} %s", "{c}")
    InterceptHandler().handle(logging.makeLogRecord({"levelno": 20, "msg": "%d", "args": ("x",)}))
    assert taken[0]["message"] == "a {b} {c}"
    assert "['x']" in taken[1]["message"]


def test_names_disabled_in_loguru_stay_silent(log: logging.Logger, taken: list[Record]) -> None:
    """logger.disable looks at the caller's module, not at this one."""
    loguru_logger.disable(__name__)
    try:
        log.info("silent")
    finally:
        loguru_logger.enable(__name__)
    log.info("heard")
    assert [record["message"] for record in taken] == ["heard"]


def test_an_error_in_loguru_stays_out_of_the_application(
    log: logging.Logger, taken: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    """A patcher or sink that raises ends where logging's errors end."""

    def fail(message: Any) -> None:
        raise OSError("disk full")

    identity = loguru_logger.add(fail, catch=False)
    try:
        log.info("unlucky")
    finally:
        loguru_logger.remove(identity)
    assert "disk full" in capsys.readouterr().err


def test_without_loguru_the_constructor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one of ours and comes before the first record."""
    monkeypatch.setitem(sys.modules, "loguru", None)
    with pytest.raises(ConfigurationError, match="expected loguru"):
        InterceptHandler()
