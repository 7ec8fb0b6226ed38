"""The sender thread: the one owner of a producer's sockets. It takes from the buffer, packs, numbers and sends.

Theory of operation. The thread sleeps in a poll over the control socket, a wake-up pipe and, when a frame could not
be sent, the record socket. A log call that finds the thread idle writes one byte to the pipe; the thread then
gathers for :data:`GATHER_S`, or longer where few come, and sends everything in frames; while records come it looks
again after each gathering, and nobody has to wake it. It sends only to a collector that has welcomed it and
serves; while one drains (a graceful restart) records wait in the buffer. EAGAIN is back-pressure, never a drop.

Accounting. A record gets its sequence number when the socket accepts its frame, so the numbers are contiguous.
MARKs go out each second, on request, and when a new collector appears; a BYE closes the book.

Closing. What the socket has accepted may be in the kernel still, and a PULL socket at its high-water mark forgets
what it has not read of a peer that closes (libzmq 4.3.5; 811 of 400,000 records at a plain exit). So a connection is
closed, at exit and before a fork, only once the collector has acknowledged everything sent; see docs/decisions.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Sequence
from typing import Final

import zmq

from logbus import os_threads
from logbus.bus import is_bound, push_socket
from logbus.counters import Counters, Meta
from logbus.producers.accounts import Accounts
from logbus.producers.buffer import Buffer, Entry
from logbus.producers.crowd import Crowd
from logbus.producers.flushes import Flushes
from logbus.producers.gate import Gate
from logbus.producers.pack import FRAME_BYTES, FRAME_RECORDS, Packed, packer_for
from logbus.producers.pipe import WakePipe
from logbus.producers.settings import ProducerSettings
from logbus.producers.subscriber import Subscriber
from logbus.producers.unsignalled import Thread, unsignalled, wait_end
from logbus.rules import Levels
from logbus.wire import ACK_WANTED, BYE, DATA, MARK, NAMES, UNENCODABLE, pack_frame, pack_payload

#: Seconds that a record waits for company; one of level ERROR or above does not wait. Where few come it is longer: a
#: frame for each of 25 records a second would cost 6 ms of CPU a second, in every worker. How long, it decides too how
#: many records a worker that is killed takes with it.
GATHER_S: Final = 0.02
GATHER_QUIET_S: Final = 0.06
#: Records of one gathering from which on they are many.
MANY_RECORDS: Final = 50
#: Records that a buffer has room for at least, where they are gathered for longer: a small one would overflow.
ROOMY_RECORDS: Final = 16_384
#: Seconds between MARKs.
MARK_INTERVAL_S: Final = 1.0
#: Seconds between attempts to open sockets while the system refuses them.
RETRY_S: Final = 1.0
#: Seconds between repetitions of a question for an acknowledgement.
ASK_INTERVAL_S: Final = 0.25
#: Seconds that an exit waits for the welcome of a collector where none listens: one may be starting.
WELCOME_S: Final = 0.1
#: Seconds for which a closing sender waits for calls in progress in other threads.
SETTLE_S: Final = 0.05


class Sender:
    """The thread of one producer life and everything it owns. Other threads use the methods above the line only."""

    def __init__(
        self,
        settings: ProducerSettings,
        buffer: Buffer,
        counters: Counters,
        meta: Meta,
        gate: Gate,
    ) -> None:
        self._urgent = False
        self._gate = gate
        self._source = meta.source()
        self._settings = settings
        self._buffer = buffer
        self._counters = counters
        self._accounts = Accounts(buffer, counters, meta)
        self._packer = packer_for(meta, settings.component)
        self._crowd = Crowd(settings.endpoint.pages)
        #: What has left the buffer, and is not packed yet; what is packed, and not in the socket yet.
        self._taken: Sequence[Entry] = ()
        self._outgoing: list[Packed] = []
        self._passed = -1
        self._mark_due = False
        self._names_due = False
        self._next_mark = 0.0
        self._next_ask = 0.0
        self._answered = 0
        self._life = ""
        self._acknowledged = 0
        self._flushes = Flushes()
        self._welcomed = os_threads.Event()
        self._pipe = WakePipe()
        buffer.wake, buffer.hurry, gate.wake = self._pipe.wake, self.hurry, self._pipe.wake
        # Between the thread and those that begin or end it; no log call ever touches it.
        self._turning = os_threads.RLock()
        self._running = False
        self._failed = False
        self._pause_wanted = False
        self._stuck_at = -1
        self._deadline: float | None = None
        self._give_up = 0.0
        self._thread: Thread | os_threads.Thread
        try:
            self._start()
        except RuntimeError:
            self._close_pipe()
            raise

    def hurry(self) -> None:
        """Sends what the buffer holds at once: a crash may follow. Safe in a signal handler; never blocks."""
        if not self._urgent:
            self._urgent = True
            self._pipe.wake()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The file descriptors by which it is woken, which it opens before all others."""
        return self._pipe.descriptors

    def wait_welcome(self, timeout: float) -> bool:
        """Waits until a collector has said its state, at most ``timeout`` seconds."""
        return self._welcomed.wait(timeout)

    def patience(self, timeout: float) -> float:
        """The part of ``timeout`` that is worth waiting: all of it, unless no collector seems to exist."""
        worth = self._settings.refusal() is None and (
            self._welcomed.is_set() or is_bound(self._settings.control.publisher)
        )
        return timeout if worth else min(timeout, WELCOME_S)

    def flush(self, timeout: float) -> bool:
        """Waits until everything emitted before is in a collector's ledger. False after ``timeout`` seconds."""
        flush = self._flushes.begin(self._buffer.ticket())
        self.hurry()
        return self._flushes.wait(flush, timeout)

    def finish(self, timeout: float) -> None:
        """Drains for at most ``timeout`` seconds, closes the book and ends the thread. Never hangs."""
        patience = self.patience(timeout)
        now = time.monotonic()
        self._give_up = now + patience
        with self._turning:
            self._deadline = now + timeout
            if not self._running:  # paused for a fork: a signal handler may end the process in the middle of one
                with contextlib.suppress(RuntimeError):  # the interpreter is going down
                    self._start()
        self._pipe.wake()
        # The thread keeps the deadline itself; the margin is for a slow machine, not for the drain.
        wait_end(self._thread, timeout + 0.4)
        with self._turning:
            # Only one may be at the buffer's end: while the thread runs it is the one, however late.
            if not self._running:
                self._drop_rest()

    def pause(self, timeout: float) -> None:
        """Ends thread, sockets and context before a fork, losing nothing: waits for at most ``timeout`` seconds.

        When a stalled collector does not say that it has everything, nothing is closed and the fork goes on: the
        child never touches what it inherits. Further forks don't wait for that collector again until it moves.
        """
        with self._turning:
            self._pause_wanted = True
            thread = self._thread
        self._pipe.wake()
        # A finalizer may fork in any thread, in this one too.
        if self._stuck_at != self._acknowledged and thread.ident not in (None, os_threads.get_ident()):
            self._stuck_at = -1 if wait_end(thread, timeout) else self._acknowledged

    def resume(self) -> None:
        """Opens everything again after a fork, in the parent."""
        with self._turning:
            self._pause_wanted = False
            if not self._running and self._deadline is None:
                with contextlib.suppress(RuntimeError):  # the interpreter is going down
                    self._start()

    def abandon(self) -> None:
        """In a forked child: lets go of what belongs to the parent. Its thread is not here, its sockets not ours."""
        self._close_pipe()

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        """Starts the thread. Raises RuntimeError where the system or the interpreter has no more threads to give."""
        self._thread = unsignalled(self._run, "logbus-sender")
        self._running = True
        try:
            self._thread.start()
        except BaseException:
            self._running = False
            raise

    def _run(self) -> None:
        """Session after session, until a fork or the end."""
        over = False
        try:
            while True:
                try:
                    over = self._session()
                except (OSError, zmq.ZMQError):  # out of descriptors, or not to be trusted: records wait in the buffer
                    over = self._deadline is not None
                    self._wait_to_retry()
                except Exception as error:  # a mistake of ours: better said, once, and gone on, than a silent worker
                    over = self._deadline is not None
                    if not self._failed:
                        self._failed = True
                        thread = threading.current_thread()
                        threading.excepthook(
                            threading.ExceptHookArgs((type(error), error, error.__traceback__, thread))
                        )
                    self._wait_to_retry()
                with self._turning:
                    if over or (self._pause_wanted and self._deadline is None):
                        self._running = False
                        return
        finally:
            self._running = False
            if over:
                self._close_pipe()

    def _wait_to_retry(self) -> None:
        if self._deadline is None:
            waking = zmq.Poller()
            waking.register(self._pipe.reading, zmq.POLLIN)
            waking.poll(int(RETRY_S * 1000))
            self._pipe.empty()
            self._gate.tick()  # rules end, and modules are loaded, all the same

    def _close_pipe(self) -> None:
        self._buffer.asleep = False
        self._pipe.close()

    def _session(self) -> bool:
        """Connects and serves until a fork (False) or the end (True). Raises OSError where it must not or can't."""
        if refusal := self._settings.refusal():
            raise PermissionError(refusal)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            push = push_socket(context)
            push.connect(self._settings.endpoint.url)
            subscriber = Subscriber(context, self._settings.control, self._counters.producer, self._hear_levels)
            poller = zmq.Poller()
            poller.register(subscriber.socket, zmq.POLLIN)
            poller.register(self._pipe.reading, zmq.POLLIN)
            poller.register(push, 0)
            self._serve(push, subscriber, poller)
            over = self._deadline is not None
            if over:
                self._close_book(push, subscriber, poller)
            return over
        finally:
            # Without linger: what matters has been acknowledged, or its time is over and it is counted as sent.
            context.destroy(0)

    def _serve(self, push: zmq.Socket[bytes], subscriber: Subscriber, poller: zmq.Poller) -> None:
        roomy = self._settings.capacity >= ROOMY_RECORDS
        gather = quiet = GATHER_QUIET_S if roomy else GATHER_S
        gather_until = 0.0
        expecting = False
        while True:
            self._hear(subscriber)
            if self._gate.tick():
                self._mark_due = True
            subscriber.confirm(*self._gate.in_force)
            now = time.monotonic()
            if now >= self._next_mark:
                self._next_mark = now + MARK_INTERVAL_S
                self._mark_due = self._names_due = True
            ending = self._deadline is not None
            free = True
            if ending or self._pause_wanted or self._urgent or self._mark_due or now >= gather_until:
                self._urgent = False
                sent = self._counters.sent
                free = self._send(push, subscriber)
                sent = self._counters.sent - sent
                gather = GATHER_S if sent >= MANY_RECORDS else quiet
                # What the socket did not take goes as soon as there is room: gathering would only spin till then.
                gather_until = time.monotonic() + gather if free else 0.0
                expecting = sent > 0
            serving = self._serving(subscriber)
            if self._pause_wanted and not ending and self._safe_to_close(subscriber):
                return
            if ending and self._over(subscriber):
                return
            wait_until = min(self._next_mark, self._gate.due)
            if serving and free and self._asking():  # else nobody can be asked, and it would only spin till then
                wait_until = min(wait_until, self._next_ask)
            if ending:
                wait_until = min(wait_until, self._give_up)
            if serving and free:
                # Where some came others follow, most likely: a look after the next gathering spares them the waking.
                self._buffer.asleep = not expecting  # before the look: a record that comes after it wakes us
                if expecting or self._buffer.records:
                    self._buffer.asleep = False
                    wait_until = min(wait_until, gather_until)
            if self._wait(poller, push, wait_until, blocked=not free):
                gather_until = time.monotonic() + gather

    def _wait(self, poller: zmq.Poller, push: zmq.Socket[bytes], until: float, *, blocked: bool) -> bool:
        """Sleeps until something happens or the time is there. True when a log call has woken the thread."""
        poller.modify(push, zmq.POLLOUT if blocked else 0)
        events = poller.poll(max(0, math.ceil((until - time.monotonic()) * 1000)))
        woken = any(source == self._pipe.reading for source, _ in events)
        if woken:
            self._pipe.empty()
        return woken

    def _over(self, subscriber: Subscriber) -> bool:
        """Whether a drain has nothing left to do, or no time left to do it."""
        limit = self._deadline if subscriber.state is not None else self._give_up
        if limit is None or time.monotonic() >= limit:
            return True
        return self._serving(subscriber) and not self._buffer.records

    @staticmethod
    def _serving(subscriber: Subscriber) -> bool:
        return subscriber.state is not None and subscriber.state.state == "serving"

    def _safe_to_close(self, subscriber: Subscriber) -> bool:
        return subscriber.state is None or self._acknowledged >= self._counters.sent

    def _asking(self) -> bool:
        """Whether somebody waits for an acknowledgement."""
        if self._acknowledged >= self._counters.sent:
            return False
        return self._pause_wanted or self._flushes.asking

    def _hear(self, subscriber: Subscriber) -> None:
        changed = subscriber.read()
        self._acknowledged = max(self._acknowledged, subscriber.acknowledged)
        state = subscriber.state
        if state is not None and changed:
            if state.life != self._life or state.request > self._answered or state.state == "draining":
                self._mark_due = True
            if state.life != self._life:
                self._gate.forget_told()
                self._names_due = True
            self._life = state.life
            self._answered = state.request
            self._counters.say_welcomed()
            self._welcomed.set()
        self._settle_flushes()

    def _hear_levels(self, levels: Levels, welcome: bool) -> None:
        if self._gate.take(levels, welcome=welcome):
            self._mark_due = True  # it confirms them, before what waits in the buffer

    def _send(self, push: zmq.Socket[bytes], subscriber: Subscriber) -> bool:
        """Sends what the buffer holds and a due MARK. False when the socket took no more."""
        while subscriber.state is not None:
            if self._mark_due and not self._send_mark(push):
                return False
            if self._names_due and not self._send_names(push):
                return False
            if not self._serving(subscriber):
                return True
            if not self._outgoing:
                if not self._taken:  # else memory was short when they were to be packed
                    self._taken = self._buffer.take(FRAME_RECORDS, self._crowd.frame_bytes(self._buffer.bytes))
                drops = self._accounts.drop_report(now=self._deadline is not None)
                if not self._taken and not drops:
                    return self._ask(push)
                self._outgoing = self._packer.pack(self._taken, drops)
                self._taken = ()
            if not self._send_packed(push, self._outgoing[0]):
                return False
            del self._outgoing[0]
            now = time.monotonic()
            if now >= self._next_mark or (self._deadline is not None and now >= self._deadline):
                return True
            self._hear(subscriber)  # a drain takes effect between two frames
        return True

    def _ask(self, push: zmq.Socket[bytes]) -> bool:
        """Asks for an acknowledgement if somebody waits for it, and again when none has come for a while."""
        waiting = self._flushes.waiting()  # before the look
        if not self._buffer.records:
            self._flushes.all_sent(waiting, self._counters.sent)
        self._settle_flushes()
        if not self._asking() or time.monotonic() < self._next_ask:
            return True
        return self._send_mark(push)

    def _send_mark(self, push: zmq.Socket[bytes]) -> bool:
        flags = ACK_WANTED if self._asking() else 0
        if not self._offer(push, MARK, 0, self._accounts.mark(self._answered, self._gate.confirmed()), flags=flags):
            return False
        self._mark_due = False
        if flags:
            self._next_ask = time.monotonic() + ASK_INTERVAL_S
        return True

    def _send_names(self, push: zmq.Socket[bytes]) -> bool:
        """Tells the collector which loggers exist here, if there are new ones."""
        names = self._gate.names()
        if names is not None and not self._offer(push, NAMES, 0, pack_payload([self._source, names])):
            self._gate.forget_told()
            return False
        self._names_due = False
        return True

    def _send_packed(self, push: zmq.Socket[bytes], packed: Packed) -> bool:
        if packed.payload and not self._offer(push, DATA, packed.records, packed.payload):
            return False
        for bucket in packed.unencodable:
            self._accounts.drop(UNENCODABLE, bucket)
        if packed.payload:
            self._counters.sent += packed.records
            self._next_ask = 0.0
        ended = packed.records + len(packed.unencodable)
        self._buffer.release(ended, packed.size)
        if ended:
            self._passed = packed.last
        return True

    def _offer(self, push: zmq.Socket[bytes], type_: int, count: int, payload: bytes, *, flags: int = 0) -> bool:
        frame = pack_frame(type_, self._counters.producer, self._counters.sent, count, payload, flags=flags)
        try:
            push.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _settle_flushes(self) -> None:
        self._flushes.settle(passed=self._passed, sent=self._counters.sent, acknowledged=self._acknowledged)

    def _close_book(self, push: zmq.Socket[bytes], subscriber: Subscriber, poller: zmq.Poller) -> None:
        """The last words of a producer: what is left becomes counted drops, then the BYE, and its acknowledgement."""
        self._buffer.closed = True
        settle_until = time.monotonic() + SETTLE_S
        while not self._accounts.settled() and time.monotonic() < settle_until:
            os_threads.sleep(0.001)
        if self._serving(subscriber):
            self._send(push, subscriber)
        self._drop_rest()
        if self._serving(subscriber) and (drops := self._accounts.drop_report(now=True)):
            self._send_packed(push, self._packer.pack([], drops)[0])
        self._next_ask = 0.0
        while (
            subscriber.state is not None and self._deadline is not None and (now := time.monotonic()) < self._deadline
        ):
            blocked = False
            if now >= self._next_ask:  # once more when no answer came: it may have been lost
                bye = self._accounts.mark(self._answered, self._gate.confirmed(), bye=True)
                blocked = not self._offer(push, BYE, 0, bye, flags=ACK_WANTED)
                self._next_ask = now if blocked else now + ASK_INTERVAL_S
            self._hear(subscriber)
            if subscriber.bye_acknowledged or (not self._serving(subscriber) and self._safe_to_close(subscriber)):
                return
            self._wait(poller, push, min(self._deadline, now + ASK_INTERVAL_S), blocked=blocked)

    def _drop_rest(self) -> None:
        # Where memory is short this ends anywhere, and another begins with what was not counted.
        self._buffer.closed = True
        while self._outgoing:
            packed = self._outgoing[0]
            self._accounts.drop_rest(packed.levels(), packed.size)
            del self._outgoing[0]
        while True:
            if not self._taken:
                self._taken = self._buffer.take(FRAME_RECORDS, FRAME_BYTES)
            if not self._taken:
                break
            self._accounts.drop_rest(*self._packer.levels(self._taken))
            self._taken = ()
        self._counters.say_bye()
