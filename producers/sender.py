"""The sender thread: the one owner of a producer's sockets. It takes from the buffer, packs, numbers and sends.

Theory of operation. The thread sleeps in a poll over the control socket, a wake-up pipe and, when a frame could not
be sent, the record socket. A log call that finds the thread idle writes one byte to the pipe; the thread then
gathers for :data:`GATHER_S` and sends everything in frames. It sends only to a collector that has welcomed it and
serves; while one drains (a graceful restart) records wait in the buffer. EAGAIN is back-pressure, never a drop.

Accounting. A record gets its sequence number when the socket accepts its frame, so the numbers are contiguous.
MARKs go out each second, on request, and when a new collector appears; a BYE closes the book.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from typing import Final

import zmq

from logbus.bus import Endpoint, push_socket
from logbus.counters import DROPPED, SETTLED, Counters, Meta, Totals
from logbus.levels import BUCKETS, bucket_of
from logbus.producers.buffer import Buffer
from logbus.producers.pack import FRAME_BYTES, FRAME_RECORDS, Packed, Packer
from logbus.producers.subscriber import Subscriber
from logbus.wire import BYE, DATA, MARK, SHUTDOWN, UNENCODABLE, pack_frame, pack_payload

#: Seconds that the first record of a burst waits for company; one of level ERROR or above does not wait.
GATHER_S: Final = 0.02
#: Seconds between MARKs, and between reports of drops.
MARK_INTERVAL_S: Final = 1.0
#: Seconds that an exit waits for the welcome of a collector it has never heard of.
WELCOME_S: Final = 0.1
#: Seconds for which a closing sender waits for calls in progress in other threads.
SETTLE_S: Final = 0.05
#: Attempts at a MARK whose counters agree with each other while other threads go on counting.
_SNAPSHOTS: Final = 64

_SHUTDOWN_WORD: Final = DROPPED + SHUTDOWN * len(BUCKETS)
_UNENCODABLE_WORD: Final = DROPPED + UNENCODABLE * len(BUCKETS)


class Sender:
    """The thread of one producer life and everything it owns. Other threads use the methods above the line only."""

    def __init__(
        self, endpoint: Endpoint, control: Endpoint, buffer: Buffer, counters: Counters, meta: Meta, component: str
    ) -> None:
        #: True while a new record has to wake the thread.
        self.idle = False
        self._urgent = False
        self._endpoint = endpoint
        self._control = control
        self._buffer = buffer
        self._counters = counters
        self._meta = meta
        self._packer = Packer(meta, component)
        self._outgoing: list[Packed] = []
        self._passed = -1
        self._mark_due = False
        self._next_mark = 0.0
        self._answered = 0
        self._life = ""
        self._reported = [0] * len(Totals().dropped)
        self._report_at = 0.0
        self._flushes: list[tuple[int, threading.Event]] = []
        self._welcomed = threading.Event()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        # Between the thread and a thread that forks; no log call ever touches it.
        self._pausing = threading.Condition()
        self._pause_wanted = False
        self._paused = False
        self._closing = False
        self._deadline: float | None = None
        self._give_up = 0.0
        self._thread = threading.Thread(target=self._run, name="logbus-sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Wakes the thread. Safe in a signal handler; never blocks."""
        self.idle = False
        with contextlib.suppress(OSError):  # full: it is awake as it is; closed: it has ended
            os.write(self._writing, b"\0")

    def hurry(self) -> None:
        """Sends what the buffer holds at once: a crash may follow. Safe in a signal handler; never blocks."""
        if not self._urgent:
            self._urgent = True
            self.wake()

    def wait_welcome(self, timeout: float) -> bool:
        """Waits until a collector has said its state, at most ``timeout`` seconds."""
        return self._welcomed.wait(timeout)

    def flush(self, timeout: float) -> bool:
        """Waits until everything emitted before has been handed to a collector. False after ``timeout`` seconds."""
        done = threading.Event()
        self._flushes.append((self._buffer.ticket(), done))
        self.wake()
        return done.wait(timeout)

    def finish(self, timeout: float) -> None:
        """Drains for at most ``timeout`` seconds, closes the book and ends the thread. Never hangs."""
        now = time.monotonic()
        # A collector never heard of is not worth the whole time: it may not exist.
        self._give_up = now + (timeout if self._welcomed.is_set() else min(timeout, WELCOME_S))
        with self._pausing:
            self._deadline = now + timeout
            self._pausing.notify_all()
        self.wake()
        # The thread keeps the deadline itself; the margin is for a slow machine, not for the drain.
        self._thread.join(timeout + 0.4)
        if self._thread.is_alive():  # held in term() by frames for a collector that has gone
            self._drop_rest()

    def pause(self, timeout: float) -> None:
        """Closes sockets and context before a fork, losing nothing: waits for at most ``timeout`` seconds.

        When a stalled collector keeps frames from leaving, the thread stays behind in ``term()``: the fork goes on
        all the same, and the frames still go out.
        """
        with self._pausing:
            stuck = self._closing
            self._pause_wanted = True
            self.wake()
            if not stuck and self._thread.is_alive():
                self._pausing.wait_for(lambda: self._paused, timeout)

    def resume(self) -> None:
        """Opens everything again after a fork, in the parent."""
        with self._pausing:
            self._pause_wanted = False
            self._pausing.notify_all()

    def abandon(self) -> None:
        """In a forked child: lets go of what belongs to the parent. Its thread is not here, its sockets not ours."""
        self._close_pipe()

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            while not self._session():
                with self._pausing:
                    self._closing = False
                    self._paused = True
                    self._pausing.notify_all()
                    self._pausing.wait_for(lambda: not self._pause_wanted or self._deadline is not None)
                    self._paused = False
        finally:
            with self._pausing:
                self._closing = False
                self._paused = True  # for good: a fork need not wait for a thread that has ended
                self._pausing.notify_all()
            self._close_pipe()

    def _close_pipe(self) -> None:
        fds = self._reading, self._writing
        self._reading = self._writing = -1  # first: a number that is closed may be somebody else's file soon
        self.idle = False
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _session(self) -> bool:
        """Connects and serves until a fork (False) or the end (True)."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.set(zmq.BLOCKY, False)
        push = push_socket(context)
        push.connect(self._endpoint.url)
        subscriber = Subscriber(context, self._control, self._counters.producer)
        try:
            self._serve(push, subscriber)
            if self._deadline is not None:
                self._close_book(push, subscriber)
        finally:
            # Until the end of time for a fork (the frames in the socket are numbered), until the deadline at exit.
            left = -1 if self._deadline is None else max(0, int((self._deadline - time.monotonic()) * 1000))
            push.close(left if subscriber.state is not None or left > 0 else 0)
            subscriber.close()
            context.term()
        return self._deadline is not None

    def _serve(self, push: zmq.Socket[bytes], subscriber: Subscriber) -> None:
        poller = zmq.Poller()
        poller.register(subscriber.socket, zmq.POLLIN)
        poller.register(self._reading, zmq.POLLIN)
        poller.register(push, 0)
        gather_until = 0.0
        while True:
            self._hear(subscriber)
            now = time.monotonic()
            if now >= self._next_mark:
                self._next_mark = now + MARK_INTERVAL_S
                self._mark_due = True
            ending = self._deadline is not None
            free = True
            if ending or now >= gather_until or self._urgent:
                self._urgent = False
                free = self._send(push, subscriber)
                gather_until = time.monotonic() + GATHER_S
            serving = self._serving(subscriber)
            if serving and free and not self._buffer.records:
                self._flushed(everything=True)
            if self._pause_wanted and not ending:
                self._closing = True
                return
            if ending and self._over(subscriber):
                return
            wait_until = self._next_mark
            if ending:
                wait_until = min(wait_until, self._give_up)
            if serving and free:
                self.idle = True  # before the look: a record that comes after it wakes us
                if self._buffer.records:
                    self.idle = False
                    wait_until = min(wait_until, gather_until)
            poller.modify(push, 0 if free else zmq.POLLOUT)
            events = poller.poll(max(0, math.ceil((wait_until - time.monotonic()) * 1000)))
            if any(source == self._reading for source, _ in events):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._reading, 4096)
                gather_until = time.monotonic() + GATHER_S

    def _over(self, subscriber: Subscriber) -> bool:
        """Whether a drain has nothing left to do, or no time left to do it."""
        limit = self._deadline if subscriber.state is not None else self._give_up
        if limit is None or time.monotonic() >= limit:
            return True
        return self._serving(subscriber) and not self._buffer.records

    @staticmethod
    def _serving(subscriber: Subscriber) -> bool:
        return subscriber.state is not None and subscriber.state.state == "serving"

    def _hear(self, subscriber: Subscriber) -> None:
        if not subscriber.read() or subscriber.state is None:
            return
        state = subscriber.state
        if state.life != self._life or state.request > self._answered or state.state == "draining":
            self._mark_due = True
        self._life = state.life
        self._answered = state.request
        self._welcomed.set()

    def _send(self, push: zmq.Socket[bytes], subscriber: Subscriber) -> bool:
        """Sends a due MARK and what the buffer holds. False when the socket took no more."""
        while subscriber.state is not None:
            if self._mark_due:
                if not self._offer(push, MARK, self._counters.sent, 0, self._mark()):
                    return False
                self._mark_due = False
            if not self._serving(subscriber):
                return True
            if not self._outgoing:
                entries = self._buffer.take(FRAME_RECORDS, FRAME_BYTES)
                drops = self._drop_report()
                if not entries and not drops:
                    return True
                self._outgoing = self._packer.pack(entries, drops)
            if not self._send_packed(push, self._outgoing[0]):
                return False
            del self._outgoing[0]
            if time.monotonic() >= self._next_mark:
                return True
            self._hear(subscriber)  # a drain takes effect between two frames
        return True

    def _send_packed(self, push: zmq.Socket[bytes], packed: Packed) -> bool:
        count = len(packed.entries)
        size = sum(entry[1] for entry in packed.entries)
        if packed.unencodable:
            self._count(_UNENCODABLE_WORD, packed.unencodable)
            self._buffer.release(count, size)
            return True
        if not self._offer(push, DATA, self._counters.sent, count, packed.payload):
            return False
        self._counters.sent += count
        self._buffer.release(count, size)
        if count:
            self._passed = packed.entries[-1][0]
            self._flushed()
        return True

    def _offer(self, push: zmq.Socket[bytes], type_: int, first_seq: int, count: int, payload: bytes) -> bool:
        try:
            push.send(pack_frame(type_, self._counters.producer, first_seq, count, payload), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _flushed(self, *, everything: bool = False) -> None:
        for waiting in list(self._flushes):
            ticket, done = waiting
            if everything or self._passed > ticket:
                self._flushes.remove(waiting)
                done.set()

    def _mark(self) -> bytes:
        """The payload of a MARK: counters that agree with each other."""
        totals = self._counters.totals()
        buffered = self._buffer.records
        for _ in range(_SNAPSHOTS):
            before, totals = totals, self._counters.totals()
            if before.settled == totals.settled and before.dropped == totals.dropped:
                break
            buffered = self._buffer.records
        # Calls that are counted and have not arrived yet are on their way into the buffer.
        buffered += totals.emitted - totals.settled
        return pack_payload(
            [
                self._meta.source(),
                self._meta.started_us,
                self._answered,
                totals.emitted,
                totals.sent,
                buffered,
                totals.drops(),
                self._counters.exact,
                0,
                "handler",
            ]
        )

    def _drop_report(self) -> list[list[int]]:
        """What has been dropped since the last report, at most one report per interval."""
        now = time.monotonic()
        if now < self._report_at and self._deadline is None:
            return []
        self._report_at = now + MARK_INTERVAL_S
        dropped = self._counters.totals().dropped
        report: list[list[int]] = []
        for at, count in enumerate(dropped):
            if count > self._reported[at]:
                reason, bucket = divmod(at, len(BUCKETS))
                first, last = self._buffer.span(reason, bucket)
                wall = time.time()
                first_us, last_us = int((first or wall) * 1_000_000), int((last or wall) * 1_000_000)
                report.append([reason, bucket, count - self._reported[at], first_us, max(first_us, last_us)])
        self._reported = dropped
        return report

    def _close_book(self, push: zmq.Socket[bytes], subscriber: Subscriber) -> None:
        """The last words of a producer: what is left becomes counted drops, then the BYE."""
        self._buffer.closed = True
        settle_until = time.monotonic() + SETTLE_S
        while time.monotonic() < settle_until:
            totals = self._counters.totals()
            if totals.emitted == totals.settled:
                break
            time.sleep(0.001)
        if self._serving(subscriber):
            self._send(push, subscriber)
        self._drop_rest()
        self._counters.say_bye()
        if subscriber.state is not None:
            if (drops := self._drop_report()) and self._serving(subscriber):
                self._send_packed(push, self._packer.pack([], drops)[0])
            self._offer(push, BYE, self._counters.sent, 0, self._mark())

    def _drop_rest(self) -> None:
        """Counts what never left, and calls that were interrupted on their way in, as dropped by the shutdown."""
        self._buffer.closed = True
        rest = [entry for packed in self._outgoing for entry in packed.entries]
        self._outgoing = []
        while entries := self._buffer.take(FRAME_RECORDS, FRAME_BYTES):
            rest += entries
        for entry in rest:
            self._count(_SHUTDOWN_WORD, [bucket_of(entry[3][1])])
            self._buffer.release(1, entry[1])
        totals = self._counters.totals()
        if unsettled := totals.emitted - totals.settled:
            cell = self._cell()
            cell[_SHUTDOWN_WORD + bucket_of(logging.INFO)] += unsettled
            cell[SETTLED] += unsettled

    def _count(self, word: int, buckets: list[int]) -> None:
        cell = self._cell()
        for bucket in buckets:
            cell[word + bucket] += 1

    def _cell(self) -> memoryview[int]:
        return self._counters.cells.get(threading.get_ident()) or self._counters.cell()
