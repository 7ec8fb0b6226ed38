"""What a handler remembers of a place in the program, and in which form it takes a record: neither may show.

See logbus/producers/take.py; tests/property/test_take.py holds the two forms against each other.
"""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import logging
import pydoc
import sys
import weakref
from types import DynamicClassAttribute
from typing import Any
from unittest import mock

import pytest

from logbus.producers.context import context
from logbus.producers.handler import LogbusHandler
from logbus.producers.take import Taker
from tests.forms import FORMS, HANDLES
from tests.kept import Kept


@pytest.fixture
def taken() -> Kept:
    """Everything that the handler hands over."""
    return Kept()


@pytest.fixture(params=FORMS)
def handler(taken: Kept, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LogbusHandler:
    """A handler in front of it, in each form."""
    monkeypatch.setattr(LogbusHandler, "handle", HANDLES[request.param])
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


def test_the_method_reads_as_a_function(handler: LogbusHandler) -> None:
    """Signature, help, documentation and names are those of the Python, on the class and on a handler."""
    method: Any = LogbusHandler.handle
    assert str(inspect.signature(method)) == str(inspect.signature(Taker.handle))
    assert [*inspect.signature(handler.handle).parameters] == ["record"]
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__code__", "__defaults__"):
        assert getattr(method, name) == getattr(Taker.handle, name)
    assert inspect.isfunction(LogbusHandler.handle)
    assert inspect.ismethod(handler.handle)
    assert inspect.getsource(method) == inspect.getsource(Taker.handle)
    assert "handle(self, record" in pydoc.plain(pydoc.render_doc(method))
    assert repr(method).startswith("<function Taker.handle at ")
    with pytest.raises(AttributeError):
        _ = method.nothing


def test_the_method_is_used_as_a_function(handler: LogbusHandler, taken: Kept) -> None:
    """It binds, is wrapped, copied, referred to weakly and mocked, and is called in every way that a method is."""
    method: Any = LogbusHandler.handle
    assert handler.handle == handler.handle
    assert inspect.unwrap(method) is Taker.handle
    assert copy.copy(method) is method
    assert copy.deepcopy(method) is method
    assert functools.wraps(method)(lambda self, record: None).__wrapped__ is method
    bound: Any = weakref.WeakMethod(handler.handle)
    record = logged()
    for call in (
        lambda: handler.handle(record),
        lambda: handler.handle(record=record),
        lambda: method(handler, record),
        lambda: method(self=handler, record=record),
        lambda: bound()(record),
        lambda: next(map(handler.handle, [record])),
        lambda: functools.partial(method, handler)(record),
        lambda: method.__get__(handler)(record),
    ):
        assert call() is record
    assert taken.messages == ["sold tea"] * 8
    assert mock.create_autospec(LogbusHandler, instance=True).handle(record) is not record


@pytest.mark.parametrize("arguments", [(), (1, 2), (None,), (object(),)])
def test_a_wrong_call_fails_as_that_of_a_function(
    handler: LogbusHandler, taken: Kept, arguments: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no record is said to be none, and a wrong number of arguments raises what Python raises."""
    outcomes: list[Any] = []
    for method in (Taker.handle, LogbusHandler.handle):
        try:
            outcomes.append((method(handler, *arguments), taken.messages.pop()))
        except TypeError as error:
            outcomes.append((str(error), ""))
    assert outcomes[0] == outcomes[1]
    with pytest.raises(AttributeError, match="filters"):
        LogbusHandler.handle(object(), logged())  # type: ignore[arg-type]


def test_a_method_that_is_put_in_place_of_another_is_called(handler: LogbusHandler, taken: Kept) -> None:
    """What is replaced of a class or a handler between two records has its say from the next one on, and no longer."""
    for _ in range(3):
        handler.handle(logged())
    for owner in (LogbusHandler, Taker):
        with mock.patch.object(owner, "emit") as emit:
            handler.handle(logged())
        assert emit.call_count == 1
    told: list[Any] = []
    vars(handler)["emit"] = told.append
    handler.handle(logged())
    del vars(handler)["emit"]
    handler.filters.append(lambda record: False)
    handler.handle(logged())
    handler.filters.clear()
    other = Kept()
    handler.producer = other.producer
    handler.handle(logged())
    assert (len(told), len(taken.entries), len(other.entries)) == (1, 3, 1)


def test_a_class_below_is_asked_for_what_it_overrides(handler: LogbusHandler, taken: Kept) -> None:
    """A subclass's own ``handle``, ``emit`` and ``filter`` see each record; what it leaves alone goes on as ever."""

    class Own(LogbusHandler):
        def emit(self, record: logging.LogRecord) -> None:
            record.seen = "emit"
            super().emit(record)

        def handle(self, record: logging.LogRecord) -> Any:
            record.handled = True
            return super().handle(record)

    class Refusing(LogbusHandler):
        def filter(self, record: logging.LogRecord) -> Any:
            return "no" not in vars(record)

    own, refusing = Own.of(taken.producer), Refusing.of(taken.producer)
    refusing.filters.append(lambda record: True)
    for _ in range(3):
        own.handle(logged())
        assert taken.last.extra == {"handled": True, "seen": "emit"}
        refusing.handle(logged(no=1))
        refusing.handle(logged(yes=1))
        assert taken.last.extra == {"yes": 1}
    assert len(taken.entries) == 6


def test_filters_that_hide_from_the_class_are_asked(taken: Kept, handler: LogbusHandler) -> None:
    """A subclass whose filters are a property that only instances have lets nothing pass that they refuse."""

    class Own(LogbusHandler):
        @DynamicClassAttribute
        def filters(self) -> list[Any]:
            return [lambda record: "no" not in vars(record)]

        @filters.setter
        def filters(self, value: Any) -> None:
            vars(self)["filters"] = value

    own = Own.of(taken.producer)
    for _ in range(3):
        own.handle(logged(no=1))
        own.handle(logged(yes=1))

    assert [entry.extra for entry in taken.entries] == [{"yes": 1}] * 3


def test_nothing_is_kept_of_a_record(handler: LogbusHandler, taken: Kept) -> None:
    """However a record goes, no reference to it, its values, its arguments or the scope outlives the call."""
    values: list[Any] = ["a value of its own", 123456789, 1.25]
    foreign, odd = object(), [object()]
    given = [*values, foreign, odd]
    scope = context(request_id=values[0])
    counts = []
    for _ in range(4):
        for fields in ({"a": values[0]}, {"a": values[1], "b": values[2]}, {"a": odd}, {}):
            for args in ((values[0],), (foreign,), (), (1, 2), ("x" * 9000,)):
                record = logged(args=args, **fields)
                handler.handle(record)
                with scope:
                    handler.handle(record)
                assert sys.getrefcount(record) == 2
                del record
        fields, args = {}, ()
        taken.entries.clear()
        gc.collect()
        counts.append([sys.getrefcount(value) for value in given])
    assert counts[1:] == [counts[1]] * 3
