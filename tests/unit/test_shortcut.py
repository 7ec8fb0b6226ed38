"""The shortest way of a call: which of the three it is, found out anew in each call."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest

from logbus.producers import shortcut
from logbus.producers.context import context
from logbus.producers.crossing import Crossing
from logbus.producers.fast_logger import FastLogger
from logbus.producers.handler import LogbusHandler
from logbus.producers.recorder import Flight
from logbus.producers.stdlib import STDLIB
from logbus.producers.take import CLEANERS
from logbus.rules import Rule
from tests.kept import Kept
from tests.twins import Looking, Tree, Ways, twins

pytestmark = pytest.mark.usefixtures("fast_form")


@pytest.fixture
def tree() -> Tree:
    """A fast tree with a handler of ours on its root."""
    fast = twins()[1]
    fast.root.addHandler(fast.handler)
    return fast


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Says which way a call takes."""
    return Ways(monkeypatch)


def test_a_record_that_only_logbus_would_see_is_never_made(tree: Tree, ways: Ways) -> None:
    """Message, place, thread and fields come from the call itself, with those of the context."""

    def call() -> None:
        with context(request_id="r1"):
            tree.get("shop.till").warning("%s for %d", "tea", 3, extra={"till": 4})

    line = sys._getframe().f_lineno - 2
    assert ways.of(tree, call) == "fast"
    found = tree.kept.last
    assert found.site == ("shop.till", 30, "WARNING", "test_shortcut", "call", line)
    assert (found.message, found.extra) == ("tea for 3", {"till": 4, "request_id": "r1"})
    assert (found.nested, found.exception, found.thread) == (None, None, threading.current_thread().name)


def test_handlers_that_do_nothing_are_nobody(tree: Tree, ways: Ways) -> None:
    """A NullHandler, as libraries put on their loggers, is in nobody's way, unless it was given something to do."""
    null = logging.NullHandler()
    tree.get("shop").addHandler(null)
    assert ways.of(tree, lambda: tree.get("shop.till").info("sold")) == "fast"
    seen: list[logging.LogRecord] = []
    null.handle = seen.append  # type: ignore[method-assign,assignment]
    assert ways.of(tree, lambda: tree.get("shop.till").info("sold")) == "lean"
    assert len(seen) == 1


@pytest.mark.parametrize("level", [20, 30])
def test_a_handler_with_a_level_gets_what_it_asks_for(tree: Tree, ways: Ways, level: int) -> None:
    """What our handler's level lets through is fast; nothing else comes."""
    tree.handler.setLevel(level)
    tree.get("shop").info("sold")
    assert tree.kept.messages == (["sold"] if level == 20 else [])
    assert ways.of(tree, lambda: tree.get("shop").error("broken")) == "fast"


def test_a_handler_anywhere_on_the_way_serves(tree: Tree, ways: Ways) -> None:
    """It may stand on the logger itself, or between it and the root, and propagation may end there."""
    tree.root.handlers.clear()
    tree.get("shop").addHandler(tree.handler)
    for name in ("shop", "shop.till", "shop.till.drawer"):
        assert ways.of(tree, lambda name=name: tree.get(name).info("sold")) == "fast"  # type: ignore[misc]
    tree.root.addHandler(tree.handler)
    tree.get("shop").propagate = False
    assert ways.of(tree, lambda: tree.get("shop.till").info("sold")) == "fast"
    tree.get("shop").propagate = True
    before = len(tree.kept.entries)
    tree.get("shop.till").info("twice")
    assert tree.kept.messages[before:] == ["twice", "twice"]


Change = Callable[[Tree, pytest.MonkeyPatch], None]


def _other_handler(tree: Tree, _: pytest.MonkeyPatch) -> None:
    tree.root.handlers.append(Looking(tree, "other"))


def _handler_between(tree: Tree, _: pytest.MonkeyPatch) -> None:
    tree.get("shop").handlers.insert(0, Looking(tree, "other"))


def _filter(tree: Tree, _: pytest.MonkeyPatch) -> None:
    tree.get("shop.till").filters.append(lambda record: True)


def _handler_filter(tree: Tree, _: pytest.MonkeyPatch) -> None:
    tree.handler.addFilter(lambda record: True)


def _on_handler(tree: Tree, _: pytest.MonkeyPatch) -> None:
    tree.handler.emit = tree.handler.emit  # type: ignore[method-assign]


def _cleaner(_: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEANERS, "shop.till", lambda record: record)


def _wrap(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapper)


def _step(name: str) -> Change:
    return lambda tree, monkeypatch: _wrap(logging.Logger, name, monkeypatch)


def _in_logging(name: str) -> Change:
    return lambda tree, monkeypatch: _wrap(logging, name, monkeypatch)


