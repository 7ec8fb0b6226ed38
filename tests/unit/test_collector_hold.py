"""Tail sampling: what is held, what is decided, and when."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from logbus.collectors import hold as module
from logbus.collectors.chance import limit_of, record_numbers, request_number
from logbus.collectors.decode import Batch
from logbus.collectors.format import JsonFormat
from logbus.collectors.hold import LINE_BYTES, REQUEST_BYTES, Early, Hold, Settled
from logbus.collectors.sample import Choice, Sampling
from tests.frames import producer
from tests.sampled import A, Entry, batch

B = producer(2)
RATE = 0.5
#: Names of requests that the rate keeps, and of those that it does not.
LUCKY = [name for name in (f"r{at}" for at in range(100)) if request_number(name) < limit_of(RATE)]
UNLUCKY = [name for name in (f"r{at}" for at in range(100)) if name not in LUCKY]
X, Y = LUCKY[0], UNLUCKY[0]


class Stamps(JsonFormat):
    """Lines that say which record it is, and at which rate it was kept."""

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The rate behind the line."""
        return line[:-1] + f"@{rate}\n".encode()


class Bench:
    """A hold whose clock is the test's, and the lines that it lets go on, in their order."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {"rate": RATE, "key": "request_id", "tail": True, "window_s": 10.0}
        self.hold = Hold(Sampling(**(defaults | options)))
        self.now = 0.0
        self.next = 0
        self.lines: list[str] = []
        self.out = 0
        self._format = Stamps()

    def enter(self, *entries: Entry, admit: bool = True, unwritable: tuple[int, ...] = ()) -> Choice:
        """A batch of these; what waits is held, unless there is no room."""
        found = batch(*entries, first_seq=self.next)
        self.next += len(entries)
        choice = self.hold.choose(found, None, self.now)
        self.take(Settled(choice.released, choice.out))
        kept = [self._line(found, at) for at in choice.kept]
        self.lines += [
            f"{line}@{RATE}" if at in choice.stamped else line for at, line in zip(choice.kept, kept, strict=True)
        ]
        if choice.waiting:
            lines = [b"" if at in unwritable else f"{self._line(found, at)}\n".encode() for at in choice.waiting]
            if admit:
                self.take(self.hold.hold(lines, found, self._format, self.now))
            else:
                self.hold.let_go()
        return choice

    def at(self, now: float, **options: int) -> list[str]:
        """The lines that go on because of the time."""
        self.now, before = now, len(self.lines)
        self.take(self.hold.settle(now, **options))
        return self.lines[before:]

    def take(self, settled: Settled) -> None:
        """Keeps what was settled; each line is the record that its number says."""
        for line, (who, seq, count), _ in settled.released:
            assert (who, count) == (A, 1)
            assert line.startswith(f"{seq} ".encode())
            self.lines.append(line.decode().strip())
        self.out += settled.out

    @property
    def empty(self) -> bool:
        """Whether nothing is held, and it knows that."""
        return (self.hold.requests, self.hold.records, self.hold.bytes, self.hold.due_at) == (0, 0, 0, math.inf)

    def _line(self, found: Batch, at: int) -> str:
        extra = found.records[at].extra or {}
        return f"{found.records[at].message} {extra.get('request_id')}"


def test_a_request_is_held_until_its_window_ends() -> None:
    """Then its number decides: all of it goes on in order, stamped, or none of it."""
    bench = Bench()
    bench.enter((X, 20), (Y, 20), (X, 10))
    bench.now = 4.0
    bench.enter((Y, 20), (X, 20))
    assert (bench.lines, bench.hold.requests, bench.hold.records, bench.hold.due_at) == ([], 2, 5, 10.0)
    assert bench.at(9.9) == []
    assert bench.at(10.0) == [f"{at} {X}@0.5" for at in (0, 2, 4)]
    assert (bench.out, bench.empty) == (2, True)


@pytest.mark.parametrize("name", [X, Y])
def test_what_went_wrong_is_kept_whole(name: str) -> None:
    """What came before the error, in the same batch too, and what follows; in order, and at rate 1."""
    bench = Bench()
    bench.enter((name, 20), ("other", 20))
    bench.enter((name, 10), ("other", 20), (name, 40), (name, 20))
    bench.enter((name, 20))
    assert bench.lines == [f"{at} {name}" for at in (0, 2, 4, 5, 6)]
    assert (bench.hold.requests, bench.hold.records) == (1, 2)
    assert bench.enter(("late", 20), ("other", 40), ("late", 40)).kept == [0, 1, 2]


def test_other_workers_records_are_of_the_request() -> None:
    """By its key; each line is numbered as its own producer's."""
    hold = Hold(Sampling(rate=0.0, key="request_id", tail=True))
    for at, who in enumerate((A, B)):
        found = batch((X, 20), first_seq=100 * at, who=who)
        hold.choose(found, None, 0.0)
        hold.hold([b"line\n"], found, JsonFormat(), 0.0)
    choice = hold.choose(batch((X, 40), first_seq=7), None, 1.0)
    assert [(place, level) for _, place, level in choice.released] == [((A, 0, 1), 2), ((B, 100, 1), 2)]


