"""Records of the standard library made plain, in the fewest steps: what every log call through it pays for.

:class:`Taker` is the part of :class:`logbus.producers.handler.LogbusHandler` that knows records. The flight recorder
has one of its own, which no logger knows. What :meth:`Taker.handle` does with a usual record is there in C, too
(native/take.c), which asks the same memory of places: whatever it leaves to the Python, and whatever the Python leaves
to it, was met before by either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from logbus.producers.compiled import NATIVE
from logbus.producers.context import active, active_about, add_context
from logbus.producers.exception import describe, from_text, weight
from logbus.producers.sanitise import FIELD_BYTES, MAX_MESSAGE_CHARS, safe_message, split_extra
from logbus.producers.text import text_bytes, text_of

if TYPE_CHECKING:
    from logbus.producers.producer import Emit, Producer, Site

    #: A call site: one tuple for all its records, which the garbage collector (and the sender's core) then sees once
    #: instead of once a record; the attributes of its first record with fields, in their order, and those that are
    #: fields. Nothing of their values.
    Place = tuple[Site, list[str], list[str]]

_BLANK: Final = logging.LogRecord("", 0, "", 0, "", (), None)
#: Attributes that every LogRecord of this Python has; what stands after them in its ``__dict__`` is ``extra``.
_STANDARD: Final = frozenset(_BLANK.__dict__)
_N_STANDARD: Final = len(_STANDARD)
_LAST_STANDARD: Final = list(_BLANK.__dict__)[-1]
#: Those, and what formatters of other handlers leave on a record.
NOT_EXTRA: Final = _STANDARD | {"message", "asctime"}
#: Types of values, beside str, that travel as they are; an int beyond 64 bits is repaired by the sender.
_PLAIN: Final = frozenset({int, float, bool, type(None)})
#: Bytes (estimated) of a record from which on each of its parts is held against its limit.
_USUAL_BYTES: Final = 8192
#: The call site of a record's attributes, in one call; the order is that of :data:`logbus.producers.producer.Site`.
_site: Final = itemgetter("name", "levelno", "levelname", "module", "funcName", "lineno")
#: Call sites kept, per handler.
_SITES_KEPT: Final = 4096
#: Bytes that an entry takes beside its texts: tuple, floats, references.
_ENTRY_BYTES: Final = 200
#: A site with parts of other types may be unhashable, or equal to another (1 and True): it is not kept.
_SITE_TYPES: Final = [str, int, str, str, str, int]
#: By a logger's name, from before its first record on: what makes its records fit to be taken. Gets each and returns
#: it, or a copy without what must not be in a log, or with fields of ours; other handlers have theirs as it was.
CLEANERS: Final[dict[str, Callable[[logging.LogRecord], logging.LogRecord]]] = {}


class Taker(logging.Handler):
    """Takes records, makes them plain in the calling thread and hands them to a producer. Never blocks or raises."""

    producer: Producer
    #: Call sites that were found to be usual.
    _places: dict[Site, Place]

    @classmethod
    def into(cls, emit: Emit) -> Taker:
        """A taker for records that go elsewhere. Logging, which flushes every handler at exit, does not know it."""
        taker = cls.__new__(cls)
        taker.filters, taker._places = [], {}
        taker.producer = cast("Producer", _Elsewhere(emit))
        return taker

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
        except Exception:
            self._rescue(record)
        return record

    def _rescue(self, record: logging.LogRecord) -> None:
        """Has a record that the usual way could not take go whatever way is left."""
        try:
            self._emit_unusual(record)
        except Exception as error:  # a record that isn't one: say so in its place, rather than lose it
            try:
                self._emit_broken(record, error)
            except Exception:  # nor is the producer what it should be: logging's own word for that
                self.handleError(record)

    def _emit_broken(self, record: logging.LogRecord, error: Exception) -> None:
        name, number = getattr(record, "name", None), getattr(record, "levelno", None)
        logger = name if type(name) is str else "root"
        level = number if type(number) is int else logging.ERROR
        message = f"<log record could not be read: {type(error).__name__}>"
        site = (logger, level, logging.getLevelName(level), "", "", 0)
        self.producer.emit(time.time(), site, threading.current_thread().name, message, None, None, None, _ENTRY_BYTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Hands one record to the producer. Raises nothing, whatever the record holds.

        The usual record (a text, plain fields, no exception) is done here in the fewest steps; each of them is in the
        cost of every log call. Whatever is unusual about a record sends it to :meth:`_emit_unusual` instead.
        """
        attributes = record.__dict__
        place = self._places.get(_site(attributes))
        message, args, created = attributes["msg"], attributes["args"], attributes["created"]
        if place is None or type(message) is not str or type(created) is not float:
            return self._emit_unusual(record)
        if args:
            try:
                message %= args
            except Exception:
                return self._emit_unusual(record)
        size = _ENTRY_BYTES + message.__sizeof__()
        extra: dict[str, Any] | None = None
        nested: dict[str, Any] | None = None
        site, usual, fields = place
        if len(attributes) > _N_STANDARD:
            # extra= and filters add attributes behind those of the constructor: those of one place are mostly the same.
            keys = [*attributes]
            if keys != usual:
                found = _fields(keys)
                if found is None:
                    return self._emit_unusual(record)
                if not fields:
                    self._places[site] = site, keys, found
                fields = found
            if fields:
                extra = {}
                for key in fields:
                    extra[key] = value = attributes[key]
                    if type(value) is str:
                        size += value.__sizeof__()
                    elif type(value) not in _PLAIN:
                        return self._emit_unusual(record)
                size += FIELD_BYTES * len(fields)
        if size > _USUAL_BYTES or attributes["exc_info"] or attributes["exc_text"] or attributes["stack_info"]:
            return self._emit_unusual(record)
        scope = active()
        if scope is not None:
            extra, nested, size = add_context(extra, nested, size, scope)
        self.producer.emit(
            created,
            site,
            attributes["threadName"] or threading.current_thread().name,
            message,
            extra,
            nested,
            None,
            size,
        )
        return None

    def _emit_unusual(self, record: logging.LogRecord) -> None:
        """Any record: other types, long texts, nested values, exceptions, attributes in another order."""
        if type(record.__dict__.get("extra")) is dict:  # as a handler of the standard library gets them from loguru
            from logbus.producers.relay import comes_back

            if comes_back(self.producer):
                return
        clean = CLEANERS.get(record.name) if CLEANERS and type(record.name) is str else None
        if clean is not None:
            record = clean(record)
        message = safe_message(record.msg, record.args)
        own = [item for item in record.__dict__.items() if item[0] not in NOT_EXTRA]
        extra, nested, size = split_extra(own)
        size += _ENTRY_BYTES + text_bytes(message)
        scope = active_about(record.exc_info) if record.exc_info else active()
        if scope is not None:
            extra, nested, size = add_context(extra, nested, size, scope)
        exception, extra, more = _details(record, extra)
        site = (
            record.name,
            _as_int(record.levelno),
            record.levelname,
            record.module,
            record.funcName or "",
            record.lineno,
        )
        if clean is None and type(record) is logging.LogRecord:  # what was cleaned has to come here the next time, too
            self._remember(site, record.__dict__)
        thread = record.threadName or threading.current_thread().name
        self.producer.emit(_as_time(record.created), site, thread, message, extra, nested, exception, size + more)

    def _remember(self, site: Site, attributes: dict[str, Any]) -> None:
        """Has the next records of a call site go the short way, if it is usual."""
        if [*map(type, site)] != _SITE_TYPES or site in self._places or site != _site(attributes):
            return
        if len(self._places) >= _SITES_KEPT:
            self._places.clear()
        keys = [*attributes]
        fields = _fields(keys)
        if fields is not None:  # else the next one with just these has to come here, too
            self._places[site] = site, keys, fields


