"""The rows of the ledger: one per worker, one per sink, each with its law.

A row is counters and nothing else. Each is counted where the thing happens and stored as counted; no term of a
law is the remainder of the others, or the law would prove nothing (design §4):

- per worker: emitted = collected + dropped{reason} + in_flight + unknown
- per sink: offered = delivered + filtered + sampled_out + dropped{reason} + queued + spooled + unknown

A worker's row holds two things side by side. What the collector has counted so far (``collected``, ``lost``, …)
moves with every frame; what the worker said at its last MARK (``emitted``, ``sent``, …) and what the collector
had counted at that moment (``mark_…``) move together, once a second, and only these two are compared. Records
travel in order, so that a MARK comes after everything that it calls sent and that was not lost.

Rows are changed inside a transaction of the ledger and nowhere else. How they are stored
is :mod:`logbus.collectors.book`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from logbus.wire import COLLECTOR_LOST, REASONS, REJECTED

#: Ranges of sequence numbers in one intent; the records of a write beyond them are counted, not numbered.
MAX_RANGES: Final = 64
#: The row into which the oldest workers are folded.
OLDER: Final = bytes(16)

#: Gates that stop a suppressed call before it costs anything.
_AT_SOURCE: Final = frozenset({"source", "direct"})

#: A producer (16 bytes), its first sequence number, and how many follow one another from there.
Range = tuple[bytes, int, int]


def _zeros() -> list[int]:
    return [0] * len(REASONS)


def _added(mine: list[int], theirs: list[int]) -> list[int]:
    return [a + b for a, b in zip(mine, theirs, strict=True)]


@dataclass(slots=True)
class WorkerRow:
    """What one producer emitted and what became of it. Times of ``started_us`` are epoch microseconds."""

    producer: bytes
    worker: str
    host: str
    pid: int
    app_name: str
    started_us: int
    state: Literal["live", "gone", "crashed"] = "live"
    #: By what the level rules act in each library, as the worker says it: "stdlib=source,loguru=direct".
    gate: str = ""
    level_version: int = 0
    #: False when a count had to be booked as unknown, or the ledger has lost entries of this row.
    exact: bool = True
    #: The first sequence number that is not accounted for.
    next_seq: int = 0
    #: Records decoded and entered here.
    collected: int = 0
    #: Per reason, booked by the collector. ``worker_lost`` was emitted and never sent; ``collector_lost`` and
    #: ``rejected`` were sent.
    lost: list[int] = field(default_factory=_zeros)
    #: Records that came a second time; outside the law.
    duplicated: int = 0
    #: Part of what was sent, and nobody can say what became of them: an earlier ledger knew and is gone, or the
    #: worker is, with its page (what may never have left its buffer then counts as sent).
    unknown: int = 0
    #: When the last MARK came, in epoch seconds; 0 before the first.
    mark_at: float = 0.0
    emitted: int = 0
    sent: int = 0
    buffered: int = 0
    #: Per reason, as the producer itself counted.
    dropped: list[int] = field(default_factory=_zeros)
    mark_collected: int = 0
    mark_lost: list[int] = field(default_factory=_zeros)
    mark_unknown: int = 0
    #: Records that the flight recorder took, sent after a trigger, and threw away; outside the law.
    recorder: list[int] = field(default_factory=lambda: [0, 0, 0])

    def mark(self, at: float, *, emitted: int, sent: int, buffered: int, dropped: Sequence[int]) -> None:
        """Takes what the producer says at a MARK (``at`` in epoch seconds) beside what is counted here by then.

        ``dropped`` is per reason, the producer's own ones or all.
        """
        self.mark_at, self.emitted, self.sent, self.buffered = at, emitted, sent, buffered
        self.dropped = [*dropped, *_zeros()[len(dropped) :]]
        self.mark_collected, self.mark_lost, self.mark_unknown = self.collected, list(self.lost), self.unknown

    @property
    def in_flight(self) -> int:
        """Records that the last MARK calls buffered, or sent and by then not collected, booked as lost or unknown."""
        return self.buffered + self._travelling

    @property
    def _travelling(self) -> int:
        ended = self.mark_collected + self.mark_lost[COLLECTOR_LOST] + self.mark_lost[REJECTED] + self.mark_unknown
        return self.sent - ended

    def law(self) -> bool:
        """Whether the law of a worker holds."""
        return not self.problems()

    def problems(self) -> list[str]:
        """A sentence, with its numbers, for each way in which the law does not hold."""
        who = f"worker {self.worker} (pid {self.pid})"
        dropped, lost = sum(self.dropped), sum(self.mark_lost)
        problems = []
        ended = self.mark_collected + dropped + lost + self.in_flight + self.mark_unknown
        if self.emitted != ended:
            problems.append(
                f"{who}: emitted {self.emitted}, but collected {self.mark_collected} + dropped {dropped + lost}"
                f" + in flight {self.in_flight} + unknown {self.mark_unknown} = {ended}"
            )
        terms = {
            "emitted": self.emitted,
            "collected": self.mark_collected,
            "dropped": min((*self.dropped, *self.mark_lost)),
            "buffered": self.buffered,
            "sent and not collected": self._travelling,
            "unknown": self.mark_unknown,
        }
        problems.extend(f"{who}: {term} is negative: {value}" for term, value in terms.items() if value < 0)
        if self.mark_collected > self.sent:
            problems.append(f"{who}: collected {self.mark_collected}, but only {self.sent} were sent")
        if self.state != "live" and self.in_flight:
            problems.append(f"{who}: it is {self.state} and still has {self.in_flight} in flight")
        return problems

    def document(self, now: float) -> dict[str, Any]:
        """The row as interface §6 has it; ``now`` is epoch seconds. ``recorder`` is there where it has recorded."""
        gates = gates_of(self.gate)
        document = {
            "worker": self.worker,
            "pid": self.pid,
            "host": self.host,
            "app_name": self.app_name,
            "producer": self.producer.hex(),
            "state": self.state,
            "level_version": self.level_version,
            "gate": weakest_gate(gates),
            "gates": gates,
            "exact": self.exact,
            "mark_age_seconds": round(max(0.0, now - self.mark_at), 3) if self.mark_at else None,
            "emitted": self.emitted,
            "sent": self.sent,
            "collected": self.mark_collected,
            "dropped": by_reason(_added(self.dropped, self.mark_lost)),
            "in_flight": self.in_flight,
            "unknown": self.mark_unknown,
            "duplicated": self.duplicated,
        }
        if any(self.recorder):
            document["recorder"] = dict(zip(("recorded", "replayed", "discarded"), self.recorder, strict=True))
        return document

    def absorb(self, other: WorkerRow) -> None:
        """Adds every count of another row to this one, the row of the folded."""
        self.collected += other.collected
        self.lost = _added(self.lost, other.lost)
        self.duplicated += other.duplicated
        self.unknown += other.unknown
        self.emitted += other.emitted
        self.sent += other.sent
        self.buffered += other.buffered
        self.dropped = _added(self.dropped, other.dropped)
        self.mark_collected += other.mark_collected
        self.mark_lost = _added(self.mark_lost, other.mark_lost)
        self.mark_unknown += other.mark_unknown
        self.recorder = _added(self.recorder, other.recorder)
        self.exact = self.exact and other.exact
        self.started_us = min(self.started_us, other.started_us)
        self.mark_at = max(self.mark_at, other.mark_at)

    @classmethod
    def older(cls, started_us: int) -> WorkerRow:
        """An empty row for the folded."""
        return cls(OLDER, "(older)", "", 0, "", started_us, state="gone")


class Intent(NamedTuple):
    """A write that a sink is about to make: what a restart needs to find out how far it came.

    ``offset`` and ``length`` are bytes of the file at ``path``, which has this inode and device. ``count`` is its
    records and ``delivered_before`` the sink's ``delivered`` without them, so that finding out twice counts once.
    A sink that can't be checked leaves the file's part at its defaults. ``spooled`` says that its records stand in the
    sink's spool: after a crash they are there still, and are sent again.
    """

    count: int  # type: ignore[assignment]  # the word for it; tuple.count is not missed
    delivered_before: int
    ranges: tuple[Range, ...] = ()
    path: str = ""
    inode: int = 0
    device: int = 0
    offset: int = 0
    length: int = 0
    spooled: bool = False


@dataclass(slots=True)
class SinkRow:
    """What one sink was offered and what became of it."""

    name: str
    type: str
    #: Whether a look at the sink after a crash tells how far a write came: a file yes, a console no.
    checkable: bool = False
    state: Literal["ok", "failing", "removed"] = "ok"
    #: Records that came to the sink, since it, by name, first existed.
    offered: int = 0
    filtered: int = 0
    sampled_out: int = 0
    #: Handed to the sink's queue. A record counts here before it can be delivered, dropped, spooled or unknown.
    accepted: int = 0
    delivered: int = 0
    #: Per reason.
    dropped: list[int] = field(default_factory=_zeros)
    #: In the sink's spool, a write in hand that was taken from there included.
    spooled: int = 0
    unknown: int = 0
    #: Records that the other side has, or may have, a second time; outside the law.
    duplicated: int = 0
    last_error: str | None = None
    intent: Intent | None = None
    #: Numbers of the sink's records below this one have ended: entries of its spool with such a number are history.
    acked: int = 0

    @property
    def outstanding(self) -> int:
        """Records that were handed to the queue, have not ended and stand in no spool: what a crash puts at stake."""
        return self.accepted - self.delivered - sum(self.dropped) - self.spooled - self.unknown

    def law(self, queued: int) -> bool:
        """Whether the law of a sink holds; ``queued`` is the live queue's own count, a write in hand included."""
        return not self.problems(queued)

    def problems(self, queued: int) -> list[str]:
        """A sentence, with its numbers, for each way in which the law does not hold."""
        dropped = sum(self.dropped)
        problems = []
        ended = self.delivered + self.filtered + self.sampled_out + dropped + queued + self.spooled + self.unknown
        if self.offered != ended:
            problems.append(
                f"sink {self.name}: offered {self.offered}, but delivered {self.delivered} + filtered {self.filtered}"
                f" + sampled out {self.sampled_out} + dropped {dropped} + queued {queued} + spooled {self.spooled}"
                f" + unknown {self.unknown} = {ended}"
            )
        terms = {
            "offered": self.offered,
            "delivered": self.delivered,
            "filtered": self.filtered,
            "sampled out": self.sampled_out,
            "dropped": min(self.dropped),
            "queued": queued,
            "spooled": self.spooled,
            "unknown": self.unknown,
        }
        problems.extend(f"sink {self.name}: {term} is negative: {value}" for term, value in terms.items() if value < 0)
        return problems

    def document(self, queued: int) -> dict[str, Any]:
        """The row as interface §6 has it."""
        return {
            "name": self.name,
            "type": self.type,
            "state": self.state,
            "offered": self.offered,
            "delivered": self.delivered,
            "filtered": self.filtered,
            "sampled_out": self.sampled_out,
            "dropped": by_reason(self.dropped),
            "queued": queued,
            "spooled": self.spooled,
            "unknown": self.unknown,
            "duplicated": self.duplicated,
            "last_error": self.last_error,
        }


