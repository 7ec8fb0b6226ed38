"""Warnings as records: what ``warnings.warn`` shows on stderr goes to the collector as well.

The hook is ``warnings._showwarnmsg_impl``, where a warning that nobody has taken away is written to stderr, and which
``warnings.catch_warnings(record=True)`` itself replaces: so a warning becomes a record exactly if it would be seen.
``warnings.showwarning``, the public name, loses the object that a ResourceWarning comes from as soon as anybody
replaces it, and with it a line of what is shown; it would also stand in the way of ``logging.captureWarnings``. An
application that uses that has a record of its own for each warning, which never comes here.

As with uncaught exceptions (:mod:`logbus.producers.uncaught`) the record goes to the producer, past the loggers: a
handler on stderr would show what is shown there already. Its logger is ``py.warnings``, as logging's own is called.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import warnings
from pathlib import PurePath
from types import FrameType
from typing import Any, Final

from logbus.producers.context import active, add_context
from logbus.producers.producer import Producer
from logbus.producers.sanitise import split_extra
from logbus.producers.text import text_bytes, text_of, type_name

#: The logger, and so the component, of every warning.
LOGGER: Final = "py.warnings"
#: Frames looked at for the function that warned.
_MAX_WALK: Final = 64
#: Bytes that an entry takes beside its texts.
_ENTRY_BYTES: Final = 200
#: For ``_showwarnmsg_impl``, the same since Python 3.6, and ``_get_context``, which is new in 3.14.
_WARNINGS: Final[Any] = warnings


class Warned:
    """The hook of this process, which has one: :data:`WARNED`."""

    def __init__(self) -> None:
        self._producer: Producer | None = None
        #: What shows a warning, and ours in front of it.
        self._before: Any = None
        self._ours: Any = None

    @property
    def is_installed(self) -> bool:
        """Whether warnings become records."""
        return self._producer is not None

    def install(self, producer: Producer) -> None:
        """Sends this producer what is shown as a warning, from now on. Idempotent."""
        logging.getLogger(LOGGER)  # so that levels can be set for it before it is needed
        self._producer = producer
        before = getattr(_WARNINGS, "_showwarnmsg_impl", None)
        if callable(before) and before is not self._ours:
            self._before, self._ours = before, _Show(before, self)
            _WARNINGS._showwarnmsg_impl = self._ours

    def uninstall(self) -> None:
        """Shows warnings as before; where somebody put his own hook on top of ours, ours stays and does nothing."""
        self._producer = None
        if self._ours is not None and _WARNINGS._showwarnmsg_impl is self._ours:
            _WARNINGS._showwarnmsg_impl = self._before
            self._ours = self._before = None

    def tell(self, shown: Any) -> None:
        """Makes the record of one ``warnings.WarningMessage``. Raises no Exception."""
        producer = self._producer
        with contextlib.suppress(Exception):
            if producer is None or shown.file is not None or _is_recorded():
                return
            # Not isEnabledFor(): dictConfig disables the loggers that it doesn't know.
            if logging.getLogger(LOGGER).getEffectiveLevel() > logging.WARNING:
                return
            category = type_name(shown.category)
            message = f"{category}: {text_of(str(shown.message))}"
            place = [("category", category), ("filename", shown.filename), ("lineno", shown.lineno)]
            extra, nested, size = split_extra(place)
            scope = active()
            if scope is not None:
                extra, nested, size = add_context(extra, nested, size, scope)
            size += _ENTRY_BYTES + text_bytes(message)
            function = _function(shown.filename, shown.lineno)
            site = (LOGGER, logging.WARNING, "WARNING", PurePath(shown.filename).stem, function, shown.lineno)
            thread = threading.current_thread().name
            producer.emit(time.time(), site, thread, message, extra, nested, None, size)


class _Show:
    """What stands in the place of ``warnings._showwarnmsg_impl``: one record, then what was there before."""

    __slots__ = ("_before", "_warned")

    def __init__(self, before: Any, warned: Warned) -> None:
        self._before = before
        self._warned = warned

    def __call__(self, shown: Any) -> Any:
        if self._warned._ours is self:  # an earlier one, under somebody else's hook, does nothing any more
            self._warned.tell(shown)
        return self._before(shown)


def _is_recorded() -> bool:
    """Whether a ``catch_warnings(record=True)`` takes it: from Python 3.14 on that may be a thing of this context."""
    context = getattr(_WARNINGS, "_get_context", None)
    return context is not None and context().log is not None


def _function(filename: str, lineno: int) -> str:
    """The function that stands at the place of the warning, if it is one of those that are running."""
    frame: FrameType | None = sys._getframe(3)
    walked = 0
    while frame is not None and walked < _MAX_WALK:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            return frame.f_code.co_name
        frame = frame.f_back
        walked += 1
    return ""


#: The hook belongs to the process.
WARNED: Final = Warned()
install: Final = WARNED.install
uninstall: Final = WARNED.uninstall
