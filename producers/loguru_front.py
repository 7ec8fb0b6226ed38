"""Level rules in loguru: the handler of configure() that follows them, and the direct way where it can be taken.

One front serves the process, :data:`LOGURU`, since loguru's core and the modules that use it belong to the process. It
has one handler in loguru, whose level is the lowest that any module needs, so that a suppressed call ends where
loguru's own ends; the sink then asks the rules for each record. That level is changed in place, under loguru's lock:
between two handlers, one added and one removed, records would be lost or doubled.

Where that handler is loguru's only one, modules' loggers are replaced (:mod:`logbus.producers.direct`), unless
``source`` says otherwise: "handler" never does it; "direct" always, and other handlers then don't see those records.
Without a word the direct way ends as soon as the application adds a handler, before its call returns, and begins again
when that goes. The handler stays in either case for what takes loguru's way, so that no record is lost or doubled when
the way changes.

The application may remove every handler, as libraries do that set up logging of their own: ours stays, since loguru's
methods are wrapped (:mod:`logbus.producers.loguru_class`). What goes past them tells our sink, or is seen by the next
look, once a second; then the sender puts the handler back, as soon as loguru's lock is free. It can't come back from
inside ``stop()``, where that lock is held, which is not re-entrant. ``configure(loguru=False)`` is how to be rid of it.

An application may also add a sink of ours itself, for the same producer: while it is there our handler is closed, so
that no record comes twice.

A worker may be configured before anybody has imported loguru: it is attached at the end of that import, before the
importing statement goes on (:mod:`logbus.producers.loguru_import`), so that there is no record that it misses. One that
is loaded anew has another core, which is attached then; our handler stays in the one before, for whoever still has that
logger.

Of a loguru with other names inside (:mod:`logbus.producers.loguru_core`) the handler takes every level and its filter
decides: right, and as dear as any filter of loguru's.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.os_threads import RLock
from logbus.producers.loguru import LoguruSink, sinks_of
from logbus.producers.loguru_class import LoguruClass
from logbus.producers.loguru_core import CLOSED, Core
from logbus.producers.loguru_import import LOGURU_IMPORT, Source
from logbus.producers.threshold import threshold
from logbus.rules import Table

if TYPE_CHECKING:
    from logbus.producers.gate import Gate
    from logbus.producers.places import Places
    from logbus.producers.producer import Producer

#: Seconds that who adds or removes a handler waits for another thread that is at work here; a look takes milliseconds.
CHANGE_S: Final = 1.0


class LoguruFront:
    """Loguru as the gate sees it; see :class:`logbus.producers.gate.Front`."""

    name = "loguru"

    def __init__(self) -> None:
        self._gate: Gate | None = None
        self._producer: Producer | None = None
        self._real: Any = None
        self._core: Core | None = None
        self._class: LoguruClass | None = None
        self._places: Places | None = None
        self._sink: LoguruSink | None = None
        #: Our handler: its id, and loguru's object, to be put back as it is.
        self._handler: int | None = None
        self._held: Any = None
        #: Sinks that the application has added.
        self._theirs: weakref.WeakSet[LoguruSink] = weakref.WeakSet()
        #: Our sinks in cores that are loguru's no more.
        self._left: weakref.WeakSet[LoguruSink] = weakref.WeakSet()
        self._level = 0
        self._source: Source | None = None
        self._table = Table()
        self._direct = False
        self._guard = RLock()

    def begin(self, producer: Producer, *, level: int, source: Source | None = None, beside: bool = False) -> None:
        """Makes loguru log to a producer; ``level`` is that of modules on which no rule says anything.

        Loguru's own handler (id 0, stderr) goes, unless ours is put ``beside`` it; those of the application stay. Where
        it has added one for this producer itself that stays the only one. Raises ConfigurationError when loguru is not
        installed.
        """
        try:
            from loguru import logger
        except ImportError as error:
            raise ConfigurationError(["loguru=True: expected loguru, which is not installed"]) from error
        real: Any = getattr(logger, "_real", logger)
        if self._real is not None and self._real is not real:
            self._move_out()
        with self._guard:
            self._real, self._core = real, Core.of(real)
            self._producer, self._level, self._source = producer, level, source
            self._table = producer.gate.table
            if self._class is None:
                ours = {self._sink, *self._left}
                self._theirs.update(sink for sink in sinks_of() if sink not in ours)
                self._class = LoguruClass(real, self)
            if self._sink is None:
                self._sink = LoguruSink(producer, level)
            else:
                self._sink.level, self._sink.producer = level, producer  # one step for whoever logs: nothing is doubled
            self._act()
            if not beside:
                self._class.take_default()
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
        A loguru that is imported later is left alone.
        """
        LOGURU_IMPORT.forget()
        self._leave()

    def _leave(self) -> None:
        with self._guard:
            if self._places is not None:
                self._places.give_back()
            self._places, self._direct, self._table = None, False, Table()
            with contextlib.suppress(Exception):  # loguru is not what it was: its handler stays as it is
                self._open()
            if self._class is not None:
                self._class.give_back()
            self._class = None
            gate, self._gate = self._gate, None
        if gate is not None:
            gate.detach(self)

    def end(self) -> None:
        """Gives loguru back as the application had it, but for the handler that it brings."""
        remove = self._class.remove if self._class is not None else None
        self.leave()
        with self._guard:
            if self._handler is not None:
                with contextlib.suppress(ValueError):
                    (remove or self._real.remove)(self._handler)
            self._sink = self._handler = self._held = self._producer = None
            self._theirs.clear()

    def _move_out(self) -> None:
        """Lets go of a loguru that was loaded anew since: our handler stays in that core, as those of others do."""
        self._leave()
        with self._guard:
            if self._sink is not None:
                self._left.add(self._sink)
            self._sink = self._handler = self._held = self._core = None

    def apply(self, table: Table) -> bool:
        """Puts rules into force; False while somebody holds loguru's lock, or changes something here."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            self._table = table
            return self._act()
        finally:
            self._guard.release()

    def look(self) -> bool:
        """Takes in what is new: modules, handlers of the application, the removal of ours. False when it can't now."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            return self._act()
        finally:
            self._guard.release()

    def own(self) -> int | None:
        """The id of our handler."""
        return self._handler

    def others(self) -> list[int] | None:
        """The ids of all handlers but ours; None where they can't be known."""
        core = self._core
        return None if core is None else [each for each in core.handlers if each != self._handler]

    def added(self, sink: Any) -> None:
        """The application has added this sink."""
        if isinstance(sink, LoguruSink):
            sink.added()
            self._theirs.add(sink)

    def changed(self) -> None:
        """The application has changed its handlers: the direct way ends, or begins, before its call returns."""
        done = False
        if self._guard.acquire(timeout=CHANGE_S):
            try:
                done = self._act()
            finally:
                self._guard.release()
        producer = self._producer
        if not done and producer is not None:
            producer.gate.look_soon()

    def names(self) -> Iterable[str]:
        """The modules that use loguru: those whose logger is ours, and those that the handler has seen."""
        places, producer = self._places, self._producer
        found = set(places.names()) if places is not None else set()
        for sink in sinks_of(producer) if producer is not None else ():
            found.update(list(sink.names))
        return found

    def after_fork(self) -> None:
        """In a forked child: the guard may be held by a thread that is not here."""
        self._guard = RLock()

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
        """Adds the handler if loguru has it not, or no more. False when loguru's lock was not free."""
        core = self._core
        if self._handler is not None and core is not None:
            if self._handler not in core.handlers and not core.put(self._handler, self._held):
                return False
        elif self._class is not None and not (self._handler is not None and sink.attached):
            self._handler = self._class.add(**sink.handler(0 if core is None else self._threshold()))
            self._held = None if core is None else core.handlers[self._handler]
        sink.added()
        return True

    def _open(self) -> bool:
        """Sets the handler's level to the lowest that any module needs; one of the application's is enough."""
        if self._core is None or self._handler is None:
            return True
        return self._core.open(self._handler, CLOSED if self._is_doubled() else self._threshold())

    def _is_doubled(self) -> bool:
        """Whether the application has added a sink itself that leads to the producer."""
        return self._producer is not None and any(sink in self._theirs for sink in sinks_of(self._producer))

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
            self._places.take(Way(self._producer, self._table, self._level))
        elif self._direct and self._places is not None:
            self._places.give_back()
        self._direct = direct


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
