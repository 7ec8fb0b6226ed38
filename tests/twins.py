"""Two trees of loggers that differ in their class alone, plain and fast, each with all that sees its records."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

from logbus.producers import fast_logger, shortcut, template
from logbus.producers.compiled import NATIVE
from logbus.producers.fast_logger import FastLogger
from logbus.producers.handler import LogbusHandler
from logbus.producers.untouched import CALLS
from tests.kept import Kept

#: Attributes of a record that say when it was made.
TIMES: Final = frozenset({"created", "msecs", "relativeCreated"})


def seen(record: logging.LogRecord) -> Any:
    """All of a record but its time, in its order, and what formatting its message comes to."""
    try:
        message: Any = record.getMessage()
    except Exception as error:
        message = repr(error)
    return type(record), [(key, repr(value)) for key, value in vars(record).items() if key not in TIMES], message


class Looking(logging.Handler):
    """A handler of the application's, or a filter: it tells the tree what it sees."""

    def __init__(self, tree: Tree, name: str, answer: Callable[[logging.LogRecord], Any] = lambda record: True) -> None:
        super().__init__()
        self._tree, self._name, self._answer = tree, name, answer

    def emit(self, record: logging.LogRecord) -> None:
        """Tells."""
        self._tree.told.append((self._name, seen(record)))

    def __call__(self, record: logging.LogRecord) -> Any:
        """As a filter: tells, and answers what it was told to."""
        self._tree.told.append((self._name, seen(record)))
        return self._answer(record)


class Tree:
    """Loggers of one class below a root of their own, and what became of their records."""

    def __init__(self, kind: type[logging.Logger]) -> None:
        self.kept = Kept()
        self.handler = LogbusHandler.of(self.kept.producer)
        self.root = logging.RootLogger(1)
        self.manager = logging.Manager(self.root)
        self.manager.setLoggerClass(kind)
        #: What handlers, filters and callers have seen, in its order.
        self.told: list[Any] = []

    def get(self, name: str) -> logging.Logger:
        """The logger of this name."""
        return self.manager.getLogger(name) if name else self.root

    def result(self) -> Any:
        """All that became of its records; as text (nan is not equal to itself), without times, sizes and addresses."""
        result = repr([self.told, [entry._replace(created=0.0, size=0) for entry in self.kept.entries]])
        return re.sub("0x[0-9a-f]+", "", result)


def twins() -> tuple[Tree, Tree]:
    """A plain tree and a fast one."""
    return Tree(logging.Logger), Tree(FastLogger)


def take_form(form: str, monkeypatch: Any) -> None:
    """Gives FastLogger the methods of one of ``tests.forms.FORMS``; it has the compiled ones where there are any."""
    if form == "python" and NATIVE is not None:
        for name in CALLS:
            monkeypatch.setattr(FastLogger, name, vars(FastLogger)[name].__wrapped__)


class Ways:
    """Which of the three ways calls have taken: counts what lies on each."""

    def __init__(self, monkeypatch: Any) -> None:
        self.lean = self.handled = 0
        record_of, handle, hand_over = template.record_of, LogbusHandler.handle, fast_logger._hand_over

        def count_lean(*arguments: Any) -> Any:
            self.lean += 1
            return record_of(*arguments)

        def count_handled(*arguments: Any) -> Any:
            self.handled += 1
            return handle(*arguments)

        def count_handed_over(*arguments: Any) -> Any:  # a record may be made without record_of()
            self.lean += 1
            return hand_over(*arguments)

        monkeypatch.setattr(shortcut, "record_of", count_lean)
        monkeypatch.setattr(fast_logger, "_hand_over", count_handed_over)
        monkeypatch.setattr(LogbusHandler, "handle", count_handled)

    def of(self, tree: Tree, call: Callable[[], Any]) -> str:
        """The way of one call that reaches the tree's handler of ours."""
        lean, handled, entries = self.lean, self.handled, len(tree.kept.entries)
        call()
        assert len(tree.kept.entries) == entries + 1
        return "fast" if handled == self.handled else "lean" if self.lean > lean else "usual"
