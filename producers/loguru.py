"""Loguru's door: its record dicts become records of the producer, in the thread and context of the call.

A handler of loguru first asks its filter, then formats text, exceptions included, then takes a lock, then calls its
sink. None of the text is needed here, and the lock turns a log call from a ``__repr__`` or a signal handler into a
RuntimeError. So :func:`loguru_handler` takes the record in the filter and lets nothing pass; its sink, the same
object, sees records only if somebody replaces that filter or sets ``enqueue``. A plain ``logger.add(loguru_sink())``
goes the longer way and delivers the same.

Level rules are asked here too, for each record: its logger is the module that called, and conditions look at its
extra fields and at the context. What arrives has passed the handler's own level, so for a handler that the application
has added that level is a floor: rules can silence what is above it, and can't bring what is below. The handler of
configure() follows the rules (:mod:`logbus.producers.loguru_front`).

Loguru formats ``message.format(*args, **kwargs)`` before any handler is asked: a call that fails there (an f-string
with braces and keyword arguments) raises KeyError in the application, and no sink can help it; the direct way
(:mod:`logbus.producers.direct`) can.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from logbus.producers.context import active, active_about, add_context
from logbus.producers.crossing import CROSSING, INSIDE, is_taken
from logbus.producers.exception import describe, weight
from logbus.producers.fields import ENTRY_BYTES, EXC_INFO, fields_now, take_exception, word
from logbus.producers.producer import Emit, Producer, producer_for
from logbus.producers.relay import is_relayed
from logbus.producers.sanitise import MAX_MESSAGE_CHARS, safe_message, split_extra
from logbus.producers.settings import ProducerSettings, resolve
from logbus.producers.text import error_text, text_bytes, text_of, type_name

if TYPE_CHECKING:
    from loguru import Message, Record

#: The sinks that loguru has not removed.
_SINKS: Final[weakref.WeakSet[LoguruSink]] = weakref.WeakSet()
#: Names of loggers that a sink remembers, at most.
_NAMES_KEPT: Final = 4096


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
    flight_recorder: bool | str | Mapping[str, Any] | None
    opentelemetry: bool | None


def loguru_sink(*, producer: Producer | None = None, **options: Unpack[ProducerOptions]) -> LoguruSink:
    """A callable for ``logger.add(…)``. Options are those of :func:`logbus.configure`; it opens nothing yet.

    Add it with ``format=""``, or loguru formats a text that nobody reads; :func:`loguru_handler` saves more. The level
    that it is added with is a floor for level rules. Raises ConfigurationError when an option is wrong.
    """
    from logbus.producers.loguru_front import follow_rules

    settings = resolve(options)
    sink = LoguruSink(producer or CROSSING.instead(settings) or producer_for(settings))
    follow_rules(sink.producer)
    return sink


def loguru_handler(
    *, level: int | str = 0, producer: Producer | None = None, **options: Unpack[ProducerOptions]
) -> dict[str, Any]:
    """A dict for ``logger.configure(handlers=[…])`` or ``logger.add(**…)``: the cheapest way out of loguru.

    ``level`` is a floor: level rules can silence more, and can't bring what is below it. ``catch`` stays on, so that
    nothing which goes wrong inside loguru reaches the application; ``diagnose`` is off, since it prints the values of
    locals. Raises ConfigurationError when an option is wrong.
    """
    return loguru_sink(producer=producer, **options).handler(level)


def sinks_of(producer: Producer | None = None) -> list[LoguruSink]:
    """The sinks of a producer, or all, that loguru has, whoever added them (one just made counts as added)."""
    return [sink for sink in list(_SINKS) if producer is None or sink.producer is producer]


class LoguruSink:
    """A sink of loguru for one producer. It raises no Exception, whatever the record holds.

    ``level`` is that of records on whose logger no rule says anything, where the handler itself lets more pass.
    """

    __slots__ = ("__weakref__", "level", "names", "producer")

    def __init__(self, producer: Producer, level: int = 0) -> None:
        self.producer = producer
        self.level = level
        #: The loggers that have been seen.
        self.names: set[str] = set()
        _SINKS.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Loguru's way to a child that is spawned: the logger is an argument, with its handlers and their sinks.
        return _sink_again, (self.producer.settings, self.level)

    def __call__(self, message: Message) -> None:
        """Hands over the record of a message."""
        self.take(message.record)

    #: Loguru prefers this name, and tells only a sink that has it that it was removed.
    write = __call__

    def stop(self) -> None:
        """Loguru has removed this sink. It holds its lock, so that nothing can be put back from here."""
        _SINKS.discard(self)
        self.producer.gate.look_soon()

    @property
    def attached(self) -> bool:
        """Whether loguru has not removed this sink."""
        return self in _SINKS

    def added(self) -> None:
        """Loguru has this sink again."""
        _SINKS.add(self)

    def handler(self, level: int | str) -> dict[str, Any]:
        """The arguments of ``logger.add()`` for this sink."""
        return {
            "sink": self,
            "level": level,
            "filter": self.take,
            "format": _no_format,
            "colorize": False,
            "backtrace": False,
            "diagnose": False,
            "catch": True,
        }

    def take(self, record: Record) -> bool:
        """Hands over a record, if the rules let it pass. Always False: as a filter, it spares loguru all other work."""
        if INSIDE.record is not None and is_taken(record["message"]):
            return False  # a handler of the standard library passes on what was taken there
        if is_relayed(record, self.producer):
            return False
        try:
            put = self._way(record)
        except Exception:  # not a record that rules can say anything of
            put = self.producer.emit
        if put is None:
            return False
        try:
            entry = _entry(record)
        except Exception as error:  # a patcher may have put anything anywhere
            entry = _salvaged(record, error)
        put(*entry)
        return False

    def _way(self, record: Record) -> Emit | None:
        """Where a record goes: to the producer, into its flight recorder, or nowhere (None)."""
        producer = self.producer
        name, number = record["name"] or "root", record["level"].no
        if name not in self.names and len(self.names) < _NAMES_KEPT and type(name) is str:
            self.names.add(name)
        decision = producer.gate.table.decide(name)
        context = fields_now(record["extra"]) if decision.conditions else None
        if decision.passes(number, context, otherwise=self.level):
            return producer.emit
        recorder = producer.gate.recorder
        return recorder.keep if recorder is not None and number >= recorder.level else None


def _sink_again(settings: ProducerSettings, level: int) -> LoguruSink:
    return LoguruSink(producer_for(settings), level)


def _entry(record: Record) -> tuple[Any, ...]:
    message: Any = record["message"]
    if type(message) is not str or len(message) > MAX_MESSAGE_CHARS:
        message = safe_message(message, None)
    fields, raised = record["extra"], record["exception"]
    if EXC_INFO in fields:
        found, fields = take_exception(fields)
        raised = found or raised
    extra, nested, size = split_extra(fields.items())
    size += ENTRY_BYTES + text_bytes(message)
    scope = active() if raised is None else active_about(raised)
    if scope is not None:
        extra, nested, size = add_context(extra, nested, size, scope)
    exception = None
    if raised is not None:
        exception = describe(raised)
        if exception is not None:
            size += weight(exception)
    level = record["level"]
    site = (
        word(record["name"] or "root"),
        int(level.no),
        word(level.name),
        word(record["module"]),
        word(record["function"]),
        int(record["line"]),
    )
    return record["time"].timestamp(), site, word(record["thread"].name), message, extra, nested, exception, size


def _salvaged(record: Any, error: Exception) -> tuple[Any, ...]:
    """What can be told of a record that can't be read: its level and its message, if there is one."""
    try:
        number, name = int(record["level"].no), word(record["level"].name)
        message = safe_message(record["message"], None)
    except Exception:
        number, name, message = 40, "ERROR", text_of(record)
    why = f"record of loguru could not be read: {type_name(type(error))}: {error_text(error)}"
    extra, nested, size = split_extra([("logbus_unreadable", why)])
    size += ENTRY_BYTES + text_bytes(message)
    return time.time(), ("root", number, name, "", "", 0), "", message, extra, nested, None, size


def _no_format(_: Record) -> str:
    return ""
