"""Segments of any records, damaged anyhow; and the life of a spool against a plain model."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logbus.collectors.spool import lanes, stored
from logbus.collectors.spool.segment import Entry, Scan, encode, encode_header, key
from logbus.collectors.spool.spool import Spool
from logbus.levels import BUCKETS

IDENT = 0x0123456789ABCDEF
#: Payloads with what may be taken for an entry in them.
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\xf7LB", b"\xf7LB\x02" * 9, encode(key(IDENT + 1), 2, [9], [b"forged\n"]), bytes(30)]),
)
SEGMENTS = st.lists(PAYLOADS, max_size=8)


def segment(payloads: list[bytes], spare: int = 0) -> bytes:
    """A segment of these payloads, with numbers from 5 on, and some bytes that are not used yet."""
    header = encode_header(IDENT, created_us=1, lane=2, dialect="d")
    return header + encode(key(IDENT), 2, range(5, 5 + len(payloads)), payloads) + bytes(spare)


def scanned(data: bytes, chunk: int) -> tuple[Scan, list[Entry]]:
    """What a scan says of a segment that it gets in chunks."""
    scan = Scan(IDENT, len(data))
    found = [entry for at in range(0, len(data), chunk) for entry in scan.feed(data[at : at + chunk])]
    return scan, found + scan.end()


@given(SEGMENTS, st.integers(0, 50), st.integers(1, 200))
def test_what_is_whole_is_read_as_it_was_written(payloads: list[bytes], spare: int, chunk: int) -> None:
    """Whatever the chunks: all records, their header, where the next one goes, and no damage."""
    data = segment(payloads, spare)
    scan, found = scanned(data, chunk)
    assert [(number, level, payload) for number, level, payload, _, _ in found] == [
        (5 + at, 2, payload) for at, payload in enumerate(payloads)
    ]
    assert scan.used == len(data) - spare
    assert scan.header is not None
    assert (scan.header.dialect, scan.header.lane, scan.damaged) == ("d", 2, False)


@given(SEGMENTS, st.data(), st.integers(1, 200))
def test_damage_costs_the_records_that_it_hits_and_no_other(
    payloads: list[bytes], data: st.DataObject, chunk: int
) -> None:
    """Bytes changed anywhere: every record without one of them is there, with its number, and nothing else is."""
    whole = segment(payloads, 10)
    changes = data.draw(st.dictionaries(st.integers(0, len(whole) - 1), st.integers(1, 255), max_size=4))
    damaged = bytearray(whole)
    for at, change in changes.items():
        damaged[at] ^= change
    intact = []
    stop = len(segment([]))
    for number, payload in enumerate(payloads, 5):
        start, stop = stop, len(segment(payloads[: number - 4]))
        if not any(start <= at < stop for at in changes):
            intact.append((number, payload))
    scan, found = scanned(bytes(damaged), chunk)
    assert [(number, payload) for number, _, payload, _, _ in found] == intact
    if len(intact) < len(payloads) and intact and intact[-1][0] == 4 + len(payloads):
        assert scan.damaged


@given(SEGMENTS, st.data(), st.integers(1, 200), st.booleans())
def test_a_cut_costs_the_records_behind_it_and_is_no_damage(
    payloads: list[bytes], data: st.DataObject, chunk: int, allocated: bool
) -> None:
    """As a killed writer leaves it, with zeros or nothing behind the cut."""
    whole = segment(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    left = whole[:cut] + (bytes(len(whole) - cut + 9) if allocated else b"")
    scan, found = scanned(left, chunk)
    fitting = [at for at in range(len(payloads) + 1) if len(segment(payloads[:at])) <= len(left.rstrip(b"\0"))]
    assert [payload for _, _, payload, _, _ in found][: len(fitting) - 1] == payloads[: max(0, len(fitting) - 1)]
    assert [payload for _, _, payload, _, _ in found] == payloads[: len(found)]
    assert not scan.damaged


@given(SEGMENTS, st.data())
def test_bytes_that_went_missing_cost_their_records_only(payloads: list[bytes], data: st.DataObject) -> None:
    """Behind a place where bytes were taken out or put in, reading goes on."""
    whole = segment(payloads)
    begin = len(segment([]))
    start = data.draw(st.integers(begin, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 30)))
    put = data.draw(st.binary(max_size=20))
    _, found = scanned(whole[:start] + put + whole[stop:], 64)
    ends = [len(segment(payloads[:count])) for count in range(len(payloads) + 1)]
    kept = [at for at in range(len(payloads)) if ends[at + 1] <= start or ends[at] >= stop]
    got = [payload for _, _, payload, _, _ in found]
    assert [number - 5 for number, *_ in found if number - 5 in kept] == kept
    assert all(payloads[number - 5] == payload for (number, *_), payload in zip(found, got, strict=True))


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\xf7LB\x02", b"\xf7LBSEG\r\n", bytes(40)]))))
def test_no_bytes_are_too_bad(parts: list[bytes]) -> None:
    """Whatever lies in the file, it has no records of ours, and nothing raises."""
    _, found = scanned(b"".join(parts), 50)
    assert found == []


class SpoolLives(RuleBasedStateMachine):
    """A spool of small segments against a dictionary of lines by number.

    Which records have to go depends on where segments end, so the model counts: of each level, what was appended is
    what ended, went, was lost or is there. Without damage nothing is lost, and what is there is what is read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = Path(tempfile.mkdtemp(prefix="lb-spool-"))
        ids = itertools.count(1)  # drawn at random they would name the files differently in each run
        self.patches: list[Any] = [
            mock.patch.object(lanes, "MIN_SEGMENT", 4096),
            mock.patch.object(stored, "CHUNK", 1500),
            mock.patch.object(stored, "randbits", side_effect=ids),
        ]
        for patch in self.patches:
            patch.start()
        self.told: list[str] = []
        self.max_bytes, self.dialect = 10 * 4096, "a"
        #: Segments that could not go when the bound shrank, since records of them were handed out.
        self.spared: frozenset[int] = frozenset()
        self.next = self.acked = 0
        self.lines: dict[int, tuple[int, bytes, str]] = {}
        self.delivered: set[int] = set()
        self.gone: Counter[int] = Counter()
        self.expected = 0
        self.damaged = False
        #: Numbers of records in the writer's hand, which may have to be put into the spool after later ones.
        self.in_hand: range = range(0)
        self.handed: list[int] = []
        #: At the last opening: the next number here, and the one that the spool knew.
        self.above = 0, 0
        self.spool = self.begin()

    def begin(self) -> Spool:
        """Another life of it."""
        spool = Spool("x", self.state / "spools" / "x", self.told.append)
        found = spool.open(self.acked)
        assert found.records <= self.expected
        assert self.damaged or found.records == self.expected
        assert found.next_seq >= self.acked
        self.above = self.next, found.next_seq
        self.expected, self.handed, self.spared = found.records, [], frozenset()
        self.went(spool.configure(self.max_bytes, self.dialect))
        return spool

    def went(self, counts: list[int]) -> None:
        """So many of each level are gone."""
        self.gone.update(dict(enumerate(counts)))
        self.expected -= sum(counts)

    def put(self, numbers: range, levels: bytes, size: int) -> None:
        """Appends records with these numbers."""
        lines = [b"%d " % number + b"x" * (size * (number % 7) // 6) + b"\n" for number in numbers]
        for number, level, line in zip(numbers, levels, lines, strict=True):
            self.lines[number] = (level, line, self.dialect)
        self.expected += len(lines)
        self.went(self.spool.append(numbers.start, lines, levels))

    @rule(levels=st.binary(min_size=1, max_size=12), size=st.sampled_from([10, 300, 1500, 6000]))
    def append(self, levels: bytes, size: int) -> None:
        """Lines of any levels, some of them longer than a segment."""
        levels = bytes(level % len(BUCKETS) for level in levels)
        self.put(range(self.next, self.next + len(levels)), levels, size)
        self.next += len(levels)

    @precondition(lambda self: not self.expected and not self.in_hand)
    @rule(count=st.integers(1, 4))
    def take(self, count: int) -> None:
        """The writer takes records from memory: their numbers are used, and they are not here."""
        self.in_hand = range(self.next, self.next + count)
        self.next += count

    @precondition(lambda self: self.in_hand and not self.handed)
    @rule()
    def put_back(self) -> None:
        """They come after all, behind later ones."""
        self.put(self.in_hand, bytes([3] * len(self.in_hand)), 100)
        self.in_hand = range(0)

    @rule(records=st.integers(1, 30), size=st.sampled_from([1, 2000, 100_000]))
    def read(self, records: int, size: int) -> None:
        """The oldest lines, as they were appended; what has been handed out comes again."""
        portion = self.spool.read(records, size)
        lost = self.spool.take_lost()
        assert self.damaged or not lost
        self.expected -= lost
        if portion is None:
            assert not self.expected
            return
        if self.in_hand:
            self.in_hand = range(0)  # they have ended: what comes later is handed out
        numbers = list(portion.numbers)
        assert numbers == sorted(set(numbers))
        assert (portion.count, portion.first_seq, portion.last_seq) == (len(numbers), numbers[0], numbers[-1])
        assert portion.data == b"".join(self.lines[number][1] for number in numbers)
        assert portion.count <= records
        assert portion.count == 1 or len(portion.data) <= size
        assert {self.lines[number][2] for number in numbers} == {
            self.dialect if portion.dialect is None else portion.dialect or self.lines[numbers[0]][2]
        }
        assert not self.delivered.intersection(numbers)
        assert all(number < self.above[1] for number in numbers if number < self.above[0])
        shorter = min(len(numbers), len(self.handed))
        assert numbers[:shorter] == self.handed[:shorter]
        self.handed = max(numbers, self.handed, key=len)

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        """Some of the first ones have ended."""
        count = data.draw(st.integers(1, len(self.handed)))
        ended, self.handed = self.handed[:count], self.handed[count:]
        self.spool.done(ended[-1])
        self.delivered.update(ended)
        self.acked = ended[-1] + 1
        self.expected -= count

    @rule(segments=st.integers(2, 12))
    def resize(self, segments: int) -> None:
        """Another bound."""
        self.max_bytes = segments * 4096
        self.spared = self.spool._window.held()
        self.went(self.spool.configure(self.max_bytes, self.dialect))

    @precondition(lambda self: not self.handed)
    @rule(dialect=st.sampled_from("ab"))
    def rephrase(self, dialect: str) -> None:
        """Another dialect."""
        self.dialect = dialect
        self.went(self.spool.configure(self.max_bytes, self.dialect))

    @rule(killed=st.booleans())
    def reopen(self, killed: bool) -> None:
        """An end in order, or none; and another life."""
        if killed:
            for segment in self.spool._lanes.segments.values():
                segment.close()
            self.spool._folder.close()
        else:
            self.spool.close()
        self.in_hand = range(0)
        self.spool = self.begin()

    @rule(data=st.data(), how=st.sampled_from(["flip", "cut", "remove", "link"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        """Somebody or the disk changes a file."""
        files = sorted((self.state / "spools" / "x").glob("*.seg")) if (self.state / "spools").exists() else []
        if not files:
            return
        self.damaged = True
        path = data.draw(st.sampled_from(files))
        if how in ("remove", "link"):
            path.unlink()
            if how == "link":
                path.symlink_to("/dev/zero")
        elif path.is_file() and not path.is_symlink():
            content = bytearray(path.read_bytes())
            at = data.draw(st.integers(0, len(content)))
            if how == "flip" and at < len(content):
                content[at] ^= 0x55
                path.write_bytes(content)
            elif how == "cut":
                with path.open("r+b") as file:
                    file.truncate(at)

    @invariant()
    def it_counts(self) -> None:
        """What is there is what was appended and has not ended; and it keeps to its bound."""
        assert self.spool.records == self.expected
        held = len(self.spool._window.held())
        segments = self.spool._lanes.segments
        over = sum(sorted((s.allocated for s in segments.values()), reverse=True)[:held])
        spared = sum(segments[tag].allocated for tag in self.spared if tag in segments and segments[tag].live)
        assert self.spool.bytes <= self.max_bytes + max(over, spared)
        assert (self.spool.oldest_at is None) == (not self.expected)
        assert self.damaged or not self.told

    def teardown(self) -> None:
        """All that is left is read, and every record is in one place."""
        try:
            while (portion := self.spool.read(10, 5000)) is not None:
                self.handed = list(portion.numbers)
                assert portion.data == b"".join(self.lines[number][1] for number in self.handed)
                assert not self.delivered.intersection(self.handed)
                self.delivered.update(self.handed)
                self.spool.done(portion.last_seq)
            lost = self.spool.take_lost()
            assert self.damaged or not lost
            assert (self.spool.records, self.spool.bytes, self.spool.segments) == (0, 0, 0)
            if not self.damaged:
                appended = Counter(level for level, _, _ in self.lines.values())
                delivered = Counter(self.lines[number][0] for number in self.delivered)
                assert appended == delivered + self.gone
                assert [*(self.state / "spools").glob("x/*")] == []
            self.spool.close()
        finally:
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.state)


TestSpoolLives = SpoolLives.TestCase
TestSpoolLives.settings = settings(stateful_step_count=30)
