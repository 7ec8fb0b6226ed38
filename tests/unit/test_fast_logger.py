"""A fast logger to applications: the methods, the gate, subclasses, wrappers, copies, and how it is told apart."""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import pickle
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import logbus
from logbus.producers.fast_logger import FastLogger, make_plain
from tests.collector_command import child_environment
from tests.twins import Looking, Tree, Ways

PLAIN, FAST = 0, 1

pytestmark = pytest.mark.usefixtures("fast_form")


@pytest.fixture
def in_force() -> Iterator[None]:
    """FastLogger as the class of new loggers, as an application may choose by itself."""
    before = logging.getLoggerClass()
    logging.setLoggerClass(logbus.FastLogger)
    yield
    logging.setLoggerClass(before)


def test_it_is_a_public_name() -> None:
    """``logbus.FastLogger`` is the class, and a Logger."""
    assert logbus.FastLogger is FastLogger
    assert "FastLogger" in logbus.__all__
    assert issubclass(FastLogger, logging.Logger)


def test_an_application_may_choose_it(in_force: None) -> None:
    """With ``setLoggerClass`` new loggers are fast, children among them, and the root is what it was."""
    log = logging.getLogger("shop.chosen.by.class")
    assert type(log) is type(log.getChild("child")) is logging.getLoggerClass() is FastLogger
    assert type(logging.getLogger()) is logging.RootLogger
    assert isinstance(log, logging.Logger)
    assert repr(log) == "<FastLogger shop.chosen.by.class (WARNING)>"
    assert pickle.loads(pickle.dumps(log)) is copy.copy(log) is copy.deepcopy(log) is log


def test_levels_are_asked_as_ever(both: tuple[Tree, Tree]) -> None:
    """The logger's level, its parent's, ``disabled``, ``logging.disable`` and its cache decide, call by call."""
    for tree in both:
        log = tree.get("shop")
        told: list[Any] = []

        def ask(log: logging.Logger = log, tree: Tree = tree, told: list[Any] = told) -> None:
            before = len(tree.kept.entries)
            for name in ("debug", "info", "warning", "error", "critical"):
                getattr(log, name)(name)
            log.log(25, "between")
            told.append([entry.message for entry in tree.kept.entries[before:]])
            told.append([log.isEnabledFor(level) for level in (10, 25, 50)])

        ask()
        log.setLevel(30)
        ask()
        log.setLevel(0)
        tree.root.setLevel(25)
        ask()
        tree.manager.disable = 40
        tree.manager._clear_cache()  # type: ignore[attr-defined]
        ask()
        tree.manager.disable = 0
        tree.manager._clear_cache()  # type: ignore[attr-defined]
        log.disabled = True
        ask()
        tree.told.append(told)
    assert both[PLAIN].result() == both[FAST].result()


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.info(),
        lambda log: log.info("sold", nonsense=1),
        lambda log: log.info("sold", level=20),
        lambda log: log.info("sold", args=()),
        lambda log: log.log("INFO", "sold"),
        lambda log: log._log(20, "sold"),
        lambda log: log.info("sold", extra=3),
        lambda log: log.info("sold", extra={"name": 3}),
        lambda log: log.info("sold", stacklevel="1"),
    ],
)
def test_a_wrong_call_fails_as_ever(both: tuple[Tree, Tree], call: Any) -> None:
    """With the same error, from the same place in logging as far as a traceback says."""
    said = []
    for tree in both:
        with pytest.raises((TypeError, KeyError)) as caught:
            call(tree.get("shop"))
        frames = [(frame.filename, frame.name) for frame in traceback.extract_tb(caught.value.__traceback__)]
        said.append((repr(caught.value), [*dict.fromkeys(frames)]))
    assert said[PLAIN] == said[FAST]


def test_a_wrong_call_that_is_disabled_is_nobodys(both: tuple[Tree, Tree]) -> None:
    """As with logging, arguments are looked at where the level lets the call through."""
    both[FAST].get("shop").setLevel(30)
    both[FAST].get("shop").info("sold", nonsense=1)  # type: ignore[call-arg]


