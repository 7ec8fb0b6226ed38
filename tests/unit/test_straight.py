"""Straight loggers: their records go past logging where nobody else would see them, else the usual way."""

from __future__ import annotations

import copy
import functools
import logging
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logbus.producers.context import context
from logbus.producers.handler import LogbusHandler
from logbus.producers.straight import bend, is_straight, straighten
from logbus.producers.untouched import NOBODYS, own
from tests.kept import Kept


class Way:
    """A straight logger below a root logger, on which stands a handler of ours; what has passed the handler.

    The tree is one of its own: pytest has handlers on the root of all others.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept = Kept()
        self.handler = LogbusHandler.of(self.kept.producer)
        self.root = logging.RootLogger(1)
        self.manager = logging.Manager(self.root)
        self.log = self.manager.getLogger("shop.till.straight")
        self.root.addHandler(self.handler)
        #: Records that have been made, and have come to the handler.
        self.made: list[logging.LogRecord] = []
        handle = LogbusHandler.handle

        def look(handler: LogbusHandler, record: logging.LogRecord) -> Any:
            self.made.append(record)
            return handle(handler, record)

        monkeypatch.setattr(LogbusHandler, "handle", look)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """A straight logger and its way."""
    found = Way(monkeypatch)
    assert straighten(found.log)
    yield found
    bend(found.log)


class Other(logging.Handler):
    """A handler of the application."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the message."""
        self.messages.append(record.getMessage())


def test_a_record_arrives_whole_and_was_never_made(way: Way) -> None:
    """Logger, level, place, thread, time, message and fields are those of the call; logging has made no record."""
    before = time.time()
    with context(request_id="r1"):
        way.log.warning("%s for %d", "tea", 3, extra={"till": 4})
    line = sys._getframe().f_lineno - 1
    found = way.kept.last
    assert way.made == []
    name = "test_a_record_arrives_whole_and_was_never_made"
    assert found.site == ("shop.till.straight", 30, "WARNING", "test_straight", name, line)
    assert (found.message, found.extra) == ("tea for 3", {"till": 4, "request_id": "r1"})
    assert (found.nested, found.exception) == (None, None)
    assert found.thread == threading.current_thread().name
    assert before <= found.created <= time.time()
    assert found.size >= len("tea for 3") + len("request_id")


def test_the_fields_of_a_call_stay_the_callers(way: Way) -> None:
    """A dict that is given as extra is not kept: its owner may change it."""
    fields = {"till": 4}
    way.log.info("sold", extra=fields)
    fields["till"] = 5
    assert (way.made, way.kept.last.extra) == ([], {"till": 4})


@pytest.mark.parametrize("level", [10, 25, 30])
def test_one_place_may_log_at_several_levels(way: Way, level: int) -> None:
    """The level is that of the call, whatever the place has logged at before."""
    for number in (20, level):
        way.log.log(number, "sold")
    assert [entry.site[1:3] for entry in way.kept.entries] == [
        (number, logging.getLevelName(number)) for number in (20, level)
    ]


@pytest.mark.parametrize("stacklevel", [1, 2, 3])
@pytest.mark.parametrize("adapted", [False, True])
def test_the_place_is_the_one_that_logging_finds(way: Way, stacklevel: int, adapted: bool) -> None:
    """With stacklevel, and through an adapter, the place is that of an ordinary logger's record."""
    log: Any = logging.LoggerAdapter(way.log, {}) if adapted else way.log

    def sell() -> None:
        log.info("sold", stacklevel=stacklevel)

    for turn in (bend, straighten):
        turn(way.log)
        sell()
    usual, straight = way.kept.entries
    assert (usual.site, len(way.made)) == (straight.site, 1)


def _other_handler(way: Way, _: pytest.MonkeyPatch) -> None:
    way.root.addHandler(Other())


def _own_handler(way: Way, _: pytest.MonkeyPatch) -> None:
    way.manager.getLogger("shop.till").addHandler(Other())


def _filter(way: Way, _: pytest.MonkeyPatch) -> None:
    way.log.addFilter(lambda record: True)


def _handler_filter(way: Way, _: pytest.MonkeyPatch) -> None:
    way.handler.addFilter(lambda record: True)


def _factory(_: Way, __: pytest.MonkeyPatch) -> None:
    logging.setLogRecordFactory(functools.partial(logging.LogRecord))


