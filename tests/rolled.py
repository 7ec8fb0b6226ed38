"""A roll of workers without a collector around it: its turns are calls, and its clock is the test's."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from logbus.collectors import roll
from logbus.collectors.decode import Batch, decode
from logbus.collectors.ledger import Ledger, WorkerRow
from logbus.collectors.mark import decode_mark
from logbus.collectors.roll import QUIET_S, Loss, Roll
from logbus.counters import DROPPED, EMITTED, SETTLED, Counters, Meta
from logbus.wire import Header, pack_payload
from tests.frames import mark_payload, payload, producer

#: Seconds after which who is dead is closed.
QUIET = QUIET_S + 0.01
META = Meta("host", 7, "w1", "app", 1_700_000_000_000_000)


class Clock:
    """Time as the roll sees it; it stands until a test moves it."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes it the clock of the roll."""
        fake = SimpleNamespace(monotonic=self.monotonic, time=time.time, time_ns=time.time_ns)
        monkeypatch.setattr(roll, "time", fake)


class Rolled:
    """A roll and its ledger, with a collector's turns as calls."""

    def __init__(self, directory: Path, clock: Clock, *, fresh: bool = False) -> None:
        self.pages = directory / "pages"
        self.pages.mkdir(exist_ok=True)
        self.clock = clock
        self.ledger = Ledger.open(directory / "state", name="t")
        self.roll = Roll(self.ledger, self.pages, fresh=fresh)

    def close(self) -> None:
        """Gives the ledger up."""
        self.ledger.close()

    def data(self, who: bytes, first_seq: int, *messages: str, worker: str = "w1") -> tuple[list[Loss], list[str]]:
        """Enters a frame; new losses, and the messages that are collected now and go to the sinks."""
        batch = self.batch(who, first_seq, *messages, worker=worker)
        with self.ledger.transaction() as change:
            losses = self.roll.enter(change, batch)
        return losses, [record.message for record in batch.records]

    @staticmethod
    def batch(who: bytes, first_seq: int, *messages: str, worker: str = "w1") -> Batch:
        """A batch as it arrives."""
        body = pack_payload(payload(*messages, worker=worker, drops=[] if messages else [[0, 1, 5, 1, 2]]))
        return decode(Header(1, 0, 1, who, first_seq, len(messages)), body)

    def reject(self, who: bytes, first_seq: int, count: int) -> list[Loss]:
        """Enters a frame that can't be decoded."""
        with self.ledger.transaction() as change:
            return self.roll.reject(change, who, first_seq, count)

    def mark(self, who: bytes, *, bye: bool = False, **counters: object) -> list[Loss]:
        """Enters a MARK or a BYE."""
        found = decode_mark(pack_payload(mark_payload(**counters)))  # type: ignore[arg-type]
        with self.ledger.transaction() as change:
            return self.roll.mark(change, who, found, bye=bye)

    def sweep(self, *listeners: bytes, emptied: bool = True, after: float = 0.0) -> list[Loss]:
        """Sweeps, ``after`` seconds from now."""
        self.clock.now += after
        return self.roll.sweep(set(listeners), emptied=emptied)

    def row(self, who: bytes = producer(1)) -> WorkerRow:
        """A worker's row."""
        return self.ledger.workers[who]

    def balanced(self) -> bool:
        """Whether every row's law holds; shows what doesn't."""
        problems = [problem for row in self.ledger.workers.values() for problem in row.problems()]
        assert problems == []
        return True


def page(rolled: Rolled, who: bytes, *, emitted: int, sent: int, dropped: int = 0, bye: bool = False) -> Counters:
    """A producer's counter page, its lock held."""
    counters = Counters(rolled.pages, who, META)
    cell = counters.cell()
    cell[EMITTED] = emitted
    cell[SETTLED] = emitted
    cell[DROPPED + 1] = dropped
    counters.sent = sent
    if bye:
        counters.say_bye()
    return counters
