"""Sampling in the way of the records: the books balance after every step, and tail sampling does what one request asks.

The machine is a router on a real ledger with real writers, whose clock is the test's. The reference looks at one
request at a time, as its user would.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from logbus.collectors.chance import limit_of, request_number
from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat
from logbus.collectors.hold import Hold, Settled
from logbus.collectors.plan import Slot
from logbus.collectors.route import MAX_RETIRED, Destination
from logbus.collectors.sample import Sampling
from logbus.collectors.sinks.memory import MemorySink
from tests.bench import RouterBench
from tests.eventually import eventually
from tests.frames import producer
from tests.sampled import A, Entry, batch

NAMES = [f"r{at}" for at in range(6)]
REQUESTS = st.sampled_from([*NAMES, *NAMES, None])
LEVELS = st.sampled_from([10, 20, 20, 20, 40])
ENTRIES = st.lists(st.tuples(REQUESTS, LEVELS), min_size=1, max_size=12)
#: What a line has besides its number, so that few fill the memory of a sink that holds lines.
PADDING = "x" * 5000
POLICIES: list[Sampling | None] = [
    None,
    Sampling(rate=0.5),
    Sampling(rate=0.5, key="request_id"),
    Sampling(rate=0.0, first=2, interval_s=5.0),
    Sampling(rate=0.5, key="request_id", first=1, keep=40),
    Sampling(rate=0.5, key="request_id", tail=True, window_s=5.0, max_bytes=64 * 1024),
    Sampling(rate=0.0, key="request_id", tail=True, window_s=2.0, max_bytes=64 * 1024),
]


class Padded(JsonFormat):
    """Long lines of a record's producer, number, request and level, behind which stands the rate."""

    def encode(self, batch: Batch) -> bytes:
        """A line for each record."""
        return b"".join([_line(batch, at) for at in range(len(batch.records))])

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The rate at its end."""
        return line[:-1] + f" @{rate}\n".encode()


class Choosy(Padded):
    """A format of somebody else's, which can't write every seventh record."""

    error = "ValueError: seven"

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """None for each record whose number can be divided by seven."""
        return [None if int(record.message) % 7 == 0 else _line(batch, at) for at, record in enumerate(batch.records)]


FORMATS: list[Formatter] = [Padded(), Choosy()]
SINKS = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(st.sampled_from(POLICIES), st.sampled_from(FORMATS), st.sampled_from([0, 0, 20])),
)


def _line(batch: Batch, at: int) -> bytes:
    record = batch.records[at]
    request = (record.extra or {}).get("request_id")
    level = batch.sites[record.site].level_no
    return f"{batch.producer[-1]} {record.message} {request} {level} {PADDING}\n".encode()


class Pipeline(RuleBasedStateMachine):
    """A router whose sinks come, change and go while records of two workers pass and time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.now = 0.0
        self.bench = RouterBench(Path(self.directory.name), lambda: self.now)
        self.router = self.bench.router
        #: Every sink that was, by the name of its row.
        self.sinks: dict[str, list[MemorySink]] = {}
        self.running: dict[str, tuple[MemorySink, Slot]] = {}
        self.formats: dict[str, Formatter] = {}
        #: Errors that each sink has to have, by producer and number.
        self.errors: dict[str, set[tuple[str, str]]] = {}
        self.seqs = {A: 0, producer(2): 0}

    @rule(entries=ENTRIES, who=st.sampled_from([A, producer(2)]))
    def log(self, entries: list[Entry], who: bytes) -> None:
        """A batch comes."""
        self._enter([batch(*entries, first_seq=self.seqs[who], who=who)])
        errors = [self.seqs[who] + at for at, (_, level) in enumerate(entries) if level == 40]
        for name, form in self.formats.items():
            writable = {seq for seq in errors if not isinstance(form, Choosy) or seq % 7}
            self.errors.setdefault(name, set()).update((str(who[-1]), str(seq)) for seq in writable)
        self.seqs[who] += len(entries)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and what is due is done without a record."""
        self.now += seconds
        if self.router.due:
            self.router.told()
            self._enter([])

    @rule(wanted=SINKS, again=st.booleans())
    def reload(self, wanted: dict[str, tuple[Sampling | None, Formatter, int]], again: bool) -> None:
        """Other sinks, or the same ones sampling otherwise; ``again`` has some begin anew."""
        destinations, running = [], {}
        for name, (policy, form, level) in wanted.items():
            sink, slot = self.running.get(name, (None, None))
            if sink is None or slot is None or again:
                sink = MemorySink(name)
                slot = Slot(name, f"memory {id(sink)}", "")
                self.sinks.setdefault(name, []).append(sink)
            running[name] = sink, slot
            destinations.append(Destination(sink, SinkFilter(level), form, slot, policy))
        eventually(self._few_still_end)
        self.router.commit(self.router.prepare(destinations, self.bench.make))
        self.running = running
        self.formats = {name: form for name, (_, form, _) in wanted.items()}

    @rule()
    def settle(self) -> None:
        """What has ended is let go."""
        self.router.settle()

    def _few_still_end(self) -> bool:
        """Whether another reload is let in: the writers of earlier ones end on their own threads."""
        self.router.settle()
        return len(self.router.retired) <= MAX_RETIRED

    @invariant()
    def books_balance(self) -> None:
        """The law of every sink, and what is held is queued and within its bounds."""
        with self.bench.ledger.transaction():
            queued = self.router.queued()
            for name, row in self.bench.ledger.sinks.items():
                assert row.problems(queued.get(name, 0)) == []
                assert row.outstanding == queued.get(name, 0)
            for name, held in self.router.held().items():
                assert held["records"] <= queued[name]
                assert held["bytes"] <= 64 * 1024
                assert (held["requests"] == 0) == (held["records"] == 0) == (held["bytes"] == 0)

    def teardown(self) -> None:
        """At the end nothing is held; nothing came twice, errors are all there, and requests are in order."""
        try:
            self.router.end_sampling()
            eventually(lambda: not any(self.router.queued().values()))
            self.books_balance()
            for name, sinks in self.sinks.items():
                row = self.bench.ledger.sinks.get(name)
                lines = [line.decode().split() for sink in sinks for line in sink.lines()]
                assert row is None or row.delivered == len(lines)
                assert max(Counter((who, seq) for who, seq, *_ in lines).values(), default=0) <= 1
                # An error is always there, and stands for itself.
                assert {(line[0], line[1]) for line in lines if line[3] == "40"} == self.errors.get(name, set())
                assert all(line[3] != "40" or len(line) == 5 for line in lines)
                for sink in sinks:
                    found = [line.decode().split() for line in sink.lines()]
                    for request in {line[2] for line in found} - {"None"}:
                        for who in {line[0] for line in found}:
                            seqs = [int(line[1]) for line in found if (line[0], line[2]) == (who, request)]
                            assert seqs == sorted(seqs)
        finally:
            self.bench.__exit__(None, None, None)
            self.directory.cleanup()

    def _enter(self, batches: Sequence[Batch]) -> None:
        with self.bench.ledger.transaction() as change:
            deliveries = self.router.enter(change, batches)
        for delivery in deliveries:
            delivery.hand_over()


TestPipeline = Pipeline.TestCase
TestPipeline.settings = settings(max_examples=25, stateful_step_count=25)


def reference(steps: Sequence[tuple[float, list[Entry]]], name: str, policy: Sampling) -> dict[int, float]:
    """What becomes of the records of one request: the rates of those kept, by their number."""
    lucky = request_number(name) < limit_of(policy.rate)
    kept: dict[int, float] = {}
    held: list[int] = []
    ends = until = -1.0
    fate: float | None = None
    seq, now = 0, 0.0
    for seconds, entries in steps:
        now += seconds
        if held and ends <= now:
            kept.update(dict.fromkeys(held, policy.rate) if lucky else {})
            held, fate, until = [], policy.rate if lucky else 0.0, now + policy.window_s
        for request, level in entries:
            if request == name:
                if fate is not None and until <= now:
                    fate = None
                if level >= policy.keep:
                    kept.update(dict.fromkeys([*held, seq], 1.0))
                    held, fate = [], 1.0
                elif fate is None:
                    ends = ends if held else now + policy.window_s
                    held.append(seq)
                elif fate:
                    kept[seq] = fate
                if fate is not None:
                    until = now + policy.window_s
            seq += 1
    return kept


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.0, 1.0, 4.0]), ENTRIES), max_size=12), st.sampled_from([0.0, 0.5]))
def test_a_request_is_treated_as_if_it_were_alone(steps: list[tuple[float, list[Entry]]], rate: float) -> None:
    """Whatever else comes between its records, and in whichever batches: all of it at one rate, as the policy says."""
    policy = Sampling(rate=rate, key="request_id", tail=True, window_s=5.0)
    hold, form = Hold(policy), Padded()
    found: dict[int, float] = {}

    def take(settled: Any) -> None:
        assert isinstance(settled, Settled)
        for line, (_, seq, _), _ in settled.released:
            found[seq] = float(line.partition(b"@")[2] or 1)

    seq, now = 0, 0.0
    for seconds, entries in steps:
        now += seconds
        take(hold.settle(now))
        here = batch(*entries, first_seq=seq)
        choice = hold.choose(here, None, now)
        take(Settled(choice.released))
        assert choice.kept == sorted(choice.kept)
        assert choice.waiting == sorted(choice.waiting)
        found |= {seq + at: rate if at in choice.stamped else 1.0 for at in choice.kept}
        take(hold.hold([_line(here, at) for at in choice.waiting], here, form, now))
        seq += len(entries)
    numbered = [entry for _, entries in steps for entry in entries]
    for name in NAMES:
        mine = {at: kept for at, kept in found.items() if numbered[at][0] == name}
        assert mine == reference(steps, name, policy)
