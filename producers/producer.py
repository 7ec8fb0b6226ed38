"""The producer of a process: where a log call ends and its record begins its way.

A producer opens nothing until its first record (or :func:`logbus.configure`): then it makes its counter page, its
buffer and its sender thread, which together are one life. A forked child has a life of its own: new identity, new
page, empty buffer; what the parent had buffered stays the parent's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from logbus import folded
from logbus.bus import is_bound, private_directory
from logbus.counters import Counters, Meta
from logbus.producers import tracing
from logbus.producers.buffer import Buffer
from logbus.producers.compiled import NATIVE
from logbus.producers.fork import Forks, is_about_to_exec
from logbus.producers.gate import Gate
from logbus.producers.leave import Exits
from logbus.producers.opener import Opener
from logbus.producers.sender import Sender
from logbus.producers.settings import ProducerSettings, host_name
from logbus.wire import PRODUCER_REASONS, REASONS

if TYPE_CHECKING:
    from logbus.producers.stats import Stats

#: Seconds that a fork waits, at most, for the frames in the socket to leave.
FORK_TIMEOUT: Final = 0.25


#: The call site of a record: logger, level number, level name, module, function, line.
Site = tuple[str, int, str, str, str, int]
#: How a record gets on its way: created (epoch seconds), call site, name of the calling thread, the finished message,
#: extra and nested fields (:func:`logbus.producers.sanitise.split_extra`), exception
#: (:func:`logbus.producers.exception.describe`) or None, and its size in bytes, estimated, for the buffer's limit.
Emit = Callable[[float, Site, str, str, "dict[str, Any] | None", "dict[str, Any] | None", Any, int], None]
#: What a flight recorder counts.
_RECORDER: Final = ("recorded", "replayed", "discarded")


class Life:
    """One life of a producer: identity, counters, buffer and sender."""

    __slots__ = ("buffer", "counters", "producer", "sender")

    def __init__(self, settings: ProducerSettings, gate: Gate, *, mute: bool = False) -> None:
        """Opens it. A ``mute`` life has no sender: its records are counted and dropped."""
        meta = _meta(settings)
        self.producer = os.urandom(16)
        pages = settings.endpoint.pages
        with contextlib.suppress(Exception):  # whatever lies there: the counters say when they are not on disk
            private_directory(pages.parent)
            private_directory(pages)
            folded.fold_if_many(pages, partial(is_bound, settings.endpoint))
        self.counters = Counters(pages, self.producer, meta)
        buffer = Buffer if NATIVE is None else NATIVE.Buffer
        self.buffer: Buffer = buffer(settings.capacity, settings.capacity_bytes, settings.on_full, self.counters)
        self.sender: Sender | None = None
        _begin_gate(gate, settings, meta)
        if mute:
            self.buffer.closed = True
            return
        try:
            self.sender = Sender(
                settings,
                self.buffer,
                self.counters,
                meta,
                gate,
            )
        except (OSError, RuntimeError):  # out of descriptors or threads, or the interpreter is going down
            self.buffer.closed = True

    def abandon(self) -> None:
        """In a forked child: closes our copies of the parent's descriptors, its page lock among them."""
        if self.sender is not None:
            self.sender.abandon()
        self.counters.unmap()

    def stats(self) -> Stats:
        """The counters now."""
        from logbus.producers.stats import Stats  # see there

        totals = self.counters.totals()
        by_reason = totals.by_reason()
        dropped = {REASONS[reason]: by_reason[reason] for reason in range(PRODUCER_REASONS) if by_reason[reason]}
        return Stats(totals.emitted, totals.sent, dropped, self.buffer.records, self.buffer.bytes)


