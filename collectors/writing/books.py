"""What a writer enters in the ledger: the row of its sink, and how many records it holds in memory.

Everything is entered where it happens, in one transaction each, so that the law of the sink holds whenever somebody
looks: what leaves one term enters another one together. The row is shared by writers of one name that follow one
another; ``queued`` is a writer's own.

At the end of a writer whose call hangs, in a sink or on a disk, its thread may come back at any time, or never. So it
can be *struck off* first: what it enters from then on counts for nothing, and what it had in hand is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from logbus.collectors.ledger import Change, Ledger
from logbus.collectors.rows import Intent, SinkRow
from logbus.collectors.sinks.base import Sink
from logbus.collectors.writing.standing import Standing
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED, SHUTDOWN, UNENCODABLE


class Books:
    """The books of one writer. ``standing`` is what its sink's row says of the sink."""

    def __init__(self, ledger: Ledger, sink: Sink, complain: Callable[[str], None]) -> None:
        self.row = ledger.sinks.get(sink.name) or SinkRow(sink.name, sink.type, sink.checkable)
        self.standing = Standing(self.row, complain)
        #: Records in the queue, in hand from there, or held by sampling; changed inside the ledger's transactions
        #: only.
        self.queued = 0
        #: Whether nothing is entered any more; and whether the writer's own thread enters nothing.
        self.closed = False
        self.struck = False
        self._ledger = ledger
        self._writing = False
        #: Records that may be there twice and are not entered yet.
        self._doubtful = 0

    @property
    def writing(self) -> bool:
        """Whether a write is in hand that nothing is known of."""
        return self._writing

    def transaction(self) -> Change:
        """A transaction of the ledger."""
        return self._ledger.transaction()

    def enter(self, sink: Sink) -> None:
        """The sink's row, as its writer begins."""
        with self.transaction() as change:
            self.row.type, self.row.checkable = sink.type, sink.checkable
            self.standing.begin()
            change.sink(self.row)

    def remove(self) -> None:
        """The sink as removed: its writer has ended, and none of its name has come."""
        with self.transaction() as change:
            self.row.state = "removed"
            change.sink(self.row)

    # ── inside the transaction of a turn ────────────────────────────────────────────────────────────────────────

    def accept(self, records: int, *, room: bool) -> bool:
        """Records that are handed over, and let in if there is ``room``."""
        self.row.accepted += records
        if not room:
            self._drop(records)
            return False
        self._queue(records)
        return True

    def withdraw(self, records: int) -> None:
        """Records that were let in and never come, as sampled out."""
        if not self.closed:  # else they are booked as dropped by the shutdown
            self._queue(-records)
            self.row.accepted -= records
            self.row.sampled_out += records

    def refuse(self, records: int) -> None:
        """Records that were let in and have no line."""
        self._queue(-records)
        self.row.dropped[UNENCODABLE] += records

    # ── a transaction each ──────────────────────────────────────────────────────────────────────────────────────

    def shed(self, records: int) -> None:
        """Records that the queue has given up for others."""
        with self.transaction() as change:
            if not self.closed:
                self._queue(-records)
                self._drop(records)
                change.sink(self.row)

    def miss(self, records: int) -> None:
        """Records that were let in, and got lost on their way into the queue."""
        with self.transaction() as change:
            if not self.closed:
                self._queue(-records)
                self.row.dropped[COLLECTOR_LOST] += records
                change.sink(self.row)

    def begin(self, intent: Callable[[int], Intent]) -> bool:
        """The intent of a write, given the sink's ``delivered``. False when nothing is to be written any more."""
        with self.transaction() as change:
            if self.closed or self.struck:
                return False
            self.row.intent = intent(self.row.delivered)
            self._write(True)
            change.sink(self.row)
        return True

    def end(self, records: int, last: int, *, spooled: bool, rejected: int = 0, duplicated: int = 0) -> bool:
        """A write of which the first ``records`` have ended; ``last`` is the number of the last of them.

        They came from the spool or from memory, and are delivered but for those ``rejected``. False when the books
        were closed before, and say that nobody knows.
        """
        with self.transaction() as change:
            self._write(False)
            if self.closed or self.struck:
                return False
            row = self.row
            self._leave(records, spooled=spooled)
            row.delivered += records - rejected
            row.dropped[REJECTED] += rejected
            row.duplicated += duplicated
            self._enter_doubtful()
            self._pass(last, spooled=spooled)
            row.intent = None
            self.standing.works(self.queued + row.spooled)
            change.sink(row)
        return True

    def fail(self, text: str, *, doubtful: int = 0) -> bool:
        """A write of which nothing has ended. ``doubtful`` records may be there, and will be sent again.

        False as :meth:`end` says.
        """
        with self.transaction() as change:
            self._write(False)
            if self.closed or self.struck:  # what is in doubt was entered then
                return False
            self.standing.failed(text)
            self.row.intent = None
            self._enter_doubtful(doubtful)
            change.sink(self.row)
        return True

    def fail_for_good(self, text: str, records: int, last: int, *, spooled: bool) -> bool:
        """A write that has failed and can't be undone: to write it again could double it. False as :meth:`end` says."""
        with self.transaction() as change:
            self._write(False)
            if self.closed or self.struck:
                return False
            self.standing.failed(text)
            self.row.intent = None
            self._leave(records, spooled=spooled)
            self.row.unknown += records
            self._pass(last, spooled=spooled)
            change.sink(self.row)
        return True

    def reject(self, records: int, last: int, *, spooled: bool) -> bool:
        """Records that are given up, as refused for good. False as :meth:`end` says."""
        with self.transaction() as change:
            if self.closed or self.struck:
                return False
            self._leave(records, spooled=spooled)
            self.row.dropped[REJECTED] += records
            self._pass(last, spooled=spooled)
            change.sink(self.row)
        return True

    def move(self, records: int, shed: int) -> None:
        """Records that have gone from memory into the spool, which gave up ``shed`` for them, of these or of others."""
        with self.transaction() as change:
            if self.closed:  # they are booked as dropped; the next to open the spool finds them there
                return
            self._queue(-records)
            self.row.spooled += records - shed
            self._drop(shed)
            self.standing.spool_troubled(None)
            change.sink(self.row)

    def shed_spooled(self, records: int) -> None:
        """Records that the spool has given up."""
        if records:
            with self.transaction() as change:
                self.row.spooled -= records
                self._drop(records)
                change.sink(self.row)

    def lose(self, records: int) -> None:
        """Records of the spool that can't be read any more."""
        if records:
            with self.transaction() as change:
                records = min(records, self.row.spooled)
                self.row.spooled -= records
                self.row.dropped[COLLECTOR_LOST] += records
                change.sink(self.row)

    def adopt(self, found: int) -> None:
        """What a spool holds: what it has lost is lost, and what nobody has known of is newly offered."""
        row = self.row
        if found != row.spooled:
            with self.transaction() as change:
                lost, more = max(0, row.spooled - found), max(0, found - row.spooled)
                row.dropped[COLLECTOR_LOST] += lost
                row.offered += more
                row.accepted += more
                row.spooled = found
                change.sink(row)

    def repeat(self, records: int) -> None:
        """Delivered records that the sink sends again; it does so whether the books are closed or not."""
        with self.transaction() as change:
            self._enter_doubtful(records)
            change.sink(self.row)

    def look(self, trouble: str | None) -> None:
        """What is wrong with a sink that works."""
        with self.transaction() as change:
            if not self.closed:
                self.standing.troubled(trouble)
                change.sink(self.row)

    def spool_troubled(self, text: str) -> None:
        """What is wrong with the spool."""
        with self.transaction() as change:
            if not self.closed:
                self.standing.spool_troubled(text)
                change.sink(self.row)

    def strike(self, *, kept: bool) -> int:
        """Takes the right to enter anything from the writer's thread, which hangs.

        A write in hand that stands in the spool, or is ``kept`` for it, will be sent again; else nobody knows what
        became of its records: how many these are.
        """
        unknown = 0
        with self.transaction() as change:
            if self.closed or self.struck:
                return 0
            self.struck = True
            self._enter_doubtful()
            change.sink(self.row)
            intent = self.row.intent
            if self._writing and intent is not None:
                if intent.spooled or kept:
                    self.row.duplicated += intent.count
                else:
                    unknown = intent.count
                    self.row.unknown += unknown
                    self._queue(-unknown)
                self.row.intent = None
        return unknown

    def close(self) -> int:
        """Drops what is left by the shutdown; how many records that were. Nothing is entered any more."""
        with self.transaction() as change:
            if self.closed:
                return 0
            self.closed = True
            self._enter_doubtful()
            left = self.queued
            self._queue(-left)
            self.row.dropped[SHUTDOWN] += left
            change.sink(self.row)
        return left

    def _drop(self, records: int) -> None:
        """Inside a transaction: records for which there is no room."""
        self.row.dropped[HIGH_WATER_MARK] += records
        self.standing.had_no_room(records)

    def _queue(self, records: int) -> None:
        """Inside a transaction: changes ``queued``. If that fails, it is what it was, as the row then is."""
        self.queued += records
        self._ledger.transaction().beside(partial(self._unqueue, records))

    def _unqueue(self, records: int) -> None:
        self.queued -= records

    def _write(self, writing: bool) -> None:
        """Inside a transaction: says whether a write is in hand; goes back likewise."""
        before, self._writing = self._writing, writing
        self._ledger.transaction().beside(partial(setattr, self, "_writing", before))

    def _enter_doubtful(self, more: int = 0) -> None:
        """Inside a transaction: enters what may be there twice. If that fails, the next one that works does it."""
        records, self._doubtful = self._doubtful + more, 0
        self.row.duplicated += records
        self._ledger.transaction().beside(partial(self._doubt, records))

    def _doubt(self, records: int) -> None:
        self._doubtful += records

    def _pass(self, last: int, *, spooled: bool) -> None:
        """All up to this number have ended; where some are in the spool, it is they that are counted by number."""
        if spooled or not self.row.spooled:
            self.row.acked = max(self.row.acked, last + 1)

    def _leave(self, records: int, *, spooled: bool) -> None:
        if spooled:
            self.row.spooled -= records
        else:
            self._queue(-records)
