"""The record of a crash: made where nobody caught an exception (:mod:`logbus.producers.uncaught`).

It goes to the producer, past the loggers: the application's own handlers would write on stderr what Python has written
there. Its logger is ``uncaught`` in every program, since the module in which something was raised is mostly a
library's, and a crash has to be found without knowing where. Module, function and line are those of the raise. It has
the fields of the scope in which it happened (:mod:`logbus.producers.origin`), else those that are active.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final

from logbus.producers.context import active, add_context
from logbus.producers.exception import describe, weight
from logbus.producers.origin import origin
from logbus.producers.producer import Producer
from logbus.producers.sanitise import split_extra
from logbus.producers.text import error_text, text_bytes, type_name

#: The logger, and so the component, of every crash.
LOGGER: Final = "uncaught"
#: Characters of what an exception says of itself, in the message; the exception has more of it.
_MESSAGE_CHARS: Final = 1024
#: Bytes that an entry takes beside its texts.
_ENTRY_BYTES: Final = 200


def tell(
    producer: Producer,
    error: BaseException | None,
    kind: type[BaseException],
    traceback: TracebackType | None,
    level: int,
    thread: str | None,
    fields: dict[str, Any],
) -> None:
    """Makes the record, unless a level rule says otherwise. ``thread`` is that of the crash, if not this one."""
    # Not isEnabledFor(): dictConfig disables the loggers that it doesn't know.
    if logging.getLogger(LOGGER).getEffectiveLevel() > level:
        return
    text = "" if error is None else error_text(error, _MESSAGE_CHARS)
    name = type_name(kind)
    message = f"uncaught {name}: {text}" if text else f"uncaught {name}"
    exception = describe((kind, error, traceback))
    extra, nested, size = split_extra(fields.items())
    scope = origin(error, traceback) or active()
    if scope is not None:
        extra, nested, size = add_context(extra, nested, size, scope)
    size += _ENTRY_BYTES + text_bytes(message) + (0 if exception is None else weight(exception))
    site = (LOGGER, level, logging.getLevelName(level), *_place(traceback))
    thread = thread or threading.current_thread().name
    producer.emit(time.time(), site, thread, message, extra, nested, exception, size)


def _place(traceback: TracebackType | None) -> tuple[str, str, int]:
    """Module, function and line where something was raised."""
    if traceback is None:
        return "", "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return PurePath(code.co_filename).stem, code.co_name, traceback.tb_lineno or 0