@pytest.mark.parametrize("name", [X, Y])
def test_what_was_decided_is_remembered(name: str) -> None:
    """Until the window after the last record of the request; then it is a new one."""
    bench = Bench()
    bench.enter((name, 20))
    bench.at(10.0)
    for now in (19.0, 28.0, 37.0):  # a request that goes on: the memory is from its last record
        bench.now = now
        assert bench.enter((name, 20)).waiting == []
    assert bench.lines == ([f"{at} {name}@0.5" for at in range(4)] if name == X else [])
    assert bench.out == (0 if name == X else 4)
    bench.now = 47.0
    assert bench.enter((name, 20)).waiting == [0]


def test_what_went_wrong_is_remembered_for_a_window() -> None:
    """What follows an error at the end of a request is kept; a later request of that name is a new one."""
    bench = Bench()
    bench.enter((Y, 40))
    bench.now = 9.0
    bench.enter((Y, 20))
    bench.now = 18.0
    bench.enter((Y, 20))
    assert bench.lines == [f"{at} {Y}" for at in range(3)]
    bench.now = 28.0
    assert bench.enter((Y, 20)).waiting == [0]


def test_an_error_after_the_decision_changes_it() -> None:
    """What is gone is gone; from then on everything is kept."""
    bench = Bench()
    bench.enter((Y, 20))
    bench.at(10.0)
    bench.enter((Y, 20), (Y, 40), (Y, 20))
    assert bench.lines == [f"2 {Y}", f"3 {Y}"]
    assert bench.out == 2


def test_a_record_without_a_key_is_decided_at_once() -> None:
    """For itself; an error among them is kept."""
    bench, count = Bench(), 200
    numbers = record_numbers(A, 0, count)
    choice = bench.enter(*[(None, 20)] * (count - 1), (None, 40))
    expected = [at for at in range(count - 1) if numbers[at] < limit_of(RATE)]
    assert choice.kept == [*expected, count - 1]
    assert choice.stamped == set(expected)
    assert bench.out == count - 1 - len(expected)
    assert bench.empty


def test_memory_is_bounded() -> None:
    """Beyond the bytes the oldest request is decided before its time, as it would have been; that is counted."""
    bench = Bench(max_bytes=64 * 1024)
    names = [f"r{at}" for at in range(100)]
    each = REQUEST_BYTES + LINE_BYTES + 8
    for name in names:
        bench.enter((name, 20))
        assert bench.hold.bytes <= 64 * 1024
    early = bench.hold.early
    assert early == 100 - bench.hold.requests
    assert 0.9 * 64 * 1024 / each <= bench.hold.requests
    assert bench.lines == [f"{at} {name}@0.5" for at, name in enumerate(names[:early]) if name in LUCKY]
    assert bench.out == sum(name in UNLUCKY for name in names[:early])
    bench.at(10.0)
    assert (bench.hold.requests, bench.hold.bytes, bench.hold.early) == (0, 0, early)


