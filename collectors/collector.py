"""One collector: its sockets, the loop that reads them, and an end that loses nothing.

Theory of operation. One thread owns every socket. A turn takes in what waits, enters it in the ledger in one commit,
and hands lines to the writer threads of the sinks. When a sink that blocks can't keep up, the record socket is left
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from logbus import __version__
from logbus.bus import Endpoint, private_directory, pull_socket
from logbus.collectors.allowed import Allowed
from logbus.collectors.claim import Claim
from logbus.collectors.commands import Asker, Wait
from logbus.collectors.control import Control
from logbus.collectors.dead_letters.orders import DeadLetterOrders
from logbus.collectors.dead_letters.reasons import Reasons
from logbus.collectors.dead_letters.store import DeadLetters
from logbus.collectors.decode import Batch, Source
from logbus.collectors.handshake import Handshake
from logbus.collectors.histogram import Histogram
from logbus.collectors.identities import Identities
from logbus.collectors.ledger import FILE_NAME, Ledger
from logbus.collectors.mark import Mark
from logbus.collectors.own import OwnRecords
from logbus.collectors.receiver import TURN_BYTES, Receiver, Turn, is_bye
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.roll import Loss, Roll
from logbus.collectors.route import Destination, Router
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.complaint import WORKS, Complaint, fields_of
from logbus.collectors.writing.drain import drain
from logbus.collectors.writing.writer import Writer
from logbus.errors import ControlError, LogbusError
from logbus.wire import ACK_WANTED, DATA

if TYPE_CHECKING:
    from logbus.collectors.configuration.read import Configuration
    from logbus.collectors.reload import Reloader

#: Seconds between looks at which workers live.
SWEEP_S: Final = 0.25
#: Seconds for which a status waits for the MARKs of the live workers.
FRESH_S: Final = 1.0
#: Seconds between looks at whether a question can be answered.
ANSWER_S: Final = 0.02
#: Seconds between looks at whether a sink that pushed back has room again.
PUSHED_BACK_S: Final = 0.002
#: Seconds for which frames gather once the socket has been emptied. At 10,000 records a second from four workers a turn
#: for each frame would cost four times as much, and gathering for half as long a quarter more.
GATHER_S: Final = 0.02
#: The same after a turn that has taken in much (bytes). There it saves little, and one worker that logs flat out fills
#: its queue meanwhile, and waits.
GATHER_MUCH_S: Final = 0.01
MUCH_BYTES: Final = TURN_BYTES // 2
#: Seconds that the loop sleeps at most.
_IDLE_S: Final = 0.25


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
        configuration: Configuration | None = None,
        allowed: Allowed | None = None,
        levels: Mapping[str, int] | None = None,
        metrics: str | None = None,
        complaints: deque[str] | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.control = control
        self._tell = tell
        self._started = time.monotonic()
        self._stopping = False
        self._hurried = False
        self._hung_up = False
        self._complaints: deque[str] = deque() if complaints is None else complaints
        self._next_sweep = 0.0
        self._receive_at = 0.0
        self._emptied = False
        self._signals: int | None = None
        self._metrics_url: str | None = None
        with contextlib.ExitStack() as undo:
            urls = {"endpoint": endpoint.url, "control": control.url}
            records_claim = Claim(endpoint, name=name, allowed=allowed, urls=urls)
            undo.callback(records_claim.release)
            control_claim = Claim(control, name=name, allowed=allowed, urls=urls)
            undo.callback(control_claim.release)
            identities = Identities(endpoint.pages) if allowed is not None else None
            for obstacle in allowed.unreachable(endpoint.lock.parent) if allowed is not None else ():
                tell(obstacle)
            private_directory(endpoint.pages)
            fresh = not (private_directory(state) / FILE_NAME).exists()
            self._ledger = Ledger.open(state, name=name)
            undo.callback(self._ledger.close)
            self._own = OwnRecords(self._ledger, host=network.gethostname())
            self._roll = Roll(
                self._ledger,
                endpoint.pages,
                fresh=fresh or self._ledger.quarantined is not None,
                mask=self._mask_source,
            )
            self._spools = Spools(state, self._complaints.append)
            undo.callback(self._close_spools)
            self._dead_letters = DeadLetters(state, self._complain_of_letters, mask=Reasons(self._redactor_now))
            undo.callback(self._dead_letters.close)
            self._dead_letters.open()
            for line in self._own.tell_past(
                self._ledger.damage, self._ledger.resolve_intents(self._look_into_spools())
            ):
                tell(line)
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            undo.callback(self._context.destroy, 0)
            self._receiver = Receiver(pull_socket(self._context), redactor, identities=identities)
            self._router = Router()
            undo.callback(self._end_sinks)
            self._start_sinks(destinations)
            self._receiver.wants = self._wants
            self._receiver.takes_rows = self._takes_rows
            letters = DeadLetterOrders(
                self._dead_letters,
                self._router.writer_of,
                name=name,
                mask=self._mask_field,
                note=self._own.note,
                tell=self._complain_of_letters,
            )
            undo.callback(letters.close)
            self._control = Control(
                self._context,
                name,
                control=control,
                state=state,
                ledger=self._ledger,
                roll=self._roll,
                own=self._own,
                allowed=allowed,
                identities=identities,
                levels=levels,
                asked={"describe": self._describe_command, "status": self._status_command, **letters.asked()},
                ordered={"reload": self._reload_command, "stop": self._stop_command, **letters.ordered()},
                tell=tell,
                report=self._report_state,
                mask=self._mask_field,
            )
            self._reloader = self._make_reloader(configuration, state) if configuration is not None else None
            self._control.bind(control_claim)
            records_claim.bind(self._receiver.socket, endpoint, to_allowed=True)
            if metrics is not None:
                self._serve_metrics(metrics, undo)
            self._poller = zmq.Poller()
            for socket in (*self._control.sockets, self._receiver.socket):
                self._poller.register(socket, zmq.POLLIN)
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

    def hang_up(self) -> None:
        """Has the configuration reloaded, and every sink look at whether its file was moved; from a signal handler."""
        self._hung_up = True

    def close(self) -> None:
        """Drains: waits for what is under way, flushes the sinks, gives everything up."""
        try:
            self._drain()
            self._receiver.socket.close(0)
            drain(self._router.writers, hurried=lambda: self._hurried)
            self._router.settle()
            while self._complaints:
                self._tell(self._complaints.popleft())
            self._control.close()
        finally:
            self._undo.close()

    def status(self) -> dict[str, Any]:
        """The status document of the contract."""
        if not self._stopping:
            self._sweep()
        state = self._control.publisher.state
        collector = {
            "name": self.name,
            "pid": os.getpid(),
            "state": state.state,
            "level_version": state.levels.version,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "version": __version__,
            "endpoint": self.endpoint.url,
            "control": self.control.url,
            "metrics": self._metrics_url,
            "ledger": self._ledger.id,
            "bad_frames": dict(self._receiver.bad_frames),
            **self._control.status(),
        }
        if self._reloader is not None:
            collector["configuration"] = self._reloader.status()
        collector["dead_letters"] = self._dead_letters.document()
        return {"collector": collector, **self._books()}

    def _books(self) -> dict[str, Any]:
        """The ledger's status document, with what the parts say in the rows of the sinks; for any thread."""
        document = self._router.complete(self._ledger.status_document(self._router.queued))
        for row in document["sinks"]:
            row["dead_letters"] = self._dead_letters.counts.get(row["name"], 0)
        return document

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, timeout: float, *, draining: bool = False) -> bool:
        """Waits for at most ``timeout`` seconds, then does what there is to do. False when there was no record."""
        pushed_back = self._router.pushes_back and not draining
        gathering = 0.0 if draining else self._receive_at - time.monotonic()
        # Beside a crowd that logs more than we can read, confirmations would wait for a core as long as the records.
        eager = self._control.eager and not self._emptied and not draining
        deaf = pushed_back or gathering > 0 or eager
        self._poller.modify(self._receiver.socket, 0 if deaf else zmq.POLLIN)
        if pushed_back:
            timeout = PUSHED_BACK_S
        elif gathering > 0:
            timeout = min(timeout, gathering)
        if self._control.waiting:
            timeout = min(timeout, ANSWER_S)
        timeout = min(timeout, max(0.0, self._router.due_in))
        ready = dict(self._poller.poll(math.ceil(timeout * 1000)))
        # Another turn, to ask whether there are any after they had their time to gather, would cost more than a dozen.
        gathered = gathering > 0 and not (pushed_back or eager or ready) and time.monotonic() >= self._receive_at
        deaf = deaf and not gathered
        if self._signals in ready and self._signals is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._signals, 4096)
        if self._hung_up:
            self._hung_up = False
            self._reload_on_signal(draining=draining)
        self._control.answer(ready)
        turn = Turn([])
        begun = time.thread_time()
        if gathered or self._receiver.socket in ready:
            turn = self._receiver.receive()
            if not turn.full and (turn or not gathered):  # where nothing comes, nothing gathers
                self._receive_at = time.monotonic() + (GATHER_S if turn.size < MUCH_BYTES else GATHER_MUCH_S)
        if pushed_back or not deaf:  # frames that gather for a moment don't count as waiting
            self._emptied = not (pushed_back or turn.full)
        while self._complaints:
            complaint = self._complaints.popleft()
            self._tell(complaint)
            fields = fields_of(complaint)
            (self._own.note if fields["event"] == WORKS else self._own.say)(complaint, **fields)
        due = self._router.due
        if due:
            self._own.tell_sampling(self._router.told())
        if turn or self._own or due:
            self._enter(turn)
            self._receiver.pace(turn, time.thread_time() - begun)
        if time.monotonic() >= self._next_sweep:
            self._sweep()
        if self._reloader is not None and not draining:
            self._reloader.look()
        self._control.settle()
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
                elif arrival is None and header.type == DATA:
                    losses += self._roll.reject(change, header.producer, header.first_seq, header.count)
                if arrival is not None:
                    self._control.heard(header.producer, arrival)
            self._own.tell_losses(losses)
            own = self._own.enter(change)
            if own is not None:
                self._receiver.redactor.redact(own)
                batches.append(own)
            deliveries = self._router.enter(change, batches)
        for header, _ in turn.arrivals:
            if header.flags & ACK_WANTED:
                self._control.publisher.acknowledge(header.producer, header.first_seq, bye=is_bye(header))
        for delivery in deliveries:
            delivery.hand_over()
        self._control.show(batches)

    def _sweep(self) -> None:
        self._next_sweep = time.monotonic() + SWEEP_S
        self._router.settle()
        self._own.tell_losses(self._roll.sweep(self._control.publisher.listeners, emptied=self._emptied))
        self._control.sweep()

    def _drain(self) -> None:
        """The graceful end: nothing is under way any more, and everything that came is entered."""
        self._control.drain()
        handshake = Handshake(self._control.publisher, self._roll)
        while not self._hurried and not handshake.over(busy=self._turn(0.01, draining=True)):
            pass
        self._sweep()
        self._router.end_sampling()
        self._own.tell_sampling(self._router.told())
        while self._own:
            self._enter(Turn([]))

    # ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _start_sinks(self, destinations: Sequence[Destination]) -> None:
        self._router.commit(self._router.prepare(destinations, self._make_writer))
        names = {writer.sink.name for writer in self._router.writers}
        with self._ledger.transaction() as change:
            for name, row in self._ledger.sinks.items():
                if name not in names and row.state != "removed":
                    row.state = "removed"
                    change.sink(row)

        self._close_spools()

    def _end_sinks(self) -> None:
        for writer in self._router.writers:
            writer.finish(0.0)

    def _make_writer(self, destination: Destination, behind: Sequence[Writer], latency: Histogram) -> Writer:
        return Writer(
            destination.sink,
            self._ledger,
            complain=self._complaints.append,
            terms=destination.terms,
            spools=self._spools,
            bury=self._dead_letters.bury,
            behind=behind,
            latency=latency,
        )

    def _look_into_spools(self) -> dict[str, int]:
        """How many records stand in each spool that is there, by the name of its sink."""
        rows = self._ledger.sinks
        return {
            name: self._spools.of(name).open(rows[name].acked if name in rows else 0).records
            for name in self._spools.names()
        }

    def _close_spools(self) -> None:
        """Closes the spools that no writer has; one that has one closes it as it ends."""
        used = {writer.sink.name for writer in self._router.writers}
        for name in self._spools.names():
            if name not in used:
                self._spools.of(name).close()

    # A reload exchanges the redactor: it is asked for at each call.

    def _wants(self, batch: Batch) -> list[bool] | None:
        """Which call sites of a batch somebody may want records of. Who begins to follow does so between two turns."""
        return None if self._control.followed else self._router.wants(batch)

    def _takes_rows(self) -> bool:
        """Whether nobody asks for more of a record than its line of JSON, as far as one can see before a turn."""
        return not self._control.followed and self._router.takes_rows

    def _mask_source(self, source: Source) -> None:
        self._receiver.redactor.source(source)

    def _redactor_now(self) -> Redactor:
        return self._receiver.redactor

    def _mask_field(self, key: str, value: Any) -> Any:
        return self._receiver.redactor.field(key, value)

    def _make_reloader(self, configuration: Configuration, state: Path) -> Reloader:
        # Only here: a collector without a file, as in an application's tests, loads no configuration library.
        from logbus.collectors.destinations import selectors
        from logbus.collectors.reload import Reloader

        self._control.orders.configure(configuration.settings.levels, selectors(configuration.settings))
        return Reloader(
            configuration,
            router=self._router,
            receiver=self._receiver,
            make_writer=self._make_writer,
            levels=self._control.orders.configure,
            state=state,
            complain=self._complaints.append,
            tell=self._tell,
            say=self._own.say,
            note=self._own.note,
        )

    def _reload_on_signal(self, *, draining: bool) -> None:
        """SIGHUP: the configuration is read again (its errors are told by then), and files that were moved are left."""
        if self._reloader is not None and not draining:
            with contextlib.suppress(LogbusError):
                self._reloader.reload("SIGHUP")
        for writer in self._router.writers:
            writer.reopen()

    def _reload_command(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        if self._reloader is None or self._stopping:
            raise ControlError("this collector has no configuration to reload, or it drains")
        return self._reloader.answer(document, asker)

    def _complain_of_letters(self, text: str) -> None:
        self._complaints.append(Complaint(text, event="dead_letters"))

    def _report_state(self, text: str) -> None:
        """Says what is wrong with a file of the state."""
        self._tell(text)
        self._own.say(text, event="state_failed")

    def _describe_command(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Who this collector is, at once: no worker is asked for anything."""
        return {"collector": self.status()["collector"], "workers": len(self._roll)}

    def _status_command(self, document: dict[str, Any], asker: Asker) -> Wait:
        self._control.publisher.say(ask=True)
        request = self._control.publisher.state.request
        return Wait(
            time.monotonic() + FRESH_S,
            lambda: not self._roll.unanswered(request, self._control.publisher.listeners),
            self._status_answer,
        )

    def _serve_metrics(self, address: str, undo: contextlib.ExitStack) -> None:
        from logbus.collectors.metrics import View, serve  # a library that few collectors need

        def look() -> View:
            state = self._control.publisher.state
            return View(state.state, state.levels.version, self._books(), dict(self._router.latencies))

        server = serve(address, look, tell=self._tell)
        undo.callback(server.close)
        self._metrics_url = server.url

    def _status_answer(self) -> dict[str, Any]:
        return {"status": self.status()}

    def _stop_command(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        self.stop()
        return {"name": self.name, "pid": os.getpid()}
