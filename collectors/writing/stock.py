"""What waits for one sink: what is in hand, then what is in its spool, then what is in memory.

That is the order of the records' numbers, and the one in which they leave. The queue in memory
(:mod:`logbus.collectors.writing.backlog`) has no lock, and the spool's keeper (:mod:`logbus.collectors.writing.keeper`)
a thread of its own: here they meet, under one lock, which nobody holds while a disk or a sink is asked. What has gone
to disk while somebody looked is no longer what comes first; so that is asked again whenever the lock was free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

from logbus.collectors.rows import Range
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.backlog import Backlog
from logbus.collectors.writing.books import Books
from logbus.collectors.writing.hand import Hand
from logbus.collectors.writing.keeper import Keeper
from logbus.collectors.writing.terms import Terms


class Stock:
    """What waits for one sink, on its terms. ``more``, a condition on ``lock``, is told when there is more."""

    def __init__(self, terms: Terms, books: Books) -> None:
        self.terms = terms
        self.lock = threading.Lock()
        self.more = threading.Condition(self.lock)
        self.keeper: Keeper | None = None
        #: Whether the numbers of records stay what they are: they are raised when the spool is opened.
        self.numbered = False
        self._books = books
        self._backlog = Backlog(terms)
        #: Whether somebody is at work on what is in hand from memory.
        self._lent = False
        #: Records that were shed, or never got into the queue, and that the ledger does not know of; the receiver's.
        self._shed = self._missed = 0

    @property
    def full(self) -> bool:
        """Whether the queue holds as many bytes as it may."""
        return self._backlog.full

    @property
    def room(self) -> int:
        """Bytes that the queue has room for."""
        return max(0, self.terms.queue_bytes - self._backlog.bytes)

    @property
    def waits(self) -> bool:
        """Whether there is anything that can be written some time."""
        return self._backlog.records > 0 or self._spooled

    @property
    def next_seq(self) -> int:
        """The number of the next record that is put."""
        return self._backlog.next_seq

    @property
    def oldest_seq(self) -> int:
        """A number below which nothing is in memory any more."""
        with self.lock:
            return self._backlog.oldest_seq

    def put(self, data: bytes, records: int, ranges: tuple[Range, ...], levels: bytes) -> None:
        """Adds lines to the queue; what has to go for them is booked, and so are they if that fails.

        Raises what goes wrong: by then the books are right, or will be with the next call.
        """
        backlog, now = self._backlog, time.monotonic()
        try:
            with self.more:
                first, number = not backlog.records, backlog.next_seq
                try:
                    self._shed += sum(backlog.put(data, records, ranges, now, levels))
                except BaseException:
                    self._missed += records if backlog.next_seq == number else 0
                    raise
                if first or (self.terms.max_delay_s and not backlog.due_in(now)):
                    self.more.notify_all()
                if self.keeper is not None and backlog.half_full:
                    self.keeper.wake()
        finally:
            if self._shed or self._missed:
                self._book_losses()

    def _book_losses(self) -> None:
        if self._shed:
            self._books.shed(self._shed)
            self._shed = 0
        if self._missed:
            self._books.miss(self._missed)
            self._missed = 0

    def due_in(self, *, ending: bool) -> float:
        """Seconds until there is something to write, ``inf`` for nothing; the lock is held. At the end all is due."""
        if self.keeper is not None and self.keeper.has_hand:
            return inf
        if self._spooled:
            return 0.0
        if ending:
            return 0.0 if self._backlog.first_bytes else inf
        return self._backlog.due_in(time.monotonic())

    def take(self, most: int, look: Callable[[int], int]) -> Hand | None:
        """What comes first, and stays until it has ended: no more than ``most`` records, or the terms' bytes.

        ``look`` is given the bytes of the first line, and says how many bytes there is room for. Raises what it
        raises, and OSError. None when nothing waits, or what waits is on its way to disk.
        """
        while True:
            if (hand := self._take_spooled(most, look)) is not None:
                return hand
            with self.more:
                first = self._backlog.first_bytes
            if not first:
                return None
            room = look(first)
            with self.more:
                if self.keeper is not None and self.keeper.has_hand:
                    return None
                if not self._backlog.hand and self._spooled:
                    continue
                lines = self._backlog.take(most, self.terms.max_bytes, room)
                self._lent = bool(lines)
            return Hand.of(lines)

    def put_back(self) -> None:
        """What was taken is not worked on at present: it has failed, and comes first the next time."""
        self._lent = False

    def let_go(self, hand: Hand, records: int) -> None:
        """Lets the first ``records`` go of what was taken: the ledger says that they have ended."""
        if not hand.spooled:
            with self.more:
                self._backlog.done(records)
                self._lent = False
        elif self.keeper is not None:
            self.keeper.done(hand.last_of(records))

    def open_spool(self, spools: Spools | None, urgent: Callable[[], bool]) -> None:
        """Takes over the spool of this name: the sink is to have one, or there are records in one.

        ``urgent`` says whether the sink takes nothing at present.
        """
        row = self._books.row
        if spools is None or not (self.terms.spool_bytes or row.name in spools.names()):
            with self.more:
                self._backlog.number_from(row.acked)
            self.numbered = True
            return
        keeper = Keeper(
            spools.of(row.name),
            self.terms,
            backlog=self._backlog,
            lock=self.lock,
            more=self.more,
            books=self._books,
            urgent=urgent,
            lent=lambda: self._lent,
        )
        keeper.open()
        keeper.start()
        self.keeper = keeper
        self.numbered = True

    def document(self) -> dict[str, Any]:
        """How much waits and how long, for the status; from any thread."""
        with self.more:
            size, came = self._backlog.bytes, self._backlog.oldest_came
        ages = [] if came is None else [max(0.0, round(time.monotonic() - came, 3))]
        document: dict[str, Any] = {"queue_bytes": size}
        if self.keeper is not None:
            document["spool"] = spool = self.keeper.document(time.time())
            ages += [spool["oldest_seconds"]] if spool["oldest_seconds"] is not None else []
        return document | {"oldest_seconds": max(ages, default=None)}

    @property
    def _spooled(self) -> bool:
        return self.keeper is not None and self._books.row.spooled > 0

    def _take_spooled(self, most: int, look: Callable[[int], int]) -> Hand | None:
        keeper = self.keeper
        if keeper is None or not self._spooled:
            return None
        with self.more:
            if self._backlog.hand:
                return None
        hand = keeper.read(most, self.terms.max_bytes)
        if hand is None or hand.foreign is not None:
            return hand
        room = look(hand.data.find(b"\n") + 1)
        return hand if len(hand.data) <= room else keeper.read(most, room)
