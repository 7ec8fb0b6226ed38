"""The same program on plain loggers and on fast ones: nobody who sees records can tell which he has."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from logbus.producers.context import context
from tests.forms import FORMS
from tests.twins import Looking, Tree, take_form, twins

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
VALUES = st.one_of(
    PLAIN, st.lists(PLAIN, max_size=2), st.binary(max_size=3), st.dictionaries(st.text(max_size=2), PLAIN)
)
KEYS = st.one_of(st.sampled_from(["a", "request_id", "extra", "message", "name", "taskName"]), st.text(max_size=3))
MESSAGES = st.one_of(st.text(max_size=9), st.sampled_from(["%s", "%s for %s", "%d", "%(a)s", "%", "x" * 9000]), VALUES)
ARGUMENTS = st.one_of(
    st.lists(VALUES, max_size=2).map(tuple), st.dictionaries(KEYS, PLAIN, max_size=2).map(lambda found: (found,))
)
NAMES = st.sampled_from(["", "shop", "shop.till", "shop.till.drawer", "other"])
LOGGERS = st.sampled_from(["shop", "shop.till", "shop.till", "shop.till.drawer", "other"])
LEVELS = st.sampled_from([1, 10, 20, 25, 30, 40, 50])
EXTRAS = st.one_of(st.dictionaries(KEYS, VALUES, max_size=3), st.sampled_from([None, {}, {1: 2}, (), 0, [("a", 1)]]))
ERROR = ValueError("no")
NAMED = st.fixed_dictionaries(
    {},
    optional={
        "extra": EXTRAS,
        "exc_info": st.sampled_from([None, False, True, 0, 1, ERROR, (ValueError, ERROR, None), (None, None, None)]),
        "stack_info": st.booleans(),
        "stacklevel": st.sampled_from([0, 1, 2, 3, 99, True]),
        "nonsense": st.none(),
    },
)

#: One step of a program: what it does to a tree.
Step = Callable[[Tree], None]


def _replace(record: logging.LogRecord) -> Any:
    """As filters may since Python 3.12; before, it is an answer like any other."""
    return logging.makeLogRecord({**vars(record), "msg": "replaced"})


def _change(record: logging.LogRecord) -> Any:
    record.seen_by = "filter"
    record.msg = "changed"
    return 1


ANSWERS = st.sampled_from([lambda record: True, lambda record: 0, _replace, _change])


@st.composite
def calls(draw: Any) -> Step:
    """A call of one of the methods, through an adapter or not, while an error is handled."""
    name, message, arguments, keywords = draw(LOGGERS), draw(MESSAGES), draw(ARGUMENTS), draw(NAMED)
    method = draw(
        st.sampled_from(["debug", "info", "info", "warning", "error", "critical", "exception", "log", "_log"])
    )
    number, adapted, scope = draw(LEVELS), draw(st.booleans()), draw(st.dictionaries(KEYS, VALUES, max_size=1))

    def step(tree: Tree) -> None:
        named, log = {**keywords}, tree.get(name)  # type: tuple[dict[str, Any], Any]
        if adapted and method != "_log":
            log = logging.LoggerAdapter(log, {"adapted": 1})
        given = (message, *arguments) if method != "_log" else (message, arguments)
        if method in ("log", "_log"):
            given = (number, *given)
        if adapted or method in ("log", "_log"):  # a stack from logging's own frames on has one more: ours
            named["stacklevel"] = named.get("stacklevel") or 1

        def call() -> None:
            getattr(log, method)(*given, **named)

        with context(**scope):
            try:
                raise KeyError("handled")
            except KeyError:
                call()

    return step


@st.composite
def changes(draw: Any) -> Step:
    """Something that happens to the tree: levels, handlers, filters, switches."""
    name, number, answer, flag = draw(NAMES), draw(LEVELS), draw(ANSWERS), draw(st.booleans())
    what = draw(
        st.sampled_from(["level", "ours", "ours", "other", "null", "remove", "filter", "of_handler", "off", "alone"])
    )

    def step(tree: Tree) -> None:
        log = tree.get(name)
        if what == "level":
            log.setLevel(number)
        elif what == "ours":
            log.addHandler(tree.handler)
        elif what == "other":
            other = Looking(tree, f"handler of {name}")
            other.setLevel(number)
            log.handlers.append(other)
        elif what == "null":
            log.addHandler(logging.NullHandler())
        elif what == "remove":
            del log.handlers[:1]
        elif what == "filter":
            log.filters[:] = [Looking(tree, f"filter of {name}", answer)] if flag else []
        elif what == "of_handler":
            tree.handler.filters[:] = [Looking(tree, "filter of ours", answer)] if flag else []
            tree.handler.setLevel(number)
        elif what == "off":
            log.disabled = flag
        else:
            log.propagate = flag

    return step


@st.composite
def switches(draw: Any) -> Step:
    """Something that happens to the tree's manager, or to all of logging."""
    what = draw(
        st.sampled_from(["disable", "logThreads", "logProcesses", "logMultiprocessing", "_srcfile", "factory", "names"])
    )
    flag, number = draw(st.booleans()), draw(LEVELS)

    def step(tree: Tree) -> None:
        if what == "disable":
            tree.manager.disable = number if flag else 0
            tree.manager._clear_cache()  # type: ignore[attr-defined]
        elif what == "factory":
            logging.setLogRecordFactory(_Own if flag else logging.LogRecord)
        elif what == "names":
            logging.addLevelName(number, f"L{number}{flag}")
        elif what == "_srcfile":
            logging._srcfile = SOURCE if flag else None
        else:
            setattr(logging, what, flag)

    return step


class _Own(logging.LogRecord):
    pass


SOURCE = logging._srcfile


@contextlib.contextmanager
def _logging_as_it_was() -> Iterator[None]:
    names = dict(logging._levelToName)
    try:
        yield
    finally:
        logging._srcfile = SOURCE
        logging.setLogRecordFactory(logging.LogRecord)
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True
        logging._levelToName.clear()
        logging._levelToName.update(names)
        for level in [level for level, number in logging._nameToLevel.items() if level[0] == "L" and number]:
            del logging._nameToLevel[level]


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.one_of(calls(), calls(), calls(), changes(), changes(), switches()), min_size=2, max_size=14))
def test_nobody_can_tell_a_fast_logger_from_a_plain_one(form: str, program: list[Step]) -> None:
    """Handlers, filters, the producer and the callers see the same of the same calls: records, order, errors."""
    found = []
    stderr, sys.stderr = sys.stderr, None
    try:
        for tree in twins():
            with _logging_as_it_was(), pytest.MonkeyPatch.context() as monkeypatch:
                take_form(form, monkeypatch)
                tree.root.addHandler(tree.handler)
                for step in program:
                    try:
                        step(tree)
                    except Exception as error:
                        tree.told.append(repr(error))
            found.append(tree.result())
    finally:
        sys.stderr = stderr
    assert found[0] == found[1]
