"""The standard library's door: a :class:`logging.Handler` that hands records to the producer of its process."""

from __future__ import annotations

import logging
import threading
import time
from itertools import islice
from typing import Any, Final

from logbus.producers.context import active, add_context
from logbus.producers.exception import describe, from_text, weight
from logbus.producers.producer import Producer, producer_for
from logbus.producers.sanitise import FIELD_BYTES, MAX_MESSAGE_CHARS, safe_message, split_extra
from logbus.producers.settings import resolve
from logbus.producers.text import text_bytes, text_of

_BLANK: Final = logging.LogRecord("", 0, "", 0, "", (), None)
#: Attributes that every LogRecord of this Python has; what stands after them in its ``__dict__`` is ``extra``.
_STANDARD: Final = frozenset(_BLANK.__dict__)
_N_STANDARD: Final = len(_STANDARD)
#: Attributes that formatters of other handlers leave on a record.
_LEFT_BY_FORMATTERS: Final = frozenset({"message", "asctime"})
#: Bytes that an entry takes beside its texts: tuple, floats, references.
_ENTRY_BYTES: Final = 200


class LogbusHandler(logging.Handler):
    """A handler that never blocks, never raises and opens nothing before its first record.

    Every argument may come from JSON, so ``logging.config.dictConfig`` can build it; what is not given comes from
    the environment, a file or the default (see :func:`logbus.configure`).

    Args:
        endpoint: URL of the record socket, ``ipc://PATH`` or ``tcp://127.0.0.1:PORT``.
        level: as for every handler.
        control, component, worker, app_name, capacity, capacity_bytes, on_full, shutdown_timeout:
            as for :func:`logbus.configure`.

    Raises:
        ConfigurationError: when a setting is wrong.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        level: int | str = logging.NOTSET,
        control: str | None = None,
        component: str | None = None,
        worker: str | None = None,
        app_name: str | None = None,
        capacity: int | None = None,
        capacity_bytes: int | None = None,
        on_full: str | None = None,
        shutdown_timeout: float | None = None,
    ) -> None:
        super().__init__(level)
        #: Whether configure() made this handler, and may replace it.
        self.configured = False
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "control": control,
            "component": component,
            "worker": worker,
            "app_name": app_name,
            "capacity": capacity,
            "capacity_bytes": capacity_bytes,
            "on_full": on_full,
            "shutdown_timeout": shutdown_timeout,
        }
        self.producer = producer_for(resolve(given))

    @classmethod
    def of(cls, producer: Producer) -> LogbusHandler:
        """A handler for a producer that is there already."""
        handler = cls.__new__(cls)
        logging.Handler.__init__(handler)
        handler.producer = producer
        handler.configured = True
        return handler

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        """No lock: nothing here needs one, and a log call from a signal handler could wait for it."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> logging.LogRecord | bool:  # type: ignore[override]
        """Emits what the filters let pass, without the lock that the base class takes."""
        if self.filters:
            passed: Any = self.filter(record)
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):  # since Python 3.12 a filter may replace the record
                record = passed
        try:
            self.emit(record)
        except Exception as error:  # a record that isn't one: say so in its place, rather than lose it
            self._emit_broken(record, error)
        return record

    def _emit_broken(self, record: logging.LogRecord, error: Exception) -> None:
        name, number = getattr(record, "name", None), getattr(record, "levelno", None)
        logger = name if type(name) is str else "root"
        level = number if type(number) is int else logging.ERROR
        message = f"<log record could not be read: {type(error).__name__}>"
        site = (logger, level, logging.getLevelName(level), "", "", 0)
        self.producer.emit(time.time(), site, threading.current_thread().name, message, None, None, None, _ENTRY_BYTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Hands one record to the producer. Raises nothing, whatever the record holds."""
        message = record.msg
        if record.args or type(message) is not str or len(message) > 8192:
            message = safe_message(message, record.args)
        size = _ENTRY_BYTES + (len(message) if message.isascii() else 4 * len(message))
        attributes = record.__dict__
        extra = nested = exception = None
        if len(attributes) > _N_STANDARD or type(record) is not logging.LogRecord:
            extra, nested, more = _extra(attributes)
            size += more
        scope = active()
        if scope is not None:
            extra, nested, size = add_context(extra, nested, size, scope)
        if record.exc_info or record.exc_text or record.stack_info:
            exception, extra, more = _details(record, extra)
            size += more
        level_no, created = record.levelno, record.created
        if type(level_no) is not int or type(created) is not float:
            level_no, created = _as_int(level_no), _as_time(created)
        site = (
            record.name,
            level_no,
            record.levelname,
            record.module,
            record.funcName or "",
            record.lineno,
        )
        self.producer.emit(
            created,
            site,
            record.threadName or threading.current_thread().name,
            message,
            extra,
            nested,
            exception,
            size,
        )

    def flush(self) -> None:
        """Waits, for at most the shutdown timeout, until what was logged is in a collector's socket."""
        producer = getattr(self, "producer", None)  # logging flushes handlers whose constructor failed, too
        if producer is not None:
            producer.flush(producer.settings.shutdown_timeout)


def _extra(attributes: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None, int]:
    if "message" in attributes or "asctime" in attributes or not _STANDARD.issuperset(islice(attributes, 1)):
        own = _STANDARD | _LEFT_BY_FORMATTERS
        return split_extra([item for item in attributes.items() if item[0] not in own])
    return split_extra(islice(attributes.items(), _N_STANDARD, None))


def _details(record: logging.LogRecord, extra: dict[str, Any] | None) -> tuple[Any, dict[str, Any] | None, int]:
    """Exception and stack of a record: rare beside the records that have none."""
    exception = describe(record.exc_info) if record.exc_info else None
    if exception is None and record.exc_text:
        exception = from_text(text_of(record.exc_text, MAX_MESSAGE_CHARS))
    size = 0 if exception is None else weight(exception)
    if record.stack_info:
        stack = text_of(record.stack_info)
        extra = {**(extra or {}), "stack_info": stack}
        size += FIELD_BYTES + text_bytes(stack)
    return exception, extra, size


def _as_int(level: Any) -> int:
    try:
        return int(level)
    except (TypeError, ValueError, OverflowError):
        return logging.ERROR


def _as_time(created: Any) -> float:
    return float(created) if isinstance(created, (int, float)) else time.time()
