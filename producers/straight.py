"""Records of chosen loggers past :class:`logging.LogRecord`, where nobody but logbus would see one.

Making a LogRecord and leading it through logging is most of what a log call costs: httpx's one line per request costs
more than all that proxywhirl logs of it the direct way. A logger that is *straight* looks, at each call that its level
lets through, whether the record would end in one :class:`~logbus.producers.handler.LogbusHandler` on the root logger
and nowhere else. Then message and fields of the call go to that handler's producer as the handler would have given
them. Otherwise, or where anything about the call is unusual, it goes on as if nothing were there:

- another handler on the way, or none; ``propagate`` is off; the handler has a level or filters, the logger has filters
  (those of conditions and of the flight recorder among them);
- a record factory; a wrapper around one of the steps in ``logging.Logger``, that of ``logbus run`` among them, or a
  step of this one logger's own, which makes it like all others again;
- an exception, ``stack_info``, arguments that don't fit the message, a field that is no plain value.

So what others put into logging, whenever they do it, sees all that it would have seen. Levels are asked before, by the
methods of the logger. It is the logger's class that is exchanged, for one that differs in ``_log`` alone: an attribute
of the logger itself would take the common layout, and with it a part of their speed, from all others.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from operator import attrgetter
from os.path import basename, splitext
from threading import current_thread
from types import CodeType, FrameType, MethodType
from typing import Any, Final

from logbus.producers.context import active, add_context
from logbus.producers.fields import ENTRY_BYTES, PLAIN, USUAL_BYTES
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Site
from logbus.producers.sanitise import FIELD_BYTES
from logbus.producers.take import NOT_EXTRA

#: Call sites kept, per logger.
_SITES_KEPT: Final = 4096

_LOGGING: Final[Any] = logging
_LOGGER: Final[Any] = logging.Logger
#: The steps of a record's way, in one call, since it is made for each record.
_STEPS: Final = ("_log", "findCaller", "makeRecord", "handle", "callHandlers")
_steps: Final = attrgetter(*_STEPS)
#: The file whose frames are nobody's call.
_OWN_FILE: Final[str] = logging.getLevelName.__code__.co_filename

_frame: Final = sys._getframe
_now: Final = time.time


def own_steps() -> tuple[Any, ...] | None:
    """The steps as logging has them; None if one is already somebody's wrapper, which may look like the original."""
    steps: tuple[Any, ...] = _steps(_LOGGER)
    return steps if all(getattr(step, "__globals__", None) is vars(logging) for step in steps) else None


_OWN_STEPS: Final = own_steps()


def straighten(logger: logging.Logger) -> bool:
    """Makes a logger straight; False where it has a class of the application's and stays what it is. Idempotent."""
    if type(logger) is logging.Logger and _is_usual(logger):
        logger.__class__ = _straight_class()
    return is_straight(logger)


def bend(logger: logging.Logger) -> None:
    """Makes a straight logger like all others again."""
    if is_straight(logger):
        logger.__class__ = logging.Logger


def is_straight(logger: logging.Logger) -> bool:
    """Whether a logger is straight now."""
    return issubclass(type(logger), _Straight)


def _is_usual(logger: logging.Logger) -> bool:
    """Whether none of the steps is the logger's own. Its dict is not looked at: that would cost it its layout."""
    return bool(_steps(logger) == tuple(MethodType(step, logger) for step in _steps(_LOGGER)))


class _Straight(logging.Logger):
    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _STEPS:  # from now on there is somebody who wants to see its records
            bend(self)
        object.__setattr__(self, name, value)


def _straight_class() -> type[logging.Logger]:
    """A class for one logger: its function remembers the logger's call sites."""
    # By place in the program, see :mod:`logbus.producers.calls`.
    sites: dict[int, tuple[Site, CodeType]] = {}

    def _log(
        self: logging.Logger,
        level: int,
        msg: Any,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, Any] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        top = self
        while (above := top.parent) is not None and top.propagate and not top.handlers:
            top = above
        handlers = top.handlers
        if (
            above is None
            and len(handlers) == 1
            and type(handler := handlers[0]) is LogbusHandler
            and not (handler.level or handler.filters or self.filters or self.disabled or exc_info or stack_info)
            and _LOGGING._logRecordFactory is logging.LogRecord
            and _steps(_LOGGER) == _OWN_STEPS
            and (frame := _caller(_frame(1), stacklevel)) is not None
        ):
            code = frame.f_code
            entry = sites.get(id(code) + frame.f_lasti)
            if entry is None or entry[0][1] != level:
                entry = _entry(self, level, frame)
                if len(sites) >= _SITES_KEPT:
                    sites.clear()
                sites[id(code) + frame.f_lasti] = entry
            if type(level) is int and _emit(handler, entry[0], msg, args, extra):
                return
        # Our own frame is one more to leave out; with 0 logging shows itself.
        _LOGGER._log(self, level, msg, args, exc_info, extra, stack_info, stacklevel + (stacklevel > 0))

    return type("Logger", (_Straight,), {"__slots__": (), "__module__": logging.__name__, "_log": _log})


def _caller(frame: FrameType | None, stacklevel: int) -> FrameType | None:
    """The frame that logging would find; None where it is better asked itself."""
    if stacklevel < 1:
        return None
    while frame is not None:
        if frame.f_code.co_filename != _OWN_FILE:
            if stacklevel == 1:
                return frame
            stacklevel -= 1
        frame = frame.f_back
    return None


def _entry(logger: logging.Logger, level: int, frame: FrameType) -> tuple[Site, CodeType]:
    code = frame.f_code
    module = splitext(basename(code.co_filename))[0]
    return (logger.name, level, logging.getLevelName(level), module, code.co_name, frame.f_lineno or 0), code


def _emit(handler: LogbusHandler, site: Site, message: Any, args: Any, fields: Mapping[str, Any] | None) -> bool:
    """Gives a usual call to the handler's producer; False where it is unusual, and nothing has happened."""
    if type(message) is not str:
        return False
    if args:
        if len(args) == 1 and type(args[0]) is not str and type(args[0]) not in PLAIN:
            return False  # a mapping for the names in the message, maybe
        try:
            message %= args
        except Exception:  # logging says what is wrong with the call
            return False
    size = ENTRY_BYTES + message.__sizeof__()
    extra: dict[str, Any] | None = None
    nested: dict[str, Any] | None = None
    if fields is not None:
        if type(fields) is not dict:
            return False
        for key, value in fields.items():
            kind = type(value)
            if kind is str:
                size += value.__sizeof__()
            elif kind not in PLAIN:
                return False
            if type(key) is not str or key in NOT_EXTRA:
                return False
        if fields:
            extra = {**fields}
            size += FIELD_BYTES * len(extra)
    if size > USUAL_BYTES:
        return False
    scope = active()
    if scope is not None:
        extra, nested, size = add_context(extra, nested, size, scope)
    handler.producer.emit(_now(), site, current_thread().name, message, extra, nested, None, size)
    return True
