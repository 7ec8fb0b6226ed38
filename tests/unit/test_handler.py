"""The standard library's door: every record that logging can make arrives, and no log call ever raises."""

from __future__ import annotations

import copy
import logging
import logging.config
import logging.handlers
import pickle
import queue
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from logbus.producers.context import context
from logbus.producers.exception import finish
from logbus.producers.handler import LogbusHandler
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


@pytest.fixture
def log(handler: LogbusHandler) -> logging.Logger:
    """A logger that leads to the handler and nowhere else."""
    logger = logging.getLogger("shop.till")
    logger.setLevel(1)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


@pytest.fixture(params=["first", "again"])
def warm(request: pytest.FixtureRequest, handler: LogbusHandler, taken: Kept) -> None:
    """A handler that has seen the call site of ``logged`` before, or not: what it remembers must not show."""
    if request.param == "again":
        handler.handle(logged())
        taken.entries.clear()


def logged(**attributes: Any) -> logging.LogRecord:
    """A record as logging makes it, with some attributes changed or added."""
    record = logging.LogRecord("shop.till", 20, "/srv/till.py", 7, "sold %s", ("tea",), None, "sell")
    record.__dict__.update(attributes)
    return record


def test_a_record_arrives_whole(log: logging.Logger, taken: Kept) -> None:
    """Logger, level, place, thread, time and message are those of the call."""
    before = time.time()
    log.warning("%s for %d", "tea", 3, extra={"till": 4})
    line = sys._getframe().f_lineno - 1
    found = taken.last
    name = "test_a_record_arrives_whole"
    assert found.site == ("shop.till", 30, "WARNING", "test_handler", name, line)
    assert (found.message, found.extra, found.nested, found.exception) == ("tea for 3", {"till": 4}, None, None)
    assert found.thread == threading.current_thread().name
    assert before <= found.created <= time.time()
    assert found.size >= len("tea for 3")


def test_a_place_that_logs_twice_is_the_same_place(log: logging.Logger, taken: Kept) -> None:
    """What is remembered of a call site holds nothing of its records."""
    for number in range(3):
        log.log(10 * (number + 1), "n %d", number, extra={f"k{number}": number} if number else None)
    assert [entry.message for entry in taken.entries] == ["n 0", "n 1", "n 2"]
    assert [entry.site[1:3] for entry in taken.entries] == [(10, "DEBUG"), (20, "INFO"), (30, "WARNING")]
    assert [entry.extra or {} for entry in taken.entries] == [{}, {"k1": 1}, {"k2": 2}]


class Mutable:
    """An object whose text changes."""

    def __init__(self) -> None:
        self.text = "then"

    def __repr__(self) -> str:
        return self.text


