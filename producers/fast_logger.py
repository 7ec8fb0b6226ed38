"""A :class:`logging.Logger` that comes to the same with less: :class:`FastLogger`, for applications that ask for it.

Making a LogRecord and leading it through logging is most of what a log call costs. A FastLogger asks for its level as
ever (logging's cache of answers, ``disabled``, ``logging.disable``), and what that lets through takes the shortest way
on which nobody misses anything: :mod:`logbus.producers.shortcut`.

It overrides the methods for the five levels, and ``_log``, in which the others end. Whoever wraps or overrides a method
of a logger, in ``logging.Logger``, in a subclass or on a single logger, is called as ever. Ours say that they are
logging's, by name and file: who looks for the caller on the stack passes them, and errors read as ever.

Where there is the compiled part, the methods for the levels are written in C (native/call.c) in front of the same in
Python, which are the reference: whatever is unusual about a call is left to them with its arguments as they came, and
before anything has happened. What the C compares it takes by name from here and from the modules that it stands for.
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from logbus.producers import shortcut, template
from logbus.producers.call_sites import outside
from logbus.producers.compiled import NATIVE
from logbus.producers.shortcut import send
from logbus.producers.untouched import CALLS, IS_ENABLED_FOR, LOG, LOGGER, STEPS, look_like, own

_OF_LOGGER: Final = vars(LOGGER)
_frame: Final = sys._getframe

#: Extra fields that were not given: a subclass may have others by default.
_NOT_GIVEN: Final[Any] = ()
#: What may be named in a call of ``_log`` that is served here.
_SERVED: Final = frozenset({"exc_info", "extra", "stack_info", "stacklevel"})


def _log(self: Any, level: Any, msg: Any, args: Any, *rest: Any, **named: Any) -> None:
    if LOGGER._log is LOG and not rest and _SERVED.issuperset(named):
        stacklevel = named.get("stacklevel", 1)
        # An exc_info of False stands in the record as such.
        without = named.get("exc_info") is None and not named.get("stack_info") and not self.disabled
        if without and type(stacklevel) is int and stacklevel > 0:
            try:
                frame = outside(_frame(1), stacklevel)
            except ValueError:  # no frame at all: the interpreter itself calls
                frame = None
            if frame is not None:
                made = send(self, level, msg, args, named.get("extra"), frame)
                if made is True:
                    return
                if made is not False:
                    self.handle(made)
                    return
    LOGGER._log(self, level, msg, args, *rest, **named)


def _hand_over(self: Any, record: logging.LogRecord) -> None:
    """The end of ``_log``, of a call that came straight from the method of a level: one frame, as in logging."""
    self.handle(record)


look_like(_hand_over, "_log")


def _method(name: str, level: int) -> Any:
    """The method of one level."""
    usually = own(LOGGER, name)

    def call(self: Any, msg: Any, *args: Any, extra: Any = _NOT_GIVEN, **others: Any) -> None:
        if _OF_LOGGER[name] is not usually:  # somebody's wrapper: it is to see every call
            return _wrapped(self, name)(msg, *args, **_named(extra, others))  # type: ignore[no-any-return]
        cls = type(self)
        if cls.isEnabledFor is IS_ENABLED_FOR:  # what it does, without the call
            try:
                if not self._cache[level]:
                    return None
            except KeyError:
                if not self.isEnabledFor(level):
                    return None
            if self.disabled:
                return None
        elif not self.isEnabledFor(level):
            return None
        if others or cls._log is not _log or LOGGER._log is not LOG:
            # Not through ours where it has nothing to add: a stack would show it.
            usual = LOGGER._log is not LOG or others.get("exc_info") or not _SERVED.issuperset(others)
            if cls._log is _log and (usual or others.get("stack_info")):
                return LOGGER._log(self, level, msg, args, **_named(extra, others))  # type: ignore[no-any-return]
            return self._log(level, msg, args, **_named(extra, others))  # type: ignore[no-any-return]
        try:
            frame = _frame(1)
        except ValueError:  # no frame at all: the interpreter itself calls
            frame = None
        made = frame is not None and send(self, level, msg, args, extra, frame)
        if made is False:
            LOGGER._log(self, level, msg, args, **_named(extra, others))
        elif made is not True:
            _hand_over(self, made)
        return None

    return call


def _named(extra: Any, others: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call as it was written."""
    return others if extra is _NOT_GIVEN else {"extra": extra, **others}


def _wrapped(logger: Any, name: str) -> Any:
    """What ``logging.Logger`` has by this name now, for a logger."""
    # A method that somebody has kept may be called after its logger has become a plain one.
    return getattr(super(FastLogger, logger) if isinstance(logger, FastLogger) else logger, name)


def _handing(name: str) -> Any:
    """What stands for the method of one level on the stack, where that is compiled and has made a record."""

    def call(self: Any, record: logging.LogRecord) -> None:
        _hand_over(self, record)

    return look_like(call, name)


def _methods() -> list[Any]:
    """The methods of the levels, in the order of :data:`CALLS`: compiled where that is there, in front of the same."""
    levels = [getattr(logging, name.upper()) for name in CALLS]
    methods = [look_like(_method(name, level), name) for name, level in zip(CALLS, levels, strict=True)]
    if NATIVE is None:
        return methods
    names = {**vars(template), **vars(shortcut), **globals()}
    try:
        compiled: list[Any] = NATIVE.calls(names, tuple(zip(levels, methods, map(_handing, CALLS), strict=True)))
    except Exception:  # what stands in logging, threading or time is of kinds that only Python compares
        return methods
    return compiled


class FastLogger(logging.Logger):
    """A logger that does what a :class:`logging.Logger` does, and takes less time where its records end in logbus.

    For ``logging.setLoggerClass``, or by ``logbus.configure(fast_loggers=True)``, which makes one of each logger
    that is there, too. It may be subclassed; what a subclass overrides is called for every record, as of a Logger.
    """

    if not TYPE_CHECKING:
        debug, info, warning, error, critical = _methods()
        _log = look_like(_log, "_log")

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; a method of this one logger's own makes it go the standard library's way."""
        super().__setattr__(name, value)
        if name in _METHODS:
            make_plain(self)


_METHODS: Final = frozenset({*STEPS, *CALLS})


def make_plain(logger: logging.Logger) -> None:
    """Makes a fast logger one that takes every step of the standard library; one of a subclass keeps what it has."""
    kind: Any = type(logger)
    if issubclass(kind, FastLogger):
        logger.__class__ = _plain(kind)


@functools.cache
def _plain(kind: Any) -> Any:
    if kind is FastLogger:
        return logging.Logger
    # A class in front of it, in which what is ours leads past us. What the subclass overrides stays, and what it calls.
    past = {name: _past(name) for name in (*CALLS, "_log") if getattr(kind, name) is vars(FastLogger)[name]}
    if not past:
        return kind
    return type(kind.__name__, (kind,), {**past, "__module__": kind.__module__, "__qualname__": kind.__qualname__})


def _past(name: str) -> Any:
    """A method that leads to that of ``logging.Logger``."""

    def call(self: Any, *args: Any, **named: Any) -> Any:
        return getattr(super(FastLogger, self), name)(*args, **named)

    return look_like(call, name)
