"""A fast logger's methods in either form, called in every way that there is: as a plain logger's, to the last frame."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import functools
import inspect
import logging
import logging.handlers
import multiprocessing
import pickle
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import DynamicClassAttribute, FunctionType, SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from logbus.counters import Counters, Meta
from logbus.producers import call_sites, template
from logbus.producers.context import context
from logbus.producers.fast_logger import FastLogger
from logbus.producers.handler import LogbusHandler
from tests.forms import buffer_type, needs_compiled, rows
from tests.race import race
from tests.twins import Looking, Tree, Ways

PLAIN, FAST = 0, 1
#: A message for two arguments, which gets one.
MISFIT = "%s for %s"

pytestmark = pytest.mark.usefixtures("fast_form")


def _by_thread(log: Any) -> None:
    thread = threading.Thread(target=log.info, args=("sold",), name="till")
    thread.start()
    thread.join()


def _by_pool(log: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(1, "till") as pool:
        pool.submit(log.info, "%d sold", 3).result()


def _by_weak_reference(log: Any) -> None:
    class Gone:
        def __repr__(self) -> str:
            return "gone"

    ended = weakref.ref(Gone(), lambda _: log.info("ended"))
    finalized = Gone()
    weakref.finalize(finalized, log.info, "%s sold", "tea")
    del finalized
    assert ended() is None


def _by_generator(log: Any) -> None:
    def sell() -> Iterator[None]:
        log.info("first")
        yield
        log.info("second")

    list(sell())


def _by_code(log: Any) -> None:
    exec(compile("log.info('by code')\n\nlog.info('twice')", "/srv/rule.py", "exec"), {"log": log})


def _by_subclass(log: Any) -> None:
    class Own(type(log)):  # type: ignore[misc]
        def info(self, msg: str, *args: Any, **named: Any) -> None:
            super().info("own " + msg, *args, **named)

    log.__class__ = Own
    log.info("%d sold", 3, extra={"till": 4})


def _with_property(log: Any) -> None:
    class Own(type(log)):  # type: ignore[misc]
        off = False

        @property
        def disabled(self) -> bool:
            return self.off

    log.__class__ = Own
    log.info("sold")
    Own.off = True
    log.info("never")


def _with_class_attribute(log: Any) -> None:
    class Own(type(log)):  # type: ignore[misc]
        propagate = False

    own = log.manager.getLogger("shop.own")
    own.__class__ = Own
    own.info("it has one of its own")
    vars(own).pop("propagate", None)
    own.info("sold")


def _with_hidden_property(log: Any) -> None:
    class Own(type(log)):  # type: ignore[misc]
        @DynamicClassAttribute
        def name(self) -> str:
            return "shop.own"

    log.__class__ = Own
    log.info("sold")


def _as_from_a_file(log: Any) -> None:
    log.propagate, log.disabled = 1, 0  # as logging.config.fileConfig() sets them
    log.info("sold")
    log.disabled = 1
    log.info("never")


def _with_odd_truths(log: Any) -> None:
    log.propagate, log.disabled = "yes", ""
    log.info("sold")
    log.disabled = "no"
    log.info("never")


def _with_a_truth_of_its_own(log: Any) -> None:
    class Own(type(log)):  # type: ignore[misc]
        def __len__(self) -> int:
            return 0

    above = log.manager.getLogger("shop")
    above.__class__ = Own
    log.manager.getLogger("shop.till").info("never")
    above.info("never")
    above.addHandler(logging.NullHandler())
    above.info("never")


def _repeatedly(log: Any) -> None:
    for name, level in (("shop", 20), ("store", 20), ("shop", 2**70), ("shop", 20)):
        logger = log.manager.getLogger(name)
        call = logger.info if level == 20 else functools.partial(logger.log, level)
        call("sold", extra={"till": name})


@pytest.mark.parametrize(
    "call",
    [
        lambda log: functools.partial(log.info, extra={"till": 4})("%d sold", 3),
        lambda log: list(map(log.info, ["tea", "milk"])),
        lambda log: type(log).info(log, "sold"),
        lambda log: log.info(msg="sold"),
        lambda log: log.info(*["%s for %s", "tea", 3]),
        lambda log: copy.copy(log.info)("sold"),
        lambda log: log.info("sold", extra={str(b"till", "ascii"): 4}),
        lambda log: log.info("%(a)s", {"a": 1}, extra={"till": 4}),
        lambda log: log.info("%s", {}),
        lambda log: log.info(MISFIT, "tea"),
        lambda log: log.info(b"sold %d", 3),
        _by_thread,
        _by_pool,
        _by_weak_reference,
        _by_generator,
        _by_code,
        _by_subclass,
        _with_property,
        _with_class_attribute,
        _with_hidden_property,
        _with_a_truth_of_its_own,
        _as_from_a_file,
        _with_odd_truths,
        _repeatedly,
    ],
)
@pytest.mark.parametrize("looked_on", [False, True])
def test_however_it_is_called_it_is_the_same(
    both: tuple[Tree, Tree], call: Callable[[Any], Any], looked_on: bool
) -> None:
    """The same records, from the same places, once a place is new and once it is known, made or not."""
    for tree in both:
        if looked_on:
            tree.root.addHandler(Looking(tree, "other"))
        for _ in range(2):
            call(tree.get("shop"))
            tree.get("shop").__class__ = logging.Logger if tree is both[PLAIN] else FastLogger
    plain, fast = (re.sub(r"\('thread', '\d+'\)", "", tree.result()) for tree in both)
    assert plain == fast
    assert both[FAST].kept.entries


def test_it_is_a_function_to_whoever_looks(both: tuple[Tree, Tree]) -> None:
    """Signature, name, binding, copies and pickles are those of a method in Python, and mocks have its shape."""
    method: Any = FastLogger.info
    assert (method.__name__, method.__qualname__) == ("info", "Logger.info")
    assert method.__doc__ == logging.Logger.info.__doc__
    assert [*inspect.signature(method).parameters][:3] == ["self", "msg", "args"]
    assert [*inspect.signature(both[FAST].get("shop").info).parameters][:2] == ["msg", "args"]
    assert inspect.isroutine(method)
    assert method.__module__ == logging.Logger.info.__module__  # errors tell it
    assert copy.copy(method) is method
    assert pickle.loads(pickle.dumps(logging.getLogger("shop").info)) == logging.getLogger("shop").info
    shaped = mock.create_autospec(both[FAST].get("shop"))
    shaped.info("sold")
    with pytest.raises(TypeError, match="msg"):
        shaped.info()


def test_a_mock_takes_its_place_and_leaves(both: tuple[Tree, Tree]) -> None:
    """``mock.patch.object`` on a logger and on the class sees the calls that are made meanwhile."""
    tree = both[FAST]
    with mock.patch.object(tree.get("shop"), "info") as info:
        tree.get("shop").info("sold")
    with mock.patch.object(FastLogger, "info") as of_class:
        tree.get("other").info("sold")
    tree.get("shop").info("after")
    tree.get("other").info("after")
    assert info.mock_calls == of_class.mock_calls == [mock.call("sold")]
    assert tree.kept.messages == ["after", "after"]


class Changing:
    """An argument that changes the fields of its own record while its text is made."""

    def __init__(self, fields: dict[Any, Any], change: Callable[[dict[Any, Any]], Any]) -> None:
        self._fields, self._change = fields, change

    def __str__(self) -> str:
        self._change(self._fields)
        return "tea"


@pytest.mark.parametrize("before", [{}, {"till": 4}])
@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.clear(),
        lambda fields: fields.update(till=5, more="a"),
        lambda fields: fields.update(items=[1]),
        lambda fields: fields.update(big="x" * 9000),
    ],
)
def test_fields_that_the_text_of_an_argument_changes(
    both: tuple[Tree, Tree], before: dict[Any, Any], change: Callable[[dict[Any, Any]], Any]
) -> None:
    """A record has the fields of the moment behind its message."""
    now: dict[str, Any] = {}
    change(now)
    for tree in both:
        fields = {**before}
        tree.get("shop").info("sold %s", Changing(fields, change), extra=fields)
    added = {**(both[FAST].kept.last.extra or {}), **(both[FAST].kept.last.nested or {})}
    assert {key: str(value)[:99] for key, value in added.items()} == {
        key: str(value)[:99] for key, value in {**(before if now else {}), **now}.items()
    }


def test_a_field_that_an_argument_makes_wrong_is_refused(both: tuple[Tree, Tree]) -> None:
    """Also where the name of an attribute has come while the message was made."""
    fields: dict[Any, Any] = {}
    with pytest.raises(KeyError, match="Attempt to overwrite"):
        both[FAST].get("shop").info("%s", Changing(fields, lambda found: found.update(name=3)), extra=fields)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_that_comes_in_the_middle_is_the_callers(both: tuple[Tree, Tree], error: type[BaseException]) -> None:
    """Ctrl-C in the text of an argument, or while the place is looked for, is no failure of logging's."""

    class Ending:
        def __str__(self) -> str:
            raise error

    def end(*_: Any) -> None:
        raise error

    for arguments in ((Ending(),), (3, Ending())):
        with pytest.raises(error):
            both[FAST].get("shop").info("sold" + " %s" * len(arguments), *arguments)
    with mock.patch.object(call_sites, "_new_site", end), pytest.raises(error):
        both[FAST].get("shop").info("sold")
    assert both[FAST].kept.messages == []
    both[FAST].get("shop").info("sold")
    assert both[FAST].kept.messages == ["sold"]


