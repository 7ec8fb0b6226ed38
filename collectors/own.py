"""The collector's own records: gaps, losses and its complaints, a producer row of their own (worker "logbus").

They take the way of every record, redaction included, and are counted like all others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from logbus.collectors.decode import Batch, Drop, Record, Site, Source, build
from logbus.collectors.ledger import Change, Ledger, WorkerRow
from logbus.collectors.roll import NAME_CHARS, OWN, Loss
from logbus.levels import BUCKETS
from logbus.wire import REASONS

_SITE = Site("logbus.collector", 30, "WARNING", "collector", "account", 0, "logbus")


class OwnRecords:
    """Records that wait to be entered with the next turn."""

    def __init__(self, ledger: Ledger, *, host: str) -> None:
        self._source = Source(host, os.getpid(), "logbus", "logbus")
        row = ledger.workers.get(OWN) or WorkerRow(OWN, "logbus", host, 0, "logbus", time.time_ns() // 1000)
        row.pid, row.state = os.getpid(), "live"
        self._row = row
        self._waiting: list[Record] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def say(self, message: str, **fields: str | int) -> None:
        """One record, now, with these fields."""
        # An error may name a file in bytes that are not UTF-8.
        message = message.encode("utf-8", "backslashreplace").decode()
        extra: dict[str, str | int | float | bool | None] = {**fields}
        self._waiting.append(Record(time.time_ns() // 1000, 0, 0, message, extra))

    def tell_losses(self, losses: Sequence[Loss]) -> None:
        """A gap record for each loss that the collector found out."""
        for loss in losses:
            reason = loss.reason.replace("_", " ")
            self.say(
                f"{loss.count} records of {loss.worker} lost: {reason}",
                event="lost",
                lost_worker=loss.worker,
                reason=loss.reason,
                count=loss.count,
                first_seq=loss.first_seq,
            )

    def tell_drops(self, worker: str, drops: Sequence[Drop]) -> None:
        """A gap record for each entry of drops that a producer reported."""
        worker = worker[:NAME_CHARS]  # or a name of 200 kB would be written twice for every entry
        for drop in drops:
            reason, level = REASONS[drop.reason], BUCKETS[drop.bucket]
            first, last = _clock(drop.first_us), _clock(drop.last_us)
            self.say(
                f"{drop.count} {level} records of {worker} dropped: {reason.replace('_', ' ')}, {first} to {last}",
                event="dropped",
                dropped_worker=worker,
                reason=reason,
                dropped_level=level,
                count=drop.count,
                first_us=drop.first_us,
                last_us=drop.last_us,
            )

    def enter(self, change: Change) -> Batch | None:
        """The waiting records as a batch, entered in their row."""
        if not self._waiting:
            return None
        records, self._waiting = self._waiting[:1000], self._waiting[1000:]
        row = self._row
        batch = build(self._source, [_SITE], ["MainThread"], records, producer=OWN, first_seq=row.next_seq)
        row.next_seq += len(records)
        row.collected += len(records)
        row.mark(time.time(), emitted=row.next_seq, sent=row.next_seq, buffered=0, dropped=[])
        change.worker(row)
        return batch


def _clock(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"
