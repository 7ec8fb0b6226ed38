"""logbus.integrations.celery_records: what is taken of celery's own records, and what other handlers keep."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo

from logbus import LogbusHandler
from logbus.integrations import celery_records
from tests.kept import Kept


class Seen(logging.Handler):
    """A handler of the application's: the fields that it finds."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps them."""
        self.fields = dict(vars(record))


@pytest.fixture
def log(kept: Kept) -> Iterator[logging.Logger]:
    """One of celery's loggers, in front of a producer that keeps what it gets."""
    celery_records.clean()
    logger = logging.getLogger("celery.app.trace")
    logger.addHandler(LogbusHandler.of(kept.producer))
    logger.setLevel(logging.INFO)
    yield logger
    celery_records.leave()


DATA = {"id": "1", "args": "('hunter2',)", "kwargs": "{'pin': 1234}", "runtime": 0.0123456, "eta": "12:00"}


def test_arguments_stay_out(log: logging.Logger, kept: Kept) -> None:
    """Of what celery gives its handlers only the duration is taken, and a time that was asked for."""
    log.info("Task %(id)s succeeded", DATA, extra={"data": DATA, "mine": 1})
    assert kept.last.message == "Task 1 succeeded"
    assert (kept.last.extra, kept.last.nested) == ({"mine": 1, "duration_ms": 12.346, "eta": "12:00"}, None)


def test_other_handlers_have_all(log: logging.Logger, kept: Kept) -> None:
    """A handler of the application behind ours finds the record as celery made it."""
    seen = Seen()
    log.addHandler(seen)
    log.info("Task %(id)s succeeded", DATA, extra={"data": DATA})
    assert seen.fields["data"] is DATA
    assert "duration_ms" not in seen.fields


@pytest.mark.parametrize("data", [None, "a text", 7, ["a", "list"], {"runtime": "soon"}, {1: 2}])
def test_a_record_of_another_kind(log: logging.Logger, kept: Kept, data: Any) -> None:
    """An application that uses the logger itself loses nothing but what looks like celery's."""
    log.warning("mine", extra={"data": data, "more": [1]})
    fields = {**(kept.last.extra or {}), **(kept.last.nested or {})}
    expected = {"more": [1]} if isinstance(data, dict) else {"data": data, "more": [1]}
    assert (kept.last.message, fields) == ("mine", expected)


def test_an_exception_of_a_child(log: logging.Logger, kept: Kept) -> None:
    """What billiard wraps to send it is taken as what it was, with its frames."""
    try:
        raise LookupError("gone")
    except LookupError:
        info = ExceptionInfo()
    log.error("lost", exc_info=info.exc_info)
    kind, message, frames, *_ = kept.last.exception
    assert (kind, message) == ("LookupError", "gone")
    assert [function for _, _, function in frames] == ["test_an_exception_of_a_child"]


def test_other_loggers_are_left_alone(log: logging.Logger, kept: Kept) -> None:
    """A field of that name is the application's elsewhere, and here, too, once the integration has gone."""
    other = logging.getLogger("shop")
    other.addHandler(LogbusHandler.of(kept.producer))
    other.error("mine", extra={"data": DATA})
    assert kept.last.nested == {"data": DATA}
    celery_records.leave()
    log.error("mine", extra={"data": DATA})
    assert kept.last.nested == {"data": DATA}