def test_an_argument_that_logs_without_end_ends(both: tuple[Tree, Tree]) -> None:
    """What recursion makes of a call is an error that the handler takes; the next call is as ever."""
    log = both[FAST].get("shop")

    class Endless:
        def __str__(self) -> str:
            log.info("again %s", Endless())
            return "never"

    log.info("start %s", Endless())
    log.info("after %d", 1)
    assert both[FAST].kept.last.message == "after 1"


def test_whoever_traces_gets_his_record(both: tuple[Tree, Tree]) -> None:
    """Tracers and profilers change nothing, and see no more than they did."""
    log = both[FAST].get("shop")
    seen: list[str] = []
    hooks: list[Any] = [(sys.settrace, sys.gettrace()), (sys.setprofile, sys.getprofile())]
    for start, before in hooks:
        start(lambda frame, event, _: seen.append(frame.f_code.co_name))
        try:
            log.info("%d sold", 3, extra={"till": 4})
        finally:
            start(before)
    assert [entry.message for entry in both[FAST].kept.entries] == ["3 sold", "3 sold"]
    assert {entry.site[4] for entry in both[FAST].kept.entries} == {"test_whoever_traces_gets_his_record"}


def test_the_task_and_the_process_are_those_of_logging(
    both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is made has them by the rules of this Python, also while their modules are being loaded."""

    async def work(tree: Tree) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("till")
        tree.get("shop").info("in a task")

    for tree in both:
        tree.root.addHandler(Looking(tree, "other"))
        asyncio.run(work(tree))
        with monkeypatch.context() as changed:
            changed.setattr(multiprocessing.current_process(), "name", "renamed")
            tree.get("shop").info("renamed")
        for module in ("multiprocessing", "asyncio"):
            for stand_in in (None, SimpleNamespace()):
                with monkeypatch.context() as changed:
                    changed.setitem(sys.modules, module, cast("Any", stand_in))
                    tree.get("shop").info("half of it")
        template._before_fork()
        try:
            tree.get("shop").info("it forks")
        finally:
            template._after_fork()
    assert both[PLAIN].result() == both[FAST].result()


def test_a_thread_that_logging_does_not_count_is_asked_for(
    both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``threading.get_ident`` was replaced, as gevent does, its answer says who logs."""
    other = logging.handlers.BufferingHandler(9)
    with monkeypatch.context() as changed:
        changed.setitem(cast("Any", threading)._active, 7, threading.Thread(name="green"))
        changed.setattr(threading, "get_ident", lambda: 7)
        both[FAST].get("shop").info("fast")
        both[FAST].root.addHandler(other)
        both[FAST].get("shop").info("lean")
    assert [entry.thread for entry in both[FAST].kept.entries] == ["green", "green"]
    assert [(record.thread, record.threadName) for record in other.buffer] == [(7, "green")]


def test_the_milliseconds_are_those_of_the_time(both: tuple[Tree, Tree]) -> None:
    """The parts of a record's time say the same time, between that before the call and that after it."""
    other = logging.handlers.BufferingHandler(9999)
    both[FAST].root.addHandler(other)
    for _ in range(100):
        before = time.time()
        both[FAST].get("shop").info("sold")
        record = other.buffer[-1]
        assert before - 1e-6 <= record.created <= time.time() + 1e-6
        assert record.msecs == int(record.msecs)
        assert record.msecs == pytest.approx(record.created % 1 * 1000, abs=1.001)
        since = record.created - cast("Any", logging)._startTime / (1e9 if sys.version_info >= (3, 13) else 1)
        assert record.relativeCreated == pytest.approx(since * 1000, abs=0.1)


def test_a_test_that_stops_the_clock_has_its_time(both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``time.time`` was replaced, records have the time that it tells."""
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    monkeypatch.setattr(time, "time_ns", lambda: 1234_500_000_000)
    other = logging.handlers.BufferingHandler(9)
    both[FAST].get("shop").info("fast")
    both[FAST].root.addHandler(other)
    both[FAST].get("shop").info("lean")
    assert [entry.created for entry in both[FAST].kept.entries] == [1234.5, 1234.5]
    assert [(record.created, record.msecs) for record in other.buffer] == [(1234.5, 500.0)]


def test_code_that_is_gone_is_kept_by_nothing(both: tuple[Tree, Tree]) -> None:
    """Code made at run time ends when its program lets it go, and other code in its memory has places of its own."""
    for number in range(50):
        source = f"def sell{number}():\n  log.info('sold')\nsell{number}()"
        code = compile(source, "/srv/rule.py", "exec")
        ended = weakref.ref(code)
        exec(code, {"log": both[FAST].get("shop")})
        del code
        assert ended() is None
    assert [entry.site[4] for entry in both[FAST].kept.entries] == [f"sell{number}" for number in range(50)]


def test_threads_that_log_while_handlers_come_and_go(both: tuple[Tree, Tree]) -> None:
    """Each record once, with its own fields, whichever way it went."""
    tree, other = both[FAST], logging.NullHandler()
    looking = logging.Handler()
    looking.emit = lambda record: None  # type: ignore[method-assign]

    def work(name: str) -> None:
        for number in range(200):
            tree.get(f"shop.{name}").info("%s %d", name, number, extra={"number": number})

    def change() -> None:
        for handler in (other, looking):
            tree.get("shop").addHandler(handler)
        for handler in (other, looking):
            tree.get("shop").removeHandler(handler)

    race(work, "abc", change)
    found = [(entry.message, (entry.extra or {})["number"]) for entry in tree.kept.entries]
    assert sorted(found) == sorted((f"{name} {number}", number) for name in "abc" for number in range(200))


@needs_compiled
def test_no_reference_is_lost_or_left(fast_form: str) -> None:
    """Ten thousand calls of each way, and everything that they touch has as many references as before."""
    if fast_form == "python":
        pytest.skip("it is about what is written in C")
    counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
    buffer: Any = buffer_type("compiled")(10, 1 << 20, "drop_newest", counters)
    handler = LogbusHandler.of(cast("Any", SimpleNamespace(emit=buffer.put, flush_soon=bool)))
    log: Any = FastLogger("shop", 20)
    looking, null, argument, fields = logging.Handler(), logging.NullHandler(), object(), {"till": "four"}
    looking.emit = lambda record: None  # type: ignore[method-assign]
    texts = [f"message {number} %s" for number in range(3)]

    def call() -> None:
        log.debug(texts[0], argument)
        log.info(texts[0], argument, extra=fields)
        log.info(texts[1], 3, extra=fields)
        with context(scope="a"):
            log.info(texts[2], argument, extra=fields)
        log.info(texts[2], argument, argument)
        log.info(texts[2], argument, extra={"items": [argument]})
        log.warning(MISFIT, argument)
        log.info("%(a)s", {"a": argument})

    ways: list[list[logging.Handler]] = [[handler], [null, handler], [handler, looking]]
    watched = [
        log,
        handler,
        looking,
        null,
        argument,
        fields,
        texts,
        *texts,
        buffer,
        vars(log),
        handler.producer,
        log.name,
    ]
    watched += [*call_sites.SITES.values()]
    counts: list[list[int]] = []
    for _ in range(3):
        for handlers in ways:
            log.handlers[:] = handlers
            for _ in range(3 if not counts else 1000):
                call()
        rows(buffer.take(1000, 1 << 30))
        counts.append([sys.getrefcount(one) for one in watched])
    assert counts[1] == counts[2]


def test_what_stands_in_front_is_known(
    fast_form: str, both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form under test is the one that runs: the compiled methods are there, and take the fast way."""
    assert (type(vars(FastLogger)["info"]) is FunctionType) == (fast_form == "python")
    assert Ways(monkeypatch).of(both[FAST], lambda: both[FAST].get("shop").info("sold")) == "fast"
