"""From batches to the queues of the sinks: filter once per call site, encode once per format.

Sinks of one format share the encoding. A record is one line in every format, so a sink that takes a part of a
batch takes some of its lines.

A reload exchanges routes in two steps. What is new is opened and started while the old routes go on; only when all of
that has worked do the new ones take over, between two batches, in memory and at once. Every record goes by the one set
or by the other, and what the old writers hold they write to its end before a successor begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, lines as split_lines
from logbus.collectors.histogram import Histogram
from logbus.collectors.ledger import Change
from logbus.collectors.plan import Slot, plan
from logbus.collectors.rows import Range
from logbus.collectors.sinks.base import Sink
from logbus.collectors.writer import Writer
from logbus.errors import ControlError

#: Seconds for which a sink that a reload has removed goes on writing what it was given.
RETIRE_S: Final = 30.0
#: Sinks that may be at that at a time: each holds a queue, a thread and perhaps a file.
MAX_RETIRED: Final = 32

#: Makes the writer of a sink, behind others.
MakeWriter = Callable[[Sink, Sequence[Writer], Histogram], Writer]


@dataclass(frozen=True, slots=True)
class Destination:
    """A sink, what it takes, and in which format. ``slot`` tells a reload whether it is the one that runs already."""

    sink: Sink
    filter: SinkFilter
    formatter: Formatter
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A sink's writer, what it takes, and in which format."""

    writer: Writer
    filter: SinkFilter
    formatter: Formatter
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """Lines for a writer's queue, once the turn is committed."""

    writer: Writer
    data: bytes
    count: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Routes that are ready to take over, and those that then end: made, opened and started, and not yet in use."""

    routes: tuple[Route, ...]
    retired: tuple[Route, ...]
    started: tuple[Writer, ...]

    def cancel(self) -> None:
        """Ends what was made for it. Nothing has come there, so nothing is lost."""
        for writer in self.started:
            writer.cancel()


class Router:
    """The routes of a collector; formatters that are equal are one object.

    ``routes`` take records; ``retired`` are what reloads have taken out and what still writes its last ones.
    """

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self.routes = list(routes)
        self.retired: list[Route] = []
        #: By the name of a sink, whichever writer it has or had.
        self.latencies = {route.writer.sink.name: route.writer.latency for route in routes}

    @property
    def pushes_back(self) -> bool:
        """Whether a sink asks the receiver to wait."""
        return any(route.writer.pushes_back for route in self.routes)

    @property
    def writers(self) -> list[Writer]:
        """Every writer that has not ended, those that end first."""
        return [route.writer for route in (*self.retired, *self.routes)]

    def queued(self) -> dict[str, int]:
        """Records in the queues and in hand, by the name of the sink. Exact inside a transaction of the ledger."""
        counts: dict[str, int] = {}
        for writer in self.writers:
            counts[writer.sink.name] = counts.get(writer.sink.name, 0) + writer.queued
        return counts

    def prepare(self, destinations: Sequence[Destination], make: MakeWriter) -> Exchange:
        """Opens and starts what is new. Until :meth:`commit` nothing else has changed.

        Raises what opening raises, ControlError when too many sinks still end; then nothing of it remains.
        """
        if len(self.retired) > MAX_RETIRED:
            raise ControlError(f"{len(self.retired)} removed sinks still write what they were given: wait for them")
        present = (*self.routes, *self.retired)
        slots = [_slot(route.slot, route.writer.sink) for route in present]
        count = len(self.routes)
        steps = plan(slots[:count], slots[count:], [_slot(one.slot, one.sink) for one in destinations])
        routes: list[Route] = []
        made: list[Writer] = []
        try:
            for destination, step in zip(destinations, steps.steps, strict=True):
                if isinstance(step, int):
                    writer = self.routes[step].writer
                else:
                    latency = self.latencies.setdefault(destination.sink.name, Histogram())
                    writer = make(destination.sink, [present[at].writer for at in step.behind], latency)
                    made.append(writer)
                    if step.at_once:
                        writer.open()
                routes.append(Route(writer, destination.filter, destination.formatter, destination.slot))
            for writer in made:
                writer.start()
        except BaseException:
            Exchange((), (), tuple(made)).cancel()
            raise
        return Exchange(tuple(routes), tuple(self.routes[at] for at in steps.retired), tuple(made))

    def commit(self, exchange: Exchange) -> None:
        """Lets prepared routes take over; call it between two batches. What ends does so on its own threads."""
        deadline = time.monotonic() + RETIRE_S
        for route in exchange.retired:
            route.writer.retire(deadline)
        self.retired += exchange.retired
        self.routes = list(exchange.routes)

    def settle(self) -> None:
        """Lets go of what has ended; a sink of whose name nothing is left is booked as removed."""
        ended = []
        for route in self.retired:
            route.writer.give_up()
            if route.writer.ended:
                ended.append(route)
        if ended:
            self.retired = [route for route in self.retired if route not in ended]
            left = {writer.sink.name for writer in self.writers}
            for route in ended:
                if route.writer.sink.name not in left:
                    route.writer.remove()

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


def _slot(slot: Slot | None, sink: Sink) -> Slot:
    """The slot of a sink; one that nobody has told about is the one that it is."""
    return slot or Slot(sink.name, f"{sink.type} {id(sink)}", "")


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