def _step(name: str) -> Callable[[Way, pytest.MonkeyPatch], None]:
    def wrap(_: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        step = getattr(logging.Logger, name)

        @functools.wraps(step)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return step(*args, **kwargs)

        monkeypatch.setattr(logging.Logger, name, wrapper)

    return wrap


@pytest.mark.parametrize(
    "change",
    [
        _other_handler,
        _own_handler,
        _filter,
        _handler_filter,
        _factory,
        *map(_step, ("_log", "findCaller", "makeRecord", "handle", "callHandlers")),
    ],
)
def test_whoever_looks_on_sees_a_record(
    way: Way, monkeypatch: pytest.MonkeyPatch, change: Callable[[Way, pytest.MonkeyPatch], None]
) -> None:
    """Where anything of the application's is on the way, now or later, the record is made and goes all of it."""
    way.log.info("one")
    with monkeypatch.context() as changed:
        change(way, changed)
        way.log.info("two")
        assert way.kept.messages == ["one", "two"]
        assert [record.msg for record in way.made] == ["two"]


@pytest.mark.parametrize("name", ["_log", "findCaller", "makeRecord", "handle", "callHandlers"])
def test_a_wrapper_that_came_first_is_none_of_loggings_steps(
    way: Way, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where logging has been wrapped before this is loaded, however well, no record takes the short way."""
    assert own(logging.Logger, name) is not NOBODYS
    _step(name)(way, monkeypatch)
    wrapper = getattr(logging.Logger, name)
    wrapper.__code__ = wrapper.__code__.replace(co_filename=logging.__file__)
    assert own(logging.Logger, name) is NOBODYS


def test_another_handler_gets_its_records(way: Way) -> None:
    """A handler that the application adds gets what is logged from then on, and logbus goes on."""
    other = Other()
    way.root.addHandler(other)
    way.log.info("%s sold", "tea")
    way.root.removeHandler(other)
    way.log.info("more")
    assert (other.messages, way.kept.messages) == (["tea sold"], ["tea sold", "more"])


def test_a_logger_that_leads_nowhere_leads_nowhere(way: Way) -> None:
    """Without propagation, without our handler or disabled, nothing comes that logging would not bring."""
    way.log.propagate = False
    way.log.addHandler(logging.NullHandler())
    way.log.info("one")
    way.log.propagate = True
    way.log.handlers.clear()
    way.root.handlers[:] = [Other()]
    way.log.info("two")
    way.root.handlers[:] = [way.handler]
    way.log.disabled = True
    way.log._log(20, "three", ())
    assert way.kept.messages == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log: log.info({"a": 1}), "{'a': 1}"),
        (lambda log: log.info("%(a)s", {"a": 1}), "1"),
        (lambda log: log.info("%d", "no number"), "%d"),
        (lambda log: log.info("sold", stack_info=True), "sold"),
        (lambda log: log.info("sold", exc_info=ValueError("no")), "sold"),
        (lambda log: log.info("sold", extra={"items": ["tea"]}), "sold"),
        (lambda log: log.info("x" * 9000), "x" * 9000),
        (lambda log: log.log(True, "sold"), "sold"),
    ],
)
def test_what_is_unusual_goes_the_usual_way(way: Way, call: Callable[[logging.Logger], None], message: str) -> None:
    """Messages that are no text or don't fit, exceptions, stacks, nested fields, long texts: as ever."""
    call(way.log)
    assert len(way.made) == 1
    assert way.kept.last.message.startswith(message)


@pytest.mark.parametrize("key", ["message", "asctime", "name", "levelno"])
def test_a_field_that_logging_refuses_is_refused(way: Way, key: str) -> None:
    """A field with the name of an attribute of records raises KeyError, as ever."""
    with pytest.raises(KeyError):
        way.log.info("sold", extra={key: "tea"})
    assert way.kept.messages == []


def test_only_plain_loggers_become_straight(way: Way) -> None:
    """A logger of an application's own class stays what it is; a straight one is given back once and is equal then."""

    class Own(logging.Logger):
        pass

    own = Own("own")
    assert (straighten(own), type(own)) == (False, Own)
    bend(own)
    assert type(own) is Own
    assert straighten(way.log)
    assert is_straight(way.log)
    bend(way.log)
    bend(way.log)
    assert (type(way.log), is_straight(way.log)) == (logging.Logger, False)


def test_a_straight_logger_is_copied_and_pickled_as_any_logger(way: Way) -> None:
    """What comes out is the logger of that name, and it shows itself as what it is."""
    log = logging.getLogger("shop.till")
    assert straighten(log)
    try:
        assert pickle.loads(pickle.dumps(log)) is log
        assert copy.copy(log) is log
    finally:
        bend(log)
    assert repr(way.log) == "<FastLogger shop.till.straight (Level 1)>"


def test_many_places_are_forgotten(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that makes code at run time does not make the logger grow; what is remembered of places is right."""
    monkeypatch.setattr("logbus.producers.call_sites.KEPT", 2)
    for number in range(5):
        name = f"sell_{number}"
        space: dict[str, Any] = {"log": way.log}
        exec(compile(f"def {name}():\n    log.info('sold')", f"/srv/{name}.py", "exec"), space)
        space[name]()
        space[name]()
    assert way.made == []
    assert [entry.site[3] for entry in way.kept.entries] == [f"sell_{number // 2}" for number in range(10)]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("step", ["findCaller", "makeRecord", "handle", "callHandlers", "_log"])
def test_a_step_of_the_loggers_own_is_taken(way: Way, step: str, early: bool) -> None:
    """Whoever puts a step of theirs on this one logger, before it is straight or later, sees every record of it."""
    bend(way.log)
    if not early:
        assert straighten(way.log)
    usual, passed = getattr(way.log, step), []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        passed.append(step)
        return usual(*args, **kwargs)

    setattr(way.log, step, theirs)
    assert straighten(way.log) is False
    way.log.info("seen")
    assert passed == [step]
    delattr(way.log, step)
    assert straighten(way.log)
    way.log.info("not seen")
    assert passed == [step]
    assert [entry.message for entry in way.kept.entries] == ["seen", "not seen"]
