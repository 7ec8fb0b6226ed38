"""One collector: its sockets, the loop that reads them, and an end that loses nothing.

Theory of operation. One thread owns every socket. A turn takes in what waits, enters it in the ledger in one commit,
and hands lines to the writer threads of the sinks. When a patient sink can't keep up, the record socket is left
alone: its queue fills, the workers' sends meet EAGAIN, and their buffers take over. Commands are answered all the
while. The end is a handshake: "draining" is published, each worker holds its records and says so in a MARK; after
the last MARK nothing is under way, and the sinks are flushed.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket as network
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq

from logbus import __version__
from logbus.bus import Endpoint, private_directory, pull_socket
from logbus.collectors.claim import Claim
from logbus.collectors.commands import Commands
from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter
from logbus.collectors.ledger import FILE_NAME, Ledger, Resolution
from logbus.collectors.mark import Mark
from logbus.collectors.own import OwnRecords
from logbus.collectors.publisher import Publisher
from logbus.collectors.receiver import Receiver, Turn, is_bye
from logbus.collectors.redact import Redactor
from logbus.collectors.roll import Loss, Roll
from logbus.collectors.route import Route, Router
from logbus.collectors.sinks.base import Sink
from logbus.collectors.writer import Writer
from logbus.collectors.zap import Doorkeeper
from logbus.wire import ACK_WANTED, DATA

#: Seconds between looks at which workers live.
SWEEP_S: Final = 0.25
#: Seconds that a drain waits for the workers' last MARKs, at most.
DRAIN_S: Final = 2.0
#: Seconds between repetitions of "draining", for workers that connect meanwhile.
REPEAT_S: Final = 0.05
#: Seconds that a drain lasts at least, and from the last worker that comes: one that was welcomed a moment before, as
#: by a collector that serves, is not on the list of those who listen yet and may send what nobody would read.
GRACE_S: Final = 0.1
#: Seconds for the sinks to write what is queued, at the end; for an impatient one, which may be stopped for good.
FLUSH_S: Final = 10.0
FLUSH_IMPATIENT_S: Final = 1.0
#: Seconds between looks at whether a question can be answered.
ANSWER_S: Final = 0.02
#: Seconds between looks at whether a sink that pushed back has room again.
PUSHED_BACK_S: Final = 0.002
#: Seconds for which frames gather once the socket has been emptied: a turn for each frame would cost four times as
#: much at 10,000 records a second from four workers.
GATHER_S: Final = 0.01
#: Seconds that the loop sleeps at most.
_IDLE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Destination:
    """A sink, what it takes, and in which format."""

    sink: Sink
    filter: SinkFilter
    formatter: Formatter


class Collector:
    """A collector, bound and ready once made; :meth:`serve` serves until :meth:`stop`, :meth:`close` drains.

    All but :meth:`stop` belong to one thread. Raises OwnedError (the endpoint, the state or a file is another
    collector's), EndpointError, SinkError, ConfigurationError or PageError, and then holds nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint: Endpoint,
        control: Endpoint,
        state: Path,
        destinations: Sequence[Destination],
        redactor: Redactor,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.control = control
        self._tell = tell
        self._started = time.monotonic()
        self._stopping = False
        self._hurried = False
        self._complaints: deque[str] = deque()
        self._next_sweep = 0.0
        self._receive_at = 0.0
        self._emptied = False
        self._signals: int | None = None
        with contextlib.ExitStack() as undo:
            records_claim = Claim(endpoint, name=name)
            undo.callback(records_claim.release)
            control_claim = Claim(control, name=name)
            undo.callback(control_claim.release)
            private_directory(endpoint.pages)
            fresh = not (private_directory(state) / FILE_NAME).exists()
            self._ledger = Ledger.open(state, name=name)
            undo.callback(self._ledger.close)
            self._own = OwnRecords(self._ledger, host=network.gethostname())
            self._roll = Roll(self._ledger, endpoint.pages, fresh=fresh or self._ledger.quarantined is not None)
            self._report_past(self._ledger.resolve_intents())
            self._router = Router(self._start_sinks(destinations, undo))
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            undo.callback(self._context.destroy, 0)
            self._doorkeeper = Doorkeeper(self._context)
            self._publisher = Publisher(self._context, ledger=self._ledger.id, name=name)
            self._commands = Commands(
                self._context, status=self.status, ask=self._ask, answered=self._answered, stop=self._stop_command
            )
            self._receiver = Receiver(pull_socket(self._context), redactor)
            self._redactor = redactor
            control_claim.bind(self._publisher.socket, control.publisher)
            control_claim.bind(self._commands.socket, control)
            records_claim.bind(self._receiver.socket, endpoint)
            self._poller = zmq.Poller()
            for socket in (self._doorkeeper, self._publisher, self._commands, self._receiver):
                self._poller.register(socket.socket, zmq.POLLIN)
            self._undo = undo.pop_all()

    def serve(self, wake: int | None = None) -> None:
        """Serves until :meth:`stop`; ``wake`` is a descriptor that becomes readable to end a wait."""
        if wake is not None:
            self._signals = wake
            self._poller.register(wake, zmq.POLLIN)
        while not self._stopping:
            self._turn(_IDLE_S)

    def stop(self) -> None:
        """Ends :meth:`serve` soon; a second call hurries the drain. From any thread or a signal handler."""
        self._hurried = self._stopping
        self._stopping = True

    def reopen(self) -> None:
        """Makes every sink look at whether its file was moved."""
        for route in self._router.routes:
            route.writer.reopen()

    def close(self) -> None:
        """Drains: waits for what is under way, flushes the sinks, gives everything up."""
        try:
            self._drain()
            self._receiver.socket.close(0)
            begun = time.monotonic()
            for route in self._router.routes:
                patience = FLUSH_S if route.writer.sink.patient else FLUSH_IMPATIENT_S
                route.writer.finish(begun + (0.0 if self._hurried else patience))
            while self._complaints:
                self._tell(self._complaints.popleft())
            self._commands.close()
            self._publisher.close()
            self._doorkeeper.close()
        finally:
            self._undo.close()

    def status(self) -> dict[str, Any]:
        """The status document of the contract."""
        if not self._stopping:
            self._sweep()
        state = self._publisher.state
        collector = {
            "name": self.name,
            "pid": os.getpid(),
            "state": state.state,
            "level_version": 0,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "version": __version__,
            "endpoint": self.endpoint.url,
            "control": self.control.url,
            "ledger": self._ledger.id,
            "bad_frames": dict(self._receiver.bad_frames),
            "refused_connections": self._doorkeeper.refused,
        }
        writers = [route.writer for route in self._router.routes]
        document = self._ledger.status_document(lambda: {writer.sink.name: writer.queued for writer in writers})
        return {"collector": collector, **document}

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, timeout: float, *, draining: bool = False) -> bool:
        """Waits for at most ``timeout`` seconds, then does what there is to do. False when there was no record."""
        pushed_back = self._router.pushes_back and not draining
        gathering = 0.0 if draining else self._receive_at - time.monotonic()
        deaf = pushed_back or gathering > 0
        self._poller.modify(self._receiver.socket, 0 if deaf else zmq.POLLIN)
        if deaf:
            timeout = PUSHED_BACK_S if pushed_back else min(timeout, gathering)
        if self._commands.waiting:
            timeout = min(timeout, ANSWER_S)
        ready = dict(self._poller.poll(math.ceil(timeout * 1000)))
        if self._signals in ready and self._signals is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._signals, 4096)
        if self._doorkeeper.socket in ready:
            self._doorkeeper.answer()
        if self._publisher.socket in ready:
            self._publisher.listen()
        if self._commands.socket in ready:
            self._commands.read()
        turn = Turn([])
        if self._receiver.socket in ready:
            turn = self._receiver.receive()
            if not turn.full:
                self._receive_at = time.monotonic() + GATHER_S
        if pushed_back or not deaf:  # frames that gather for a moment don't count as waiting
            self._emptied = not (pushed_back or turn.full)
        while self._complaints:
            complaint = self._complaints.popleft()
            self._tell(complaint)
            self._own.say(complaint, event="sink_failed")
        if turn or self._own:
            self._enter(turn)
        if time.monotonic() >= self._next_sweep:
            self._sweep()
        self._commands.settle()
        return bool(turn)

    def _enter(self, turn: Turn) -> None:
        """One commit for all that a turn took in, then its lines to the sinks."""
        batches: list[Batch] = []
        losses: list[Loss] = []
        with self._ledger.transaction() as change:
            for header, arrival in turn.arrivals:
                if isinstance(arrival, Batch):
                    losses += self._roll.enter(change, arrival)
                    batches.append(arrival)
                    self._own.tell_drops(arrival.source.worker, arrival.drops)
                elif isinstance(arrival, Mark):
                    losses += self._roll.mark(change, header.producer, arrival, bye=is_bye(header))
                elif header.type == DATA:
                    losses += self._roll.reject(change, header.producer, header.first_seq, header.count)
            self._own.tell_losses(losses)
            own = self._own.enter(change)
            if own is not None:
                self._redactor.redact(own)
                batches.append(own)
            deliveries = self._router.enter(change, batches)
        for header, _ in turn.arrivals:
            if header.flags & ACK_WANTED:
                self._publisher.acknowledge(header.producer, header.first_seq, bye=is_bye(header))
        for delivery in deliveries:
            delivery.writer.put(delivery.data, delivery.count, delivery.ranges)

    def _sweep(self) -> None:
        self._next_sweep = time.monotonic() + SWEEP_S
        self._own.tell_losses(self._roll.sweep(self._publisher.listeners, emptied=self._emptied))

    def _drain(self) -> None:
        """The handshake of a graceful end: every worker holds its records, and everything sent is read."""
        self._publisher.say("draining", ask=True)
        request = self._publisher.state.request
        deadline = time.monotonic() + DRAIN_S
        repeat_at = time.monotonic() + REPEAT_S
        settled_at = time.monotonic() + GRACE_S
        listening = len(self._publisher.listeners)
        while time.monotonic() < deadline and not self._hurried:
            busy = self._turn(0.01, draining=True)
            if len(self._publisher.listeners) > listening:
                settled_at = time.monotonic() + GRACE_S
            listening = len(self._publisher.listeners)
            if time.monotonic() >= repeat_at:
                repeat_at = time.monotonic() + REPEAT_S
                self._publisher.repeat()
            settled = not busy and time.monotonic() >= settled_at
            if settled and not self._roll.unanswered(request, self._publisher.listeners):
                break
        self._sweep()
        while self._own:
            self._enter(Turn([]))

    # ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _start_sinks(self, destinations: Sequence[Destination], undo: contextlib.ExitStack) -> list[Route]:
        routes: list[Route] = []
        for destination in destinations:
            writer = Writer(destination.sink, self._ledger, complain=self._complaints.append)
            writer.start()
            undo.callback(writer.finish, 0.0)
            routes.append(Route(writer, destination.filter, destination.formatter))
        names = {route.writer.sink.name for route in routes}
        with self._ledger.transaction() as change:
            for name, row in self._ledger.sinks.items():
                if name not in names and row.state != "removed":
                    row.state = "removed"
                    change.sink(row)
        return routes

    def _report_past(self, resolutions: Sequence[Resolution]) -> None:
        """Says what the last collector left unfinished."""
        if self._ledger.damage:
            text = f"the ledger was damaged: {self._ledger.damage}"
            self._tell(text)
            self._own.say(text, event="ledger_damaged")
        for found in resolutions:
            text = f"sink {found.sink!r}: the last collector ended with {found.lost} records not written"
            if found.unknown:
                text += f" and {found.unknown} of which nobody knows"
            if found.cut_bytes:
                text += f"; a torn line of {found.cut_bytes} bytes was cut off"
            self._tell(text)
            self._own.say(
                text,
                event="restarted",
                sink=found.sink,
                count=found.lost,
                delivered=found.delivered,
                unknown=found.unknown,
            )

    def _ask(self) -> int:
        self._publisher.say(ask=True)
        return self._publisher.state.request

    def _answered(self, request: int) -> bool:
        return not self._roll.unanswered(request, self._publisher.listeners)

    def _stop_command(self) -> dict[str, Any]:
        self.stop()
        return {"name": self.name, "pid": os.getpid()}
