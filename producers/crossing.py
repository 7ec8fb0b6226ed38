"""The one place that every record of the standard library crosses on its way to handlers: ``Logger.callHandlers``.

``logbus run`` makes workers of programs that know nothing of it, and leaves their logging as it is: no handler on a
logger, which ``dictConfig`` or ``root.handlers = []`` would take off again, and which a logger with ``propagate =
False`` never reaches. What a logger lets through (its level, ``disabled``, its filters) is taken here, once, and then
goes to the application's handlers as ever. A record that none of them gets is taken too: a library that logs to a
NullHandler, or ``propagate = False`` with nothing behind it.

Once means: a :class:`logbus.producers.handler.LogbusHandler` that the application has attached for the same collector
says nothing; a record that came out of another worker (through a queue or a socket, for a thread that writes one file
for many processes) was taken there; and one that goes on into loguru, or comes from there or from structlog's
processor, is one record.

Whoever looks at the stack from a handler, as the recipes for loguru do to find the caller, walks on as long as frames
are of logging's own file: our function says that it is.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from logbus.producers.below import is_below
from logbus.producers.patch import Patch
from logbus.producers.take import Taker

if TYPE_CHECKING:
    from logbus.producers.producer import Producer
    from logbus.producers.settings import ProducerSettings

#: Processes remembered by whether they are workers, at most; then it starts anew.
_PROCESSES_KEPT: Final = 1024
#: Frames of a stack that are looked at for another library's, at most.
_FRAMES: Final = 12


class _Inside:
    """Of the calling thread, or greenlet: the record that was taken, while the application's handlers have it.

    By the number that :mod:`threading` gives it now: a ``threading.local`` from before gevent's patch is one for all
    greenlets, and where two of them take turns in their handlers, what one leaves behind would stay with the other.
    """

    def __init__(self) -> None:
        self._records: dict[int, logging.LogRecord] = {}
        self._processed: set[int] = set()

    @property
    def record(self) -> logging.LogRecord | None:
        """That record."""
        return self._records.get(threading.get_ident())

    @record.setter
    def record(self, record: logging.LogRecord | None) -> None:
        if record is None:
            self._records.pop(threading.get_ident(), None)
        else:
            self._records[threading.get_ident()] = record

    @property
    def processed(self) -> bool:
        """Whether a StructlogProcessor has had an event, which may become a record of the standard library next."""
        return threading.get_ident() in self._processed

    @processed.setter
    def processed(self, processed: bool) -> None:
        if processed:
            self._processed.add(threading.get_ident())
        else:
            self._processed.discard(threading.get_ident())

    def after_fork(self) -> None:
        """In a forked child: no other thread is here, and another one may get its number."""
        record, processed = self.record, self.processed
        self._records, self._processed = {}, set()
        self.record, self.processed = record, processed


INSIDE: Final = _Inside()


def is_taken(message: str) -> bool:
    """Whether this is the message of a record that is being handed to handlers here: a handler gives it to loguru."""
    record = INSIDE.record
    if record is None:
        return False
    try:
        return message == record.getMessage()
    except Exception:  # a record that can't be formatted is nobody's message
        return False


class Crossing:
    """The tap of this process, which has one: :data:`CROSSING`."""

    def __init__(self) -> None:
        #: Who gets the records; None while nothing is taken here.
        self.producer: Producer | None = None
        self._taker: Taker | None = None
        self._patches: tuple[Patch, ...] = ()
        #: Whether other libraries are there which may pass on records, or make them.
        self._careful = False
        self._pid = os.getpid()
        self._processes: dict[int, bool] = {}

    def begin(self, producer: Producer) -> None:
        """Takes everything for a producer, from now on; one that had it before gets nothing more."""
        if self._taker is not None:
            self._taker.producer = self.producer = producer  # one step for whoever logs
            return
        self.producer, self._taker = producer, Taker.into(producer.emit)
        self._taker.producer = producer
        self._pid = os.getpid()
        self.add(logging)

    def add(self, module: ModuleType) -> None:
        """Takes what crosses in this module too: a ``logging`` that was loaded anew, whose classes are others."""
        if self._taker is not None:
            self._patches += (
                Patch(module.Logger, "callHandlers", self._call_handlers),
                Patch(module, "shutdown", self._shutdown),
            )

    def end(self) -> None:
        """Gives logging back as it was."""
        patches, self._patches = self._patches, ()
        for patch in patches:
            patch.remove()
        self.producer = self._taker = None
        self._careful = False

    def mind_others(self) -> None:
        """From now on loguru or structlog's processor are there: records go on into them, and come from them."""
        self._careful = True

    def instead(self, settings: ProducerSettings) -> Producer | None:
        """Who gets what would go by these settings, if that is taken here already: those for the same endpoint."""
        producer = self.producer
        return producer if producer is not None and producer.settings.endpoint == settings.endpoint else None

    def take(self, record: logging.LogRecord) -> None:
        """Hands over a record that a logger has let through. Raises nothing."""
        taker = self._taker
        if taker is not None and self._is_ours(record):
            taker.handle(record)

    def after_fork(self) -> None:
        """In a forked child."""
        self._pid = os.getpid()
        INSIDE.after_fork()

    def _call_handlers(self, original: Callable[..., None]) -> Callable[..., None]:
        crossing, inside = self, INSIDE

        @functools.wraps(original)
        def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
            taker = crossing._taker
            if taker is None:
                return original(logger, record)
            if crossing._careful:
                processed, inside.processed = inside.processed, False
                elsewhere = _comes_from_loguru(record) or (processed and _is_above("structlog."))
                if not elsewhere and crossing._is_ours(record):
                    taker.handle(record)
                before, inside.record = inside.record, record
                try:
                    return original(logger, record)
                finally:
                    inside.record = before
            if record.process == crossing._pid or crossing._is_ours(record):
                taker.handle(record)
            return original(logger, record)

        as_of_logging(callHandlers)
        return callHandlers

    def _shutdown(self, original: Callable[..., None]) -> Callable[..., None]:
        """``logging.shutdown(); os._exit(0)`` is how a program makes sure: what it logged must have left it."""

        @functools.wraps(original)
        def shutdown(*args: Any, **kwargs: Any) -> None:
            original(*args, **kwargs)
            if self.producer is not None and not args and not kwargs:
                self.producer.flush_soon()

        return shutdown

    def _is_ours(self, record: logging.LogRecord) -> bool:
        """Whether this process has made the record, or nobody else takes it."""
        pid = getattr(record, "process", None)
        if type(pid) is not int or pid == self._pid:
            return True
        known = self._processes.get(pid)
        if known is None:
            if len(self._processes) >= _PROCESSES_KEPT:
                self._processes.clear()
            known = self._processes[pid] = is_below(pid)
        return not known


def as_of_logging(function: Any) -> None:
    """Makes a function look as if it stood in logging's own file: who looks for a caller on the stack passes it."""
    function.__code__ = function.__code__.replace(co_filename=logging.addLevelName.__code__.co_filename)


def _comes_from_loguru(record: logging.LogRecord) -> bool:
    """Whether loguru has given this record to a handler, which logs it again: it is taken there."""
    # Loguru's fields; an application may have a field of that name.
    return type(record.__dict__.get("extra")) is dict and _is_above("loguru._simple_sinks")


def _is_above(prefix: str) -> bool:
    """Whether a module of this name has made the call that is being handled here."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if str(frame.f_globals.get("__name__")).startswith(prefix):
            return True
        frame = frame.f_back
    return False


#: The standard library of this process.
CROSSING: Final = Crossing()
os.register_at_fork(after_in_child=CROSSING.after_fork)
