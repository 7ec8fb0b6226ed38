"""What :mod:`logging` does by itself, as it was before anybody wrapped it: known so that it can be left out.

Who goes past a step of logging must see when somebody has put something of theirs in its place, at that very moment.
So nothing is remembered: each call compares what stands there now with what is kept here, by identity. A step that was
somebody's wrapper before this module was loaded is kept as :data:`NOBODYS`, which nothing is: it is never left out.
native/untouched.c compares the same for compiled log methods.
"""

from __future__ import annotations

import logging
from types import MethodType
from typing import Any, Final

_LOGGING: Final[Any] = logging

#: Stands for a step that was not logging's own from the start.
NOBODYS: Final = object()
#: The methods of a logger that make records and lead them to handlers, and the one that decides whether there is one.
STEPS: Final = ("isEnabledFor", "_log", "findCaller", "makeRecord", "handle", "filter", "callHandlers")
#: The methods that applications call, as far as a faster logger has its own.
CALLS: Final = ("debug", "info", "warning", "error", "critical")
#: The file whose frames are nobody's call.
OWN_FILE: Final[str] = logging.addLevelName.__code__.co_filename


def own(owner: Any, name: str) -> Any:
    """A function of logging's own: an attribute of it or of one of its classes; NOBODYS if it is somebody else's."""
    found = getattr(owner, name, None)
    return found if getattr(found, "__globals__", None) is vars(logging) else NOBODYS


def look_like(function: Any, name: str) -> Any:
    """Makes a function look like this method of logging's loggers, and returns it.

    Who looks for a caller on the stack passes it by its file, errors and tracebacks read as they do without us: of its
    instructions each says that it stands where that method makes its last call.
    """
    theirs = vars(LOGGER)[name] if own(LOGGER, name) is not NOBODYS else function
    lines = [line for *_, line in theirs.__code__.co_lines() if line is not None]
    code = function.__code__
    # A location table (CPython's Objects/locations.md, 3.11 and later): runs of at most eight instructions, each with
    # no columns (13) and no lines more than the one before.
    runs = range(0, len(code.co_code) // 2, 8)
    table = b"".join(bytes([0x80 | 13 << 3 | min(7, len(code.co_code) // 2 - at - 1), 0]) for at in runs)
    function.__code__ = code.replace(
        co_filename=OWN_FILE,
        co_name=name,
        co_qualname=f"Logger.{name}",
        co_firstlineno=max(lines),
        co_linetable=table,
    )
    function.__name__, function.__qualname__, function.__doc__ = name, f"Logger.{name}", theirs.__doc__
    function.__module__ = theirs.__module__
    return function


def is_usual(logger: logging.Logger) -> bool:
    """Whether no step or call is the logger's own. Its dict is not looked at: that would cost it its layout."""
    return all(
        getattr(logger, name, None) == MethodType(getattr(type(logger), name), logger) for name in (*STEPS, *CALLS)
    )


#: The class of loggers, and the functions by which it does its work.
LOGGER: Final[Any] = logging.Logger
IS_ENABLED_FOR: Final = own(LOGGER, "isEnabledFor")
LOG: Final = own(LOGGER, "_log")
FIND_CALLER: Final = own(LOGGER, "findCaller")
MAKE_RECORD: Final = own(LOGGER, "makeRecord")
HANDLE: Final = own(LOGGER, "handle")
FILTER: Final = own(LOGGER, "filter")
CALL_HANDLERS: Final = own(LOGGER, "callHandlers")
#: The class of records, and how it fills one.
RECORD: Final[Any] = logging.LogRecord
MAKE: Final = own(RECORD, "__init__")
#: What names a level, and what tells frames of logging from the application's.
LEVEL_NAME: Final = own(_LOGGING, "getLevelName")
IS_INTERNAL: Final = own(_LOGGING, "_is_internal_frame")
SOURCE: Final = _LOGGING._srcfile
#: A handler that is there for nothing, and how it does it.
NULL_HANDLER: Final[Any] = logging.NullHandler
NULL_HANDLE: Final = own(NULL_HANDLER, "handle")
