"""Level rules in structlog: a filtering wrapper whose levels follow the operator, and what a processor can do alone.

structlog's own filtering wrapper is a class per level, whose suppressed methods do nothing; its level is for good.
:func:`make_filtering_bound_logger` gives a class like it whose methods are exchanged when the rules change, so that
loggers which exist, bound and cached ones too, follow, and a suppressed call costs what structlog's own costs.

Such a class has no idea which logger calls: it is open as far as any logger needs, and the processor
(:mod:`logbus.producers.structlog`) drops the rest. The level that the class was made with is then the level of loggers
on which no rule says anything; what it would have suppressed carries that level along.

One front serves the process, :data:`STRUCTLOG`, for the producer that came last.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.levels import LEVELS, parse_level
from logbus.os_threads import RLock
from logbus.producers.threshold import threshold
from logbus.rules import Table

if TYPE_CHECKING:
    from logbus.producers.gate import Gate
    from logbus.producers.producer import Producer
    from logbus.producers.structlog import StructlogProcessor

#: The methods that log, each with an async one beside it, and their levels.
_METHODS: Final[Mapping[str, int]] = {
    "debug": 10,
    "info": 20,
    "msg": 20,
    "warning": 30,
    "warn": 30,
    "error": 40,
    "critical": 50,
    "fatal": 50,
}
#: Below which level the wrapper itself would have suppressed the call that is under way (0: it would not have), and,
#: for an async method, the frame of its caller, which can't be found from the thread that does the work.
FLOOR: Final[ContextVar[tuple[int, FrameType | None]]] = ContextVar("logbus_structlog_floor", default=(0, None))


def make_filtering_bound_logger(min_level: int | str | None = None) -> Any:
    """A wrapper class for structlog, like that of structlog's function of this name, whose levels follow the rules.

    ``min_level`` is the level where no rule says anything: a name or a number, or None for that of the worker
    (``configure(level=…)``, else INFO). Raises ConfigurationError when it is neither, or structlog is not installed.
    """
    return STRUCTLOG.wrapper(None if min_level is None else parse_level(min_level))


class StructlogFront:
    """structlog as the gate sees it; see :class:`logbus.producers.gate.Front`."""

    name = "structlog"

    def __init__(self) -> None:
        self._gate: Gate | None = None
        self._producer: Producer | None = None
        self._table = Table()
        self._wrappers: dict[int | None, _Wrapper] = {}
        self._processors: weakref.WeakSet[StructlogProcessor] = weakref.WeakSet()
        self._guard = RLock()

    @property
    def wraps(self) -> bool:
        """Whether the application has asked for a wrapper."""
        return bool(self._wrappers)

    def serve(self, producer: Producer) -> None:
        """The producer whose rules and level count from now on; they act once structlog is in use."""
        self._producer = producer
        self._begin()

    def use(self, processor: StructlogProcessor) -> None:
        """Takes note of a processor, and serves its producer."""
        self._processors.add(processor)
        self.serve(processor.producer)

    def wrapper(self, level: int | None) -> Any:
        """The wrapper class of a level, the same for every caller."""
        with self._guard:
            found = self._wrappers.get(level)
            if found is None:
                found = self._wrappers[level] = _Wrapper(level)
                self._follow(found)
        self._begin()
        return found.made

    def kind(self) -> str:
        """Where calls end: at the "source" with the wrapper, else in the processor, a "filter"."""
        return "source" if self._wrappers else "filter"

    def join(self, gate: Gate) -> None:
        """The gate that it serves from now on."""
        before, self._gate = self._gate, gate
        if before is not None and before is not gate:
            before.detach(self)

    def leave(self) -> None:
        """Wrappers are as they were made."""
        gate, self._gate = self._gate, None
        self._producer = None
        with self._guard:
            self._turn(Table())
        if gate is not None:
            gate.detach(self)

    def apply(self, table: Table) -> bool:
        """Puts rules into force; False while another thread asks for a wrapper."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            self._turn(table)
        finally:
            self._guard.release()
        return True

    def look(self) -> None:
        """Nothing to look for: loggers are instances of classes that are known."""

    def names(self) -> Iterable[str]:
        """The loggers of which records have come."""
        return {name for processor in list(self._processors) for name in list(processor.names)}

    def after_fork(self) -> None:
        """In a forked child: the guard may be held by a thread that is not here."""
        self._guard = RLock()

    def _turn(self, table: Table) -> None:
        self._table = table
        for wrapper in list(self._wrappers.values()):
            self._follow(wrapper)

    def _begin(self) -> None:
        producer = self._producer
        if producer is not None and (self._wrappers or self._processors):
            producer.gate.attach(self)

    def _follow(self, wrapper: _Wrapper) -> None:
        producer = self._producer
        own = producer.settings.level if producer is not None else None
        recorder = producer.gate.recorder if producer is not None else None
        base = wrapper.level if wrapper.level is not None else LEVELS["INFO"] if own is None else own
        wrapper.follow(base, threshold(self._table, base, recorder.level if recorder is not None else None))


