"""One log call on the shortest of three ways, of which nobody can tell one from another: :func:`send`.

- *fast*: no LogRecord is made. Message and fields of the call go to the producer as
  :class:`~logbus.producers.handler.LogbusHandler` would have given them. Where the record would meet one such handler
  on its way to the root logger, nothing else (a NullHandler apart) and no filter;
- *lean*: a real LogRecord, made from what all records of its place have in common (:mod:`logbus.producers.template`),
  is left to the caller, who gives it to ``Logger.handle``: from there it goes through filters and handlers as ever;
- *usual*: what the standard library does itself. With a record factory, a wrapper around a step of ``logging.Logger``
  that would be left out, a step of a subclass, fields that logging refuses, an exception or ``stack_info``.

Which one it is, is found out in each call, from what stands in logging at that moment: nothing is remembered that
somebody could change unnoticed. What is remembered of a place in a program is compared where it can change.

The functions say that they are logging's own ``_log``, as in :mod:`logbus.producers.crossing`: who looks for the caller
on the stack passes them, and who looks for a log method finds one (:mod:`logbus.producers.aside` does).

It is measured by the nanosecond: what could be nicer and costs 50 ns a record is not here. The methods of the levels
have the same in C (native/call.c, native/fast.c): whoever changes what is compared here changes it there.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final

from logbus.producers.call_sites import LEVEL_NAMES, SITES, CallSite, remember_keys, site_from
from logbus.producers.context import active, add_context
from logbus.producers.fields import ENTRY_BYTES, PLAIN, USUAL_BYTES
from logbus.producers.handler import LogbusHandler
from logbus.producers.sanitise import FIELD_BYTES
from logbus.producers.take import CLEANERS, NOT_EXTRA
from logbus.producers.template import CURRENT_THREAD, IN_NS, MAIN_THREAD, THREAD, THREADS, record_of
from logbus.producers.untouched import (
    CALL_HANDLERS,
    FILTER,
    FIND_CALLER,
    HANDLE,
    IS_INTERNAL,
    LEVEL_NAME,
    MAKE,
    MAKE_RECORD,
    NULL_HANDLE,
    NULL_HANDLER,
    RECORD,
    SOURCE,
    look_like,
)

_LOGGING: Final[Any] = logging
_THREADING: Final[Any] = threading
_TIME: Final[Any] = time

_references_to: Final = sys.getrefcount
#: Who has a dict that was made in the call itself: the method of the logger, :func:`send`, and who counts.
_HOLDERS: Final = 3
#: Whether a count of references says that there are no more.
_COUNTS: Final = sys.version_info < (3, 14) and getattr(sys, "_is_gil_enabled", lambda: True)()


def _references() -> int:
    """How many references :func:`send` counts to a dict that nobody has but the call itself; 0 where that says nothing.

    From Python 3.14 on arguments may be borrowed, and free threads count in another way.
    """

    def inner(extra: dict[str, Any]) -> int:
        return _references_to(extra)

    def outer(*, extra: dict[str, Any], **_: Any) -> int:
        return inner(extra)

    held: dict[str, Any] = {}
    own, others = outer(extra={}), outer(extra=held)
    # A tracer that reads locals has references of its own while this is measured, and none of them later.
    return own if own == _HOLDERS and others == own + 1 and _COUNTS else 0


#: More of them, and somebody may change the dict later: then it is copied.
_OWN_REFERENCES: Final = _references()


def send(logger: Any, level: int, message: Any, args: Any, extra: Any, frame: FrameType) -> Any:
    """Takes one call on its way: one that is enabled, without exception and stack. ``frame`` is the caller's.

    True where nothing is left to do; a LogRecord that the caller gives to ``Logger.handle`` (from a function that
    stands for ``_log``: who counts the frames to the call finds as many as ever); False where all is up to the
    standard library. In the two last cases nothing has happened.
    """
    cls = type(logger)
    if not (
        # Each step that lean leaves out is logging's own, here and now.
        cls.findCaller is FIND_CALLER
        and cls.makeRecord is MAKE_RECORD
        and RECORD.__init__ is MAKE
        and _LOGGING._logRecordFactory is RECORD
        and _LOGGING._srcfile is SOURCE
        and _LOGGING._is_internal_frame is IS_INTERNAL
        and _LOGGING.getLevelName is LEVEL_NAME
        and type(level) is int
    ):
        return False
    site: Any = None
    try:
        site = SITES[id(frame.f_code) + frame.f_lasti]
        if site[0] is not logger.name or site[1] != level or LEVEL_NAMES[level] is not site[2]:
            site = None
    except KeyError:  # a new place, a frame of logging's own, a level without a name
        site = None
    if site is None:
        site = site_from(logger.name, level, frame)
        if site is None:
            return False
    if (
        cls.handle is not HANDLE
        or cls.callHandlers is not CALL_HANDLERS
        or cls.filter is not FILTER
        or logger.filters
        or site[3] is None
        or (CLEANERS and logger.name in CLEANERS)
        or type(message) is not str
    ):
        return _lean(message, args, extra, site)
    # Most loggers have no handlers, and the root has one. Each kind of logger has lines of its own here: Python reads
    # the attributes of one class faster than those of two by turns.
    handler: Any = None
    if logger and not logger.handlers and logger.propagate:
        above, root = logger.parent, logger.manager.root
        while above is not root and above and not above.handlers and above.propagate:
            above = above.parent
        if above is root and root.parent is None:
            try:
                if len(root.handlers) == 1:
                    handler = root.handlers[0]
            except IndexError:  # taken off meanwhile
                pass
    if type(handler) is not LogbusHandler:
        handler = _only_ours(logger)
    if handler is None or handler.level > level or handler.filters:
        return _lean(message, args, extra, site)
    try:
        emit = handler.producer.emit
    except AttributeError:  # below `logbus run`: it says nothing
        return _lean(message, args, extra, site)
    created = _TIME.time_ns() / 1e9 if IN_NS else _TIME.time()
    text = message
    if args:
        if len(args) == 1:
            kind = type(args[0])
            if kind is not str and kind not in PLAIN and isinstance(args[0], Mapping):
                return _lean(message, args, extra, site)
        try:
            text = message % args
        except Exception:  # whoever handles the record says what is wrong
            return _lean(message, args, extra, site)
    size = ENTRY_BYTES + text.__sizeof__()
    fields: dict[str, Any] | None = None
    nested: dict[str, Any] | None = None
    if extra:
        # No field may have the name of an attribute: the last call from here most likely had the same, which were.
        if type(extra) is not dict or ([*extra] != site[4] and not remember_keys(site, extra)):
            return _lean(message, args, extra, site)
        for value in extra.values():
            kind = type(value)
            if kind is str:
                size += value.__sizeof__()
            elif kind not in PLAIN:
                return _lean(message, args, extra, site)
        fields = extra if _references_to(extra) == _OWN_REFERENCES else extra.copy()
        size += FIELD_BYTES * len(fields)
    elif extra is not None and type(extra) is not dict and type(extra) is not tuple:  # nothing that logging takes
        return False
    if size > USUAL_BYTES:
        return _lean(message, args, extra, site)
    scope = active()
    if scope is not None:
        fields, nested, size = add_context(fields, nested, size, scope)
    thread: Any = THREADS.get(_THREADING.get_ident())
    kind = type(thread)
    if (kind is MAIN_THREAD or kind is THREAD) and _THREADING.current_thread is CURRENT_THREAD:
        thread_name = thread._name
    else:
        thread_name = _THREADING.current_thread().name
    try:
        emit(created, site[3], thread_name, text, fields, nested, None, size)
    except Exception:  # out of memory: the handler has ways of its own to go on
        return _lean(message, args, extra, site)
    return True


def _only_ours(logger: Any) -> LogbusHandler | None:
    """The one handler that a record of this logger meets, if that is one of ours. Goes the way of ``callHandlers``."""
    ours: LogbusHandler | None = None
    at = logger
    while at:
        for handler in at.handlers:
            if type(handler) is LogbusHandler and ours is None:
                ours = handler
            elif (
                type(handler) is not NULL_HANDLER or NULL_HANDLER.handle is not NULL_HANDLE or "handle" in vars(handler)
            ):
                return None
        if not at.propagate:
            break
        at = at.parent
    return ours


def _lean(message: Any, args: Any, extra: Any, site: CallSite) -> Any:
    """The record of the call; False where logging would not make one."""
    if (type(extra) is not dict and extra is not None and extra != ()) or (extra and not NOT_EXTRA.isdisjoint(extra)):
        return False
    if args and len(args) == 1 and type(args[0]) is not str and isinstance(args[0], Mapping) and args[0]:
        args = args[0]
    record = record_of(site[5], message, args)
    if extra:
        record.__dict__.update(extra)
    return record


for _function in (send, _lean):
    look_like(_function, "_log")
