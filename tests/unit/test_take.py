"""What a handler remembers of a place in the program, which must not show: see logbus/producers/take.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from logbus.producers.handler import LogbusHandler
from tests.kept import Kept


@pytest.fixture
def taken() -> Kept:
    """Everything that the handler hands over."""
    return Kept()


@pytest.fixture
def handler(taken: Kept) -> LogbusHandler:
    """A handler in front of it."""
    return LogbusHandler.of(taken.producer)


def logged(**attributes: Any) -> logging.LogRecord:
    """A record as logging makes it, with some attributes changed or added."""
    record = logging.LogRecord("shop.till", 20, "/srv/till.py", 7, "sold %s", ("tea",), None, "sell")
    record.__dict__.update(attributes)
    return record


PLACE: list[dict[Any, Any]] = [
    {"a": 1, "b": "x"},
    {"a": 2, "b": "y"},
    {"b": "z", "a": 3},
    {"a": 4},
    {},
    {"a": 5, "b": "v", "c": None},
    {"a": 6, "c": "w"},
    {"b": "u", "a": [7]},
    {"a": 8, 9: "number"},
    {"a": 10, "b": "t"},
]


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_place_may_log_other_fields_each_time(handler: LogbusHandler, taken: Kept, order: str) -> None:
    """Each record has its own fields in its own order, whatever those before it from the same place had."""
    for fields in PLACE if order == "forwards" else PLACE[::-1]:
        handler.handle(logged(**{"a": 0, "b": "before"} if order == "backwards" else {}))
        record = logged()
        record.__dict__.update(fields)
        handler.handle(record)
        found = [*(taken.last.extra or {}).items(), *(taken.last.nested or {}).items()]
        assert found == [(str(key), value) for key, value in fields.items()]


def test_a_field_is_seen_where_an_attribute_is_missing(handler: LogbusHandler, taken: Kept) -> None:
    """A record that lost an attribute of logging's and has a field more is not taken for one like those before it."""
    for _ in range(2):
        handler.handle(logged(a=1))
    record = logged()
    del record.processName
    record.__dict__.update(b=2, a=1)
    handler.handle(record)
    assert taken.last.extra == {"a": 1, "b": 2}


@pytest.mark.parametrize("gone", ["processName", "pathname"])
@pytest.mark.parametrize("fields", [{}, {"a": 1, "b": 2}])
def test_an_attribute_may_be_missing_from_the_first_record_on(
    handler: LogbusHandler, taken: Kept, gone: str, fields: dict[str, Any]
) -> None:
    """Where a filter takes one of logging's attributes away, message and fields arrive each time."""
    for _ in range(3):
        record = logged(**fields)
        del record.__dict__[gone]
        handler.handle(record)
        assert (taken.last.message, taken.last.extra or {}) == ("sold tea", fields)


class Word(str):
    """A text of another type."""

    __slots__ = ()


@pytest.mark.parametrize("fields", [{9: "number"}, {"a": 1, 9: "number"}, {Word("w"): "word"}])
def test_fields_with_unusual_names_arrive_each_time(
    handler: LogbusHandler, taken: Kept, fields: dict[Any, Any]
) -> None:
    """A place whose first record has a field that is named by no plain text forgets none in those after it."""
    for _ in range(3):
        record = logged()
        record.__dict__.update(fields)
        handler.handle(record)
        assert taken.last.extra == {str(name): value for name, value in fields.items()}


def test_a_formatter_before_the_handler_changes_no_field(handler: LogbusHandler, taken: Kept) -> None:
    """What another handler's formatter leaves on a record is no field, nor does it hide one."""
    formatter = logging.Formatter("%(asctime)s %(message)s")
    for number in range(3):
        record = logged(a=number)
        formatter.format(record)
        handler.handle(record)
        assert (taken.last.extra, taken.last.message) == ({"a": number}, "sold tea")
    handler.handle(logged(a=3))
    assert taken.last.extra == {"a": 3}
