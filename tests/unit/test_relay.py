"""Records that loguru gets from the standard library, beside a handler of ours there: each arrives once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from loguru import logger as loguru_logger

from logbus.producers.handler import LogbusHandler
from logbus.producers.intercept import InterceptHandler
from logbus.producers.loguru_front import LOGURU
from tests.kept import Kept


class Recipe(logging.Handler):
    """What loguru's own documentation proposes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Passes a record on."""
        loguru_logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())


@pytest.fixture
def log() -> logging.Logger:
    """A logger that nothing of the tests' own listens to."""
    logger = logging.getLogger("peer.relay")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return logger


@pytest.fixture(params=["direct", "handler"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """A producer to which loguru leads, in each of its ways."""
    kept = Kept()
    LOGURU.begin(kept.producer, level=10, source=request.param)
    return kept


@pytest.mark.parametrize("relay", [Recipe, InterceptHandler])
@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_our_handler_it_is_taken_once(
    log: logging.Logger, kept: Kept, relay: type[logging.Handler], ours_first: bool
) -> None:
    """By whichever handler comes first, on its logger or above; it is the standard library's own record that counts."""
    handlers = [LogbusHandler.of(kept.producer), relay()]
    log.handlers = handlers if ours_first else handlers[::-1]
    log.info("to %s", "both", extra={"a": 1})
    child = log.getChild("child")
    child.addHandler(relay())
    child.warning("from below")
    loguru_logger.info("loguru's own")
    assert kept.messages == ["to both", "from below", "loguru's own"]
    assert [entry.site[0] for entry in kept.entries] == ["peer.relay", "peer.relay.child", __name__]
    assert kept.entries[0].extra == {"a": 1}


class Back(logging.Handler):
    """The recipe for the other direction."""

    def emit(self, record: logging.LogRecord) -> None:
        """Passes a record on to the logger of its name."""
        logging.getLogger("peer.relay").handle(record)


@pytest.mark.parametrize("passed_on", [True, False])
def test_what_loguru_hands_to_the_standard_library_is_taken_once(
    log: logging.Logger, kept: Kept, passed_on: bool
) -> None:
    """Through a handler that passes it on, or straight to one of ours; an ``extra`` of the application is a field."""
    log.handlers = [LogbusHandler.of(kept.producer)]
    identity = loguru_logger.add(Back() if passed_on else log.handlers[0], format="{message}")
    loguru_logger.bind(a=1).info("from loguru")
    log.info("own", extra={"extra": {"b": 2}})
    assert kept.messages == ["from loguru", "own"]
    assert kept.last.nested == {"extra": {"b": 2}}
    loguru_logger.remove(identity)


def test_without_a_sink_of_ours_it_is_the_only_one(log: logging.Logger) -> None:
    """Loguru leads to us by that way alone."""
    kept = Kept()
    log.handlers = [LogbusHandler.of(kept.producer)]
    loguru_logger.add(Back(), format="{message}")
    loguru_logger.info("from loguru")
    assert kept.messages == ["from loguru"]


def test_what_our_handler_does_not_get_is_kept(log: logging.Logger, kept: Kept) -> None:
    """A level above, a filter, no handler of ours, one of another producer: loguru's record is the only one."""
    above, filtered, other = LogbusHandler.of(kept.producer), LogbusHandler.of(kept.producer), Kept()
    above.setLevel(40)
    filtered.addFilter(lambda record: False)
    for handlers in ([above], [filtered], [], [LogbusHandler.of(other.producer)]):
        log.handlers = [*handlers, Recipe()]
        log.info("m")
    assert kept.messages == ["m"] * 4
    assert other.messages == ["m"]


def test_a_handler_that_has_something_to_say_itself(log: logging.Logger, kept: Kept) -> None:
    """A record of loguru's that is made while handlers are at work is a record of its own."""

    class Talker(logging.Handler):
        def emit(self, record: Any) -> None:
            loguru_logger.bind(a=1).info("sent a record")

    log.handlers = [LogbusHandler.of(kept.producer), Talker()]
    log.info("m")
    assert kept.messages == ["m", "sent a record"]