def test_a_request_that_is_too_big_is_decided() -> None:
    """Alone it may not have more memory than all together; what follows goes the same way."""
    bench = Bench(max_bytes=64 * 1024)
    bench.enter(*[(Y, 20)] * 500)
    assert bench.out == 500
    assert bench.enter((Y, 20)).out == 1
    assert (bench.hold.requests, bench.hold.bytes) == (0, 0)


def test_requests_that_were_decided_early_are_told() -> None:
    """A moment after the first, and then once a minute, as long as there are any."""
    bench = Bench(max_bytes=64 * 1024, window_s=1000.0)

    def flood(now: float) -> None:
        bench.now = now
        for _ in range(150):
            bench.enter((f"f{bench.next}", 20))

    flood(5.0)
    assert (bench.hold.due_at, bench.hold.told(5.5)) == (6.0, [])
    first = bench.hold.early
    assert bench.hold.told(6.0) == [Early(first, 64 * 1024)]
    assert bench.hold.told(7.0) == []
    flood(8.0)
    assert (bench.hold.due_at, bench.hold.told(60.0)) == (66.0, [])
    assert bench.hold.told(66.0) == [Early(150, 64 * 1024)]
    flood(67.0)
    assert bench.hold.told(67.0, ending=True) == [Early(150, 64 * 1024)]


def test_the_end_decides_everything() -> None:
    """Nothing is held across it."""
    bench = Bench()
    bench.enter((X, 20), (Y, 20), (X, 20))
    bench.take(bench.hold.end(bench.now))
    assert bench.lines == [f"0 {X}@0.5", f"2 {X}@0.5"]
    assert (bench.out, bench.empty) == (1, True)


def test_what_was_not_let_in_is_not_held() -> None:
    """A request that has nothing else is not there; one that has keeps what it has."""
    bench = Bench()
    bench.enter((X, 20))
    bench.enter((X, 20), (Y, 20), admit=False)
    assert (bench.hold.requests, bench.hold.records) == (1, 1)
    bench.enter((Y, 20), (X, 20), unwritable=(0,))
    assert (bench.hold.requests, bench.hold.records) == (1, 2)
    assert bench.at(10.0) == [f"0 {X}@0.5", f"4 {X}@0.5"]
    assert bench.empty


def test_a_turn_decides_so_much_and_no_more() -> None:
    """The receive loop does not stand still for a million lines; the others are due at once."""
    bench = Bench()
    for at in range(8):
        bench.enter(*[(f"q{at}", 20)] * 5)
    found = []
    while not bench.empty:
        assert bench.hold.due_at <= 10.0
        bench.at(10.0, most=10)
        found.append(bench.hold.requests)
    assert found == [6, 4, 2, 0]


def test_decisions_are_remembered_for_so_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was quiet longest is forgotten, held again, and decided alike."""
    monkeypatch.setattr(module, "MAX_DECIDED", 2)
    bench = Bench()
    bench.enter((X, 20))
    bench.at(10.0)
    for name in ("a", "b"):
        bench.enter((name, 40))
    assert bench.enter((X, 20)).waiting == [0]
    bench.lines.clear()
    assert bench.at(20.0) == [f"3 {X}@0.5"]


@pytest.mark.soak
def test_a_share_of_many_requests(scale: Callable[[int, int], int]) -> None:
    """Within three sigma of those that went well, each whole; of those that went wrong nothing is missing."""
    count, rate, group = scale(100_000, 5_000), 0.1, 50
    bench = Bench(rate=rate, window_s=1.0)
    whole = well = 0
    for part in range(0, count, group):
        names = [f"req-{number:08x}" for number in range(part, part + group)]
        bench.lines.clear()
        for step in range(4):
            bench.enter(*[(name, 40 if step == 2 and at % 10 == 0 else 20) for at, name in enumerate(names)])
        bench.at(bench.now + 1.0)
        found = [line.split()[1] for line in bench.lines]
        assert all(found.count(name) == 4 for name in names[::10])
        for name in set(names) - set(names[::10]):
            assert found.count(f"{name}@{rate}") in (0, 4)
            whole += f"{name}@{rate}" in found
            well += 1
        bench.now += 3.0
    assert abs(whole - well * rate) <= 3 * math.sqrt(well * rate * (1 - rate))
    assert bench.empty
