"""The roll under any sequence of frames, good and bad, of several producers, held against a simple model."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from hypothesis import given, strategies as st

from logbus.bus import pull_socket
from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat, TextFormat
from logbus.collectors.ledger import Ledger
from logbus.collectors.mark import Mark
from logbus.collectors.own import OwnRecords
from logbus.collectors.receiver import Receiver, is_bye
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.roll import Roll
from logbus.collectors.route import Route, Router
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing.writer import Writer
from logbus.wire import COLLECTOR_LOST, DATA, REJECTED
from tests.frames import data, mark, producer, raw, site

PRODUCERS = [producer(number) for number in (1, 2, 3)]
SITES = [site("db", 10, "DEBUG"), site("rotator", 40, "ERROR")]

#: What may happen to the next frame of a producer on its way.
FATES = st.sampled_from(["arrives", "arrives", "arrives", "lost", "undecodable", "twice", "torn", "flipped", "parts"])
#: A producer, how many records it sends (each at one of the sites), drops that it reports, and the frame's fate.
FRAMES = st.tuples(
    st.integers(0, 2), st.lists(st.integers(0, 1), max_size=4), st.integers(0, 3), FATES, st.just("data")
)
MARKS: st.SearchStrategy[Any] = st.tuples(
    st.integers(0, 2), st.just([]), st.integers(0, 3), st.just("arrives"), st.sampled_from(["mark", "bye"])
)
JUNK = st.binary(max_size=60)


@dataclass
class Model:
    """What one producer did, as plain numbers."""

    next_seq: int = 0
    emitted: int = 0
    dropped: int = 0
    collected: int = 0
    rejected: int = 0
    lost: int = 0
    duplicated: int = 0
    messages: list[str] = field(default_factory=list)
    #: Records that were lost since something of this producer last arrived: nobody can know of them yet.
    unnoticed: int = 0

    def arrives(self) -> None:
        """Something whole comes from this producer: what was lost before it is known by now."""
        self.lost += self.unnoticed
        self.unnoticed = 0


class Machine:
    """A collector without its threads and its sockets to the outside."""

    def __init__(self, directory: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.ledger = Ledger.open(directory / "state", name="t")
        self.push, pull = context.socket(zmq.PUSH), pull_socket(context)
        self.push.set(zmq.LINGER, 0)
        pull.bind("inproc://records")
        self.push.connect("inproc://records")
        self.receiver = Receiver(pull, Redactor())
        self.roll = Roll(self.ledger, directory / "pages", fresh=False)
        self.own = OwnRecords(self.ledger, host="h")
        complaints: list[str] = []
        self.writers = [
            Writer(MemorySink(name), self.ledger, complain=complaints.append) for name in ("all", "errors", "text")
        ]
        filters = (SinkFilter(), SinkFilter(40), SinkFilter(0, (), ("logbus",)))
        formats: tuple[Formatter, ...] = (JsonFormat(), JsonFormat(), TextFormat())
        self.router = Router([Route(*parts) for parts in zip(self.writers, filters, formats, strict=True)])
        self.delivered: dict[str, Counter[str]] = {writer.sink.name: Counter() for writer in self.writers}

    def close(self) -> None:
        """Gives everything up."""
        self.push.close()
        self.receiver.socket.close(0)
        self.ledger.close()

    def send(self, frame: bytes | list[bytes]) -> None:
        """Puts a frame, or a message of several parts, into the socket."""
        self.push.send_multipart(frame if isinstance(frame, list) else [frame], zmq.NOBLOCK)

    def turn(self) -> list[str]:
        """One turn; the messages that were collected."""
        turn = self.receiver.receive()
        batches: list[Batch] = []
        collected: list[str] = []
        with self.ledger.transaction() as change:
            for header, arrival in turn.arrivals:
                if isinstance(arrival, Batch):
                    self.own.tell_losses(self.roll.enter(change, arrival))
                    self.own.tell_drops(arrival.source.worker, arrival.drops)
                    collected += [record.message for record in arrival.records]
                    batches.append(arrival)
                elif isinstance(arrival, Mark):
                    self.own.tell_losses(self.roll.mark(change, header.producer, arrival, bye=is_bye(header)))
                elif header.type == DATA:
                    self.own.tell_losses(self.roll.reject(change, header.producer, header.first_seq, header.count))
            if own := self.own.enter(change):
                batches.append(own)
            deliveries = self.router.enter(change, batches)
        for delivery in deliveries:
            lines = delivery.data.splitlines()
            assert len(lines) == delivery.count == sum(count for _, _, count in delivery.ranges)
            self.delivered[delivery.writer.sink.name]["lines"] += len(lines)
        return collected

    def check(self) -> None:
        """Both laws."""
        queued = {writer.sink.name: writer.queued for writer in self.writers}
        document = self.ledger.status_document(queued)
        assert document["problems"] == []
        assert {name: counts["lines"] for name, counts in self.delivered.items()} == queued


def play(machine: Machine, steps: Sequence[Any]) -> dict[bytes, Model]:
    """Sends what the steps say, and keeps the model beside it."""
    models = {who: Model() for who in PRODUCERS}
    for step in steps:
        if isinstance(step, bytes):
            machine.send(step)
        else:
            send(machine, models, *step)
        collected = Counter(machine.turn())
        new = Counter(message for model in models.values() for message in model.messages)
        assert collected == new
        for model in models.values():
            model.messages.clear()
        machine.check()
    return models


def send(
    machine: Machine, models: dict[bytes, Model], number: int, at: list[int], drops: int, fate: str, kind: str
) -> None:
    """One frame of one producer, with its fate."""
    who = PRODUCERS[number]
    model = models[who]
    model.dropped += drops
    model.emitted += drops
    if kind != "data":
        counters = [[0, 1, model.dropped]] if model.dropped else []
        model.arrives()
        machine.send(mark(who, sent=model.next_seq, drops=counters, bye=kind == "bye", worker=f"w{number}"))
        return
    seq, count = model.next_seq, len(at)
    messages = [f"{number}.{seq + index}" for index in range(count)]
    reported = [[0, 1, drops, 1, 2]] if drops else []
    frame = data(who, seq, *messages, at=at, sites=SITES, drops=reported, worker=f"w{number}")
    model.next_seq += count
    model.emitted += count
    if fate in ("arrives", "twice"):
        model.arrives()
        model.collected += count
        model.messages += messages
        machine.send(frame)
        if fate == "twice":
            model.duplicated += count
            machine.send(frame)
    elif fate == "undecodable":
        model.arrives()
        model.rejected += count
        machine.send(raw(who, seq, count, b"\xc1"))
    else:
        model.unnoticed += count
        if fate == "torn":
            machine.send(frame[: len(frame) // 2])
        elif fate == "flipped":
            machine.send(frame[:-1] + bytes([frame[-1] ^ 1]))
        elif fate == "parts":
            machine.send([frame, b"more"])


@given(steps=st.lists(FRAMES | FRAMES | MARKS | JUNK, max_size=25))
def test_whatever_arrives_both_laws_hold(steps: list[Any]) -> None:
    """After every turn; and once everybody has said a last word, each count is the model's."""
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory, zmq.Context() as context:
        with closing(Machine(Path(directory), context)) as machine:
            models = play(machine, [*steps, *[(number, [], 0, "arrives", "bye") for number in range(3)]])
            for who, model in models.items():
                row = machine.ledger.workers[who]
                assert (row.collected, row.lost[REJECTED], row.lost[COLLECTOR_LOST], row.duplicated) == (
                    model.collected,
                    model.rejected,
                    model.lost,
                    model.duplicated,
                )
                assert (row.emitted, sum(row.dropped), row.in_flight) == (model.emitted, model.dropped, 0)
            offered = sum(row.collected for row in machine.ledger.workers.values())
            assert {row.offered for row in machine.ledger.sinks.values()} <= {offered}
            before = copy.deepcopy(machine.ledger.workers)
        with closing(Ledger.open(Path(directory) / "state", name="t")) as again:
            assert again.workers == before
