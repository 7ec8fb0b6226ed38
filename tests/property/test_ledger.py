"""The ledger under any sequence of transactions and restarts, and under any damage to its page."""

from __future__ import annotations

import copy
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logbus.collectors.ledger import Intent, Ledger, SinkRow, WorkerRow
from logbus.collectors.rows import OLDER

PRODUCERS = st.integers(1, 6).map(lambda number: number.to_bytes(16, "little"))
NAMES = st.sampled_from(["main", "screen", "audit"])
COUNTS = st.integers(0, 1 << 40)
RANGES = st.lists(st.tuples(PRODUCERS, COUNTS, COUNTS), max_size=3).map(tuple)
#: What a ledger holds, to compare: its version and copies of its rows.
State = tuple[int, dict[bytes, WorkerRow], dict[str, SinkRow]]


def state_of(ledger: Ledger) -> State:
    """A copy of everything that a ledger holds."""
    return copy.deepcopy((ledger.version, ledger.workers, ledger.sinks))


class FailedError(Exception):
    """What a block raises that must leave nothing."""


class AnyLife(RuleBasedStateMachine):
    """Transactions that succeed and fail, folds, restarts and crashes; rows are always the committed ones."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))

    @initialize(slot_bytes=st.sampled_from([256, 1024, 8192]))
    def begin(self, slot_bytes: int) -> None:
        """The first collector makes the ledger."""
        self.slot_bytes = slot_bytes
        self.ledger = Ledger.open(self.directory / "state", name="t", slot_bytes=slot_bytes)
        self.id = self.ledger.id
        self.committed = state_of(self.ledger)

    @rule(
        producers=st.sets(PRODUCERS, max_size=3),
        names=st.sets(NAMES, max_size=2),
        count=COUNTS,
        text=st.text(max_size=40),
        state=st.sampled_from(["live", "live", "gone", "crashed"]),
        intent=st.none() | st.builds(Intent, COUNTS, COUNTS, RANGES, st.text(max_size=20), *4 * [COUNTS]),
        fails=st.booleans(),
    )
    def transact(
        self,
        producers: set[bytes],
        names: set[str],
        count: int,
        text: str,
        state: str,
        intent: Intent | None,
        fails: bool,
    ) -> None:
        """Some rows change together, or the block raises and none does."""
        try:
            with self.ledger.transaction() as change:
                for producer in sorted(producers):
                    row = self.ledger.workers.get(producer) or WorkerRow(producer, text, "h", 1, "app", 1)
                    row.collected += count
                    row.lost[4] += 1
                    row.state = state  # type: ignore[assignment]
                    row.mark(float(count), emitted=row.collected, sent=row.collected, buffered=0, dropped=[0] * 3)
                    change.worker(row)
                for name in sorted(names):
                    sink = self.ledger.sinks.get(name) or SinkRow(name, "file")
                    sink.offered += count
                    sink.intent, sink.last_error = intent, text
                    change.sink(sink)
                if fails:
                    raise FailedError
        except FailedError:
            return
        self.committed = state_of(self.ledger)

    @rule()
    def next_version(self) -> None:
        """The version grows by one."""
        assert self.ledger.next_version() == self.committed[0] + 1
        self.committed = state_of(self.ledger)

    @rule(keep=st.integers(0, 4))
    def fold(self, keep: int) -> None:
        """Rows of the gone are bounded, and the total stays."""
        total = self.ledger.total()
        self.ledger.fold(keep)
        gone = [row for row in self.ledger.workers.values() if row.state != "live" and row.producer != OLDER]
        assert len(gone) <= keep
        assert self.ledger.total() == total
        self.committed = state_of(self.ledger)

    @rule()
    def restart(self) -> None:
        """The next collector finds what was committed."""
        self.ledger.close()
        self.ledger = Ledger.open(self.directory / "state", name="t", slot_bytes=self.slot_bytes)

    @rule()
    def crash(self) -> None:
        """The page as it is at this moment, found by another collector, holds what was committed."""
        with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as other:
            shutil.copyfile(self.directory / "state" / "ledger", Path(other) / "ledger")
            with closing(Ledger.open(Path(other), name="t")) as found:
                assert state_of(found) == self.committed
                assert found.id == self.id

    @invariant()
    def rows_are_the_committed_ones(self) -> None:
        """Memory and page never part, and the history stays one."""
        if hasattr(self, "ledger"):
            assert state_of(self.ledger) == self.committed
            assert self.ledger.id == self.id
            assert self.ledger.damage is None

    def teardown(self) -> None:
        """Leaves nothing."""
        self.ledger.close()
        shutil.rmtree(self.directory)


TestAnyLife = AnyLife.TestCase


@given(
    changes=st.lists(st.tuples(PRODUCERS, COUNTS), min_size=1, max_size=12),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=2),
    cut=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_damage_gives_a_committed_state_or_a_new_history(
    changes: list[tuple[bytes, int]], damage: list[tuple[float, int]], cut: float | None
) -> None:
    """Flipped bytes and a cut never stop a start, and never give rows that were not committed together."""
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory:
        with closing(Ledger.open(Path(directory), name="t", slot_bytes=1024)) as ledger:
            committed = [state_of(ledger)]
            sink = SinkRow("main", "file")
            for producer, count in changes:
                with ledger.transaction() as change:
                    row = ledger.workers.get(producer) or WorkerRow(producer, "w", "h", 1, "app", 1)
                    row.collected += count
                    sink.offered += count
                    change.worker(row)
                    change.sink(sink)
                committed.append(state_of(ledger))
        path = Path(directory) / "ledger"
        image = bytearray(path.read_bytes())
        for place, bits in damage:
            image[int(place * len(image))] ^= bits
        path.write_bytes(image if cut is None else image[: int(cut * len(image))])

        with closing(Ledger.open(Path(directory), name="t", slot_bytes=1024)) as found:
            state = state_of(found)
            for row in state[1].values():
                assert row.exact is (found.damage is None)
                row.exact = True
            if found.quarantined is not None:
                assert state == (0, {}, {})
                assert found.id != ledger.id
            else:
                assert state in committed
                assert found.damage or (state == committed[-1] and found.id == ledger.id)
            assert sum(row.collected for row in found.workers.values()) == sum(
                sink.offered for sink in found.sinks.values()
            )
            found.next_version()
