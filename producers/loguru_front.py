"""Level rules in loguru: the handler of configure() that follows them, and the direct way where it can be taken.

One front serves the process, :data:`LOGURU`, since loguru's core and the modules that use it belong to the process. It
has one handler in loguru, whose level is the lowest that any module needs, so that a suppressed call ends where
loguru's own ends; the sink then asks the rules for each record. That level is changed in place, under loguru's lock:
between two handlers, one added and one removed, records would be lost or doubled.

Where that handler is loguru's only one, modules' loggers are replaced (:mod:`logbus.producers.direct`), unless
``source`` says otherwise: "handler" never does it; "direct" always, and other handlers then don't see those records.
Without a word the direct way ends at once when the application adds a handler through one of our objects, and within a
second when it does so otherwise. The handler stays in either case for what takes loguru's way, so that no record is
lost or doubled when the way changes.

The application may remove every handler, as libraries do that set up logging of their own: ours comes back, by the
next look (once a second), or at once if it went through one of our objects. ``configure(loguru=False)`` is how to be
rid of it. It can't come back from inside ``stop()``, where loguru holds its lock, which is not re-entrant.

Loguru has no public way to see its handlers or to change a level. The names used inside are checked first; a loguru
that has others keeps a handler for every level and the filter: right, and as dear as any filter of loguru's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

from logbus.errors import ConfigurationError
from logbus.producers.loguru import LoguruSink, sinks_of
from logbus.producers.threshold import threshold
from logbus.rules import Table

if TYPE_CHECKING:
    from logbus.producers.gate import Gate
    from logbus.producers.places import Places
    from logbus.producers.producer import Producer

#: How loguru's records come: by our handler alone, or past loguru. None: direct where ours is the only handler.
Source = Literal["direct", "handler"]

#: What is used of loguru's core beyond what it documents.
_INSIDE: Final = ("handlers", "min_level", "lock", "levels", "extra", "patcher", "activation_list")


class LoguruFront:
    """Loguru as the gate sees it; see :class:`logbus.producers.gate.Front`."""

    name = "loguru"

    def __init__(self) -> None:
        self._gate: Gate | None = None
        self._producer: Producer | None = None
        self._real: Any = None
        self._core: Any = None
        self._places: Places | None = None
        self._sink: LoguruSink | None = None
        self._handler: int | None = None
        self._level = 0
        self._source: Source | None = None
        self._table = Table()
        self._direct = False
        self._guard = threading.RLock()

    def begin(self, producer: Producer, *, level: int, source: Source | None = None) -> None:
        """Makes loguru log to a producer; ``level`` is that of modules on which no rule says anything.

        Loguru's own handler (id 0, stderr) goes, handlers of the application stay. Where the application has added
        one for this producer itself it stays the only one. Raises ConfigurationError when loguru is not installed.
        """
        try:
            from loguru import logger
        except ImportError as error:
            raise ConfigurationError(["loguru=True: expected loguru, which is not installed"]) from error
        real: Any = getattr(logger, "_real", logger)
        with self._guard:
            self._real, self._core = real, _inside(real)
            self._producer, self._level, self._source = producer, level, source
            self._table = producer.gate.table
            if any(sink is not self._sink for sink in sinks_of(producer)):
                self._drop_handler()
            elif self._sink is None:
                self._sink = LoguruSink(producer, level)
                self._handler = None
            else:
                self._sink.level, self._sink.producer = level, producer  # one step for whoever logs: nothing is doubled
            self._act()
            with contextlib.suppress(ValueError):
                real.remove(0)
        _leave_to_configure(producer)
        producer.gate.attach(self)

    def kind(self) -> str:
        """Whether calls are stopped in their modules, "direct", or by the handler and its "filter"."""
        return "direct" if self._direct else "filter"

    def join(self, gate: Gate) -> None:
        """The gate that it serves from now on."""
        before, self._gate = self._gate, gate
        if before is not None and before is not gate:
            before.detach(self)

    def leave(self) -> None:
        """Lets go of the rules: every module has its logger back, and our handler its own level.

        The handler stays: what is logged after a shutdown is counted as dropped, and a later begin() takes it over.
        """
        with self._guard:
            if self._places is not None:
                self._places.give_back()
            self._places, self._direct, self._table = None, False, Table()
            with contextlib.suppress(Exception):  # loguru is not what it was: its handler stays as it is
                self._open()
            gate, self._gate = self._gate, None
        if gate is not None:
            gate.detach(self)

    def end(self) -> None:
        """Gives loguru back as the application had it, but for the handler that it brings."""
        self.leave()
        with self._guard:
            self._drop_handler()
            self._producer = None

    def apply(self, table: Table) -> bool:
        """Puts rules into force; False while somebody holds loguru's lock, or changes something here."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            self._table = table
            return self._act()
        finally:
            self._guard.release()

    def look(self) -> None:
        """Takes in what is new: modules, handlers of the application, the removal of ours."""
        if self._guard.acquire(blocking=False):
            try:
                self._act()
            finally:
                self._guard.release()

    def names(self) -> Iterable[str]:
        """The modules that use loguru: those whose logger is ours, and those that the handler has seen."""
        places, producer = self._places, self._producer
        found = set(places.names()) if places is not None else set()
        for sink in sinks_of(producer) if producer is not None else ():
            found.update(list(sink.names))
        return found

    def after_fork(self) -> None:
        """In a forked child: the guard may be held by a thread that is not here."""
        self._guard = threading.RLock()

    def _act(self) -> bool:
        """Brings loguru to what rules and handlers ask for; False when its lock was not free."""
        if self._producer is None:
            return True
        try:
            if self._sink is not None and not (self._put_back(self._sink) and self._open()):
                return False
            self._choose()
        except Exception:  # loguru is not what it was: the sender tries again, and the handler goes on filtering
            return False
        return True

    def _put_back(self, sink: LoguruSink) -> bool:
        """Adds the handler if loguru has it not, or no more."""
        core = self._core
        if core is None:
            if sink.attached and self._handler is not None:
                return True
        elif self._handler in core.handlers:
            return True
        elif core.lock.locked():
            # A look before, since add() waits for the lock, and its holder may wait for the sender, in a flush.
            return False
        self._handler = self._real.add(**sink.handler(0 if core is None else self._threshold()))
        sink.added()
        return True

    def _open(self) -> bool:
        """Sets the handler's level to the lowest that any module needs."""
        core = self._core
        if core is None:
            return True
        wanted = self._threshold()
        handler = core.handlers.get(self._handler)  # another thread may have removed it just now
        if handler is None or handler.levelno == wanted:
            return True
        if not core.lock.acquire(blocking=False):
            return False
        try:
            handler._levelno = wanted
            core.min_level = min((each.levelno for each in core.handlers.values()), default=float("inf"))
        finally:
            core.lock.release()
        return True

    def _threshold(self) -> int:
        recorder = self._producer.gate.recorder if self._producer is not None else None
        return threshold(self._table, self._level, recorder.level if recorder is not None else None)

    def _choose(self) -> None:
        """Takes the direct way or leaves it."""
        if self._core is None or self._source == "handler":
            direct = False
        elif self._source == "direct":
            direct = True
        else:
            direct = self._sink is not None and all(handler == self._handler for handler in list(self._core.handlers))
        if direct and self._producer is not None:
            # Loaded here: it imports loguru, which a worker without it has not.
            from logbus.producers.calls import Way
            from logbus.producers.places import Places

            if self._places is None:
                self._places = Places(self._real)
            self._places.take(Way(self._producer, self._table, self._level, self.look))
        elif self._direct and self._places is not None:
            self._places.give_back()
        self._direct = direct

    def _drop_handler(self) -> None:
        if self._handler is not None:
            with contextlib.suppress(ValueError):
                self._real.remove(self._handler)
        self._sink = self._handler = None


