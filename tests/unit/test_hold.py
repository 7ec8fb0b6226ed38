"""Conditions and gates on single loggers: every way to log asks them, and what the application had there comes back."""

from __future__ import annotations

import copy
import logging
import pickle
import unittest.mock
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn, cast

import pytest

from logbus.producers.context import bind, clear_context, context
from logbus.producers.stdlib import STDLIB
from logbus.rules import Rule
from tests.turn import Turn, turns

R1 = (("request_id", "r1"),)


@pytest.fixture
def turn() -> Iterator[Turn]:
    """Puts rules into force, and says whether they are."""
    with turns() as turn:
        yield turn


def entry_points(log: Any) -> list[str]:
    """Calls everything through which a DEBUG record may come, and says which of them made a record."""
    made: list[str] = []
    factory = logging.getLogRecordFactory()

    def note(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        made.append(record.getMessage())
        return record

    logging.setLogRecordFactory(note)
    try:
        log.debug("debug")
        log.log(10, "log %d", 1)
        if log.isEnabledFor(10):
            made.append("asked")
        logging.LoggerAdapter(log, {}).debug("adapter")
        log.info("info")
        log.warning("warning")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (log.warn if hasattr(log, "warn") else log.warning)("warn")
        log.error("error")
        try:
            raise ValueError
        except ValueError:
            log.exception("exception")
        log.critical("critical")
    finally:
        logging.setLogRecordFactory(factory)
    return made


ALWAYS = ["info", "warning", "warn", "error", "exception", "critical"]


def test_a_condition_opens_a_logger_for_one_request(turn: Turn) -> None:
    """Every way to log asks before there is a record, and the level of the logger is that without the condition."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=R1))
    assert entry_points(log) == ALWAYS
    with context(request_id="r1"):
        assert entry_points(log) == ["debug", "log 1", "asked", "adapter", *ALWAYS]
        assert log.getEffectiveLevel() == 20
        assert not logging.getLogger("shop.door").isEnabledFor(10)
        assert logging.getLogger("shop.till.new").isEnabledFor(10)
    with context(request_id="r2"):
        assert entry_points(log) == ALWAYS
    turn()
    with context(request_id="r1"):
        assert entry_points(log) == ALWAYS
    assert type(cast("Any", log)._cache) is dict


def test_a_condition_may_close_a_logger(turn: Turn) -> None:
    """One noisy client at ERROR, the others as they are."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 40, where=R1), Rule("", 10))
    with context(request_id="r1"):
        assert entry_points(log) == ["error", "exception", "critical"]
        assert entry_points(logging.getLogger("shop.door"))[:4] == ["debug", "log 1", "asked", "adapter"]
    assert entry_points(log)[:4] == ["debug", "log 1", "asked", "adapter"]


def test_a_condition_for_all_opens_every_logger(turn: Turn) -> None:
    """Those with a level of their own too, those that come later, and the root."""
    logging.getLogger("shop.till").setLevel(logging.ERROR)
    turn(Rule("", 10, where=R1))
    with context(request_id="r1"):
        assert all(logging.getLogger(name).isEnabledFor(10) for name in ("", "shop.till", "new.one"))
    assert not any(logging.getLogger(name).isEnabledFor(10) for name in ("", "shop.till", "new.one"))


def test_a_condition_respects_what_is_disabled(turn: Turn) -> None:
    """``logging.disable`` and ``logger.disabled`` hold for it as for every level."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=R1))
    with context(request_id="r1"):
        logging.disable(logging.DEBUG)
        assert (log.isEnabledFor(10), log.isEnabledFor(20)) == (False, True)
        logging.disable(logging.NOTSET)
        assert log.isEnabledFor(10)
        log.disabled = True
        assert not log.isEnabledFor(50)


def test_a_condition_sees_every_kind_of_field(turn: Turn) -> None:
    """Numbers as text, nested values, fields that were bound, and several at once."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=(("shop", "7"),)), Rule("till", 10, where=(("tags", "['a']"), ("user", "u1"))))
    with context(shop=7):
        assert log.isEnabledFor(10)
    with context(tags=["a"]):
        assert not log.isEnabledFor(10)
        bind(user="u1")
        assert log.isEnabledFor(10)
    clear_context()
    assert not log.isEnabledFor(10)


class Exploding:
    """A value of the application that can't be shown."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no")


def test_a_condition_sees_what_structlog_has_bound(turn: Turn) -> None:
    """Its context variables count beside ours, ours first; what it has cleared is gone, and nothing raises."""
    contextvars = pytest.importorskip("structlog.contextvars")
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=R1))
    try:
        contextvars.bind_contextvars(request_id="r1", other=1)
        assert log.isEnabledFor(10)
        with context(request_id="r2"):
            assert not log.isEnabledFor(10)
        with context(user="u1"):
            assert log.isEnabledFor(10)
        contextvars.bind_contextvars(request_id=Exploding())
        assert (log.isEnabledFor(10), log.isEnabledFor(20)) == (False, True)
        contextvars.clear_contextvars()
        assert not log.isEnabledFor(10)
    finally:
        contextvars.clear_contextvars()


def test_a_gate_of_the_applications_own_decides_alone(turn: Turn) -> None:
    """An ``isEnabledFor`` that somebody has put on a logger, a mock for example, is left as it is."""
    log: Any = logging.getLogger("shop.till")
    with unittest.mock.patch.object(log, "isEnabledFor", return_value=True):
        turn(Rule("till", 10, where=R1))
        STDLIB.look()
        assert log.isEnabledFor(1)
    assert not log.isEnabledFor(10)
    with context(request_id="r1"):
        assert (log.isEnabledFor(10), log.isEnabledFor(1)) == (True, False)


def test_what_logging_forgets_is_put_back(turn: Turn) -> None:
    """Who replaces what a logger remembers of its levels takes the condition off for a second at most."""
    log: Any = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=R1))
    log._cache = {}
    STDLIB.look()
    with context(request_id="r1"):
        assert log.isEnabledFor(10)
        logging.root.setLevel(logging.ERROR)
        assert log.isEnabledFor(10)
    assert not log.isEnabledFor(20)


def test_a_logger_with_a_condition_is_still_one(turn: Turn) -> None:
    """It can be pickled and copied as every logger."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10, where=R1))
    assert pickle.loads(pickle.dumps(log)) is copy.copy(log) is copy.deepcopy(log) is log