class Exploding:
    """An object that can't be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


EXTRAS: list[tuple[Any, dict[str, Any] | None, dict[str, Any] | None]] = [
    ("text", {"k": "text"}, None),
    (1.5, {"k": 1.5}, None),
    (True, {"k": True}, None),
    (None, {"k": None}, None),
    (-(2**63), {"k": -(2**63)}, None),
    (2**64 - 1, {"k": 2**64 - 1}, None),
    ([1, "a", None], None, {"k": [1, "a", None]}),
    ({"a": {"b": (1, 2)}}, None, {"k": {"a": {"b": [1, 2]}}}),
    (b"bytes", {"k": "b'bytes'"}, None),
    (Exploding(), {"k": "<repr of tests.unit.test_handler.Exploding failed: RuntimeError>"}, None),
]


@pytest.mark.parametrize(("value", "extra", "nested"), EXTRAS, ids=lambda value: type(value).__name__)
@pytest.mark.usefixtures("warm")
def test_an_extra_field_of_any_kind_arrives(
    handler: LogbusHandler,
    taken: Kept,
    value: Any,
    extra: dict[str, Any] | None,
    nested: dict[str, Any] | None,
) -> None:
    """Plain values as they are, containers rebuilt, everything else as bounded text."""
    handler.handle(logged(k=value))
    assert (taken.last.extra, taken.last.nested) == (extra, nested)
    assert taken.last.message == "sold tea"


@pytest.mark.usefixtures("warm")
def test_what_was_logged_is_not_what_it_becomes(handler: LogbusHandler, taken: Kept) -> None:
    """A record holds the values of the moment of the call, not those of the moment of its sending."""
    thing, items = Mutable(), ["tea"]
    handler.handle(logged(args=(thing,), thing=thing, items=items))
    thing.text = "now"
    items.append("milk")
    found = taken.last
    assert (found.message, found.extra, found.nested) == ("sold then", {"thing": "then"}, {"items": ["tea"]})


@pytest.mark.usefixtures("warm")
def test_a_cycle_and_a_giant_are_bounded(handler: LogbusHandler, taken: Kept) -> None:
    """Values that never end do, in bounded time and space."""
    cycle: list[Any] = []
    cycle.append(cycle)
    handler.handle(logged(cycle=cycle, giant="x" * 10**6, many={str(n): n for n in range(10**5)}))
    found = taken.last
    assert found.nested is not None
    assert found.nested["cycle"] == ["<cycle>"]
    assert found.extra is not None
    assert len(found.extra["giant"]) <= 8192
    assert found.size < 500_000


@pytest.mark.usefixtures("warm")
def test_keys_of_any_kind_arrive(handler: LogbusHandler, taken: Kept) -> None:
    """A key that is no string becomes one, beside the others."""
    record = logged(k=1)
    cast("dict[Any, Any]", record.__dict__)[5] = "five"
    handler.handle(record)
    assert taken.last.extra == {"k": 1, "5": "five"}


@pytest.mark.parametrize(
    ("msg", "args", "text"),
    [
        ("plain", (), "plain"),
        ("100%", (), "100%"),
        ("%s", ("one",), "one"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%s", ({},), "{}"),
        ("%d items", ("x",), "%d items"),
        ("%s %s", ("one",), "%s %s"),
        ("no place", ("one",), "no place"),
        ("%q", (1,), "%q"),
        ("%s", (Exploding(),), "%s"),
        (Exploding(), (), "<repr of tests.unit.test_handler.Exploding failed: RuntimeError>"),
        (["a", 1], (), "['a', 1]"),
        (None, (), "None"),
        (5, ("x",), "5"),
    ],
)
@pytest.mark.usefixtures("warm")
def test_a_message_of_any_kind_arrives(handler: LogbusHandler, taken: Kept, msg: Any, args: Any, text: str) -> None:
    """What can be formatted is; what can't says so, with its template and its arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handler.handle(logging.LogRecord("shop.till", 20, "/srv/till.py", 7, msg, args, None, "sell"))
    assert len(taken.entries) == 1
    assert taken.last.message.startswith(text)
    if taken.last.message != text:
        assert "[not formatted with" in taken.last.message


@pytest.mark.parametrize("length", [8192, 8193, 65_536, 65_537, 10**6])
@pytest.mark.parametrize("how", ["message", "argument"])
@pytest.mark.usefixtures("warm")
def test_a_long_message_is_cut_at_the_limit(handler: LogbusHandler, taken: Kept, length: int, how: str) -> None:
    """Up to 65,536 characters arrive whole, beyond them the start and what is missing."""
    text = "x" * length
    handler.handle(logged(msg=text if how == "message" else "%s", args=() if how == "message" else (text,)))
    found = taken.last.message
    assert (found == text) == (length <= 65_536)
    assert len(found) <= 65_536


@pytest.mark.usefixtures("warm")
def test_sizes_follow_what_is_held(handler: LogbusHandler, taken: Kept) -> None:
    """The estimate is at least what the texts take in memory, so that the limit in bytes is one."""
    for text, width in (("x" * 5000, 1), ("𐍈" * 5000, 4)):
        for attributes in ({"msg": text}, {"a": text}, {"a": [text]}):
            handler.handle(logged(args=(), **attributes))
            assert taken.last.size >= 5000 * width


def test_an_exception_arrives(log: logging.Logger, taken: Kept) -> None:
    """Type, message and lines of what was raised, from exception() and from exc_info in each of its forms."""
    try:
        raise ValueError("sold out")
    except ValueError as error:
        log.exception("one")
        log.error("two", exc_info=error)
        log.error("three", exc_info=(type(error), error, error.__traceback__))
    for entry in taken.entries:
        kind, message, lines, *_ = finish(entry.exception)
        assert (kind, message) == ("ValueError", "sold out")
        assert "raise ValueError" in lines[-1]
        assert entry.size > 200


