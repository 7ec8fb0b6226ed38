"""structlog's door: a processor that makes records of the producer of event dicts, and lets these go on unchanged.

It stands before the renderer. What it needs of the call (module, function, line) comes from the first frame outside of
structlog; a logger's name is what the event says ("logger"), or the wrapped logger, or else that module's.

Level rules are asked here for each event, by its logger's name; conditions look at its fields, at structlog's context
variables and at our context. What the rules suppress is not sent; with :func:`logbus.make_filtering_bound_logger` as
the wrapper, it is not rendered either: its gate may have been opened for another logger. Without that wrapper the
application's own filter stands before the processor, so its level is a floor for the rules.

structlog over the standard library (``structlog.stdlib.LoggerFactory``) needs either this or a ``LogbusHandler``: with
both, each event arrives twice. Below ``logbus run`` it arrives once, from here.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from os.path import basename, splitext
from types import CodeType, FrameType
from typing import Any, Final, Unpack

from logbus.errors import ConfigurationError
from logbus.levels import LEVELS, STANDARD_LEVELS
from logbus.producers.context import active, active_about, add_context
from logbus.producers.crossing import CROSSING, INSIDE
from logbus.producers.exception import describe, from_text, weight
from logbus.producers.fields import ENTRY_BYTES, EXC_INFO, fields_now, take_exception, word
from logbus.producers.handler import LogbusHandler
from logbus.producers.loguru import ProducerOptions
from logbus.producers.producer import Producer, Site, producer_for
from logbus.producers.sanitise import safe_message, split_extra
from logbus.producers.settings import ProducerSettings, resolve
from logbus.producers.structlog_front import FLOOR, STRUCTLOG
from logbus.producers.text import error_text, text_bytes, type_name

#: Keys of an event dict that are parts of a record, or structlog's own, and no fields.
_PARTS: Final = frozenset(
    {"event", "level", "level_number", "logger", "logger_name", "positional_args", "_record", "_from_structlog"}
)
#: Names of methods that are no names of levels.
_METHODS: Final = {"EXCEPTION": 40, "MSG": 20, "LOG": 20}
_NAMES: Final = {number: name for name, number in STANDARD_LEVELS.items()}
#: Call sites and names of loggers kept, per processor.
_SITES_KEPT: Final = 4096
_NAMES_KEPT: Final = 4096


class StructlogProcessor:
    """A processor of structlog for one producer. It raises no Exception but structlog's DropEvent.

    Options are those of :func:`logbus.configure`; without any it is one worker with what ``configure()`` has made of
    the process by then. It opens nothing before its first event. Raises ConfigurationError when an option is wrong, or
    structlog is not installed.
    """

    def __init__(self, *, producer: Producer | None = None, **options: Unpack[ProducerOptions]) -> None:
        try:
            from structlog import DropEvent
            from structlog.contextvars import get_contextvars
        except ImportError as error:
            raise ConfigurationError(["StructlogProcessor: expected structlog, which is not installed"]) from error
        self.producer = producer or _producer(resolve(options), alone=bool(options))
        CROSSING.mind_others()
        #: The loggers that have been seen.
        self.names: set[str] = set()
        self._drop: type[BaseException] = DropEvent
        self._variables: Callable[[], dict[str, Any]] = get_contextvars
        self._sites: dict[tuple[int, int, str], tuple[Site, CodeType]] = {}
        self._calling_frame, self._calling_thread = _calling()
        STRUCTLOG.use(self)

    def __call__(self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> Any:
        """Hands an event over, if the rules let it pass, and gives it back as it is."""
        if CROSSING.producer is not None:
            if INSIDE.record is not None and "_record" in event_dict:
                return event_dict  # one of the standard library's, which a handler formats: it was taken there
            INSIDE.processed = True
        floor, frame = FLOOR.get()
        frame = self._caller(frame)
        passes, recorder = True, self.producer.gate.recorder
        entry: tuple[Any, ...] | None = None
        try:
            name = _name(logger, event_dict) or _module(frame)
            number = _number(method_name, event_dict)
            variables = self._variables()
            passes = self._passes(name, number, floor, variables, event_dict)
            if passes or (recorder is not None and number >= recorder.level):
                entry = self._entry(frame, name, number, variables, event_dict)
        except Exception as error:  # values of the application, which may do anything
            entry = _salvaged(event_dict, error)
        if passes and entry is not None:
            self.producer.emit(*entry)
        elif recorder is not None and entry is not None:
            recorder.keep(*entry)
        if not passes and STRUCTLOG.wraps:
            raise self._drop
        return event_dict

    def _caller(self, frame: FrameType | None) -> FrameType:
        frame = frame or self._calling_frame(sys._getframe(2))
        while frame.f_back is not None and _is_inside(_module(frame)):
            frame = frame.f_back
        return frame

    def _passes(
        self, name: str, number: int, floor: int, variables: dict[str, Any], event_dict: MutableMapping[str, Any]
    ) -> bool:
        if name not in self.names and len(self.names) < _NAMES_KEPT:
            self.names.add(name)
        decision = self.producer.gate.table.decide(name)
        context = fields_now(variables, event_dict) if decision.conditions else None
        return decision.passes(number, context, otherwise=floor)

    def _entry(
        self,
        frame: FrameType,
        name: str,
        number: int,
        variables: dict[str, Any],
        event_dict: MutableMapping[str, Any],
    ) -> tuple[Any, ...]:
        fields = {**variables, **{key: value for key, value in event_dict.items() if key not in _PARTS}}
        raised: Any = None
        if EXC_INFO in fields:
            raised, fields = take_exception(fields)
        exception = describe(raised) if raised is not None else None
        if exception is None and type(fields.get("exception")) is str:  # another processor has formatted it
            exception = from_text(fields.pop("exception"))
        extra, nested, size = split_extra(fields.items())
        message = safe_message(event_dict.get("event", ""), event_dict.get("positional_args"))
        size += ENTRY_BYTES + text_bytes(message)
        if exception is not None:
            size += weight(exception)
        scope = active() if raised is None else active_about(raised)
        if scope is not None:
            extra, nested, size = add_context(extra, nested, size, scope)
        calling = self._calling_thread()
        thread = threading.current_thread().name if calling is None else word(calling[1])
        return time.time(), self._site(frame, name, number), thread, message, extra, nested, exception, size

    def _site(self, frame: FrameType, name: str, number: int) -> Site:
        code = frame.f_code
        # As in logbus.producers.direct: an address within the code object says which call it is.
        key = id(code) + frame.f_lasti, number, name
        found = self._sites.get(key)
        if found is None:
            module = splitext(basename(code.co_filename))[0]
            level = _NAMES.get(number, f"Level {number}")
            site = (word(name), number, level, word(module), word(code.co_name), frame.f_lineno or 0)
            if len(self._sites) >= _SITES_KEPT:
                self._sites.clear()
            found = self._sites[key] = site, code
        return found[0]


def _producer(settings: ProducerSettings, *, alone: bool) -> Producer:
    """Who gets the events: below ``logbus run`` the process's producer; ``alone``: one of these very settings."""
    below = CROSSING.instead(settings)
    return below or (None if alone else _attached(settings)) or producer_for(settings)


