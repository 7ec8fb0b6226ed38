"""Fast loggers for a whole process: the tree of its loggers, and those that it will make.

A plain logger becomes a :class:`~logbus.producers.fast_logger.FastLogger` by its class alone, and back; whoever holds
it goes on holding it. The root logger keeps its class, and so has every logger with a class of the application's. Where
``logging.setLoggerClass`` was told a class by the application, new loggers are of that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGING: Final[Any] = logging


class FastTree:
    """Whether the loggers of this process are fast. There is one: :data:`FAST_TREE`."""

    def __init__(self) -> None:
        #: The loggers that were fast before, by somebody else's wish; None while nothing is done here.
        self._theirs: list[logging.Logger] | None = None
        #: Whether new loggers are fast because of us.
        self._makes_new = False

    def begin(self) -> None:
        """Makes every plain logger fast, and has new ones made so. Again: those that have come since."""
        from logbus.producers.fast_logger import FastLogger
        from logbus.producers.straight import is_straight, straighten

        if not issubclass(FastLogger, logging.Logger):  # logging was loaded anew: its loggers are none that we know
            return
        with _LOGGING._lock:
            if self._theirs is None:
                self._theirs = [logger for logger in _loggers() if is_straight(logger)]
            for logger in _loggers():
                straighten(logger)
            if logging.getLoggerClass() is logging.Logger:
                self._makes_new = True
                logging.setLoggerClass(FastLogger)

    def end(self) -> None:
        """Gives every logger back as it was. Idempotent."""
        if self._theirs is None:
            return
        from logbus.producers.fast_logger import FastLogger
        from logbus.producers.straight import bend, is_straight

        with _LOGGING._lock:
            if self._makes_new and logging.getLoggerClass() is FastLogger:
                logging.setLoggerClass(logging.Logger)
            kept = {id(logger) for logger in self._theirs}
            for logger in _loggers():
                if is_straight(logger) and id(logger) not in kept:
                    bend(logger)
            self._theirs, self._makes_new = None, False


def _loggers() -> Iterator[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return (logger for logger in known if isinstance(logger, logging.Logger))


#: The loggers of this process.
FAST_TREE: Final = FastTree()