def _factory(_: Tree, __: pytest.MonkeyPatch) -> None:
    logging.setLogRecordFactory(functools.partial(logging.LogRecord))


def _record(_: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(logging.LogRecord, "__init__", monkeypatch)


def _no_places(_: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_srcfile", None)


@pytest.mark.parametrize(
    ("change", "way"),
    [
        *((change, "lean") for change in (_other_handler, _handler_between, _filter, _handler_filter, _on_handler)),
        *((change, "lean") for change in (_cleaner, _step("handle"), _step("filter"), _step("callHandlers"))),
        *((_step(name), "usual") for name in ("_log", "findCaller", "makeRecord")),
        *((_in_logging(name), "usual") for name in ("getLevelName", "_is_internal_frame")),
        *((change, "usual") for change in (_factory, _record, _no_places)),
    ],
)
def test_whoever_looks_on_is_seen_at_once(tree: Tree, ways: Ways, change: Change, way: str) -> None:
    """From the call on that follows a change, and until it is undone: each in its turn, at one place."""

    def call() -> None:
        tree.get("shop.till").info("sold")

    assert ways.of(tree, call) == "fast"
    with pytest.MonkeyPatch.context() as changed:
        change(tree, changed)
        assert ways.of(tree, call) == way
    tree.handler.__class__ = LogbusHandler
    vars(tree.handler).pop("emit", None)
    tree.handler.filters.clear()
    tree.root.handlers[:] = [tree.handler]
    tree.get("shop").handlers.clear()
    tree.get("shop.till").filters.clear()
    logging.setLogRecordFactory(logging.LogRecord)
    assert ways.of(tree, call) == "fast"


@pytest.mark.parametrize(
    ("call", "way"),
    [
        (lambda log: log.info("%s", 3), "fast"),
        (lambda log: log.info("%r", ValueError("no")), "fast"),
        (lambda log: log.info("sold", extra={}), "fast"),
        (lambda log: log.info("sold", extra=None), "fast"),
        (lambda log: log.info("sold", stacklevel=1), "fast"),
        (lambda log: log.log(25, "sold"), "fast"),
        (lambda log: logging.LoggerAdapter(log, {"till": 4}).info("sold"), "fast"),
        (lambda log: log.info("%(a)s", {"a": 1}), "lean"),
        (lambda log: log.info({"a": 1}), "lean"),
        (lambda log: log.info("%d", "no number"), "lean"),
        (lambda log: log.info("sold", extra={"items": ["tea"]}), "lean"),
        (lambda log: log.info("sold", extra={1: 2}), "lean"),
        (lambda log: log.info("x" * 9000), "lean"),
        (lambda log: log.info("sold", exc_info=ValueError("no")), "usual"),
        (lambda log: log.info("sold", stack_info=True), "usual"),
        (lambda log: log.info("sold", stacklevel=0), "usual"),
        (lambda log: log.info("sold", stacklevel=10_000), "usual"),
        (lambda log: log.log(True, "sold"), "usual"),
    ],
)
def test_a_call_goes_as_far_as_it_has_to(tree: Tree, ways: Ways, call: Callable[[Any], None], way: str) -> None:
    """Only what nobody can make of a call but logging is left to it, or to the handler."""
    assert ways.of(tree, lambda: call(tree.get("shop"))) == way


def test_two_handlers_of_ours_get_one_each(tree: Tree, ways: Ways) -> None:
    """Where two producers want a record it is made, once."""
    second = Kept()
    tree.root.addHandler(LogbusHandler.of(second.producer))
    assert ways.of(tree, lambda: tree.get("shop").info("sold")) == "lean"
    assert second.messages == ["sold"]


def test_a_name_that_a_level_gets_is_in_the_next_record(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """``addLevelName`` counts from then on, for places that have logged before, and so does its end."""
    monkeypatch.setattr(logging, "_nameToLevel", dict(logging._nameToLevel))
    monkeypatch.setitem(logging._levelToName, 20, "INFO")
    names = []
    for name in ("INFO", "NOTE", "INFO"):
        logging.addLevelName(20, name)
        for look in (False, True):
            tree.root.handlers[:] = [tree.handler, Looking(tree, "other")][: 1 + look]
            tree.get("shop").info("sold")
            names.append(tree.kept.last.site[2])
    assert names == ["INFO", "INFO", "NOTE", "NOTE", "INFO", "INFO"]


def test_one_place_may_log_through_many_loggers(tree: Tree) -> None:
    """Each record has the name of its logger, and a logger that is renamed has its new one."""
    for name in ("shop", "store", "shop"):
        tree.get(name).info("sold")
    tree.get("shop").name = "renamed"
    for name in ("shop", "store"):
        tree.get(name).info("sold")
    assert [entry.site[0] for entry in tree.kept.entries] == ["shop", "store", "shop", "renamed", "store"]


def _by_name(log: Any, fields: Any) -> None:
    log.info("sold", extra=fields)


def _by_keywords(log: Any, fields: Any) -> None:
    named = {"extra": fields}
    log.info("sold", **named)


def _by_partial(log: Any, fields: Any) -> None:
    functools.partial(log.info, extra=fields)("sold")


def _by_item(log: Any, fields: Any) -> None:
    held = [fields]
    del fields
    log.info("sold", extra=held[0])


def _by_assignment(log: Any, fields: Any) -> None:
    log.info("sold", extra=(again := fields))
    assert again is fields


def _by_adapter(log: Any, fields: Any) -> None:
    logging.LoggerAdapter(log, fields).info("sold")


def _by_level(log: Any, fields: Any) -> None:
    log.log(20, "sold", extra=fields)


@pytest.mark.parametrize(
    "call", [_by_name, _by_keywords, _by_partial, _by_item, _by_assignment, _by_adapter, _by_level]
)
def test_the_fields_of_a_call_stay_the_callers(tree: Tree, ways: Ways, call: Callable[[Any, Any], None]) -> None:
    """A dict that is given as extra, and that somebody else has, is not kept: its owner may change it."""
    kept: dict[str, dict[str, Any]] = {}
    for number in range(3):
        kept["fields"] = {"till": number}
        assert ways.of(tree, lambda: call(tree.get("shop"), kept["fields"])) == "fast"
        kept["fields"]["till"] = "changed"
        assert tree.kept.last.extra == {"till": number}
    assert ways.of(tree, lambda: call(tree.get("shop"), {"till": 4})) == "fast"
    assert tree.kept.last.extra == {"till": 4}


def test_a_tracer_at_the_start_does_not_share_the_fields_of_callers() -> None:
    """Who reads the locals of every call while logbus is loaded has references then, and not in the calls that come."""

    def reads(frame: FrameType, event: str, argument: Any) -> None:
        assert isinstance(frame.f_locals, Mapping)

    before = sys.gettrace()
    sys.settrace(reads)
    try:
        counted = shortcut._references()
    finally:
        sys.settrace(before)
    assert counted in (0, shortcut._references())


@pytest.mark.parametrize("arguments", [{"a": 1, "b": 2}, {1, 2}, [1, 2], "ab", 3, (number for number in (1, 2))])
def test_arguments_that_are_no_tuple_are_as_ever(arguments: Any) -> None:
    """Who calls ``_log`` himself may give what he likes."""
    results = []
    for tree in twins():
        tree.root.addHandler(tree.handler)
        try:
            tree.get("shop")._log(20, "%s sold", arguments)
        except TypeError as error:
            tree.told.append(str(error))
        results.append(tree.result())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.info("sold"),
        lambda log: log.log(20, "sold"),
        lambda log: log.info("sold", stacklevel=2),
        lambda log: log.warning("sold", exc_info=ValueError("no")),
        lambda log: logging.LoggerAdapter(log, {"till": 4}).info("sold"),
    ],
)
def test_the_call_is_as_far_away_as_ever(call: Callable[[Any], None]) -> None:
    """A handler that counts frames, as the older recipes for loguru do, comes to the same function."""
    found: list[list[str]] = []

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stack, frame = [], sys._getframe(1)
            while frame.f_code is not call.__code__ and frame.f_back is not None:
                stack.append(frame.f_code.co_name)
                frame = frame.f_back
            found.append(stack)

    for tree in twins():
        tree.root.addHandler(Counting())
        call(tree.get("shop"))
    assert found[0] == found[1]
    assert found[0][-1] in ("info", "log", "warning")


@pytest.mark.parametrize("key", ["message", "asctime", "name", "levelno"])
def test_a_field_that_logging_refuses_is_refused(tree: Tree, key: str) -> None:
    """A field with the name of an attribute of records raises KeyError, at a place that has had others before, too."""
    for fields in ({"till": 4}, {key: 4}, {"till": 4}):
        if key in fields:
            with pytest.raises(KeyError, match="Attempt to overwrite"):
                tree.get("shop").info("sold", extra=fields)
        else:
            tree.get("shop").info("sold", extra=fields)
    assert tree.kept.messages == ["sold", "sold"]


def test_an_argument_that_logs_is_logged_in_between(tree: Tree) -> None:
    """What the text of an argument logs comes first, whole, and the record that asked for it has its own time."""

    class Chatty:
        def __str__(self) -> str:
            tree.get("shop").warning("asked")
            return "tea"

    tree.get("shop").info("sold %s", Chatty())
    assert tree.kept.messages == ["asked", "sold tea"]
    assert tree.kept.entries[1].created <= tree.kept.entries[0].created


def test_a_signal_handler_may_log_in_the_middle(tree: Tree, timer: Callable[[Callable[[], None], float], None]) -> None:
    """Each record arrives once and whole, whatever it has interrupted."""
    interrupted = 0

    def log_too() -> None:
        nonlocal interrupted
        interrupted += 1
        tree.get("signal").warning("%d came", interrupted, extra={"number": interrupted})

    timer(log_too, 0.001)
    done = 0
    try:
        while interrupted < 20:
            done += 1
            tree.get("shop").info("%d sold", done, extra={"number": done})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    sold = [entry for entry in tree.kept.entries if entry.site[0] == "shop"]
    came = [entry for entry in tree.kept.entries if entry.site[0] == "signal"]
    assert [entry.message for entry in sold] == [f"{number} sold" for number in range(1, done + 1)]
    numbers = sorted((entry.extra or {})["number"] for entry in came)  # one may interrupt another
    assert numbers == [*range(1, interrupted + 1)]


def test_out_of_memory_is_not_the_callers(tree: Tree) -> None:
    """A producer that raises is the handler's to deal with: a log call raises nothing."""
    emit, failures = tree.kept.emit, [MemoryError()]

    def fail_once(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        emit(*arguments)

    tree.kept.emit = fail_once  # type: ignore[method-assign]
    tree.get("shop").info("sold")
    assert tree.kept.messages == ["sold"]


def test_a_thread_has_the_name_that_it_has_now(tree: Tree) -> None:
    """Renamed threads, and threads that say their name themselves."""

    class Named(threading.Thread):
        @property
        def name(self) -> str:
            return "by itself"

        @name.setter
        def name(self, value: str) -> None:
            pass

    def work() -> None:
        tree.get("shop").info("one")
        threading.current_thread().name = "renamed"
        tree.get("shop").info("two")

    for kind in (threading.Thread, Named):
        thread = kind(target=work, name="first")
        thread.start()
        thread.join()
    assert [entry.thread for entry in tree.kept.entries] == ["first", "renamed", "by itself", "by itself"]


def test_the_threads_of_others_are_asked(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``threading.current_thread`` was replaced, as eventlet does, its answer is the name."""
    green = threading.Thread(name="green")
    monkeypatch.setattr(threading, "current_thread", lambda: green)
    tree.get("shop").info("sold")
    assert tree.kept.last.thread == "green"


def test_below_logbus_run_records_are_made(tree: Tree, ways: Ways) -> None:
    """What is taken where records cross is taken once, and our own handlers get theirs."""
    taken = Kept()
    crossing = Crossing()
    crossing.begin(taken.producer)
    try:
        assert ways.of(tree, lambda: tree.get("shop").info("sold")) == "lean"
    finally:
        crossing.end()
    assert taken.messages == ["sold"]
    assert ways.of(tree, lambda: tree.get("shop").info("sold")) == "fast"
    assert taken.messages == ["sold"]


@pytest.mark.parametrize("flight", [None, Flight()])
def test_rules_with_conditions_and_recorders_decide(flight: Flight | None) -> None:
    """A logger that answers by the fields of its context, or for a flight recorder, is asked as ever."""
    told = []
    for kind in (logging.Logger, FastLogger):
        kept = Kept(flight=flight)
        if kept.gate.recorder is not None:
            kept.emit = kept.gate.recorder.behind(kept.emit)  # type: ignore[method-assign]
        log, handler = logging.getLogger("shop.conditions"), LogbusHandler.of(kept.producer)
        log.__class__, log.propagate = kind, False
        log.addHandler(handler)
        log.setLevel(logging.WARNING)
        kept.gate.begin(worker="w", pid=1, host="h", snapshot=None)
        kept.gate.attach(STDLIB)
        try:
            kept.rule(Rule("conditions", 20, where=(("request_id", "r1"),)))
            for request in ("r1", "r2"):
                with context(request_id=request):
                    log.debug("lowest of %s", request)
                    log.info("low of %s", request)
                    log.error("high of %s", request)
        finally:
            kept.gate.close()
            log.removeHandler(handler)
            log.__class__ = logging.Logger
        told.append([(entry.message, entry.extra) for entry in kept.entries])
    assert told[0] == told[1]
    messages = [message for message, _ in told[0]]
    lower = ["lowest of r1", "lowest of r2", "low of r2"] if flight else []
    assert sorted(messages) == sorted(["low of r1", "high of r1", "high of r2", *lower])
