"""The way of level rules from the collector to its workers, under any order of events; the real parts, a model network.

Real are the collector's book and publisher, and each worker's subscriber and gate. The sockets between them are lists:
messages wait, are lost, come again later; collectors die with and without their state; workers fork and reconnect.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import zmq
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logbus.bus import Endpoint
from logbus.collectors.ledger import Ledger
from logbus.collectors.levels import LevelBook
from logbus.collectors.publisher import Publisher
from logbus.control import PRODUCER_TOPIC, WELCOME_TOPIC, without_address
from logbus.producers.gate import Gate
from logbus.producers.subscriber import Subscriber
from logbus.rules import Levels, Table

SELECTORS = st.sampled_from(["", "rotator", "proxywhirl.rotator", "cache"])
LOGGERS = ("proxywhirl.rotator", "proxywhirl.cache", "httpx")
#: In memory where that can be had: a book is synced at every change.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


class Socket:
    """What both sides need of a socket. ``send`` goes to whoever made it; ``inbox`` is what can be received."""

    Frame = namedtuple("Frame", "bytes")

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.options: dict[int, Any] = {}
        self.inbox: deque[bytes] = deque()
        self._send = send

    def set(self, option: int, value: Any) -> None:
        """Keeps an option."""
        self.options[option] = value

    def connect(self, url: str) -> None:
        """Nothing: the machine connects."""

    def send(self, message: bytes, flags: int) -> None:
        """Publishes."""
        self._send(message)

    def recv(self, flags: int, copy: bool = True) -> Any:
        """The oldest message that has arrived. Raises zmq.Again."""
        if not self.inbox:
            raise zmq.Again
        message = self.inbox.popleft()
        return message if copy else self.Frame(message)


@dataclass
class Context:
    """Makes one socket."""

    made: Socket

    def socket(self, kind: int) -> Socket:
        """The socket."""
        return self.made


@dataclass
class StubLedger:
    """What the book needs of a ledger: its id, and numbers that outlive the process."""

    id: str
    version: int = 0

    def next_version(self, *, beyond: int = 0) -> int:
        """The next number."""
        self.version = max(self.version, beyond) + 1
        return self.version


class StubFront:
    """A logging library that takes every table, unless it is ``busy``."""

    name = "stub"

    def __init__(self) -> None:
        self.table = Table()
        self.busy = False

    def kind(self) -> str:
        """At the source."""
        return "source"

    def join(self, gate: Gate) -> None:
        """It serves whoever comes."""

    def leave(self) -> None:
        """Nothing to give back."""

    def apply(self, table: Table) -> bool:
        """Takes a table."""
        if not self.busy:
            self.table = table
        return not self.busy

    def look(self) -> None:
        """Sees nothing."""

    def names(self) -> Iterator[str]:
        """Has none."""
        return iter(())


@dataclass(repr=False, eq=False)
class Worker:
    """One worker: its gate, its subscriber, what is under way to it, and what it has been through."""

    number: int
    gate: Gate
    front: StubFront
    connected: bool = False
    #: The collector has read the subscriptions of this connection: from now on it is sent what is published.
    subscribed: bool = False
    #: Something was lost since.
    missed: bool = False
    under_way: deque[bytes] = field(default_factory=deque)
    #: Welcomes that this session has had, as they came.
    welcomes: list[bytes] = field(default_factory=list)
    passed: list[tuple[str, int]] = field(default_factory=list)
    #: Highest version by ledger, of this worker and those that it was forked from.
    highest: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"worker {self.number}"

    def begin(self, snapshot: Path) -> None:
        """A life of its producer: the snapshot first, then a session."""
        self.gate.begin(worker=f"w{self.number}", pid=self.number, host="h", snapshot=snapshot)
        self.note()
        self.new_session()

    def new_session(self) -> None:
        """Sockets anew, as after a fork; nothing is connected yet, and nothing under way."""
        self.socket = Socket(lambda message: None)
        context = cast("zmq.Context[zmq.Socket[bytes]]", Context(self.socket))
        control = Endpoint.parse("ipc:///none/control")
        self.subscriber = Subscriber(context, control, self.producer, self._hear)
        self.welcomes.clear()
        self.cut_off()

    def cut_off(self) -> None:
        """The connection is gone, and what was under way."""
        self.connected = self.subscribed = self.missed = False
        self.under_way.clear()

    @property
    def producer(self) -> bytes:
        """Its id."""
        return self.number.to_bytes(16, "big")

    def read(self) -> None:
        """Takes in what has arrived."""
        self.subscriber.read()
        self.gate.due = 0.0
        self.gate.tick()
        self.note()

    def _hear(self, levels: Levels, welcome: bool) -> None:
        self.gate.take(levels, welcome=welcome)
        self.note()

    def note(self) -> None:
        """Keeps what it has come to, confirmed or not, and holds that it never goes backwards within a ledger."""
        levels = self.gate._levels
        if levels is None:
            return
        highest = self.highest.get(levels.ledger, 0)
        assert levels.version >= highest, f"worker {self.number} went back from {highest} to {levels}: {self.passed}"
        self.highest[levels.ledger] = levels.version
        self.passed.append((levels.ledger, levels.version))


class AnyOrder(RuleBasedStateMachine):
    """Workers and collectors in any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="lb-", dir=MEMORY))
        self.snapshot = self.directory / "control.levels"
        self.state = self.directory / "state"
        self.ids = (f"ledger-{number}" for number in itertools.count())
        self.numbers = itertools.count(1)
        self.workers: list[Worker] = []
        self.book: LevelBook | None = None
        self.publisher: Publisher | None = None
        #: Every state message of every life, and every contents that the snapshot file has had.
        self.published: list[bytes] = []
        self.shown: list[bytes] = []
        self.ledger = StubLedger(next(self.ids))
        self.state.mkdir()

    @initialize()
    def begin(self) -> None:
        """The first collector, and one worker."""
        self.start_collector(lost=False)
        self.start_worker()

    def teardown(self) -> None:
        """Whatever has happened, all agree in the end."""
        try:
            self.converge()
        finally:
            shutil.rmtree(self.directory)

    # ── the collector ────────────────────────────────────────────────────────────────────────────────────────────

    @rule(lost=st.sampled_from([False, False, False, True]))
    @precondition(lambda self: self.book is None)
    def start_collector(self, lost: bool) -> None:
        """A new life, from what the last one has left, or from nothing."""
        if lost:
            shutil.rmtree(self.state)
            self.state.mkdir()
            self.ledger = StubLedger(next(self.ids))
        self.book = LevelBook(
            self.state,
            cast("Ledger", self.ledger),
            snapshot=self.snapshot,
            publish=self._publish,
            tell=lambda text: None,
            configured={"default": 20},
        )
        context = cast("zmq.Context[zmq.Socket[bytes]]", Context(Socket(self._broadcast)))
        self.publisher = Publisher(context, ledger=self.ledger.id, name="t", levels=self.book.levels)
        self._show()

    @rule(gracefully=st.booleans(), arrives=st.booleans())
    @precondition(lambda self: self.book is not None)
    def end_collector(self, gracefully: bool, arrives: bool) -> None:
        """Its connections end; what is under way arrives before that, or never."""
        if gracefully and self.publisher is not None:
            self.publisher.say("draining", ask=True)
        for worker in self.workers:
            if arrives:
                self._deliver(worker, len(worker.under_way))
            worker.cut_off()
        self.book = self.publisher = None

    @rule(lost=st.booleans(), gracefully=st.booleans(), arrives=st.booleans())
    @precondition(lambda self: self.book is not None)
    def another_life(self, lost: bool, gracefully: bool, arrives: bool) -> None:
        """A restart after which all come back and hear the welcome: what else takes many steps to happen."""
        self.end_collector(gracefully, arrives)
        self.start_collector(lost)
        for worker in self.workers:
            self._connect(worker)
            self._deliver(worker, 1)

    @rule(selector=SELECTORS, level=st.integers(1, 50), seconds=st.sampled_from([None, None, 3600.0, 1e-6]))
    @precondition(lambda self: self.book is not None)
    def set_level(self, selector: str, level: int, seconds: float | None) -> None:
        """The operator sets a level, perhaps for so short that it is over at once."""
        assert self.book is not None
        self.book.set(selector, level, seconds=seconds)
        self._show()

    @rule()
    @precondition(lambda self: self.book is not None)
    def reset(self) -> None:
        """All that was set goes, or at least that whose time is over."""
        assert self.book is not None
        self.book.expire() or self.book.reset(None)
        self._show()

    @rule()
    @precondition(lambda self: self.publisher is not None)
    def ask(self) -> None:
        """Somebody wants the status: the same levels are published once more."""
        assert self.publisher is not None
        self.publisher.say(ask=True)

    @rule(data=st.data())
    def spoil_the_snapshot(self, data: st.DataObject) -> None:
        """The file is lost, torn, or what it was some time before."""
        contents = data.draw(st.sampled_from([None, b"", b"{", *self.shown]))
        if contents is None:
            self.snapshot.unlink(missing_ok=True)
        else:
            self.snapshot.write_bytes(contents)

    # ── the workers ──────────────────────────────────────────────────────────────────────────────────────────────

    @rule()
    @precondition(lambda self: len(self.workers) < 4)
    def start_worker(self) -> None:
        """One that knows nothing but the snapshot."""
        gate, front = Gate(), StubFront()
        gate.attach(front)
        worker = Worker(next(self.numbers), gate, front)
        worker.begin(self.snapshot)
        self.workers.append(worker)

    @rule(data=st.data())
    @precondition(lambda self: 0 < len(self.workers) < 4)
    def fork(self, data: st.DataObject) -> None:
        """A child begins with what its parent has, by then, and with the snapshot; its parent connects anew."""
        parent = data.draw(st.sampled_from(self.workers))
        if data.draw(st.booleans()):
            self.spoil_the_snapshot(data)
        gate, front = Gate(), StubFront()
        gate.attach(front)
        child = Worker(next(self.numbers), gate, front, highest=dict(parent.highest))
        if parent.gate._levels is not None:
            gate.take(parent.gate._levels, welcome=True)
        gate.after_fork()
        child.begin(self.snapshot)
        parent.new_session()
        self.workers.append(child)

    @rule(data=st.data())
    @precondition(lambda self: self.workers)
    def reopen(self, data: st.DataObject) -> None:
        """A shutdown, and configure() once more: another life of the producer behind the same gate."""
        worker = data.draw(st.sampled_from(self.workers))
        if data.draw(st.booleans()):
            self.spoil_the_snapshot(data)
        worker.begin(self.snapshot)

    @rule(data=st.data())
    @precondition(lambda self: self.publisher is not None and self.workers)
    def connect(self, data: st.DataObject) -> None:
        """Connections stand, perhaps for the second time: each begins with a welcome."""
        for worker in data.draw(st.sets(st.sampled_from(self.workers), min_size=1)):
            if not worker.connected:
                self._connect(worker)

    @rule(data=st.data())
    @precondition(lambda self: any(worker.connected for worker in self.workers))
    def subscribe(self, data: st.DataObject) -> None:
        """A while later its subscriptions are there."""
        self._subscribe(data.draw(st.sampled_from([worker for worker in self.workers if worker.connected])))

    @rule(data=st.data())
    @precondition(lambda self: self.workers)
    def disconnect(self, data: st.DataObject) -> None:
        """A connection breaks, and what was under way is lost."""
        data.draw(st.sampled_from(self.workers)).cut_off()

    @rule(data=st.data())
    @precondition(lambda self: any(worker.under_way for worker in self.workers))
    def deliver(self, data: st.DataObject) -> None:
        """Some of what is under way arrives, in its order."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.under_way]))
        self._deliver(worker, data.draw(st.integers(1, len(worker.under_way))))

    @rule(data=st.data())
    @precondition(lambda self: any(worker.under_way for worker in self.workers))
    def lose(self, data: st.DataObject) -> None:
        """A full queue loses any message but the first."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.under_way]))
        at = data.draw(st.integers(0, len(worker.under_way) - 1))
        if not worker.under_way[at].startswith(WELCOME_TOPIC):
            del worker.under_way[at]
            worker.missed = True

    @rule(data=st.data())
    @precondition(lambda self: self.workers and self.published)
    def replay(self, data: st.DataObject) -> None:
        """Any message of any life comes once more, or a welcome that this worker has had."""
        worker = data.draw(st.sampled_from(self.workers))
        messages = [found for found in (self.published, worker.welcomes) if found]
        worker.socket.inbox.append(data.draw(st.sampled_from(data.draw(st.sampled_from(messages)))))
        worker.read()

    @rule(data=st.data())
    @precondition(lambda self: self.workers)
    def hold_up(self, data: st.DataObject) -> None:
        """Somebody holds the lock of the library in a worker, or lets go of it."""
        worker = data.draw(st.sampled_from(self.workers))
        worker.front.busy = not worker.front.busy
        worker.read()

    # ── what holds ───────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def what_is_confirmed_is_in_force(self) -> None:
        """A worker confirms only what its library has, and never more than it was told."""
        for worker in self.workers:
            version, ledger = worker.gate.confirmed()[:2]
            levels = worker.gate._levels
            if levels is not None and (ledger, version) == (levels.ledger, levels.version):
                expected = Table(levels.rules)
                assert [worker.front.table.decide(name).level for name in LOGGERS] == [
                    expected.decide(name).level for name in LOGGERS
                ]

    def converge(self) -> None:
        """Once all are connected all have the newest (who has missed something: with the next message), and go on."""
        if self.book is None:
            self.start_collector(lost=False)
        assert self.book is not None
        assert self.publisher is not None
        self.book.expire()
        for worker in self.workers:
            worker.front.busy = False
            if not worker.connected:
                self._connect(worker)
            if not worker.subscribed:
                self._subscribe(worker)
        if any(worker.missed for worker in self.workers):
            self.publisher.say(ask=True)
        self._agree(self.book.levels)
        self.book.set("httpx", 50)
        self._agree(self.book.levels)

    def _agree(self, levels: Levels) -> None:
        table = Table(levels.rules)
        for worker in self.workers:
            self._deliver(worker, len(worker.under_way))
            assert worker.gate.confirmed()[:2] == (levels.version, levels.ledger), worker.passed
            assert [worker.front.table.decide(name) for name in LOGGERS] == [table.decide(name) for name in LOGGERS]

    # ── the network ──────────────────────────────────────────────────────────────────────────────────────────────

    def _publish(self, levels: Levels) -> None:
        if self.publisher is not None:
            self.publisher.say(levels=levels)

    def _broadcast(self, message: bytes) -> None:
        personal = message.startswith(PRODUCER_TOPIC)
        if not personal:
            self.published.append(message)
        for worker in self.workers:
            if message.startswith(PRODUCER_TOPIC + worker.producer) if personal else worker.subscribed:
                worker.under_way.append(message)

    def _connect(self, worker: Worker) -> None:
        assert self.publisher is not None
        worker.connected = True
        socket = cast("Socket", self.publisher.socket)
        worker.under_way.append(socket.options[zmq.XPUB_WELCOME_MSG])

    def _subscribe(self, worker: Worker) -> None:
        assert self.publisher is not None
        worker.subscribed = True
        cast("Socket", self.publisher.socket).inbox.append(b"\1" + PRODUCER_TOPIC + worker.producer)
        assert self.publisher.listen()

    def _deliver(self, worker: Worker, count: int) -> None:
        for _ in range(count):
            message = worker.under_way.popleft()
            if without_address(message).startswith(WELCOME_TOPIC):
                worker.welcomes.append(message)
            worker.socket.inbox.append(message)
            worker.read()

    def _show(self) -> None:
        if self.snapshot.exists():
            self.shown.append(self.snapshot.read_bytes())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=max(100, settings().max_examples), stateful_step_count=40)