def compiled_handle(kind: type[Taker]) -> Any:
    """:meth:`Taker.handle` for this class and those below it, in C; None where there is no compiled part.

    It does what ``handle`` and ``emit`` do with a usual record, for handlers whose ``emit`` nobody has overridden. All
    else goes to ``handle`` before anything has happened; what shows in the message alone, to ``_emit_unusual``.
    """
    if NATIVE is None:
        return None
    try:
        return NATIVE.handling(
            Taker.handle,
            kind,
            logging.LogRecord,
            tuple(_BLANK.__dict__),
            NOT_EXTRA,
            cast("Any", active).__self__,
            add_context,
            _ENTRY_BYTES,
            FIELD_BYTES,
            _USUAL_BYTES,
        )
    except Exception:  # what stands in logging is of kinds that only Python reads
        return None


def _fields(keys: list[Any]) -> list[str] | None:
    """Those of a record's attributes that are fields of the application; None if they don't stand where they should."""
    if len(keys) < _N_STANDARD or keys[_N_STANDARD - 1] != _LAST_STANDARD:  # one was taken away, or set anew
        return None
    added = keys[_N_STANDARD:]
    if any(type(key) is not str for key in added):
        return None
    return [key for key in added if key not in NOT_EXTRA]


class _Elsewhere:
    """As much of a producer as a taker needs."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit


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
