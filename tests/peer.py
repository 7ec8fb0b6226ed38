"""A collector's two sockets and nothing behind them: it welcomes workers, keeps every frame, and obeys the test.

Real ZeroMQ and no ledger: what a producer sends is looked at as it travels. One thread owns the sockets; a test
reads ``arrivals`` and calls :meth:`Peer.say`, :meth:`Peer.stall` and :meth:`Peer.go_on`.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import zmq

from logbus.bus import Endpoint, control_endpoint, publisher_socket, pull_socket, push_socket
from logbus.collectors.decode import Batch, decode
from logbus.collectors.mark import Mark, decode_mark, decode_names
from logbus.collectors.zap import Doorkeeper
from logbus.control import PRODUCER_TOPIC, State, pack_acknowledgement, pack_personal
from logbus.producers import producer
from logbus.rules import Levels, Rule
from logbus.wire import ACK_WANTED, BYE, DATA, NAMES, unpack_frame
from tests.eventually import eventually


@dataclass(frozen=True)
class Arrived:
    """One record as it arrived, with the tables of its frame looked up."""

    producer: bytes
    seq: int
    pid: int
    worker: str
    logger: str
    level: str
    level_no: int
    module: str
    function: str
    line: int
    component: str
    thread: str
    time_us: int
    message: str
    extra: dict[str, Any]
    nested: dict[str, Any]
    exception: Any


@dataclass
class Arrivals:
    """Everything that has come, in the order of its coming; ``frames`` are whole DATA batches."""

    frames: list[Batch] = field(default_factory=list)
    marks: list[tuple[bytes, Mark]] = field(default_factory=list)
    byes: dict[bytes, Mark] = field(default_factory=dict)
    #: The loggers that each producer has told of.
    names: dict[bytes, set[str]] = field(default_factory=dict)

    @property
    def records(self) -> list[Arrived]:
        """Every record."""
        return [record for batch in list(self.frames) for record in _records(batch)]

    @property
    def messages(self) -> list[str]:
        """The message of every record."""
        return [record.message for record in self.records]

    def sequences(self) -> dict[bytes, list[int]]:
        """The sequence numbers of each producer, as they came."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for batch in list(self.frames):
            found[batch.producer] += range(batch.first_seq, batch.first_seq + len(batch.records))
        return dict(found)

    def reported(self) -> Counter[tuple[int, int]]:
        """Drops that were reported in-band, by reason and bucket."""
        counts: Counter[tuple[int, int]] = Counter()
        for batch in list(self.frames):
            for drop in batch.drops:
                counts[drop.reason, drop.bucket] += drop.count
        return counts


