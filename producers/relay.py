"""Records that go from the standard library into loguru, or from there to here: one record, taken once.

The usual recipe of applications whose log is loguru is a handler that passes on what libraries log with
:mod:`logging`. Beside it the root logger has ours, after ``configure()``, and each such record would arrive by both
ways. It is the one that came first hand that counts, which knows its caller, its fields and its logger.

Whether loguru has a record from there is seen on the stack, where ``Logger.callHandlers`` is at work with it. (Below
``logbus run`` that function is ours, and says so: :mod:`logbus.producers.crossing`.) Nobody but loguru's own way pays
for the look, some 0.4 µs of its 7; a module's direct way does not lead here.

The other recipe is a handler of the standard library that is a sink of loguru, or passes on what it gets there. Its
records have loguru's fields as one, ``extra``, and loguru on the stack: what our sink has had is not taken again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from logbus.producers.handler import LogbusHandler

if TYPE_CHECKING:
    from logbus.producers.producer import Producer

#: Frames between here and the function that hands a record to handlers, at least: two of ours, three of loguru's, two
#: of the handler (``emit`` and ``handle``); and how many more a handler may have.
_LEAST: Final = 7
_MORE: Final = 5
#: The function that hands a record to handlers, and where it stands.
_NAME: Final = "callHandlers"
_frame: Final = sys._getframe
#: Where loguru calls a handler of the standard library, and how many frames above ours that is, at most.
_SINK: Final = "loguru._simple_sinks"
_ABOVE: Final = 14
_FILE: Final = logging.addLevelName.__code__.co_filename


def is_relayed(record: Mapping[str, Any], producer: Producer) -> bool:
    """Whether a handler of the standard library gives this record to loguru, beside one of this producer's.

    For loguru's filter. Raises no Exception.
    """
    try:
        frame: FrameType | None = _frame(_LEAST)
    except ValueError:  # no stack is as high
        return False
    more = _MORE
    while frame is not None and more:
        code = frame.f_code
        if code.co_name == _NAME and code.co_filename == _FILE:
            try:
                here = frame.f_locals
                theirs = here["record"]
                same = theirs.getMessage() == record["message"]
                return bool(same) and _has_ours(here["self"], theirs, producer)
            except Exception:  # a function of somebody else's, or a record that can't be formatted
                return False
        frame = frame.f_back
        more -= 1
    return False


def comes_back(producer: Producer) -> bool:
    """Whether loguru is handing the record at hand to a handler here, and to a sink of this producer as well."""
    from logbus.producers.loguru import sinks_of

    frame: FrameType | None = _frame(1)
    for _ in range(_ABOVE):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == _SINK:
            return bool(sinks_of(producer))
        frame = frame.f_back
    return False


def _has_ours(logger: Any, record: logging.LogRecord, producer: Producer) -> bool:
    """Whether one of the handlers that get a record of this logger takes it for the producer."""
    while logger is not None:
        for handler in logger.handlers:
            if isinstance(handler, LogbusHandler) and handler.producer is producer:
                return record.levelno >= handler.level and not handler.filters
        logger = logger.parent if logger.propagate else None
    return False
