"""Levels apart: loggers that nobody has given a level are open for logbus, and shut for the application's handlers.

A program that knows nothing of logging has a root logger at WARNING. Its INFO records are wanted in the log, and
nobody wants them on its stderr. So below ``logbus run`` a logger that inherits its level from the root answers for two:
``isEnabledFor`` says yes from our level on, ``getEffectiveLevel`` says what it always said, and a record that only we
have asked for ends in ``Logger.handle``, behind the logger's filters and before any handler.

The question costs nothing: logging remembers the answer of ``isEnabledFor`` for each logger and level, and asks
``getEffectiveLevel`` only for a new one. There ours sees, by its caller, that the gate is asking.

A logger whose class has steps of its own is left alone: who overrides ``handle`` would get to see what is meant for us
only, and who decides himself what is enabled has decided it. So are all, once somebody wraps ``Logger.handle``.

It ends with the application's own word: once a level was set on the root logger, that is the level, for logbus too, and
everything here is taken off. Not so where ``logbus run`` was told a level: that one stays open whatever the
application sets on its root. A logger with a level of its own (or below one) keeps it in both cases, and a level rule
for all loggers (``logbus set-level``) takes the place of both.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from logbus.producers.crossing import CROSSING, as_of_logging
from logbus.producers.patch import Patch

#: Above every level: nothing is open.
_NOTHING: Final = sys.maxsize
#: What a root logger has when nobody has chosen.
_DEFAULT: Final = logging.WARNING
#: The level of logbus where nobody has said one.
_INFO: Final = logging.INFO
#: The processor of structlog that is its gate before logging's own.
_STRUCTLOG: Final = "filter_by_level"
#: The methods by which a logger decides what it lets through, and the one behind which that becomes a record.
_GATES: Final = ("isEnabledFor", "getEffectiveLevel")
_STEPS: Final = (*_GATES, "handle")
#: What every log method ends in, and wrappers around ``Logger.handle``, at most, behind which it is looked for.
_LOG: Final = logging.Logger._log.__code__
_WRAPPERS: Final = 3

_frame: Final = sys._getframe


class Aside:
    """The levels of this process that are ours alone, which has one such: :data:`ASIDE`."""

    def __init__(self, root: logging.Logger) -> None:
        self._root = root
        self._level = _NOTHING
        #: Whether the level was said, and stays.
        self._said = False
        #: Whether a level rule gives the root logger its level: it is everybody's then.
        self.ruled = False
        self._patches: tuple[Patch, ...] = ()
        self._handled: Patch | None = None

    def begin(self, level: int | None) -> None:
        """Opens loggers without a level of their own from ``level`` on; with None from INFO on, till the root has one.

        What they let through is taken by :data:`logbus.producers.crossing.CROSSING`.
        """
        self.end()
        if level is None and self._root.level != _DEFAULT:
            return
        self._said, self._level = level is not None, _INFO if level is None else level
        self._handled = Patch(logging.Logger, "handle", self._handle)
        self._patches = (
            Patch(logging.Logger, "getEffectiveLevel", self._get_effective_level),
            self._handled,
        )
        if not self._said:
            self._patches += (Patch(logging.Logger, "setLevel", self._set_level),)
        self._forget()

    def end(self) -> None:
        """Gives logging back as it was."""
        patches, self._patches, self._handled, self._level = self._patches, (), None, _NOTHING
        for patch in patches:
            patch.remove()
        if patches:
            self._forget()

    def move(self, level: int | None) -> None:
        """Begins anew with the tree that logging has now, after ``importlib.reload(logging)``."""
        if self._root is not logging.root:
            self.end()
            self._root = logging.root
            self.begin(level)

    def gate_level(self, logger: logging.Logger) -> int:
        """The level from which on a logger lets records through, to logbus or to all."""
        level = logger.getEffectiveLevel()
        return self._level if self._level < level and self._opens(logger) else level

    def _forget(self) -> None:
        """Has every logger work out its answers anew."""
        manager: Any = self._root.manager
        manager._clear_cache()

    def _concerns(self, logger: logging.Logger) -> bool:
        """Whether a logger has its level from the root, and the root from nobody."""
        root = self._root
        if self.ruled or (root.level != _DEFAULT and not self._said):
            return False
        at: logging.Logger | None = logger
        while at is not root:
            if at is None or at.level:
                return False
            at = at.parent
        return True

    def _opens(self, logger: logging.Logger) -> bool:
        """Whether a logger may let through for us what nobody else is to see."""
        handle = self._handled
        return handle is not None and handle.stands and not _has_own(logger, _STEPS) and self._concerns(logger)

    def _get_effective_level(self, original: Callable[..., int]) -> Callable[..., int]:
        aside, gate = self, getattr(logging.Logger.isEnabledFor, "__code__", None)

        @functools.wraps(original)
        def getEffectiveLevel(logger: logging.Logger) -> int:  # noqa: N802 (logging's name)
            level = original(logger)
            if aside._level < level:
                caller = _frame(1).f_code
                if (caller is gate or caller.co_name == _STRUCTLOG) and aside._opens(logger):
                    return aside._level
            return level

        return getEffectiveLevel

    def _handle(self, original: Callable[..., None]) -> Callable[..., None]:
        aside = self

        @functools.wraps(original)
        def handle(logger: logging.Logger, record: logging.LogRecord) -> None:
            try:
                # What a logger has made itself came through its gate; what is given to handle() may have any level.
                low = record.levelno < aside._root.level and _is_of_log_method(logger, _frame(1))
            except TypeError:  # a record made by hand
                low = False
            if low and aside._hides(logger, record):
                if not logger.disabled and (passed := _filtered(logger, record)) is not None:
                    CROSSING.take(passed)
                return None
            return original(logger, record)

        as_of_logging(handle)
        return handle

    def _hides(self, logger: logging.Logger, record: logging.LogRecord) -> bool:
        return self._level <= record.levelno and not _has_own(logger, _GATES) and self._concerns(logger)

    def _set_level(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def setLevel(logger: logging.Logger, level: int | str) -> None:  # noqa: N802 (logging's name)
            original(logger, level)
            if logger is self._root and not self._said:
                self.end()

        return setLevel


def _has_own(logger: logging.Logger, names: tuple[str, ...]) -> bool:
    """Whether a logger, or its class, has other methods of these names than logging's loggers have."""
    usual = vars(logging.Logger)
    return any(getattr(getattr(logger, name, None), "__func__", None) is not usual[name] for name in names)


def _is_of_log_method(logger: logging.Logger, frame: FrameType | None) -> bool:
    """Whether a record comes to ``handle`` from a log method of its logger: at once, or through somebody's wrapper."""
    if frame is None or frame.f_code.co_name == _LOG.co_name:
        return frame is not None
    for _ in range(_WRAPPERS):
        frame = frame.f_back
        if frame is None:
            return False
        # A faster logger's looks like it (untouched.look_like).
        if frame.f_code.co_name == _LOG.co_name and frame.f_code.co_filename == _LOG.co_filename:
            return frame.f_locals.get("self") is logger
    return False


def _filtered(logger: logging.Logger, record: logging.LogRecord) -> logging.LogRecord | None:
    """What the logger's filters make of a record; None if they stop it."""
    if not logger.filters:
        return record
    passed: Any = logger.filter(record)
    if isinstance(passed, logging.LogRecord):  # since Python 3.12 a filter may replace the record
        return passed
    return record if passed else None


#: The tree of loggers of this process.
ASIDE: Final = Aside(logging.root)
