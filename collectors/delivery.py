"""Lines on their way into a writer's queue: booked as handed over, and those that could not be encoded as dropped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

from logbus.collectors.decode import Batch
from logbus.collectors.encode import Encoded
from logbus.collectors.roll import OWN
from logbus.collectors.rows import Range, coalesced
from logbus.collectors.sample import Line
from logbus.collectors.writing.writer import Writer
from logbus.levels import bucket_of

#: Bytes of lines, about, that become one delivery.
DELIVERY_BYTES: Final = 1024 * 1024
_NONE: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Lines for a writer's queue, once the turn is committed."""

    writer: Writer
    data: bytes
    count: int
    ranges: tuple[Range, ...]
    #: The bucket of each line where the writer wants to know it, else nothing.
    levels: bytes = b""

    def hand_over(self) -> None:
        """Puts them into the queue."""
        self.writer.put(self.data, self.count, self.ranges, self.levels)


def deliver(
    writer: Writer,
    encoded: Encoded,
    chosen: Sequence[int] | None,
    *,
    stamped: Collection[int] = _NONE,
    rate: float = 1.0,
) -> Delivery | None:
    """Inside a transaction: books the chosen records of a batch (None: all), and gives their lines.

    Those in ``stamped`` carry ``rate``. None when the writer has no room, or none of them can be encoded.
    """
    count = encoded.batch.count if chosen is None else len(chosen)
    if not count or not writer.admit(count):
        return None
    if not stamped and encoded.covers(chosen):
        data = encoded.whole
    else:
        chosen = range(count) if chosen is None else chosen
        lines = encoded.pick(chosen)
        if b"" in lines:
            refuse(writer, encoded, lines.count(b""))
            chosen = [at for at, line in zip(chosen, lines, strict=True) if line]
            lines = [line for line in lines if line]
            if not lines:
                return None
            count = len(lines)
        if stamped:
            stamp = encoded.formatter.stamp
            lines = [stamp(line, rate) if at in stamped else line for at, line in zip(chosen, lines, strict=True)]
        data = b"".join(lines)
    if writer.refusing:
        writer.forgive()
    levels = levels_of(encoded.batch, chosen) if writer.terms.by_level else b""
    return Delivery(writer, data, count, ranges_of(encoded.batch, chosen), levels)


def refuse(writer: Writer, encoded: Encoded, records: int) -> None:
    """Inside a transaction: books so many admitted records of a batch as those that its format can't write.

    The collector's own are not complained of: a complaint is such a record, and might never end.
    """
    writer.refuse(records, encoded.error or "no line", tell=encoded.batch.producer != OWN)


def deliver_lines(writer: Writer, lines: Sequence[Line]) -> list[Delivery]:
    """Lines that were booked as handed over before, in deliveries of no more than :data:`DELIVERY_BYTES`."""
    deliveries: list[Delivery] = []
    group: list[Line] = []
    size = 0
    for line in lines:
        if group and size + len(line[0]) > DELIVERY_BYTES:
            deliveries.append(_of_lines(writer, group))
            group, size = [], 0
        group.append(line)
        size += len(line[0])
    if group:
        deliveries.append(_of_lines(writer, group))
    return deliveries


def ranges_of(batch: Batch, chosen: Sequence[int] | None) -> tuple[Range, ...]:
    """Which sequence numbers a delivery holds: the whole batch, or the runs of those chosen."""
    if chosen is None:
        return ((batch.producer, batch.first_seq, batch.count),)
    starts = [at == 0 or chosen[at - 1] + 1 != index for at, index in enumerate(chosen)]
    firsts = list(compress(chosen, starts))
    places = [*compress(range(len(chosen)), starts), len(chosen)]
    return tuple(
        (batch.producer, batch.first_seq + first, places[at + 1] - places[at]) for at, first in enumerate(firsts)
    )


def levels_of(batch: Batch, chosen: Sequence[int] | None) -> bytes:
    """The bucket of levels (:data:`logbus.levels.BUCKETS`) of each chosen record of a batch (None: all)."""
    buckets = [bucket_of(site.level_no) for site in batch.sites]
    sites = batch.record_sites()
    return bytes([buckets[site] for site in sites] if chosen is None else [buckets[sites[at]] for at in chosen])


def _of_lines(writer: Writer, lines: Sequence[Line]) -> Delivery:
    data = b"".join([line for line, _, _ in lines])
    levels = bytes([level for _, _, level in lines]) if writer.terms.by_level else b""
    return Delivery(writer, data, len(lines), coalesced(place for _, place, _ in lines), levels)
