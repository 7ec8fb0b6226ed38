"""Loguru's door: its record dicts become records of the producer, in the thread and context of the call.

A handler of loguru first asks its filter, then formats text, exceptions included, then takes a lock, then calls its
sink. None of the text is needed here, and the lock turns a log call from a ``__repr__`` or a signal handler into a
RuntimeError. So :func:`loguru_handler` takes the record in the filter and lets nothing pass; its sink, the same
object, sees records only if somebody replaces that filter or sets ``enqueue``. A plain ``logger.add(loguru_sink())``
goes the longer way and delivers the same.

Loguru formats ``message.format(*args, **kwargs)`` before any handler is asked: a call that fails there (an f-string
with braces and keyword arguments) raises KeyError in the application, and no sink can help it.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from logbus.errors import ConfigurationError
from logbus.producers.context import active, add_context
from logbus.producers.exception import describe, weight
from logbus.producers.producer import Producer, producer_for
from logbus.producers.sanitise import MAX_MESSAGE_CHARS, safe_message, split_extra
from logbus.producers.settings import resolve
from logbus.producers.text import error_text, text_bytes, text_of, type_name

if TYPE_CHECKING:
    from loguru import Message, Record

#: The sinks that loguru has not removed.
_SINKS: Final[weakref.WeakSet[LoguruSink]] = weakref.WeakSet()
#: Bytes that an entry takes beside its texts: tuple, floats, references.
_ENTRY_BYTES: Final = 200
#: Characters of a name of a logger, module, function, level or thread.
_MAX_WORD_CHARS: Final = 1024


class ProducerOptions(TypedDict, total=False):
    """The settings of a producer, as for :func:`logbus.configure`; None is as good as absent."""

    endpoint: str | None
    control: str | None
    component: str | None
    worker: str | None
    app_name: str | None
    capacity: int | None
    capacity_bytes: int | None
    on_full: str | None
    shutdown_timeout: float | None


def loguru_sink(*, producer: Producer | None = None, **options: Unpack[ProducerOptions]) -> LoguruSink:
    """A callable for ``logger.add(…)``. Options are those of :func:`logbus.configure`; it opens nothing yet.

    Add it with ``format=""``, or loguru formats a text that nobody reads; :func:`loguru_handler` saves more.
    Raises ConfigurationError when an option is wrong.
    """
    return LoguruSink(producer or producer_for(resolve(options)))


def loguru_handler(
    *, level: int | str = 0, producer: Producer | None = None, **options: Unpack[ProducerOptions]
) -> dict[str, Any]:
    """A dict for ``logger.configure(handlers=[…])`` or ``logger.add(**…)``: the cheapest way out of loguru.

    ``catch`` stays on, so that nothing which goes wrong inside loguru reaches the application; ``diagnose`` is off,
    since it prints the values of locals. Raises ConfigurationError when an option is wrong.
    """
    sink = loguru_sink(producer=producer, **options)
    return {
        "sink": sink,
        "level": level,
        "filter": sink.take,
        "format": _no_format,
        "colorize": False,
        "backtrace": False,
        "diagnose": False,
        "catch": True,
    }


def attach(producer: Producer, *, level: int | str) -> None:
    """Adds a handler for the producer to loguru, and takes away loguru's own (id 0, stderr) if it is still there.

    Handlers of the application stay. Raises ConfigurationError when loguru is not installed.
    """
    try:
        from loguru import logger
    except ImportError as error:
        raise ConfigurationError(["loguru=True: expected loguru, which is not installed"]) from error
    # In this order: libraries that find loguru without any handler add one of their own.
    logger.add(**loguru_handler(level=level, producer=producer))
    with contextlib.suppress(ValueError):
        logger.remove(0)


def is_attached(producer: Producer) -> bool:
    """Whether loguru has a handler for the producer, whoever added it (one just made counts as added)."""
    return any(sink.producer is producer for sink in list(_SINKS))


class LoguruSink:
    """A sink of loguru for one producer. It raises no Exception, whatever the record holds."""

    __slots__ = ("__weakref__", "producer")

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        _SINKS.add(self)

    def __call__(self, message: Message) -> None:
        """Hands over the record of a message."""
        self.take(message.record)

    #: Loguru prefers this name, and tells only a sink that has it that it was removed.
    write = __call__

    def stop(self) -> None:
        """Loguru has removed this sink."""
        _SINKS.discard(self)

    def take(self, record: Record) -> bool:
        """Hands over a record. Always False: as a filter, it spares loguru the rest of its work."""
        try:
            entry = _entry(record)
        except Exception as error:  # a patcher may have put anything anywhere
            entry = _salvaged(record, error)
        self.producer.emit(*entry)
        return False


def _entry(record: Record) -> tuple[Any, ...]:
    message: Any = record["message"]
    if type(message) is not str or len(message) > MAX_MESSAGE_CHARS:
        message = safe_message(message, None)
    extra, nested, size = split_extra(record["extra"].items())
    size += _ENTRY_BYTES + text_bytes(message)
    scope = active()
    if scope is not None:
        extra, nested, size = add_context(extra, nested, size, scope)
    exception = None
    if record["exception"] is not None:
        exception = describe(record["exception"])
        if exception is not None:
            size += weight(exception)
    level = record["level"]
    site = (
        _word(record["name"] or "root"),
        int(level.no),
        _word(level.name),
        _word(record["module"]),
        _word(record["function"]),
        int(record["line"]),
    )
    return record["time"].timestamp(), site, _word(record["thread"].name), message, extra, nested, exception, size


def _salvaged(record: Any, error: Exception) -> tuple[Any, ...]:
    """What can be told of a record that can't be read: its level and its message, if there is one."""
    try:
        number, name = int(record["level"].no), _word(record["level"].name)
        message = safe_message(record["message"], None)
    except Exception:
        number, name, message = 40, "ERROR", text_of(record)
    why = f"record of loguru could not be read: {type_name(type(error))}: {error_text(error)}"
    extra, nested, size = split_extra([("logbus_unreadable", why)])
    size += _ENTRY_BYTES + text_bytes(message)
    return time.time(), ("root", number, name, "", "", 0), "", message, extra, nested, None, size


def _word(value: Any) -> str:
    return value if type(value) is str and len(value) <= _MAX_WORD_CHARS else text_of(value, _MAX_WORD_CHARS)


def _no_format(_: Record) -> str:
    return ""