def coalesced(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The ranges in their order, neighbours that continue one another joined, the first :data:`MAX_RANGES` of them."""
    joined: list[Range] = []
    for producer, first, count in ranges:
        if joined and joined[-1][0] == producer and joined[-1][1] + joined[-1][2] == first:
            joined[-1] = (producer, joined[-1][1], joined[-1][2] + count)
        elif len(joined) < MAX_RANGES:
            joined.append((producer, first, count))
        else:
            break
    return tuple(joined)


def divided(ranges: Iterable[Range], count: int) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """The first ``count`` records of the ranges, and the others.

    >>> divided([(b"p", 7, 3), (b"p", 12, 2)], 4)
    (((b'p', 7, 3), (b'p', 12, 1)), ((b'p', 13, 1),))
    """
    front: list[Range] = []
    back: list[Range] = []
    for producer, first, number in ranges:
        taken = min(count, number)
        count -= taken
        if taken:
            front.append((producer, first, taken))
        if number > taken:
            back.append((producer, first + taken, number - taken))
    return tuple(front), tuple(back)


def gates_of(text: str) -> dict[str, str]:
    """What level rules act by, per library, out of a MARK's words; nothing where nothing is attached.

    >>> gates_of("stdlib=source,loguru=filter")
    {'stdlib': 'source', 'loguru': 'filter'}
    """
    pairs = (part.partition("=") for part in text.split(",") if part and part != "none")
    return {library: gate or library for library, _, gate in pairs}


def weakest_gate(gates: Mapping[str, str]) -> str:
    """Where a suppressed call ends: "source" if every library's does at its source, else the word of one that doesn't.

    "none" where nothing is attached.
    """
    late = sorted({gate for gate in gates.values() if gate not in _AT_SOURCE})
    return late[0] if late else "source" if gates else "none"


def by_reason(counts: Sequence[int]) -> dict[str, int]:
    """Counts per reason as ``{reason: count}``, without the zeros."""
    return {reason: count for reason, count in zip(REASONS, counts, strict=True) if count}
