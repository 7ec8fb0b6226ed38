"""A server that does anything, beside reloads and somebody who looks: the law at every moment, and the end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.writing import breaker, keeper
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.wire import HIGH_WATER_MARK, REJECTED
from tests.answering import Answering
from tests.bench import ENOUGH, WriterBench
from tests.eventually import eventually

TERMS = Terms(
    max_records=20,
    max_bytes=2000,
    queue_bytes=4000,
    on_full="spool",
    initial_s=0.001,
    max_interval_s=0.01,
    jitter=True,
    breaker_failures=3,
    spool_bytes=4 * 1024 * 1024,
    dialect="plain",
)
RECORDS = 4_000


class Fickle:
    """Answers at random, and remembers what has come; each seventeenth record it refuses for good."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.came: list[int] = []
        self.works = False

    def answer(self, lines: Sequence[bytes]) -> Sent | None:
        """What comes of a write."""
        fate = 1.0 if self.works else self.chance.random()
        numbers = [int(line.split()[0]) for line in lines]
        if fate < 0.2:
            raise TryAgainError("busy", after_s=self.chance.choice([0.0, 0.005]))
        if fate < 0.3:
            raise ConnectionResetError("reset")
        if fate < 0.4:
            part = numbers[: self.chance.randint(0, len(numbers))]
            self.came += [number for number in part if number % 17]
            raise TryAgainError("no answer", doubtful=len(numbers))
        count = self.chance.randint(1, len(numbers)) if fate < 0.6 else len(numbers)
        self.came += [number for number in numbers[:count] if number % 17]
        refused = [Refusal(line + b"\n", 1, "no") for line in lines[:count] if int(line.split()[0]) % 17 == 0]
        return Sent(count, tuple(refused))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_server_does_the_books_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Everything arrives or is counted, in order, and no more is there twice than was announced; so in three lives."""
    for name in ("LOOK_S", "GATHER_S", "DISK_RETRY_S"):
        monkeypatch.setattr(keeper, name, 0.005)
    monkeypatch.setattr(breaker, "OPEN_S", 0.01)
    chance = random.Random(seed)
    fickle = Fickle(chance)
    letters: list[int] = []
    writers: list[Writer] = []

    def bury(name: str, refusals: Sequence[Refusal], dialect: str) -> None:
        letters.extend(int(refusal.lines.split()[0]) for refusal in refusals)

    with WriterBench(tmp_path) as bench:
        looking = threading.Event()
        problems: list[str] = []

        def look() -> None:
            while not looking.is_set():
                document = bench.ledger.status_document(lambda: {"main": sum(one.queued for one in writers)})
                problems.extend(document["problems"])
                for writer in writers[-2:]:
                    assert writer.document()["queue_bytes"] >= 0

        looker = threading.Thread(target=look)
        looker.start()
        try:
            for number in range(0, RECORDS, 5):
                if number % 1000 == 0:
                    behind = writers[-1:]
                    sink = Answering(always=fickle.answer)
                    writers.append(bench.start(sink, *behind, terms=TERMS, spools=bench.spools, bury=bury))
                    for writer in behind:
                        writer.retire(time.monotonic() + chance.choice([0.0, 0.05, ENOUGH]))
                lines = [f"{at} {'x' * chance.randint(0, 60)}" for at in range(number, number + 5)]
                assert bench.give(writers[-1], *lines, first=number, level=chance.randrange(6))
                if chance.random() < 0.02:
                    writers[-1].reopen()
                if chance.random() < 0.2:
                    time.sleep(0.001)
                for writer in writers[:-1]:
                    writer.give_up()
            fickle.works = True
            last = writers[-1]
            row = last.row
            eventually(lambda: not sum(writer.queued for writer in writers) and not row.spooled, 30)
        finally:
            looking.set()
            looker.join()
        assert problems == []
        came = list(dict.fromkeys(fickle.came))
        dropped = row.dropped[HIGH_WATER_MARK]
        assert row.offered == RECORDS == row.delivered + dropped + row.dropped[REJECTED]
        assert row.unknown == 0
        assert came == sorted(came)
        assert row.delivered <= len(came)
        assert len(fickle.came) - row.delivered <= row.duplicated
        assert row.dropped[REJECTED] == len(letters)
