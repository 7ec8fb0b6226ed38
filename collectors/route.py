"""From batches to the queues of the sinks: filter once per call site, encode once per format.

Sinks of one format share the encoding. A record is one line in every format, so a sink that takes a part of a
batch takes some of its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, lines as split_lines
from logbus.collectors.ledger import Change
from logbus.collectors.rows import Range
from logbus.collectors.writer import Writer


@dataclass(frozen=True, slots=True)
class Route:
    """A sink's writer, what it takes, and in which format."""

    writer: Writer
    filter: SinkFilter
    formatter: Formatter


@dataclass(frozen=True, slots=True)
class Delivery:
    """Lines for a writer's queue, once the turn is committed."""

    writer: Writer
    data: bytes
    count: int
    ranges: tuple[Range, ...]


class Router:
    """The routes of a collector; formatters that are equal are one object."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = list(routes)

    @property
    def pushes_back(self) -> bool:
        """Whether a sink asks the receiver to wait."""
        return any(route.writer.pushes_back for route in self.routes)

    def enter(self, change: Change, batches: Sequence[Batch]) -> list[Delivery]:
        """Books batches in the rows of the sinks, and returns what goes to their queues after the commit."""
        deliveries: list[Delivery] = []
        for batch in batches:
            total = len(batch.records)
            if not total:
                continue
            encoded: dict[int, bytes] = {}
            lines: dict[int, list[bytes]] = {}
            for route in self.routes:
                row = route.writer.row
                chosen = route.filter.select(batch)
                count = total if chosen is None else len(chosen)
                row.offered += total
                row.filtered += total - count
                if not count or not route.writer.admit(count):
                    continue
                key = id(route.formatter)
                data = encoded.get(key)
                if data is None:
                    data = encoded[key] = route.formatter.encode(batch)
                if chosen is not None:
                    whole = lines.get(key)
                    if whole is None:
                        whole = lines[key] = split_lines(data)
                    data = b"".join([whole[at] for at in chosen])
                deliveries.append(Delivery(route.writer, data, count, _ranges(batch, chosen)))
        for route in self.routes:
            change.sink(route.writer.row)
        return deliveries


def _ranges(batch: Batch, chosen: Sequence[int] | None) -> tuple[Range, ...]:
    """Which sequence numbers a delivery holds: the whole batch, or the runs of those chosen."""
    if chosen is None:
        return ((batch.producer, batch.first_seq, len(batch.records)),)
    starts = [at == 0 or chosen[at - 1] + 1 != index for at, index in enumerate(chosen)]
    firsts = list(compress(chosen, starts))
    places = [*compress(range(len(chosen)), starts), len(chosen)]
    return tuple(
        (batch.producer, batch.first_seq + first, places[at + 1] - places[at]) for at, first in enumerate(firsts)
    )
