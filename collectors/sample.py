"""Which records of a sink are kept: the policy of sampling, and the choice for each record as it comes. Pure.

By rate, a record or a request is kept if its number (:mod:`logbus.collectors.chance`) is below a limit, so that every
collector, and the same one twice, chooses alike. What is kept for others is stamped with the rate, so that counts can
be restored; what is kept for itself (at the level ``keep`` or above, or one of the first of a call site) is not.
Sampling of whole requests, after the fact, is :mod:`logbus.collectors.hold`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from math import inf
from typing import Final

from logbus.collectors.chance import MAX_KEY_CHARS, MIN_RATE, key_of, limit_of, record_numbers, request_number
from logbus.collectors.decode import Batch, Site
from logbus.collectors.fields import find_key, is_short
from logbus.collectors.redaction.mask import MASK
from logbus.collectors.rows import Range
from logbus.durations import format_duration
from logbus.errors import ConfigurationError
from logbus.sizes import format_size

#: Numbers of requests remembered per sink.
_NUMBERS_KEPT: Final = 4096
#: Call sites counted per sink in one interval; beyond them the one that came first begins anew.
MAX_SITES: Final = 1024
#: Call sites that are told of an interval, and characters of a name.
SITES_TOLD: Final = 10
NAME_CHARS: Final = 200

#: Seconds that an interval or a window may last.
MIN_SECONDS: Final = 0.1
MAX_SECONDS: Final = 86_400.0
#: Bytes that tail sampling may hold for one sink: less than one record's worth, or more than a collector should have.
MIN_HELD: Final = 64 * 1024
MAX_HELD: Final = 1024 * 1024 * 1024

#: A line as its format has written it, stamped if need be, which record it is, and its bucket of levels.
Line = tuple[bytes, Range, int]


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a sink keeps of the records that its filter takes. Equal policies compare equal.

    ``rate`` is the share that is kept, of records or, with ``key``, of all records with one value of that field;
    it may be 0 only with ``first`` or ``tail``, and configuration gives 0 for a ``first`` without a rate. Records of
    at least the level number ``keep`` are always kept. The ``first`` records of a call site in each ``interval_s``
    (seconds) are kept whatever the rate. ``tail`` holds a request's records for ``window_s`` (seconds), ``max_bytes``
    (bytes) of all requests at most, until it is known whether one of them is at ``keep`` or above.

    Raises ConfigurationError with every problem, each beginning with its key.
    """

    rate: float = 1.0
    key: str | None = None
    keep: int = 30
    first: int | None = None
    interval_s: float = 1.0
    tail: bool = False
    window_s: float = 30.0
    max_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ConfigurationError(problems)

    def _problems(self) -> list[str]:
        problems = []
        if not 0.0 <= self.rate <= 1.0:
            problems.append(f"rate: expected a number above 0 and up to 1, found {self.rate:g}")
        elif 0.0 < self.rate < MIN_RATE:
            problems.append(f"rate: expected a number from {MIN_RATE:f} on and up to 1, found {self.rate:g}")
        elif self.rate == 0.0 and not self.tail and self.first is None:
            problems.append("rate: expected a number above 0 and up to 1 (0 only with first or tail), found 0")
        if self.key is not None:
            try:
                find_key(self.key)
            except ConfigurationError as error:
                problems += [f"key: {problem}" for problem in error.problems]
        if self.first is not None and self.first < 1:
            problems.append(f"first: expected a number of records from 1, found {self.first}")
        if self.tail and self.key is None:
            problems.append("tail: expected key beside it, the field by which the records of a request are known")
        if self.tail and self.first is not None:
            problems.append("first: expected none beside tail, which decides for whole requests")
        for name, seconds in (("interval", self.interval_s), ("window", self.window_s)):
            if not MIN_SECONDS <= seconds <= MAX_SECONDS:
                least, most = format_duration(MIN_SECONDS), format_duration(MAX_SECONDS)
                problems.append(f"{name}: expected a duration from {least} to {most}, found {seconds:g} s")
        if not MIN_HELD <= self.max_bytes <= MAX_HELD:
            least, most, found = (format_size(size) for size in (MIN_HELD, MAX_HELD, max(0, self.max_bytes)))
            problems.append(f"max_bytes: expected a size from {least} to {most}, found {found}")
        return problems