def test_tracebacks_through_it_read_as_ever(both: tuple[Tree, Tree]) -> None:
    """What a handler raises comes with lines that stand in logging's file, those of logging's own calls."""
    lines = []
    for tree in both:

        class Broken(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                raise RuntimeError("broken")

        tree.root.addHandler(Broken())
        try:
            tree.get("shop").info("sold")
        except RuntimeError as error:
            text = [(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
            lines.append(sorted(set(text)))
    assert lines[PLAIN] == lines[FAST]


def test_exceptions_and_old_names(both: tuple[Tree, Tree]) -> None:
    """``exception``, ``fatal`` and ``warn`` say what they always said; ``warn`` warns its caller."""
    for tree in both:
        log = tree.get("shop")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("failed %d", 1, extra={"till": 4})
            log.exception("without", exc_info=False)
        log.fatal("fatal")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            log.warn("old")
        tree.told.append([(str(found.message), found.filename) for found in caught])
    assert both[PLAIN].result() == both[FAST].result()


def test_an_adapter_that_merges(both: tuple[Tree, Tree]) -> None:
    """Since Python 3.13 an adapter may merge its fields with those of the call."""
    merging = {"merge_extra": True} if sys.version_info >= (3, 13) else {}
    for tree in both:
        log: Any = logging.LoggerAdapter(logging.LoggerAdapter(tree.get("shop"), {"a": 1}, **merging), {"b": 2})
        log.info("sold", extra={"c": 3})
        log.isEnabledFor(20)
        log.exception("failed", exc_info=ValueError("no"))
    assert both[PLAIN].result() == both[FAST].result()


class Own(FastLogger):
    """An application's logger, made from ours as it would be from logging's."""

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802
        """Adds a field to each record."""
        record = super().makeRecord(*args, **kwargs)
        record.own = True
        return record

    def trace(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """A level of its own."""
        if self.isEnabledFor(5):
            self._log(5, msg, args, **kwargs)


class Overriding(FastLogger):
    """One that takes every call, and gives it on in other words."""

    def _log(self, level: int, msg: object, args: Any, exc_info: Any = True, **kwargs: Any) -> None:  # type: ignore[override]
        super()._log(level, f"{msg} {exc_info} {sorted(kwargs)}", args, **kwargs)


def test_what_a_subclass_overrides_is_called(both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of its own sees every record, with the arguments as given; a method that it adds is no slower."""
    tree = both[FAST]
    tree.manager.setLoggerClass(Own)
    own: Any = tree.get("own")
    own.info("sold")
    assert tree.kept.last.extra == {"own": True}
    tree.manager.setLoggerClass(Overriding)
    for named in ({}, {"exc_info": None}, {"stacklevel": 1, "extra": {}}):
        tree.get("overriding").info("sold", **named)
    assert tree.kept.messages[1:] == ["sold True []", "sold None []", "sold True ['extra', 'stacklevel']"]
    monkeypatch.delattr(Own, "makeRecord")
    ways = Ways(monkeypatch)

    def trace() -> None:
        own.trace("%d sold", 3)

    assert ways.of(tree, trace) == "fast"
    assert (tree.kept.last.message, tree.kept.last.site[4]) == ("3 sold", "trace")


@pytest.mark.parametrize("kind", [FastLogger, Own])
@pytest.mark.parametrize("name", ["info", "isEnabledFor", "_log", "findCaller", "makeRecord", "handle", "filter"])
def test_a_method_of_a_loggers_own_is_called(both: tuple[Tree, Tree], kind: type[logging.Logger], name: str) -> None:
    """Whoever puts a method on one logger sees what it would have seen, and the logger stays of its class."""
    tree = both[FAST]
    tree.manager.setLoggerClass(kind)
    log, called = tree.get("shop"), []
    usual = getattr(log, name)

    def theirs(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return usual(*args, **kwargs)

    setattr(log, name, theirs)
    log.info("sold")
    assert (called, tree.kept.messages) == ([name], ["sold"])
    assert isinstance(log, kind if kind is Own else logging.Logger)
    assert (type(log).__name__, hasattr(log, "trace")) == (kind.__name__ if kind is Own else "Logger", kind is Own)


def test_a_plain_one_of_a_subclass_sees_wrappers(both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a method of its own it goes logging's way, whatever that is by then; a second method makes no difference."""
    tree = both[FAST]
    tree.manager.setLoggerClass(Own)
    log, seen = tree.get("shop"), []
    log.handle = log.handle  # type: ignore[method-assign]
    kind = type(log)
    log.filter = log.filter  # type: ignore[method-assign]
    assert type(log) is kind
    for name in ("info", "_log"):
        usual = getattr(logging.Logger, name)

        def wrapper(*args: Any, usual: Any = usual, name: str = name, **kwargs: Any) -> Any:
            seen.append(name)
            return usual(*args, **kwargs)

        monkeypatch.setattr(logging.Logger, name, wrapper)
    log.info("sold", extra={"till": 4})
    assert seen == ["info", "_log"]
    assert tree.kept.last.extra == {"till": 4, "own": True}


@pytest.mark.parametrize("name", ["info", "isEnabledFor"])
def test_a_wrapper_sees_every_call(both: tuple[Tree, Tree], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around a method of ``logging.Logger``, calls that the level stops are seen by it, too."""
    usual, seen = getattr(logging.Logger, name), []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        seen.append(args[1:])
        return usual(*args, **kwargs)

    log = both[FAST].get("shop")
    log.info("before")
    monkeypatch.setattr(logging.Logger, name, wrapper)
    log.setLevel(30)
    log.info("one")
    log.setLevel(20)
    log.info("two")
    assert len(seen) == 2
    assert both[FAST].kept.messages == ["before", "two"]


def test_a_bound_method_that_is_kept_goes_on(both: tuple[Tree, Tree]) -> None:
    """One that was taken before its logger became fast, or plain again, logs what it is told."""
    tree = both[PLAIN]
    log = tree.get("shop")
    kept = [log.info]
    log.__class__ = FastLogger
    kept.append(log.info)
    for number, info in enumerate(kept):
        info("fast %d", number)
    make_plain(log)
    for number, info in enumerate(kept):
        info("plain %d", number)
    assert tree.kept.messages == ["fast 0", "fast 1", "plain 0", "plain 1"]
    assert {entry.site[4] for entry in tree.kept.entries} == {"test_a_bound_method_that_is_kept_goes_on"}


def test_caplog_sees_real_records(in_force: None, both: tuple[Tree, Tree], caplog: pytest.LogCaptureFixture) -> None:
    """The handler of pytest on the root gets what it would get of a plain logger."""
    log = logging.getLogger("shop.caplog")
    assert type(log) is FastLogger
    with caplog.at_level(10):
        log.debug("%s sold", "tea", extra={"till": 4})
    record = caplog.records[-1]
    assert (record.name, record.getMessage(), record.funcName) == (
        "shop.caplog",
        "tea sold",
        "test_caplog_sees_real_records",
    )
    assert (record.levelname, record.till) == ("DEBUG", 4)  # type: ignore[attr-defined]


def test_a_logger_without_handlers_has_the_last_resort(
    both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no handler is found the record goes to ``logging.lastResort``, as ever."""
    for tree in both:
        tree.root.handlers.clear()
        with monkeypatch.context() as changed:
            last = Looking(tree, "last")
            last.setLevel(30)
            changed.setattr(logging, "lastResort", last)
            for name in ("info", "warning"):
                getattr(tree.get("shop"), name)("sold")
    assert both[PLAIN].result() == both[FAST].result()
    assert len(both[FAST].told) == 1


def test_arguments_that_do_not_fit_are_the_handlers_matter(
    both: tuple[Tree, Tree], capsys: pytest.CaptureFixture[str]
) -> None:
    """For its handlers logging says so on stderr, by the line of the call; ours brings message and arguments."""
    for tree in both:
        tree.root.addHandler(logging.StreamHandler(sys.stderr))
        tree.get("shop").info("%d sold", "tea")
    said = capsys.readouterr().err
    assert said.count("--- Logging error ---") == 2
    assert said.count('tree.get("shop").info("%d sold", "tea")') == 2
    assert both[PLAIN].result() == both[FAST].result()


def test_it_does_not_know_its_own_frames(both: tuple[Tree, Tree]) -> None:
    """Who looks for the caller from a handler passes frames of logging's file, and finds the application's."""
    found = []

    class Inspecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            frame, depth = inspect.currentframe(), 0
            while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
                frame, depth = frame.f_back, depth + 1
            found.append((frame.f_code.co_name, frame.f_lineno) if frame else None)

    for tree in both:
        tree.root.handlers[:] = [Inspecting()]
        tree.get("shop").info("sold")
    assert found[PLAIN] == found[FAST] is not None


def test_logging_that_is_loaded_anew_leaves_it_working(unmeasured: None) -> None:
    """After ``importlib.reload(logging)`` loggers from before go logging's own way, and new ones are logging's."""
    program = """if True:
        import importlib, logging, logbus
        logging.setLoggerClass(logbus.FastLogger)
        log = logging.getLogger("shop")
        seen = []
        class Seeing(logging.Handler):
            def emit(self, record):
                seen.append((record.getMessage(), record.funcName, record.name))
        handler = Seeing()
        log.addHandler(handler)
        log.warning("%d sold", 1)
        importlib.reload(logging)
        log.warning("%d sold", 2, extra={"till": 4})
        new = logging.getLogger("shop")
        assert type(new) is logging.Logger, type(new)
        new.addHandler(handler)
        new.warning("%d sold", 3)
        import warnings
        warnings.simplefilter("error")
        from logbus.producers.fast_tree import FAST_TREE
        FAST_TREE.begin()
        assert type(new) is logging.Logger, type(new)
        FAST_TREE.end()
        print(seen)
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout == f"{[(f'{number} sold', '<module>', 'shop') for number in (1, 2, 3)]}\n"


def test_the_interpreter_itself_may_call(unmeasured: None) -> None:
    """A method that is called at exit, without a caller, logs as ever."""
    program = """if True:
        import atexit, logging, sys, logbus
        logging.setLoggerClass(logbus.FastLogger)
        log = logging.getLogger("shop")
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(funcName)s %(message)s"))
        log.addHandler(handler)
        atexit.register(log.warning, "the end")
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("warning the end\n", "")


def test_no_module_is_loaded_before_it_is_asked_for() -> None:
    """``import logbus`` knows the name, and loads it when it is used."""
    module = importlib.import_module("logbus")
    assert module._HOMES["FastLogger"] == "logbus.producers.fast_logger"