def _attached(settings: ProducerSettings) -> Producer | None:
    """The producer behind the root logger (configure() puts it there), if it is one, and for the same collector."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, LogbusHandler)]
    found = {handler.producer for handler in handlers if handler.producer.settings.endpoint == settings.endpoint}
    return found.pop() if len(found) == 1 else None


def _calling() -> tuple[Callable[[FrameType], FrameType], Callable[[], tuple[int, str] | None]]:
    """What gives frame and thread (ident, name) of an async method's caller, for which another thread works.

    Of any other method the frame that is given, and None.
    """
    try:
        from structlog.contextvars import _ASYNC_CALLING_STACK, _ASYNC_CALLING_THREAD
    except ImportError:  # another structlog: the call site is that of the thread which works
        return lambda frame: frame, lambda: None
    return _ASYNC_CALLING_STACK.get, lambda: _ASYNC_CALLING_THREAD.get(None)


@lru_cache(maxsize=1024)
def _is_inside(module: str) -> bool:
    """Whether a frame of this module is none of the caller's."""
    return module.partition(".")[0] == "structlog" or module.startswith("logbus.producers.structlog")


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if type(name) is str and name else "root"


def _name(logger: Any, event_dict: MutableMapping[str, Any]) -> str:
    for name in (event_dict.get("logger"), event_dict.get("logger_name"), getattr(logger, "name", None)):
        if type(name) is str and name:
            return name
    return ""


def _number(method_name: Any, event_dict: MutableMapping[str, Any]) -> int:
    for name in (method_name, event_dict.get("level")):
        upper = str(name).upper()
        number = _METHODS.get(upper, LEVELS.get(upper))
        if number is not None:
            return number
    return LEVELS["INFO"]


def _salvaged(event_dict: Any, error: Exception) -> tuple[Any, ...]:
    """What can be told of an event that can't be read: its text, if there is one."""
    why = f"event of structlog could not be read: {type_name(type(error))}: {error_text(error)}"
    extra, nested, size = split_extra([("logbus_unreadable", why)])
    message = safe_message(event_dict.get("event", "") if isinstance(event_dict, dict) else event_dict, None)
    site = ("root", LEVELS["ERROR"], "ERROR", "", "", 0)
    return time.time(), site, "", message, extra, nested, None, size + ENTRY_BYTES + text_bytes(message)