def _meta(settings: ProducerSettings) -> Meta:
    pid = os.getpid()
    return Meta(host_name(), pid, settings.worker_name(pid), settings.application(), time.time_ns() // 1000)


def _begin_gate(gate: Gate, settings: ProducerSettings, meta: Meta) -> None:
    """Puts into force what the collector's snapshot says."""
    snapshot = settings.control.levels if settings.refusal() is None else None
    gate.begin(worker=meta.worker, pid=meta.pid, host=meta.host, snapshot=snapshot)


class Producer:
    """The handle of an application on its producer; it outlives forks and its own shutdown."""

    def __init__(self, settings: ProducerSettings) -> None:
        """One that opens later. Raises ConfigurationError when it shall ask for spans and OpenTelemetry isn't there."""
        if settings.opentelemetry:
            tracing.load()
        self.settings = settings
        #: The level rules in force, and the libraries through which they act.
        self.gate = Gate(component=settings.component)
        if settings.flight_recorder is not None:
            from logbus.producers.recorder import Recorder

            self.gate.recorder = Recorder(settings.flight_recorder)
        self.gate.look_too = self.look_for_spans
        #: Whether records are asked for the span in which they are logged.
        self._spans = False
        self._opener: Opener | None = None
        #: One for each call that closes descriptors just now: nothing is opened meanwhile.
        self._closing: list[None] = []
        #: Whether only the children of this process open by themselves.
        self._only_children = False
        self._mute = False
        self._life: Life | None = None
        #: The counters of lives that are over; None before the first end.
        self._past: Stats | None = None
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._openers = itertools.count()
        self._early: deque[tuple[Any, ...]] = deque()
        #: The buffer's method, from when on nobody waits in ``_early``.
        self._put: Emit | None = None
        #: Takes a record on its way. Never waits; raises nothing but what a signal handler raises. It is the buffer's
        #: own method once there is a buffer, so that a log call takes no step more than it needs (behind the flight
        #: recorder where there is one, and behind the look at the current span where OpenTelemetry is in use).
        self.emit: Emit = self._asking(self._emit_early)

    def _asking(self, put: Emit) -> Emit:
        """The same as ``put``, behind the look at the current span where there may be one."""
        return tracing.behind(put) if self._spans else put

    def look_for_spans(self) -> bool:
        """Lets records carry the ids of their spans, if OpenTelemetry has come into the process. True when it has.

        With the first record, and once a second: the application may load it at any time.
        """
        if self._spans or self.settings.opentelemetry is False or not tracing.is_loaded():
            return False
        self._spans = True
        if self.gate.recorder is not None:
            self.gate.recorder.spans = tracing.with_span
        while True:
            put = self._put
            self.emit = tracing.behind(put or self._emit_early)
            if put is self._put:  # it was not opened meanwhile, which sets both
                return True

    def _emit_early(self, *record: Any) -> None:
        """A record before the life has begun. The first caller opens; nobody waits for it."""
        if self.look_for_spans():
            self.emit(*record)  # here, and not where the records that wait are put: that may be another thread
            return
        early, entry = self._early, iter((record,))
        if self._put is None:
            early += entry  # one step with the look: whoever comes later goes behind those that wait
            self.open()
        else:
            self._put(*record)

    def open(self) -> None:
        """Begins the life of this process's producer if it has none. Only one caller does, the others go on."""
        self.look_for_spans()
        if self._put is None and not self._closing and next(self._openers) == 0:
            try:
                if self._life is None:
                    self._life = Life(self.settings, self.gate, mute=self._mute)
                put, recorder = self._life.buffer.put, self.gate.recorder
                self._let_go(put if recorder is None else recorder.behind(put))
            except BaseException:  # a signal handler raised: the next record goes on from here
                self._openers = itertools.count()
                raise

    def open_soon(self, *, only_children: bool = False) -> None:
        """Has it open by itself in a moment, if no record comes before; the level rules are in force at once.

        With ``only_children`` each child does so after its fork, and this process opens with a record only.
        """
        if self._put is None:
            _begin_gate(self.gate, self.settings, _meta(self.settings))
            self._only_children = only_children
            if only_children:
                self._opener = Opener(self.open)
            else:
                self._open_soon()

    def _let_go(self, put: Emit) -> None:
        """Puts the records that have waited, in their order, and only then lets others put theirs directly."""
        early, spans, emit = self._early, self._spans, self._asking(put)
        while True:
            if not early:
                self._put = put  # one step with the look, see docs/decisions/0002
                self.emit = emit
                break
            put(*early.popleft())
        if spans is not self._spans:  # found by the sender's look, in between
            self.emit = self._asking(put)

    def wait_welcome(self, timeout: float) -> bool:
        """Whether a collector has welcomed this producer, after at most ``timeout`` seconds."""
        life = self._life
        return life is not None and life.sender is not None and life.sender.wait_welcome(timeout)

    def flush(self, timeout: float) -> bool:
        """Waits until what was emitted before is in a collector's socket; False after ``timeout`` seconds."""
        life = self._life
        if life is None:
            return True
        if life.buffer.closed:  # the book is closed: nothing that is still in there will move
            return not life.buffer.records
        return life.sender is not None and life.sender.flush(timeout)

    def flush_soon(self) -> bool:
        """As :meth:`flush`, for the shutdown timeout, or shortly where no collector seems to exist."""
        life = self._life
        sender = life.sender if life is not None else None
        return self.flush(sender.patience(self.settings.shutdown_timeout) if sender is not None else 0.0)

    def shutdown(self, timeout: float | None = None) -> Stats:
        """Drains for at most ``timeout`` seconds (default: the settings') and closes the book. Idempotent."""
        self.drain(timeout)
        return self.stats()

    def drain(self, timeout: float | None = None) -> None:
        """As :meth:`shutdown`, for those who don't want to know what it came to: the exits, and other handlers."""
        if self._opener is not None:
            self._opener.stop()
        if self.gate.recorder is not None:
            self.gate.recorder.discard()
        life = self._life
        if life is not None and life.sender is not None and not life.buffer.closed:
            life.sender.finish(self.settings.shutdown_timeout if timeout is None else timeout)

    def reopen(self) -> None:
        """Begins a new life after a shutdown."""
        life = self._life
        if life is not None and life.buffer.closed:
            self._bury(life)
        self.open()

    def reaches(self, descriptor: int) -> bool:
        """Whether what is below this number is, in part, ours: ZeroMQ's descriptors come after those that we know."""
        life = self._life
        if life is None:
            return False
        ours = (*life.counters.descriptors, *(() if life.sender is None else life.sender.descriptors))
        return any(known < descriptor for known in ours)

    def stay_closed(self) -> None:
        """Opens nothing until :meth:`may_open`: records wait. What the opener has begun is waited for."""
        self._closing.append(None)
        if self._opener is not None:
            self._opener.stop()

    def may_open(self, *, soon: bool) -> None:
        """Ends one :meth:`stay_closed`. Opens if somebody has logged meanwhile; else soon, if said or begun before."""
        with contextlib.suppress(IndexError):  # forked in the middle
            self._closing.pop()
        if self._early:
            self.open()
        elif soon:
            self.open_soon()
        elif self._life is None and self._opener is not None and not self._only_children and not self._mute:
            self._open_soon()

    def let_go(self) -> bool:
        """Drains, and closes every descriptor; the next record begins a new life. False where nothing was open."""
        life = self._life
        if life is None:
            return False
        self.drain()
        self._bury(life)
        life.counters.unmap()
        return True

    def _bury(self, life: Life) -> None:
        self._life = None  # first: what comes before the next line is counted in the old life, as dropped
        self._begin()
        self._past = life.stats() if self._past is None else self._past + life.stats()
        life.counters.close()

    def stats(self) -> Stats:
        """The counters of this process, earlier lives included."""
        from dataclasses import replace

        from logbus.producers.stats import Stats

        life = self._life
        now = self._past or Stats()
        if life is not None:
            now += life.stats()
        version, _, _, counts = self.gate.confirmed()
        recorder = dict(zip(_RECORDER, counts, strict=True)) if self.gate.recorder is not None else None
        return replace(now, level_version=version, recorder=recorder)

    def before_fork(self) -> None:
        """Stops thread and context, so that the child inherits neither."""
        if self._opener is not None:
            self._opener.stop()
        life = self._life
        if life is not None and life.sender is not None:
            life.sender.pause(FORK_TIMEOUT)

    def after_fork_in_parent(self) -> None:
        """Starts them again."""
        life = self._life
        if life is not None and life.sender is not None:
            life.sender.resume()
        elif life is None and self._opener is not None and not self._only_children:
            self._open_soon()

    def after_fork_in_child(self) -> None:
        """Begins anew: a child is another producer. It opens with its first record, or soon by itself."""
        life, self._life = self._life, None
        self._closing = []
        self._past = None
        self._begin()
        self.gate.after_fork()
        if self.gate.recorder is not None:
            self.gate.recorder.after_fork()
        if life is not None:
            life.abandon()
        self._mute = is_about_to_exec()
        self._only_children = False
        if (life is not None or self._opener is not None) and not self._mute:
            self._open_soon()

    def _open_soon(self) -> None:
        self._opener = Opener(self.open)
        self._opener.start()


_ALL: weakref.WeakSet[Producer] = weakref.WeakSet()
#: By their settings without that which says nothing about the producer.
_SHARED: dict[ProducerSettings, Producer] = {}


def all_producers() -> list[Producer]:
    """Every producer of this process."""
    return list(_ALL)


def producer_for(settings: ProducerSettings) -> Producer:
    """The producer of these settings; handlers with the same settings share one."""
    key = settings._replace(fast_loggers=False)
    producer = _SHARED.get(key)
    if producer is None:
        producer = _SHARED.setdefault(key, Producer(settings))
    return producer


def drain_all() -> None:
    """Shuts every producer of this process down, each within its own deadline."""
    for producer in all_producers():
        producer.drain()


def flush_all() -> None:
    """Waits until what was emitted before is in a collector's ledger, for each producer within its own deadline."""
    for producer in all_producers():
        producer.flush_soon()


#: The ways out of this process, where every producer is drained.
EXITS: Final = Exits(drain_all, flush_all)
EXITS.install()
Forks(all_producers).install()
