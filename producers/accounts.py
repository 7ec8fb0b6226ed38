"""What a producer says of itself: the payload of a MARK, the report of its drops, and the last entries in its book.

For the sender thread. The counters are the page's, written by every thread that logs; here they are read together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from logbus.counters import DROP_WORDS, DROPPED, Counters, Meta
from logbus.levels import BUCKETS, bucket_of
from logbus.os_threads import get_ident
from logbus.producers.buffer import Buffer
from logbus.producers.pack import microseconds
from logbus.wire import SHUTDOWN, pack_payload

#: What a MARK confirms: version and ledger of the level rules in force, the gates, the flight recorder's counts.
Confirmed = tuple[int, str, str, tuple[int, int, int]]

#: Seconds between two reports of drops: one summary, never a line per drop.
REPORT_INTERVAL_S: Final = 1.0
#: Attempts at counters that agree with each other while other threads go on counting.
_SNAPSHOTS: Final = 64


class Accounts:
    """The book of one producer life."""

    def __init__(self, buffer: Buffer, counters: Counters, meta: Meta) -> None:
        self.counters = counters
        self._buffer = buffer
        self._meta = meta
        self._reported = [0] * DROP_WORDS
        self._report_at = 0.0

    def mark(self, answered: int, confirmed: Confirmed, *, bye: bool = False) -> bytes:
        """The payload of a MARK: counters that agree with each other. ``answered`` is the mark request it answers.

        In a BYE nothing is buffered: calls that are under way still can only end as dropped by the shutdown.
        """
        totals = self.counters.totals()
        buffered = self._buffer.records
        for _ in range(_SNAPSHOTS):
            before, totals = totals, self.counters.totals()
            if before.settled == totals.settled and before.dropped == totals.dropped:
                break
            buffered = self._buffer.records
        # Calls that are counted and have not arrived yet are on their way into the buffer.
        buffered += totals.emitted - totals.settled
        if bye:
            totals.dropped[SHUTDOWN * len(BUCKETS) + bucket_of(logging.INFO)] += buffered
            buffered = 0
        return pack_payload(
            [
                self._meta.source(),
                self._meta.started_us,
                answered,
                totals.emitted,
                totals.sent,
                buffered,
                totals.drops(),
                self.counters.exact,
                *confirmed,
            ]
        )

    def drop_report(self, *, now: bool = False) -> list[list[int]]:
        """What has been dropped since the last report, as the wire has it; at most one an interval, or ``now``."""
        at = time.monotonic()
        if at < self._report_at and not now:
            return []
        self._report_at = at + REPORT_INTERVAL_S
        dropped = self.counters.totals().dropped
        report: list[list[int]] = []
        for word, count in enumerate(dropped):
            if count > self._reported[word]:
                reason, bucket = divmod(word, len(BUCKETS))
                first, last = (microseconds(found or time.time()) for found in self._buffer.span(reason, bucket))
                report.append([reason, bucket, count - self._reported[word], first, max(first, last)])
        self._reported = dropped
        return report

    def drop(self, reason: int, bucket: int, records: int = 1) -> None:
        """Counts records that the sender itself gives up."""
        self._cell()[DROPPED + reason * len(BUCKETS) + bucket] += records

    def settled(self) -> bool:
        """Whether no call is between its count and its arrival."""
        totals = self.counters.totals()
        return totals.emitted == totals.settled

    def drop_rest(self, levels: Sequence[int], size: int) -> None:
        """Counts what never left as dropped by the shutdown: so many of each level bucket, of ``size`` bytes in all.

        Calls that are under way still are left alone: each counts itself if it goes on, and if it doesn't (a thread
        that the end of the process stops) whoever reads the page of a producer that said BYE knows what it means.
        """
        for bucket, records in enumerate(levels):
            self.drop(SHUTDOWN, bucket, records)
        self._buffer.release(sum(levels), size)

    def _cell(self) -> memoryview[int]:
        return self.counters.cells.get(get_ident()) or self.counters.cell()