@pytest.mark.parametrize("exc_info", [None, False, (), (None, None, None), True, 5, "text", (1, 2), [1, 2, 3]])
@pytest.mark.usefixtures("warm")
def test_an_exc_info_without_an_exception_is_none(handler: LogbusHandler, taken: Kept, exc_info: Any) -> None:
    """``exc_info=True`` outside of an except block, or anything made by hand: the record arrives without it."""
    handler.handle(logged(exc_info=exc_info))
    assert (taken.last.message, taken.last.exception) == ("sold tea", None)


def test_a_formatted_exception_arrives(handler: LogbusHandler, taken: Kept) -> None:
    """A record that came through a queue has only the text of its traceback left."""
    handler.handle(logged(exc_text='Traceback (most recent call last):\n  File "a", line 1, in f\nKeyError: 5'))
    kind, message, lines, *_ = finish(taken.last.exception)
    assert (kind, message, lines) == ("KeyError", "5", ['File "a", line 1, in f'])
    handler.handle(logged(exc_text=5, stack_info=["odd"]))
    assert taken.last.message == "sold tea"


def test_a_stack_arrives_as_a_field(log: logging.Logger, taken: Kept) -> None:
    """``stack_info=True`` puts the stack among the extra fields, bounded."""
    log.info("here", stack_info=True, extra={"k": 1})
    assert taken.last.extra is not None
    assert taken.last.extra["k"] == 1
    assert "test_a_stack_arrives_as_a_field" in taken.last.extra["stack_info"]
    log.handle(logged(stack_info="x" * 10**6))
    assert taken.last.extra is not None
    assert len(taken.last.extra["stack_info"]) <= 8192


@pytest.mark.usefixtures("warm")
def test_the_context_is_part_of_a_record_and_gives_way_to_it(handler: LogbusHandler, taken: Kept) -> None:
    """Fields of the context are there unless the record has a field of that name."""
    with context(request_id="r1", basket=["tea"], till=1):
        handler.handle(logged(till=2))
    assert taken.last.extra == {"request_id": "r1", "till": 2}
    assert taken.last.nested == {"basket": ["tea"]}
    handler.handle(logged())
    assert not taken.last.extra


def test_what_other_handlers_left_on_a_record_is_no_field(log: logging.Logger, taken: Kept) -> None:
    """A formatter puts ``message`` and ``asctime`` on the record; neither was logged by anybody."""
    other = logging.StreamHandler(SimpleNamespace(write=lambda text: None, flush=lambda: None))
    other.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.handlers.insert(0, other)
    for _ in range(2):
        log.info("hello %s", "there", extra={"k": 1})
        assert (taken.last.message, taken.last.extra) == ("hello there", {"k": 1})


def test_records_from_elsewhere_arrive(handler: LogbusHandler, taken: Kept) -> None:
    """Through a queue, a pickle or a socket: attributes may come in any order, and the field is still a field."""
    first = queue.SimpleQueue[Any]()
    logging.handlers.QueueHandler(first).handle(logged(k=1))
    record = pickle.loads(pickle.dumps(logged(k=1)))
    backwards = logging.makeLogRecord(dict(reversed(logged(k=1).__dict__.items())))
    shuffled = copy.copy(record)
    shuffled.__dict__ = dict(sorted(record.__dict__.items()))
    for found in (first.get(), record, backwards, shuffled):
        for _ in range(2):
            handler.handle(found)
            assert taken.last.message == "sold tea"
            assert taken.last.extra == {"k": 1}
            assert taken.last.site == ("shop.till", 20, "INFO", "till", "sell", 7)


