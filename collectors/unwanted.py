"""Records that no sink takes: they keep their place, since the ledger counts them, and lose everything else.

A sink decides by call site first, and what it decides is the same for all records of one: by level, by component, and
by conditions on what a call site says. So what no sink takes is known before the texts of a batch are looked at. Such a
record costs its decoding, which checks it, and no more: it is neither redacted nor encoded, and what it held is gone
before anybody sees the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from logbus.collectors.decode import Batch, Record

#: Whether somebody may want the records of each call site of a batch; None when all may be wanted. Asked once the names
#: of the batch (of its source, threads and call sites) are masked, and nothing else is.
Wants = Callable[[Batch], Sequence[bool] | None]


def leave_out(batch: Batch, wanted: Sequence[bool]) -> list[Record]:
    """Puts an empty record of the same call site in the place of each that nobody wants; returns the others."""
    empty = [None if wants else Record(0, at, 0, "") for at, wants in enumerate(wanted)]
    records = batch.records
    batch.records = [empty[record.site] or record for record in records]
    return [record for record in records if wanted[record.site]]