@dataclass(slots=True)
class Choice:
    """What becomes of the records of a batch, by their indices.

    ``kept`` go on now, in order; those of them in ``stamped`` stand for others at the policy's rate. ``waiting`` are
    held, in order, and ``released`` are lines held earlier that go on before these. ``out`` counts what was left out.
    """

    kept: list[int] = field(default_factory=list)
    stamped: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    released: list[Line] = field(default_factory=list)
    out: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What ``first`` has left out in one interval: how many records, and the call sites with the most of them."""

    records: int
    interval_s: float
    sites: tuple[tuple[str, int], ...]


class Rate:
    """Decides at the rate of a policy: by the request's number, or by the record's where it has no key."""

    def __init__(self, policy: Sampling) -> None:
        self._limit = limit_of(policy.rate)
        self._field = find_key(policy.key) if policy.key is not None else None
        self._numbers: dict[str, int] = {}

    def takes(self, key: str) -> bool:
        """Whether the request of this key is kept."""
        number = self._numbers.get(key)
        if number is None:
            if len(self._numbers) >= _NUMBERS_KEPT:
                self._numbers.clear()
            number = self._numbers[key] = request_number(key)
        return number < self._limit

    def keys(self, batch: Batch, indices: Sequence[int]) -> list[str | None]:
        """The key of each of these records, None where it has none."""
        if self._field is None:
            return [None] * len(indices)
        # Nearly every value is a text that is its own key, as key_of says; to call it costs as much as all the rest.
        return [
            value if type(value) is str and 0 < len(value) <= MAX_KEY_CHARS and value != MASK else key_of(value)
            for value in self._field.column(batch, indices)
        ]

    def takes_record(self, batch: Batch) -> list[bool]:
        """Whether each record of the batch is kept for itself."""
        limit = self._limit
        return [number < limit for number in record_numbers(batch.producer, batch.first_seq, len(batch.records))]


class Head:
    """Keeps or leaves out each record as it comes: by rate (below 1), by key, by how many its call site has had.

    ``due_at`` is when (monotonic seconds) there is something to tell though nothing comes; infinity for never.
    """

    def __init__(self, policy: Sampling) -> None:
        self.policy = policy
        self.due_at = inf
        self._rate = Rate(policy)
        self._interval_ends = -inf
        #: By call site: how many it has had in this interval, and how many of these were left out.
        self._sites: dict[Site, list[int]] = {}
        #: Left out in this interval, those of call sites that are no longer in the table among them.
        self._out = 0
        self._told: list[LeftOut] = []

    def choose(self, batch: Batch, chosen: Sequence[int] | None, now: float) -> Choice:
        """What becomes of the chosen records of a batch (None: all) that came at ``now`` (monotonic seconds)."""
        indices = range(len(batch.records)) if chosen is None else chosen
        if self.policy.first is not None:
            return self._choose_first(batch, indices, self.policy.first, now)
        choice = Choice()
        high = high_sites(batch, self.policy.keep)
        if self.policy.key is None:
            taken = self._rate.takes_record(batch)
            if high is None:
                choice.kept = [index for index in indices if taken[index]]
                choice.stamped = set(choice.kept)
            else:
                records = batch.records
                choice.kept = [index for index in indices if taken[index] or high[records[index].site]]
                choice.stamped = {index for index in choice.kept if not high[records[index].site]}
        else:
            self._by_rate(batch, indices, choice, high)
        choice.out = len(indices) - len(choice.kept)
        return choice

    def told(self, now: float, *, ending: bool = False) -> list[LeftOut]:
        """What the intervals that are over have left out; ``ending`` has the one at hand be over."""
        if ending or now >= self._interval_ends:
            self._end_interval()
        told, self._told = self._told, []
        return told

    def _by_rate(self, batch: Batch, indices: Sequence[int], choice: Choice, high: list[bool] | None) -> None:
        records, takes = batch.records, self._rate.takes
        alone: list[bool] | None = None
        for index, key in zip(indices, self._rate.keys(batch, indices), strict=True):
            if high is not None and high[records[index].site]:
                choice.kept.append(index)
                continue
            if key is not None:
                taken = takes(key)
            else:
                if alone is None:
                    alone = self._rate.takes_record(batch)
                taken = alone[index]
            if taken:
                choice.kept.append(index)
                choice.stamped.add(index)

    def _choose_first(self, batch: Batch, indices: Sequence[int], first: int, now: float) -> Choice:
        if now >= self._interval_ends:
            self._end_interval()
            self._interval_ends = now + self.policy.interval_s
        choice, beyond = Choice(), []
        high = high_sites(batch, self.policy.keep)
        counts: dict[int, list[int]] = {}
        for index in indices:
            site = batch.records[index].site
            if high is None or not high[site]:
                count = counts.get(site)
                if count is None:
                    count = counts[site] = self._count_of(batch.sites[site])
                count[0] += 1
                if count[0] > first:
                    beyond.append(index)
                    continue
            choice.kept.append(index)
        if beyond:
            if self.policy.rate > 0.0:
                self._by_rate(batch, beyond, choice, None)
                choice.kept.sort()
            for index in beyond:
                if index not in choice.stamped:
                    counts[batch.records[index].site][1] += 1
                    choice.out += 1
            self._out += choice.out
            if self._out:
                self.due_at = self._interval_ends
        return choice

    def _count_of(self, site: Site) -> list[int]:
        site = _bounded(site)
        count = self._sites.get(site)
        if count is None:
            if len(self._sites) >= MAX_SITES:
                del self._sites[next(iter(self._sites))]
            count = self._sites[site] = [0, 0]
        return count

    def _end_interval(self) -> None:
        if self._out:
            counts = [(out, name_of(site)) for site, (_, out) in self._sites.items() if out]
            sites = tuple((name, out) for out, name in nlargest(SITES_TOLD, counts))
            self._told.append(LeftOut(self._out, self.policy.interval_s, sites))
        self._sites.clear()
        self._out, self.due_at, self._interval_ends = 0, inf, -inf


def high_sites(batch: Batch, keep: int) -> list[bool] | None:
    """Whether each call site of the batch is at a level that is always kept; None when none is."""
    high = [site.level_no >= keep for site in batch.sites]
    return high if True in high else None


def _bounded(site: Site) -> Site:
    """The call site, or one of fewer characters that stands for it and for no other."""
    if is_short(site):
        return site
    names = (site.logger, site.level_name, site.module, site.function, site.component)
    digest = hashlib.blake2b(repr(names).encode(), digest_size=16, usedforsecurity=False).hexdigest()
    logger, level_name, module, function, _ = (name[:NAME_CHARS] for name in names)
    return Site(logger, site.level_no, level_name, module, function, site.line, digest)


def name_of(site: Site) -> str:
    """What people call a call site, in at most :data:`NAME_CHARS` characters."""
    return f"{site.logger} {site.level_name} {site.module}.{site.function}:{site.line}"[:NAME_CHARS]
