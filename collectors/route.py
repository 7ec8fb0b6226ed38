"""From batches to the queues of the sinks: filter, sample, encode once per format.

Sinks of one format share the encoding. A record is one line in every format, so a sink that takes a part of a
batch takes some of its lines. A record that a format can't write is dropped in the sinks of that format, and counted
there; no other sink notices.

The collector's own records are not sampled: what they say is said once, and a record that tells what sampling has left
out must not be left out itself. One that complains of a sink goes to the sinks that work
(:mod:`logbus.collectors.writing.complaint`).

A reload exchanges routes in two steps. What is new is opened and started while the old routes go on; only when all of
that has worked do the new ones take over, between two batches, in memory and at once. Every record goes by the one set
or by the other, and what the old writers hold they write to its end before a successor begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from logbus.collectors.decode import Batch
from logbus.collectors.delivery import Delivery, deliver, deliver_lines, refuse
from logbus.collectors.encode import Encoded
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter
from logbus.collectors.format.json import JsonFormat
from logbus.collectors.histogram import Histogram
from logbus.collectors.hold import LINES_A_TURN, Early, Hold, Settled
from logbus.collectors.ledger import Change
from logbus.collectors.plan import Slot, plan
from logbus.collectors.roll import OWN
from logbus.collectors.sample import Head, LeftOut, Sampling
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.file import FileSink
from logbus.collectors.writing.complaint import without_complaints
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.errors import ControlError

#: Seconds for which a sink that a reload has removed goes on writing what it was given.
RETIRE_S: Final = 30.0
#: Sinks that may be at that at a time: each holds a queue, a thread and perhaps a file.
MAX_RETIRED: Final = 32


@dataclass(frozen=True, slots=True)
class Destination:
    """A sink, what it takes, in which format, how much of it (``sampling`` None: all), and on which terms.

    ``slot`` tells a reload whether it is the one that runs already.
    """

    sink: Sink
    filter: SinkFilter
    formatter: Formatter
    slot: Slot | None = None
    sampling: Sampling | None = None
    terms: Terms = field(default_factory=Terms)


#: Makes the writer of a destination, behind others.
MakeWriter = Callable[[Destination, Sequence[Writer], Histogram], Writer]


@dataclass(frozen=True, slots=True)
class Route:
    """A sink's writer, what it takes, in which format, and what samples it."""

    writer: Writer
    filter: SinkFilter
    formatter: Formatter
    slot: Slot | None = None
    sampler: Head | Hold | None = None

    @classmethod
    def of(cls, destination: Destination, writer: Writer, running: Route | None) -> Route:
        """The route to a destination by this writer; what samples it goes on if ``running`` samples as it wants to."""
        sampler, policy = None, destination.sampling
        if policy is not None and policy.rate < 1.0:
            if running is not None and running.sampler is not None and running.sampler.policy == policy:
                sampler = running.sampler
            else:
                sampler = Hold(policy) if policy.tail else Head(policy)
        return cls(writer, destination.filter, destination.formatter, destination.slot, sampler)

    def sample(self, encoded: Encoded, chosen: Sequence[int] | None, now: float) -> list[Delivery]:
        """Inside a transaction: books the chosen records of a batch (None: all), and what they free of those held."""
        sampler, writer = self.sampler, self.writer
        assert sampler is not None
        choice = sampler.choose(encoded.batch, chosen, now)
        writer.row.sampled_out += choice.out
        found = deliver_lines(writer, choice.released)
        kept = deliver(writer, encoded, choice.kept, stamped=choice.stamped, rate=sampler.policy.rate)
        if kept is not None:
            found.append(kept)
        if choice.waiting and isinstance(sampler, Hold):
            if writer.admit(len(choice.waiting)):
                lines = encoded.pick(choice.waiting)
                if b"" in lines:
                    refuse(writer, encoded, lines.count(b""))
                elif writer.refusing:
                    writer.forgive()
                found += self._settled(sampler.hold(lines, encoded.batch, encoded.formatter, now))
            else:
                sampler.let_go()
        return found

    def settle(self, now: float, most: int) -> list[Delivery]:
        """Inside a transaction: books what became of held records whose time is over, about ``most`` of them."""
        return self._settled(self.sampler.settle(now, most)) if isinstance(self.sampler, Hold) else []

    def end_sampling(self, now: float) -> list[Delivery]:
        """Inside a transaction: books what becomes of all that is held."""
        return self._settled(self.sampler.end(now)) if isinstance(self.sampler, Hold) else []

    def _settled(self, settled: Settled) -> list[Delivery]:
        if settled.out:
            self.writer.withdraw(settled.out)
        return deliver_lines(self.writer, settled.released)


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

    ``routes`` take records; ``retired`` are what reloads have taken out and what still writes its last ones. ``clock``
    gives monotonic seconds.
    """

    def __init__(self, routes: Sequence[Route] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self.routes = list(routes)
        self._clock = clock
        self._told: list[tuple[str, LeftOut | Early]] = []
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

    def writer_of(self, name: str) -> Writer | None:
        """The writer that takes records for the sink of this name; None: there is no such sink."""
        return next((route.writer for route in self.routes if route.writer.sink.name == name), None)

    def queued(self) -> dict[str, int]:
        """Records in the queues and in hand, by the name of the sink. Exact inside a transaction of the ledger."""
        counts: dict[str, int] = {}
        # A look from another thread may fall into an exchange: first those that take records, then those that did, and
        # each once, so that none is missed.
        going = [route.writer for route in tuple(self.routes)]
        for writer in dict.fromkeys([*going, *[route.writer for route in tuple(self.retired)]]):
            counts[writer.sink.name] = counts.get(writer.sink.name, 0) + writer.queued
        return counts

    @property
    def due_in(self) -> float:
        """Seconds until sampling has something to decide or to tell though nothing comes, at most 0 if it has now."""
        return 0.0 if self._told else self._due_at() - self._clock()

    @property
    def due(self) -> bool:
        """Whether sampling has something to decide or to tell though nothing has come."""
        return self.due_in <= 0

    def told(self) -> list[tuple[str, LeftOut | Early]]:
        """What there is to tell of sampling since the last call, with the name of the sink."""
        now = self._clock()
        for route in self.routes:
            self._hear(route, now)
        told, self._told = self._told, []
        return told

    def held(self) -> dict[str, dict[str, int]]:
        """What is held now, by the name of the sink, and how many requests were decided before their time."""
        return {
            route.writer.sink.name: {
                "records": route.sampler.records,
                "requests": route.sampler.requests,
                "bytes": route.sampler.bytes,
                "decided_early": route.sampler.early,
            }
            for route in self.routes
            if isinstance(route.sampler, Hold)
        }

    def archives(self) -> dict[str, dict[str, int]]:
        """Of each sink with rotated files, by its name: how many there are, their bytes, how many were deleted."""
        return {
            route.writer.sink.name: route.writer.sink.archive.document()
            for route in self.routes
            if isinstance(route.writer.sink, FileSink) and route.writer.sink.archive is not None
        }

    def complete(self, document: dict[str, Any]) -> dict[str, Any]:
        """The ledger's status document, with what writers, samplers and archives say in the rows of their sinks."""
        writers = {route.writer.sink.name: route.writer for route in self.routes}
        held, archives = self.held(), self.archives()
        for row in document["sinks"]:
            name = row["name"]
            if name in writers:
                row |= writers[name].document()
            for key, found in (("held", held), ("archive", archives)):
                if name in found:
                    row[key] = found[name]
        return document

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
                running: Route | None = None
                if isinstance(step, int):
                    running = self.routes[step]
                    writer = running.writer
                else:
                    latency = self.latencies.setdefault(destination.sink.name, Histogram())
                    writer = make(destination, [present[at].writer for at in step.behind], latency)
                    made.append(writer)
                    if step.at_once:
                        writer.open()
                routes.append(Route.of(destination, writer, running))
            for writer in made:
                writer.start()
        except BaseException:
            Exchange((), (), tuple(made)).cancel()
            raise
        return Exchange(tuple(routes), tuple(self.routes[at] for at in steps.retired), tuple(made))

    def commit(self, exchange: Exchange) -> None:
        """Lets prepared routes take over; call it between two batches. What ends does so on its own threads.

        What sampling holds is decided first where it is not sampled in the same way from now on. Raises what the
        ledger raises; then nothing has changed but that.
        """
        going_on = {id(route.sampler) for route in exchange.routes}
        self._end_sampling([route for route in self.routes if id(route.sampler) not in going_on])
        deadline = time.monotonic() + RETIRE_S
        for route in exchange.retired:
            route.writer.retire(deadline)
        self.retired += exchange.retired
        self.routes = list(exchange.routes)

    def end_sampling(self) -> None:
        """Decides all that is held, and has what is to tell told, at the end."""
        self._end_sampling(self.routes)

    def settle(self) -> None:
        """Lets go of what has ended; a sink of whose name nothing is left is booked as removed. Notices what hangs."""
        for route in self.routes:
            route.writer.watch()
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

    def wants(self, batch: Batch) -> list[bool] | None:
        """Whether some sink may take records of each call site, by what it asks of call sites; None when all may be."""
        wanted: list[bool] | None = None
        for route in self.routes:
            taken = route.filter.accepted_sites(batch)
            if taken is None:
                return None
            wanted = taken if wanted is None else [one or other for one, other in zip(wanted, taken, strict=True)]
        return wanted

    @property
    def takes_rows(self) -> bool:
        """Whether nobody here asks for more of a record than its call site and its line of JSON."""
        return all(
            type(route.formatter) is JsonFormat and route.filter.by_site and route.sampler is None
            for route in self.routes
        )

    def enter(self, change: Change, batches: Sequence[Batch]) -> list[Delivery]:
        """Books batches in the rows of the sinks, and returns what goes to their queues after the commit.

        Without batches it decides what is :attr:`due`.
        """
        now = self._clock()
        deliveries: list[Delivery] = []
        if self._due_at() <= now:
            # What ends must keep up with what comes, or it would be held beyond its time until memory is full.
            holds = sum([isinstance(route.sampler, Hold) for route in self.routes])
            most = LINES_A_TURN // max(1, holds) + sum([batch.count for batch in batches])
            for route in self.routes:
                self._hear(route, now)
                deliveries += route.settle(now, most)
        formats = [id(route.formatter) for route in self.routes]
        for batch in batches:
            total = batch.count
            if not total:
                continue
            choices = [self._select(route, batch) for route in self.routes]
            shared: dict[int, Encoded] = {}
            for route, chosen in zip(self.routes, choices, strict=True):
                row = route.writer.row
                count = total if chosen is None else len(chosen)
                row.offered += total
                row.filtered += total - count
                if not count:
                    continue
                key = id(route.formatter)
                encoded = shared.get(key)
                if encoded is None:
                    alone = formats.count(key) == 1
                    wanted = chosen if alone else _any_of([choices[at] for at, one in enumerate(formats) if one == key])
                    encoded = shared[key] = Encoded(route.formatter, batch, alone=alone, wanted=wanted)
                if route.sampler is not None and batch.producer != OWN:
                    deliveries += route.sample(encoded, chosen, now)
                elif (found := deliver(route.writer, encoded, chosen)) is not None:
                    deliveries.append(found)
        for route in self.routes:
            change.sink(route.writer.row)
        return deliveries

    @staticmethod
    def _select(route: Route, batch: Batch) -> Sequence[int] | None:
        chosen = route.filter.select(batch)
        if batch.producer == OWN and route.writer.in_trouble:
            return without_complaints(batch, chosen)
        return chosen

    def _due_at(self) -> float:
        return min([route.sampler.due_at for route in self.routes if route.sampler is not None], default=inf)

    def _hear(self, route: Route, now: float, *, ending: bool = False) -> None:
        if route.sampler is not None:
            self._told += [(route.writer.sink.name, told) for told in route.sampler.told(now, ending=ending)]

    def _end_sampling(self, routes: Sequence[Route]) -> None:
        now = self._clock()
        for route in routes:
            if route.sampler is not None:
                self._hear(route, now, ending=True)
                with route.writer.transaction() as change:
                    deliveries = route.end_sampling(now)
                    change.sink(route.writer.row)
                for delivery in deliveries:
                    delivery.hand_over()


def _any_of(choices: Sequence[Sequence[int] | None]) -> Sequence[int] | None:
    """The records that are in any of these choices, in order; None: all are."""
    first = choices[0]
    if first is None or all(one == first for one in choices):
        return first
    found: set[int] = set()
    for one in choices:
        if one is None:
            return None
        found.update(one)
    return sorted(found)


def _slot(slot: Slot | None, sink: Sink) -> Slot:
    """The slot of a sink; one that nobody has told about is the one that it is."""
    return slot or Slot(sink.name, f"{sink.type} {id(sink)}", "")
