"""Labels over the lives of workers: whatever comes and goes, no series falls and their sum is the ledger's."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from logbus.collectors.labels import OTHER, Labels
from logbus.collectors.rows import OLDER

NAMED = 3


class Workers(RuleBasedStateMachine):
    """A ledger's workers, and a scraper that looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = Labels(("n",), named=NAMED)
        self.rows: dict[int, dict[str, Any]] = {}
        self.folded = 0
        self.next = 1
        self.shown: dict[str, int] = {}

    @rule(name=st.sampled_from("abcdef"), count=st.integers(0, 9))
    def comes(self, name: str, count: int) -> None:
        """A worker starts."""
        producer = self.next.to_bytes(16, "big").hex()
        self.rows[self.next] = {"producer": producer, "worker": name, "state": "live", "n": count}
        self.next += 1

    @rule(data=st.data(), count=st.integers(0, 9))
    def logs(self, data: st.DataObject, count: int) -> None:
        """A worker logs."""
        if self.rows:
            self.rows[data.draw(st.sampled_from(sorted(self.rows)))]["n"] += count

    @rule(data=st.data())
    def goes(self, data: st.DataObject) -> None:
        """A worker ends."""
        if self.rows:
            self.rows[data.draw(st.sampled_from(sorted(self.rows)))]["state"] = "gone"

    @rule()
    def folds(self) -> None:
        """The ledger folds the oldest of those who have gone."""
        gone = [number for number, row in sorted(self.rows.items()) if row["state"] == "gone"]
        if gone:
            self.folded += self.rows.pop(gone[0])["n"]

    @rule()
    def scrapes(self) -> None:
        """No series that was there the last time has fallen; there are few; together they are the total."""
        rows = list(self.rows.values())
        if self.folded:
            rows.append({"producer": OLDER.hex(), "worker": "(older)", "state": "gone", "n": self.folded})
        found = {label: counts[0] for label, counts in self.labels.counts(rows).items()}
        assert sum(found.values()) == self.folded + sum(row["n"] for row in self.rows.values())
        assert len(found) <= NAMED + 1
        assert all(found[label] >= count for label, count in self.shown.items() if label in found)
        assert OTHER in found
        self.shown = found

    @invariant()
    def nothing_is_negative(self) -> None:
        """Not even for a moment."""
        assert all(count >= 0 for count in self.shown.values())


TestWorkers = Workers.TestCase