class Odd(logging.LogRecord):
    """A record with attributes before and behind those of the standard library."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.first = 1
        super().__init__(*args, **kwargs)
        self.last = [2]


def test_records_of_another_class_arrive(log: logging.Logger, taken: Kept) -> None:
    """A record factory may add what it likes, wherever it likes."""
    logging.setLogRecordFactory(Odd)
    for _ in range(2):
        log.info("hello", extra={"k": 3})
        assert taken.last.message == "hello"
        assert taken.last.extra == {"first": 1, "k": 3}
        assert taken.last.nested == {"last": [2]}


ATTRIBUTES = (
    "name levelno levelname module funcName lineno created threadName thread process msg args exc_info exc_text"
).split()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize(
    "value",
    [None, 5, -1, 2.5, 2**70, float("nan"), True, "", "text", "\ud800", [], ["x"], {}, object(), Exploding()],
    ids=lambda value: repr(value)[:10] if type(value) is not Exploding else "exploding",
)
@pytest.mark.usefixtures("warm")
def test_a_record_with_an_odd_attribute_is_not_lost(
    handler: LogbusHandler, taken: Kept, attribute: str, value: Any
) -> None:
    """Records made by hand hold anything anywhere: one record comes out for each, with its message."""
    for _ in range(2):
        taken.entries.clear()
        handler.handle(logged(**{attribute: value}))
        [entry] = taken.entries
        if attribute not in ("msg", "args"):
            assert entry.message == "sold tea"
        assert type(entry.site[1]) is int
        assert type(entry.created) is float
        if attribute != "levelno":
            assert entry.site[1] == 20


@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "processName", "relativeCreated", "stack_info"])
def test_a_record_that_lacks_an_attribute_is_said_to(handler: LogbusHandler, taken: Kept, attribute: str) -> None:
    """Even what is hardly a record any more leaves one line, and its fields if it has what is needed."""
    record = logged(k=1)
    delattr(record, attribute)
    for _ in range(2):
        taken.entries.clear()
        handler.handle(record)
        [entry] = taken.entries
        assert entry.message == "sold tea" or "could not be read" in entry.message


def test_nothing_that_is_handled_raises(handler: LogbusHandler, taken: Kept) -> None:
    """What is no record at all is one line that says so."""
    for thing in (object(), SimpleNamespace(), SimpleNamespace(name=5, levelno="x"), None):
        handler.handle(cast("logging.LogRecord", thing))
        assert "could not be read" in taken.last.message


def test_a_producer_that_fails_raises_nothing_either(
    handler: LogbusHandler, taken: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log call goes on, and stderr shows it in logging's own way."""

    def fail(*_: Any) -> None:
        raise MemoryError("no page")

    monkeypatch.setattr(taken, "emit", fail)
    handler.handle(logged())
    assert "--- Logging error ---" in (said := capsys.readouterr().err)
    assert "no page" in said


def test_the_handlers_level_holds(log: logging.Logger, handler: LogbusHandler, taken: Kept) -> None:
    """A handler has a level, by name too."""
    handler.setLevel("WARNING")
    log.info("quiet")
    log.warning("loud")
    assert [entry.message for entry in taken.entries] == ["loud"]


def test_a_filter_may_refuse_a_record(handler: LogbusHandler, taken: Kept) -> None:
    """A filter of the handler sees each record before it is taken."""
    handler.addFilter(lambda record: record.getMessage() != "sold tea")
    assert handler.handle(logged()) is False
    assert handler.handle(logged(args=("milk",))) is not False
    assert [entry.message for entry in taken.entries] == ["sold milk"]


def test_a_filter_may_add_fields(handler: LogbusHandler, taken: Kept) -> None:
    """What a filter puts on a record is a field like any other."""

    def add(record: logging.LogRecord) -> bool:
        record.user = "u1"
        return True

    handler.addFilter(add)
    handler.handle(logged(k=1))
    assert taken.last.extra == {"k": 1, "user": "u1"}


def test_a_filter_may_replace_a_record(handler: LogbusHandler, taken: Kept) -> None:
    """Since Python 3.12 a filter's record takes the place of the one that was logged; before, it is a mere yes."""
    original, other = logged(), logged(args=("milk",))
    handler.addFilter(cast("Any", lambda record: other))
    handled = handler.handle(original)
    replaced = sys.version_info >= (3, 12)
    assert taken.last.message == ("sold milk" if replaced else "sold tea")
    assert handled is (other if replaced else original)


@pytest.fixture
def finished(handler: LogbusHandler) -> Iterator[LogbusHandler]:
    """The handler, at the end of the process."""
    yield handler
    handler.close()


def test_flushing_is_bounded(finished: LogbusHandler, taken: Kept) -> None:
    """Logging flushes every handler, at exit and in dictConfig: the producer knows how long that is worth."""
    finished.flush()
    assert taken.flushed == 1
    LogbusHandler.__new__(LogbusHandler).flush()


def test_the_handler_has_no_lock(handler: LogbusHandler) -> None:
    """A log call from a signal handler never waits for the one that it interrupted."""
    assert handler.lock is None
    handler.acquire()
    handler.release()


def test_an_exception_whose_text_ends_the_program(log: logging.Logger, taken: Kept) -> None:
    """Logging itself shows that its str() has failed, and goes on: so does this, whatever was raised."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    try:
        raise OddError
    except OddError:
        log.exception("caught")
    assert taken.last.exception[1].endswith("failed: SystemExit>")
