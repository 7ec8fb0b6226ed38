"""The collector's own records: gaps, losses and its complaints, a producer row of their own (worker "logbus").

They take the way of every record, redaction included, and are counted like all others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from logbus.collectors.decode import Batch, Drop, Record, Site, Source, build
from logbus.collectors.hold import Early
from logbus.collectors.ledger import Change, Ledger, Resolution, WorkerRow
from logbus.collectors.roll import NAME_CHARS, OWN, Loss
from logbus.collectors.sample import LeftOut
from logbus.durations import format_duration
from logbus.levels import BUCKETS
from logbus.sizes import format_size
from logbus.wire import REASONS

_WARNING, _NOTICE = (
    Site("logbus.collector", number, name, "collector", "account", 0, "logbus")
    for number, name in ((30, "WARNING"), (20, "INFO"))
)


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
        """One record, now, with these fields: a WARNING."""
        self._enqueue(0, message, fields)

    def note(self, message: str, **fields: str | int) -> None:
        """One record, now, with these fields: an INFO, of what somebody wanted."""
        self._enqueue(1, message, fields)

    def tell_past(self, damage: str | None, resolutions: Sequence[Resolution]) -> list[str]:
        """What the last collector left unfinished, a record each; returns it as lines for people."""
        lines = []
        if damage:
            lines.append(f"the ledger was damaged: {damage}")
            self.say(lines[-1], event="ledger_damaged")
        for found in resolutions:
            text = f"sink {found.sink!r}: the last collector ended with {found.lost} records not written"
            if found.unknown:
                text += f" and {found.unknown} of which nobody knows"
            if found.spooled:
                text += f"; {found.spooled} wait in its spool"
            if found.again:
                text += f", {found.again} of which may have been delivered before"
            if found.cut_bytes:
                text += f"; a torn line of {found.cut_bytes} bytes was cut off"
            lines.append(text)
            self.say(
                text,
                event="restarted",
                sink=found.sink,
                count=found.lost,
                delivered=found.delivered,
                unknown=found.unknown,
            )
        return lines

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

    def tell_sampling(self, told: Sequence[tuple[str, LeftOut | Early]]) -> None:
        """A record for each interval in which a sink has left records out, and for requests decided before their time.

        What was left out was meant to be (an INFO); that memory was too small for the requests was not.
        """
        for sink, found in told:
            if isinstance(found, Early):
                self.say(
                    f"sink {sink!r}: {found.requests} requests were sampled before their window had ended, since"
                    f" max_bytes ({format_size(found.max_bytes)}) can't hold them",
                    event="sampled_early",
                    sink=sink,
                    count=found.requests,
                )
                continue
            interval = format_duration(found.interval_s)
            busiest = ", ".join(f"{count} of {name}" for name, count in found.sites)
            self._enqueue(
                1,
                f"sink {sink!r}: {found.records} records left out in {interval}: {busiest}",
                {"event": "sampled", "sink": sink, "count": found.records, "interval": interval},
                {"sites": [{"site": _utf8(name), "count": count} for name, count in found.sites]},
            )

    def _enqueue(
        self, site: int, message: str, fields: Mapping[str, str | int], nested: dict[str, Any] | None = None
    ) -> None:
        # An error may name a file in bytes that are not UTF-8, and so may a field.
        extra: dict[str, str | int | float | bool | None] = {
            key: _utf8(value) if isinstance(value, str) else value for key, value in fields.items()
        }
        self._waiting.append(Record(time.time_ns() // 1000, site, 0, _utf8(message), extra, nested))

    def enter(self, change: Change) -> Batch | None:
        """The waiting records as a batch, entered in their row."""
        if not self._waiting:
            return None
        records, self._waiting = self._waiting[:1000], self._waiting[1000:]
        row = self._row
        batch = build(self._source, [_WARNING, _NOTICE], ["MainThread"], records, producer=OWN, first_seq=row.next_seq)
        row.next_seq += len(records)
        row.collected += len(records)
        row.mark(time.time(), emitted=row.next_seq, sent=row.next_seq, buffered=0, dropped=[])
        change.worker(row)
        return batch


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _clock(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"