class SinkFront:
    """A handler that only the application has added: its filter asks the rules of its producer for each record."""

    name = "loguru"

    def __init__(self, producer: Producer) -> None:
        self._producer = weakref.ref(producer)

    def kind(self) -> str:
        """A filter."""
        return "filter"

    def join(self, gate: Gate) -> None:
        """Nothing to remember: sinks ask their producer's gate."""

    def leave(self) -> None:
        """Nothing to give back."""

    def apply(self, table: Table) -> bool:
        """Rules are in force as soon as the gate has them."""
        return True

    def look(self) -> None:
        """Nothing to look for."""

    def names(self) -> Iterable[str]:
        """The modules of which records have come."""
        producer = self._producer()
        sinks = sinks_of(producer) if producer is not None else []
        return {name for sink in sinks for name in list(sink.names)}


#: Loguru in this process.
LOGURU: Final = LoguruFront()
os.register_at_fork(after_in_child=LOGURU.after_fork)
_OTHERS: Final[weakref.WeakKeyDictionary[Producer, SinkFront]] = weakref.WeakKeyDictionary()


def follow_rules(producer: Producer) -> None:
    """Lets a producer's gate know that loguru leads to it through a handler of the application."""
    if LOGURU._producer is not producer:
        producer.gate.attach(_OTHERS.setdefault(producer, SinkFront(producer)))


def _leave_to_configure(producer: Producer) -> None:
    front = _OTHERS.pop(producer, None)
    if front is not None:
        producer.gate.detach(front)


def _inside(real: Any) -> Any:
    """Loguru's core, if it has what we use of it; else None."""
    core: Any = getattr(real, "_core", None)
    known = all(hasattr(core, name) for name in _INSIDE)
    return core if known and all(hasattr(each, "_levelno") for each in core.handlers.values()) else None
