"""Tail sampling: everything of a request that went wrong, and a share of the others. Pure.

Whether a request goes wrong is known at its end, and its records come from several workers. So the lines of a request
(encoded and redacted, as they would be written) are held until a record of it at ``keep`` or above comes, with which
all of them go on, in the order in which they came; or until the window since its first record is over, when its number
decides at the rate, as it does for any sampler. What was decided is remembered for a window from then, and from each
record that comes later: it goes the same way. A record at ``keep`` changes the decision from then on.

Held records are the sink's by then: they are booked as handed over, and count as queued. One that is left out after
all is taken back; a collector that is killed has lost what it held, and its ledger says so. Nothing is held across a
restart: at the end of the collector, of the sink or of its policy all requests are decided at once.

Memory is bounded in bytes, overhead included; beyond that the oldest request is decided before its time, and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

from logbus.collectors.decode import Batch
from logbus.collectors.format import Formatter
from logbus.collectors.sample import Choice, Line, Rate, Sampling, high_sites
from logbus.levels import bucket_of

#: Bytes that a held line, and a request, count beside the line itself: objects, tables.
LINE_BYTES: Final = 200
REQUEST_BYTES: Final = 500
#: Requests of which it is remembered how they were decided, per sink: some 4 MB. One that is forgotten is held again,
#: and decided alike unless it went wrong in between.
MAX_DECIDED: Final = 16_384
#: Held lines that all sinks together decide in one turn, about, beside as many as come: 6 µs each for the receive loop
#: where each is a request of its own.
LINES_A_TURN: Final = 4_000
#: Seconds from the first request that was decided early until that is told, and between two such tellings.
TOLD_AFTER_S: Final = 1.0
TOLD_EVERY_S: Final = 60.0


class Fate(Enum):
    """What happens to records of a request that was decided."""

    WHOLE = "all are kept: it went wrong"
    SHARE = "all are kept, for others too"
    OUT = "none is kept"


class Held:
    """A request whose records are held: when its window ends, and its lines.

    A line stands with its format, its producer, its sequence number and its bucket of levels. ``pending`` are indices
    of the batch at hand, which have no lines yet.
    """

    __slots__ = ("ends", "key", "lines", "pending", "size")

    def __init__(self, key: str, ends: float) -> None:
        self.key = key
        self.ends = ends
        self.lines: list[tuple[bytes, Formatter, bytes, int, int]] = []
        self.pending: list[int] = []
        self.size = REQUEST_BYTES


@dataclass(slots=True)
class Settled:
    """What became of held records: the lines that go on now, and how many were left out."""

    released: list[Line] = field(default_factory=list)
    out: int = 0


@dataclass(frozen=True, slots=True)
class Early:
    """How many requests were decided before their time, since the last telling."""

    requests: int
    max_bytes: int


class Hold:
    """The requests of one sink: those held, oldest first, and those decided, the one with the oldest record first.

    ``early`` counts those decided before their time, ``bytes`` what is held.
    """

    def __init__(self, policy: Sampling) -> None:
        self.policy = policy
        self.early = 0
        self.bytes = 0
        self.records = 0
        self._rate = Rate(policy)
        # A plain dict keeps the places of what was taken out at its beginning, and looks at them all the next time.
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._decided: OrderedDict[str, tuple[float, Fate]] = OrderedDict()
        self._told = 0
        self._tell_at = inf
        self._told_at = -inf
        #: Of the batch at hand, by index.
        self._pending: dict[int, Held] = {}

    @property
    def requests(self) -> int:
        """How many requests are held."""
        return len(self._held)

    @property
    def due_at(self) -> float:
        """When (monotonic seconds) something has to be decided or told though nothing comes; infinity for never."""
        return min(next(iter(self._held.values())).ends if self._held else inf, self._tell_at)

    def choose(self, batch: Batch, chosen: Sequence[int] | None, now: float) -> Choice:
        """What becomes of the chosen records of a batch (None: all) that came at ``now`` (monotonic seconds).

        Those that wait are to be given to :meth:`hold` or to :meth:`let_go` before the next batch comes.
        """
        indices = range(len(batch.records)) if chosen is None else chosen
        choice = Choice()
        high = high_sites(batch, self.policy.keep)
        self._forget(now)
        held, decided, pending = self._held, self._decided, self._pending
        ends = now + self.policy.window_s
        alone: list[bool] | None = None
        late = False
        for index, key in zip(indices, self._rate.keys(batch, indices), strict=True):
            failed = high is not None and high[batch.records[index].site]
            if key is None:
                if not failed:
                    if alone is None:
                        alone = self._rate.takes_record(batch)
                    if not alone[index]:
                        choice.out += 1
                        continue
                    choice.stamped.add(index)
                choice.kept.append(index)
            elif failed:
                late = self._fail(key, choice, now) or late
                choice.kept.append(index)
            elif (past := decided.get(key)) is not None:
                fate = past[1]
                self._remember(key, now, fate)
                if fate is Fate.OUT:
                    choice.out += 1
                    continue
                choice.kept.append(index)
                if fate is Fate.SHARE:
                    choice.stamped.add(index)
            else:
                request = held.get(key)
                if request is None:
                    request = held[key] = Held(key, ends)
                    self.bytes += REQUEST_BYTES
                request.pending.append(index)
                pending[index] = request
        if late:
            choice.kept.sort()
        choice.waiting = list(pending)  # in order, as they were put in
        return choice

    def hold(self, lines: Sequence[bytes], batch: Batch, formatter: Formatter, now: float) -> Settled:
        """Holds the lines of those that wait; what has an empty one is not held. What has to give way is settled."""
        producer, first_seq = batch.producer, batch.first_seq
        buckets = [bucket_of(site.level_no) for site in batch.sites]
        added = records = 0
        for (index, request), line in zip(self._pending.items(), lines, strict=True):
            if line:
                size = len(line) + LINE_BYTES
                bucket = buckets[batch.records[index].site]
                request.lines.append((line, formatter, producer, first_seq + index, bucket))
                request.size += size
                added += size
                records += 1
        self.bytes += added
        self.records += records
        self.let_go()
        settled = Settled()
        while self.bytes > self.policy.max_bytes:
            self.early += 1
            if self._tell_at == inf:
                self._tell_at = max(now + TOLD_AFTER_S, self._told_at + TOLD_EVERY_S)
            self._decide(next(iter(self._held.values())), settled, now)
        return settled

    def let_go(self) -> None:
        """Holds nothing of those that wait; their requests are as if they had not come."""
        for request in self._pending.values():
            request.pending.clear()
            if not request.lines and self._held.pop(request.key, None) is not None:
                self.bytes -= request.size
        self._pending.clear()

    def settle(self, now: float, most: int = LINES_A_TURN) -> Settled:
        """Decides requests whose window has ended, until they were ``most`` lines."""
        settled = Settled()
        while self._held:
            oldest = next(iter(self._held.values()))
            if oldest.ends > now or len(settled.released) + settled.out >= most:
                break
            self._decide(oldest, settled, now)
        return settled

    def end(self, now: float) -> Settled:
        """Decides every request."""
        settled = Settled()
        for request in list(self._held.values()):
            self._decide(request, settled, now)
        return settled

    def told(self, now: float, *, ending: bool = False) -> list[Early]:
        """What there is to tell of requests that were decided early, if it is time; ``ending`` says it is."""
        untold = self.early - self._told
        if not untold or not (ending or now >= self._tell_at):
            return []
        self._told, self._told_at, self._tell_at = self.early, now, inf
        return [Early(untold, self.policy.max_bytes)]

    def _fail(self, key: str, choice: Choice, now: float) -> bool:
        """Lets everything of a request go on. Whether records of the batch at hand are among it."""
        self._remember(key, now, Fate.WHOLE)
        request = self._held.pop(key, None)
        if request is None:
            return False
        self._give_up(request)
        choice.released += [(line, (producer, seq, 1), bucket) for line, _, producer, seq, bucket in request.lines]
        choice.kept += request.pending
        for index in request.pending:
            del self._pending[index]
        return bool(request.pending)

    def _decide(self, request: Held, settled: Settled, now: float) -> None:
        """Decides a request by its number."""
        del self._held[request.key]
        self._give_up(request)
        if self._rate.takes(request.key):
            self._remember(request.key, now, Fate.SHARE)
            rate = self.policy.rate
            settled.released += [
                (formatter.stamp(line, rate), (producer, seq, 1), bucket)
                for line, formatter, producer, seq, bucket in request.lines
            ]
        else:
            self._remember(request.key, now, Fate.OUT)
            settled.out += len(request.lines)

    def _give_up(self, request: Held) -> None:
        self.bytes -= request.size
        self.records -= len(request.lines)

    def _remember(self, key: str, now: float, fate: Fate) -> None:
        self._decided[key] = (now + self.policy.window_s, fate)
        self._decided.move_to_end(key)
        if len(self._decided) > MAX_DECIDED:
            self._decided.popitem(last=False)

    def _forget(self, now: float) -> None:
        """Forgets the decisions that are over: the first ones, since all are remembered for the same time."""
        while self._decided:
            key = next(iter(self._decided))
            if self._decided[key][0] > now:
                break
            del self._decided[key]