class Peer:
    """Stands where a collector would, for as long as the ``with`` block lasts.

    A frame that the real decoder refuses ends the thread, and the block raises what it was.
    """

    def __init__(self, endpoint: Endpoint, *, state: Literal["serving", "draining"] = "serving") -> None:
        self.endpoint = endpoint
        self.arrivals = Arrivals()
        self.listeners: set[bytes] = set()
        self.state = State("ledger", secrets.token_hex(8), "peer", os.getpid(), 0, state, 0, Levels("ledger"))
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._run, name="peer")
        self._ready = threading.Event()
        self._stopping = False
        self._stalled = False
        self._silent = False
        #: Of each MARK, whether it asked for an acknowledgement.
        self.asked: list[bool] = []
        self._forgetful = 0
        self._say: State | None = None
        self._failure: Exception | None = None

    @classmethod
    def at(cls, directory: Path, *, state: Literal["serving", "draining"] = "serving") -> Peer:
        """A peer whose sockets are in a directory."""
        return cls(Endpoint.parse(f"ipc://{directory}/records"), state=state)

    @property
    def url(self) -> str:
        """The endpoint that a producer is given; the control endpoint follows from it."""
        return self.endpoint.url

    def __enter__(self) -> Peer:
        if self.endpoint.path is not None:
            self.endpoint.path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()
        self._context.destroy(0)
        if self._failure is not None and error is None:
            raise self._failure

    def set_levels(self, *rules: Rule) -> Levels:
        """Publishes these level rules, under the next version. Returns once they have gone out."""
        levels = Levels(self.state.ledger, self.state.levels.version + 1, rules)
        self.say(levels=levels)
        return levels

    def confirmed(self, version: int) -> set[int]:
        """The pids whose last MARK confirms a version of this ledger, or a later one."""
        last = {mark.source.pid: mark for _, mark in list(self.arrivals.marks)}
        ledger = self.state.ledger
        return {pid for pid, mark in last.items() if mark.ledger == ledger and mark.level_version >= version}

    def say(
        self,
        state: Literal["serving", "draining"] | None = None,
        *,
        ask: bool = False,
        levels: Levels | None = None,
    ) -> State:
        """Publishes a state; ``ask`` asks for a MARK. Returns once it has gone out."""
        old = self.state
        said = old._replace(
            version=old.version + 1,
            state=state or old.state,
            request=old.request + ask,
            levels=levels or old.levels,
        )
        self._say = said
        eventually(lambda: self._say is None, what="the state to go out")
        return said

    def stall(self) -> None:
        """Stops reading records, as a collector does that is stopped or whose disk hangs."""
        self._stalled = True

    def go_on(self) -> None:
        """Reads again."""
        self._stalled = False

    def acknowledge_nothing(self) -> None:
        """Reads on, and answers no question for an acknowledgement any more."""
        self._silent = True

    def forget_answers(self, count: int) -> None:
        """Loses the next acknowledgements, as a publisher may."""
        self._forgetful = count

    def wait_records(self, count: int, timeout: float = 20.0) -> list[Arrived]:
        """Every record, once at least ``count`` have come."""

        def enough() -> bool:
            if self._failure is not None:
                raise self._failure
            return sum(len(batch.records) for batch in list(self.arrivals.frames)) >= count

        eventually(enough, timeout, what=f"{count} records")
        return self.arrivals.records

    def of(self, logger: str) -> list[Arrived]:
        """The records of a logger so far."""
        return [record for record in self.arrivals.records if record.logger == logger]

    def wait_for(self, message: str, count: int = 1) -> list[Arrived]:
        """The records with this in their message, once there are so many."""

        def found() -> list[Arrived]:
            records = [record for record in self.arrivals.records if message in record.message]
            return records if len(records) >= count else []

        return eventually(found, 20, what=f"{count} records with {message!r}")

    def wait_mark(self, request: int) -> Mark:
        """The first MARK that answers a request, once it has come."""

        def answers() -> list[Mark]:
            return [mark for _, mark in list(self.arrivals.marks) if mark.request == request]

        return eventually(answers, what=f"the answer to request {request}")[0]

    def _run(self) -> None:
        control = control_endpoint(records=self.endpoint)
        doorkeeper = Doorkeeper(self._context)
        publisher, pull = publisher_socket(self._context), pull_socket(self._context)
        publisher.set(zmq.XPUB_WELCOME_MSG, self.state.pack(welcome=True))
        publisher.bind(control.publisher.url)
        pull.bind(self.endpoint.url)
        poller = zmq.Poller()
        poller.register(doorkeeper.socket, zmq.POLLIN)
        poller.register(publisher, zmq.POLLIN)
        self._ready.set()
        try:
            while not self._stopping:
                poller.modify(pull, 0 if self._stalled else zmq.POLLIN)
                ready = dict(poller.poll(5))
                doorkeeper.answer()
                if publisher in ready:
                    self._listen(publisher)
                if self._say is not None:
                    self.state = self._say
                    publisher.set(zmq.XPUB_WELCOME_MSG, self.state.pack(welcome=True))
                    publisher.send(self.state.pack())
                    self._say = None
                if pull in ready:
                    answer = self._take(pull.recv())
                    if answer and self._forgetful:
                        self._forgetful -= 1
                    elif answer and not self._silent:
                        publisher.send(answer)
        except Exception as error:
            self._failure = error
        finally:
            doorkeeper.close()
            publisher.close(0)
            pull.close(0)

    def _listen(self, publisher: zmq.Socket[bytes]) -> None:
        message = publisher.recv()
        if not message[1:].startswith(PRODUCER_TOPIC):
            return
        producer = message[2:]
        if message[0]:
            self.listeners.add(producer)
            # As a collector does: what was published since the welcome has passed this listener by.
            publisher.send(pack_personal(producer, self.state.pack(welcome=True)))
        else:
            self.listeners.discard(producer)

    def _take(self, frame: bytes) -> bytes:
        header, payload = unpack_frame(frame)
        if header.type == DATA:
            self.arrivals.frames.append(decode(header, payload))
            return b""
        if header.type == NAMES:
            self.arrivals.names.setdefault(header.producer, set()).update(decode_names(payload).names)
            return b""
        mark = decode_mark(payload)
        assert header.first_seq == mark.sent
        self.arrivals.marks.append((header.producer, mark))
        if header.type == BYE:
            self.arrivals.byes[header.producer] = mark
        self.asked.append(bool(header.flags & ACK_WANTED))
        if not self.asked[-1]:
            return b""
        return pack_acknowledgement(header.producer, header.first_seq, bye=header.type == BYE)


def send_junk(endpoint: Endpoint, *frames: bytes) -> None:
    """Sends bytes to the record socket of an endpoint, as any program of this user might."""
    with zmq.Context() as context, push_socket(context) as socket:
        socket.connect(endpoint.url)
        for frame in frames:
            socket.send(frame)
        socket.set(zmq.LINGER, 1000)


def forget_producers() -> None:
    """Ends every producer of this process and lets go of it, as if it had never been made."""
    for made in producer.all_producers():
        made.shutdown(0.0)
        if made._life is not None:
            made._life.counters.close()
        made.gate.close()
        made._begin()
        made._life = None
    producer._SHARED.clear()
    producer._ALL.clear()


def _records(batch: Batch) -> list[Arrived]:
    found = []
    for at, record in enumerate(batch.records):
        site = batch.sites[record.site]
        found.append(
            Arrived(
                producer=batch.producer,
                seq=batch.first_seq + at,
                pid=batch.source.pid,
                worker=batch.source.worker,
                logger=site.logger,
                level=site.level_name,
                level_no=site.level_no,
                module=site.module,
                function=site.function,
                line=site.line,
                component=site.component,
                thread=batch.threads[record.thread],
                time_us=record.time_us,
                message=record.message,
                extra=record.extra or {},
                nested=record.nested or {},
                exception=record.exception,
            )
        )
    return found