class _Wrapper:
    """One wrapper class. ``level`` is what it was asked for with; ``base`` and ``open`` are what holds now."""

    def __init__(self, level: int | None) -> None:
        try:
            import structlog
        except ImportError as error:
            raise ConfigurationError(
                ["make_filtering_bound_logger(): expected structlog, which is not installed"]
            ) from error
        self.level = level
        self.base = self.open = 0
        self._live: Any = structlog.make_filtering_bound_logger(LEVELS["NOTSET"])
        self._dead: Any = structlog.make_filtering_bound_logger(LEVELS["CRITICAL"])
        name = "FollowingBoundLogger" if level is None else f"FollowingBoundLoggerAt{level}"
        self.made: Any = type(name, (self._live,), {"__module__": __name__, "__doc__": self._live.__doc__})
        for method in self._gated():
            setattr(self.made, method.__name__, method)

    def follow(self, base: int, threshold: int) -> None:
        """Makes the methods what the rules say, one by one, each in one step."""
        if (base, threshold) == (self.base, self.open):
            return
        self.base, self.open = base, threshold
        for name, level in _METHODS.items():
            if level < threshold:
                setattr(self.made, name, self._dead.info)
                setattr(self.made, f"a{name}", self._dead.ainfo)
            elif level < base:
                setattr(self.made, name, _opened(getattr(self._live, name), base))
                setattr(self.made, f"a{name}", _opened_async(getattr(self._live, f"a{name}"), base))
            else:
                for own in (name, f"a{name}"):
                    if own in vars(self.made):
                        delattr(self.made, own)

    def _gated(self) -> Iterable[Callable[..., Any]]:
        """The methods whose level comes with the call, or that tell it."""
        # Parameters are named as structlog's are, whose fields may have any other name.
        live, wrapper = self._live, self

        def log(self: Any, level: int, event: str, *args: Any, **kw: Any) -> Any:
            if level < wrapper.open:
                return None
            call = _opened(live.log, wrapper.base) if level < wrapper.base else live.log
            return call(self, level, event, *args, **kw)

        async def alog(self: Any, level: int, event: str, *args: Any, **kw: Any) -> Any:
            if level < wrapper.open:
                return None
            floor = wrapper.base if level < wrapper.base else 0
            return await _opened_async(live.alog, floor, sys._getframe(1))(self, level, event, *args, **kw)

        def is_enabled_for(self: Any, level: int) -> bool:
            return level >= wrapper.open

        def get_effective_level(self: Any) -> int:
            return wrapper.open

        return log, alog, is_enabled_for, get_effective_level


def _opened(live: Callable[..., Any], floor: int) -> Callable[..., Any]:
    """A method that is open for the sake of some loggers: the processor decides of which."""

    def opened(*args: Any, **kw: Any) -> Any:
        token = FLOOR.set((floor, None))
        try:
            return live(*args, **kw)
        finally:
            FLOOR.reset(token)

    return opened


def _opened_async(live: Callable[..., Any], floor: int, caller: FrameType | None = None) -> Callable[..., Any]:
    async def opened(*args: Any, **kw: Any) -> Any:
        token = FLOOR.set((floor, caller or sys._getframe(1)))
        try:
            return await live(*args, **kw)
        finally:
            FLOOR.reset(token)

    return opened


def __getattr__(name: str) -> Any:
    """The wrapper classes by their names, for loggers that were pickled."""
    prefix, at, level = name.partition("BoundLoggerAt")
    if prefix == "Following" and at and level.isdecimal():
        return make_filtering_bound_logger(int(level))
    if name == "FollowingBoundLogger":
        return make_filtering_bound_logger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


#: structlog in this process.
STRUCTLOG: Final = StructlogFront()
os.register_at_fork(after_in_child=STRUCTLOG.after_fork)
