"""The roll of workers: from frames, MARKs and counter pages to the rows of the ledger.

Sequence numbers of a producer are contiguous, and its frames come in order. So a frame that starts beyond the next
number expected proves that what lies between was sent and lost; so does a MARK that says more was sent than came.
The death of a producer is told by the lock on its counter page, and the page then has the last word. It is asked
once nothing of the dead can still arrive: what waits in the record socket is neither lost nor, later, a duplicate.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logbus import folded
from logbus.collectors.decode import Batch, Source
from logbus.collectors.ledger import Change, Ledger, WorkerRow
from logbus.collectors.mark import MAX_COUNT, Mark
from logbus.counters import SUFFIX, DeadPage, page_is_alive, read_page
from logbus.errors import PageError
from logbus.wire import COLLECTOR_LOST, REASONS, REJECTED, WORKER_LOST

#: Seconds since its last MARK in which a worker counts as live.
LIVE_S: Final = 3.0
#: Seconds that a producer has to be dead, and unheard, before its row is closed: its last frames take some time from
#: the kernel into our socket.
QUIET_S: Final = 0.2
#: Quiet workers that are looked at in each sweep, and the seconds in which all are, if they are more: to look at one is
#: to open its page.
LOOKS: Final = 32
LOOK_S: Final = 1.0
#: The collector's own row, one for all its lives.
OWN: Final = b"\xff" * 16
#: Lost ranges remembered per worker, in case a frame comes late after all.
_GAPS: Final = 64
#: Characters kept of each name that a worker gives itself; every commit of its row writes them.
NAME_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Loss:
    """Records of a worker that are known to be lost: what a gap record says."""

    worker: str
    reason: str
    count: int
    first_seq: int


@dataclass(slots=True)
class Member:
    """One worker on the roll: its row, and what need not survive a restart."""

    row: WorkerRow
    #: Monotonic seconds of the last frame; for a row from an earlier life, of our start.
    heard: float = field(default_factory=time.monotonic)
    #: Number of the newest mark request that it has answered.
    answered: int = 0
    #: The level rules that it has confirmed: the ledger that numbered them, and the version.
    confirmed: tuple[str, int] = ("", 0)
    said_bye: bool = False
    #: Whether its process was there, by the lock on its page, at the last look at one that is quiet.
    lives: bool = False
    #: Monotonic seconds of that look.
    looked: float = -math.inf
    gaps: list[tuple[int, int]] = field(default_factory=list)


class Roll:
    """Everybody whose records this collector answers for.

    ``pages`` is the directory of the counter pages; ``fresh`` says that the ledger was made anew, so that what a
    worker sent before is neither lost nor collected as far as anybody knows.
    """

    def __init__(
        self, ledger: Ledger, pages: Path, *, fresh: bool, mask: Callable[[Source], None] = lambda _: None
    ) -> None:
        self._ledger = ledger
        self._pages = pages
        self._fresh = fresh
        self._began_us = time.time_ns() // 1000
        #: Masks the names that stand in a page; those in frames are masked as they come.
        self._mask = mask
        self._members: dict[bytes, Member] = {
            producer: Member(row) for producer, row in ledger.workers.items() if row.state == "live" and producer != OWN
        }
        #: Producers whose page was found without its owner, and when first (monotonic seconds).
        self._dead: dict[bytes, float] = {}

    def __len__(self) -> int:
        """Workers that have not gone."""
        return len(self._members)

    def unanswered(self, request: int, listeners: Iterable[bytes]) -> bool:
        """Whether a worker that listens, or was heard lately, has not answered a mark request."""
        now = time.monotonic()
        waiting = {producer for producer, member in self._members.items() if now - member.heard < LIVE_S}
        for producer in waiting.union(listeners):
            member = self._members.get(producer)
            if member is None:
                if producer not in self._ledger.workers:
                    return True  # connected, and not a word yet
            elif member.answered < request and not member.said_bye:
                return True
        return False

    def member(self, producer: bytes) -> Member | None:
        """A worker that has not gone; None for one that has, and for one that has not said a word."""
        return self._members.get(producer)

    def standing(self, listeners: Iterable[bytes]) -> dict[bytes, Member | None]:
        """Workers that can be reached, a connection without a word among them (None), or that will be: who listens, was
        heard lately, or has a process that is there. One that was stopped before we started is none of the first two.

        Not those who have said goodbye, and not those who are found dead.
        """
        listening = listeners if isinstance(listeners, AbstractSet) else set(listeners)
        found = {*listening, *self._members}
        return {producer: self._members.get(producer) for producer in found if self.stands(producer, listening)}

    def stands(self, producer: bytes, listeners: AbstractSet[bytes]) -> bool:
        """Whether a worker is one of :meth:`standing`."""
        if producer in self._dead:
            return False
        member = self._members.get(producer)
        if member is None:
            return producer in listeners and producer not in self._ledger.workers
        near = producer in listeners or member.lives or time.monotonic() - member.heard < LIVE_S
        return near and not member.said_bye

    def enter(self, change: Change, batch: Batch) -> list[Loss]:
        """Enters the records of a batch as collected; takes those out that had been before. Returns new losses."""
        member = self._member(change, batch.producer, batch.source)
        row = member.row
        count = batch.count
        losses = self._expect(member, batch.first_seq)
        if batch.first_seq < row.next_seq and count:
            fresh = self._late(member, batch.first_seq, count)
            row.duplicated += count - len(fresh)
            batch.records = [batch.records[at] for at in fresh]
            if not fresh:
                batch.drops = []  # they were told when the frame came first
        elif count:  # a frame without records only reports drops, and may be an old one
            row.collected += count
            row.next_seq = batch.first_seq + count
        change.worker(row)
        return losses

    def reject(self, change: Change, producer: bytes, first_seq: int, count: int) -> list[Loss]:
        """Enters the records of a frame that arrived whole and can't be decoded."""
        member = self._member(change, producer, None)
        row = member.row
        losses = self._expect(member, first_seq)
        if first_seq >= row.next_seq:
            row.lost[REJECTED] += count
            row.next_seq = first_seq + count
            if count:
                losses.append(Loss(row.worker, REASONS[REJECTED], count, first_seq))
        change.worker(row)
        return losses

    def mark(self, change: Change, producer: bytes, mark: Mark, *, bye: bool) -> list[Loss]:
        """Enters what a producer says of itself."""
        member = self._member(change, producer, mark.source)
        row = member.row
        row.started_us = mark.started_us
        losses = self._expect(member, mark.sent)
        row.gate, row.level_version, row.recorder = mark.gate, mark.level_version, list(mark.recorder)
        ledger, version = member.confirmed
        if ledger != mark.ledger or version < mark.level_version:  # a MARK comes behind what a subscription said
            member.confirmed = mark.ledger, mark.level_version
        row.mark(time.time(), emitted=mark.emitted, sent=mark.sent, buffered=mark.buffered, dropped=mark.by_reason())
        # With a page there may be a last word after the BYE: it closes the row. Without, a restart has to know.
        ended = bye and not row.in_flight and page_is_alive(self._page(producer)) is None
        row.state = "gone" if ended else "live"
        if not mark.exact:
            row.exact = False
        member.answered = max(member.answered, mark.request)
        member.said_bye = bye
        change.worker(row)
        return losses

    def confirm(self, producer: bytes, ledger: str, version: int) -> None:
        """Takes in that a version of level rules is in force in a worker, if it is one of ours."""
        member = self._members.get(producer)
        if member is not None and version and (member.confirmed[0] != ledger or member.confirmed[1] < version):
            member.confirmed = ledger, version

    def sweep(self, listeners: set[bytes], *, emptied: bool) -> list[Loss]:
        """Closes the rows of workers that have died, those too that were never heard here. Returns new losses.

        ``emptied``: the last look at the record socket left nothing in it. While it is not so nobody is closed.
        """
        losses: list[Loss] = []
        now = time.monotonic()
        dead: dict[bytes, float] = {}
        for producer, member in self._to_look_at(now):
            alive = page_is_alive(self._page(producer))
            member.lives, member.looked = alive is True, now
            if alive is False:
                dead[producer] = self._dead.get(producer, now)
            elif (
                alive is None
                and emptied
                and producer not in listeners
                and (member.said_bye or now - member.heard > LIVE_S)
            ):
                self._close_by_mark(member)
        for producer in self._dead_strangers():
            dead[producer] = self._dead.get(producer, now)
        self._dead = dead
        if emptied and (dead or (self._pages / folded.FOLDED).exists()):
            losses += self._bury([producer for producer, since in dead.items() if now - since >= QUIET_S])
        self._ledger.fold(spare=self._members)
        return losses

    def _to_look_at(self, now: float) -> list[tuple[bytes, Member]]:
        """Workers that are quiet: those that were dead at the last look, and of the others as many as are due."""
        quiet = [pair for pair in self._members.items() if now - pair[1].heard >= QUIET_S]
        if len(quiet) <= LOOKS:
            return quiet
        dead = [pair for pair in quiet if pair[0] in self._dead]
        others = sorted([pair for pair in quiet if pair[0] not in self._dead], key=lambda pair: pair[1].looked)
        due = sum(now - member.looked >= LOOK_S for _, member in others)
        return dead + others[: max(LOOKS, due)]

    def _dead_strangers(self) -> list[bytes]:
        """Producers that have left a page and were not heard, or not lately."""
        found: list[bytes] = []
        known = [producer.hex() + SUFFIX for producer in self._members]
        with contextlib.suppress(OSError):
            for name in set(os.listdir(self._pages)).difference(known):
                if not name.endswith(SUFFIX):
                    continue
                try:
                    producer = bytes.fromhex(name.removesuffix(SUFFIX))
                except ValueError:
                    continue
                if producer not in self._members and page_is_alive(f"{self._pages}/{name}") is False:
                    found.append(producer)
        return found

    def _bury(self, dead: list[bytes]) -> list[Loss]:
        """Closes the rows of the dead, and takes the folded sums over.

        A worker that starts may be folding pages just now. So nothing that could be folded is touched without the
        lock, which is not waited for (its holder may be stopped), and the sums, whose members' pages may still lie
        there, go first: no page is counted twice.
        """
        losses: list[Loss] = []
        with contextlib.ExitStack() as stack:
            mine = False
            with contextlib.suppress(OSError):
                mine = stack.enter_context(folded.locked(self._pages))
            if mine:
                with contextlib.suppress(OSError, PageError):
                    losses += self._adopt_folded()
            for producer in dead:
                losses += self._close_by_page(producer, foldable=mine)
        return losses

    def _adopt_folded(self) -> list[Loss]:
        sums = folded.read_folded(self._pages)
        if sums is None:
            return []
        row = WorkerRow(sums.identity, f"({sums.pages} older)", "", 0, "", 0)
        lost = sums.emitted - sum(sums.dropped)
        with self._ledger.transaction() as change:
            row.lost[WORKER_LOST] = lost
            row.mark(time.time(), emitted=sums.emitted, sent=0, buffered=0, dropped=sums.by_reason())
            row.state = "gone"
            change.worker(row)
        folded.take_over(self._pages, sums)
        return [Loss(row.worker, REASONS[WORKER_LOST], lost, 0)] if lost else []

    def _close_by_page(self, producer: bytes, *, foldable: bool) -> list[Loss]:
        """The last word on a dead producer, from its page; ``foldable``: also if others may fold it."""
        path = self._path(producer)
        try:
            page = read_page(path)
            if max(page.totals.emitted, page.totals.sent, *page.totals.dropped) > MAX_COUNT:
                raise PageError(path, f"holds counts beyond {MAX_COUNT}")
        except OSError:  # it has gone, or is no file at all
            return []
        except PageError as error:
            if isinstance(error.__cause__, OSError):  # out of descriptors, say: nothing is known, so try again
                return []
            member = self._members.get(producer)
            if member is not None:
                self._close_by_mark(member)
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))
            return []
        if page.alive or not (page.welcomed or foldable):
            return []
        losses: list[Loss] = []
        row = self._ledger.workers.get(producer)
        # A row that is closed and has its page still: a crash came between the two, or the page can't be removed.
        if producer in self._members or row is None or row.state == "live":
            losses = self._close(producer, page)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        self._members.pop(producer, None)
        return losses

    def _close(self, producer: bytes, page: DeadPage) -> list[Loss]:
        meta = page.meta
        if page.totals.emitted == 0 and producer not in self._members:
            return []  # it lived and said nothing: no row
        with self._ledger.transaction() as change:
            source = Source(meta.host, meta.pid, meta.worker, meta.app_name)
            self._mask(source)
            member = self._member(change, producer, source)
            row = member.row
            row.started_us = meta.started_us
            dropped = page.totals.by_reason()
            sent = max(page.totals.sent, row.next_seq)
            losses = self._expect(member, sent, since_us=meta.started_us)
            buffered = page.totals.emitted - sum(dropped) - sent
            if buffered > 0:
                row.lost[WORKER_LOST] += buffered
                losses.append(Loss(row.worker, REASONS[WORKER_LOST], buffered, sent))
            row.mark(time.time(), emitted=page.totals.emitted, sent=sent, buffered=0, dropped=dropped)
            row.state = "gone" if page.said_bye else "crashed"
            change.worker(row)
        return losses

    def _close_by_mark(self, member: Member) -> None:
        """The last word on a producer whose page can't be had: its last MARK, and the rest is unknown."""
        row = member.row
        with self._ledger.transaction() as change:
            if not member.said_bye:
                row.exact = False
            # What was buffered or under way at the last MARK may have come since, in frames that we have counted.
            known = row.collected + sum(row.dropped) + sum(row.lost)
            missing = max(0, row.emitted - known - row.unknown)
            row.unknown += missing
            sent = row.next_seq + missing
            emitted = sent + sum(row.dropped) + row.lost[WORKER_LOST]
            row.mark(time.time(), emitted=emitted, sent=sent, buffered=0, dropped=row.dropped)
            row.state = "gone" if member.said_bye else "crashed"
            change.worker(row)
        self._members.pop(row.producer, None)

    def _member(self, change: Change, producer: bytes, source: Source | None) -> Member:
        member = self._members.get(producer)
        if member is None:
            row = self._ledger.workers.get(producer)
            if row is None:
                name = source.worker if source else f"(unnamed {producer.hex()[:8]})"
                row = WorkerRow(producer, name, "", 0, "", time.time_ns() // 1000)
            row.state = "live"
            member = self._members[producer] = Member(row)
        member.heard = time.monotonic()
        if source is not None:
            row = member.row
            row.worker, row.host = source.worker[:NAME_CHARS], source.host[:NAME_CHARS]
            row.pid, row.app_name = source.pid, source.app_name[:NAME_CHARS]
        change.worker(member.row)
        return member

    def _expect(self, member: Member, seq: int, *, since_us: int = 0) -> list[Loss]:
        """Books what lies between the next number expected and the one that came, from a worker that began then."""
        row = member.row
        missing = seq - row.next_seq
        if missing <= 0:
            return []
        first = row.next_seq
        row.next_seq = seq
        if self._fresh and row.collected == 0 and first == 0 and since_us <= self._began_us:
            # A new ledger and an old worker: an earlier ledger knew what became of these, and it is gone.
            row.unknown += missing
            row.exact = False
            return []
        row.lost[COLLECTOR_LOST] += missing
        member.gaps.append((first, missing))
        del member.gaps[:-_GAPS]
        return [Loss(row.worker, REASONS[COLLECTOR_LOST], missing, first)]

    @staticmethod
    def _late(member: Member, first_seq: int, count: int) -> list[int]:
        """Which records of an old frame had been given up as lost: those are collected after all."""
        row = member.row
        fresh: list[int] = []
        for at in range(count):
            seq = first_seq + at
            for number, (first, length) in enumerate(member.gaps):
                if first <= seq < first + length:
                    member.gaps[number : number + 1] = [
                        gap for gap in ((first, seq - first), (seq + 1, first + length - seq - 1)) if gap[1]
                    ]
                    fresh.append(at)
                    break
            else:
                if seq >= row.next_seq:
                    fresh.append(at)
                    row.next_seq = seq + 1
                    row.collected += 1
                    continue
                continue
            row.collected += 1
            row.lost[COLLECTOR_LOST] -= 1
        return fresh

    def _path(self, producer: bytes) -> Path:
        return Path(self._page(producer))

    def _page(self, producer: bytes) -> str:
        return f"{self._pages}/{producer.hex()}{SUFFIX}"
