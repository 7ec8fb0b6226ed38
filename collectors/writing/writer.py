"""One writer thread per sink: its life, from its turn to its end, and what it shows to the others.

Lines come from the receiver's thread into its stock (:mod:`logbus.collectors.writing.stock`), on the terms of its sink
(:mod:`logbus.collectors.writing.terms`), and its courier (:mod:`logbus.collectors.writing.courier`) brings them to the
sink. A sink that is slow pushes back on the receiver, has records dropped, or has them moved to disk, by its policy.
One that fails, or in which a call does not come back, as on a network disk that has gone, is no slow one: it holds
nobody up. All is counted where it happens (:mod:`logbus.collectors.writing.books`).

A row has one intent, and a file has one lock. So where a reload replaces a writer by one of the same name or for the
same file, the new one starts behind the old: it takes records at once, and writes when the old has written its last.

The end has a deadline. What is left then goes into the spool, if there is one, or is dropped. A thread that hangs
beyond it, in a sink or on a disk, is struck off the books, and whoever looks sees to the rest.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

from logbus.collectors.histogram import Histogram
from logbus.collectors.ledger import Change, Ledger, SinkRow
from logbus.collectors.rows import Range
from logbus.collectors.sinks.base import Sink
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.books import Books
from logbus.collectors.writing.courier import HUNG_S, Bury, Courier
from logbus.collectors.writing.ending import Ending
from logbus.collectors.writing.standing import words
from logbus.collectors.writing.stock import Stock
from logbus.collectors.writing.terms import Terms
from logbus.errors import LogbusError

#: Seconds beyond its deadline after which a writer's thread counts as one that hangs.
HANG_S: Final = 0.5
#: Seconds for which the end waits for a sink that is told to end its call.
ABORT_S: Final = 0.05
#: Seconds for which the end waits until what is left stands in the spool.
SPILL_S: Final = 5.0
#: Seconds between looks at whether a writer that waits for another one is to end itself.
TURN_S: Final = 0.1
#: Seconds between attempts at what the ledger's disk refuses as a writer begins.
AGAIN_S: Final = 0.5
#: Seconds between looks at a sink to which nothing comes: a file that was moved is noticed by then.
LOOK_S: Final = 1.0

_FILE: Final = Terms(queue_bytes=4 * 1024 * 1024)


class Writer:
    """The thread, the stock and the ledger row of one sink.

    ``behind`` are writers with the same row or the same destination, which are about to end: this one's queue takes
    records meanwhile, and its first write comes after their last. One that ends gives its sink up from its own
    thread. ``spools`` has the spools of the collector, where it has any; ``bury`` keeps what a sink refuses for good.
    """

    def __init__(
        self,
        sink: Sink,
        ledger: Ledger,
        *,
        complain: Callable[[str], None],
        terms: Terms = _FILE,
        spools: Spools | None = None,
        bury: Bury | None = None,
        behind: Sequence[Writer] = (),
        latency: Histogram | None = None,
    ) -> None:
        self.sink = sink
        self.terms = terms
        #: Of each write from memory: seconds from the arrival of its oldest lines until they were delivered.
        self.latency = latency or Histogram()
        self._complain = complain
        self._spools = spools
        self._spills = spools is not None and terms.spool_bytes > 0
        self._books = Books(ledger, sink, complain)
        self._stock = Stock(terms, self._books)
        self._ending = Ending(self._stock.more, 1 if self._spills else terms.breaker_failures)
        self._courier = Courier(
            sink, self._stock, self._books, self._ending, latency=self.latency, bury=bury, complain=complain
        )
        self._behind = tuple(behind)
        self._opened = False
        #: Whether one of those before it has the same row, which is its until it ends.
        self._shares_row = False
        #: Who tells the sink to end its call; and whether the thread makes no more of them.
        self._aborter: threading.Thread | None = None
        self._leaving = False
        #: Set once nothing is written any more, and the row and the destination are free.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logbus-sink-{sink.name}", daemon=True)

    @property
    def row(self) -> SinkRow:
        """The sink's row in the ledger."""
        return self._books.row

    @property
    def queued(self) -> int:
        """Records in the queue and in hand from there, or held by sampling; exact inside the ledger's transactions."""
        return self._books.queued

    @property
    def full(self) -> bool:
        """Whether the queue holds as many bytes as it may."""
        return self._stock.full

    @property
    def room(self) -> int:
        """Bytes that the queue has room for."""
        return self._stock.room

    @property
    def in_trouble(self) -> bool:
        """Whether a complaint about another sink is not for this one (:mod:`logbus.collectors.writing.complaint`)."""
        return self._books.standing.in_trouble

    @property
    def hung(self) -> bool:
        """Whether a call of the sink takes longer than it may."""
        return self._courier.hung

    @property
    def pushes_back(self) -> bool:
        """Whether the receiver should wait: its terms say so, and it is slow but works, and so do those before it."""
        if not (self.terms.on_full == "block" and self.full):
            return False
        writers = (self, *self._behind)
        return not any(writer._books.standing.stuck or writer._courier.keeps_waiting for writer in writers)

    @property
    def ended(self) -> bool:
        """Whether it has written its last line, and its books are closed."""
        return self._ended.is_set()

    def open(self) -> None:
        """Opens the sink ahead of :meth:`start`. Raises what opening raises."""
        self.sink.open()
        self._opened = True

    def start(self) -> None:
        """Starts the thread; opens the sink unless that was done or it stands behind. Raises what opening raises."""
        if not self._opened and not self._behind:
            self.open()
        self._shares_row = any(writer.row is self.row for writer in self._behind)
        if not self._shares_row:
            self._books.enter(self.sink)
        self._thread.start()

    # ── for the receiver's thread ───────────────────────────────────────────────────────────────────────────────

    def transaction(self) -> Change:
        """A transaction of the ledger that has the sink's row."""
        return self._books.transaction()

    def admit(self, records: int) -> bool:
        """Inside a transaction: books records as handed over, or as dropped when there is no room for them."""
        self._note_hanging()
        # Where the policy chooses among what waits, everything is let in first.
        return self._books.accept(records, room=self.terms.by_level or not self.full or self.pushes_back)

    def watch(self) -> None:
        """Notices that the sink hangs though nothing comes for it."""
        if self.hung and self.row.state == "ok":
            with self.transaction() as change:
                self._note_hanging()
                change.sink(self.row)

    def _note_hanging(self) -> None:
        if self.hung:
            seconds = max(HUNG_S, self.sink.patience_s)
            self._books.standing.hangs(f"it has not come back for {seconds:g} s, and is waited for")

    def withdraw(self, records: int) -> None:
        """Inside a transaction: books records that :meth:`admit` has let in, and that never came, as sampled out."""
        self._books.withdraw(records)

    @property
    def refusing(self) -> bool:
        """Whether records could not be encoded a short while ago."""
        return self._books.standing.unwritable

    def refuse(self, records: int, error: str, *, tell: bool) -> None:
        """Inside a transaction: books records that :meth:`admit` has let in, and that its format can't write.

        The sink is called failing until its format has written everything for a while. ``tell`` says whether a
        complaint may be made, which is a record too: not for one that may itself be what can't be written.
        """
        self._books.refuse(records)
        self._books.standing.could_not_write(error, tell=tell)

    def forgive(self) -> None:
        """Inside a transaction: the format has written everything; what it could not is history, after a while."""
        self._books.standing.could_write()

    def put(self, data: bytes, records: int, ranges: tuple[Range, ...], levels: bytes = b"") -> None:
        """Hands over lines that :meth:`admit` has let in; what has to go for them is dropped, and booked.

        ``levels`` has the bucket of each line (:data:`logbus.levels.BUCKETS`) where the terms are ``by_level``. What
        goes wrong is told, and is no other sink's trouble.
        """
        try:
            self._stock.put(data, records, ranges, levels)
        except Exception as error:  # the ledger's disk, no memory, or a defect
            self._books.standing.queue_failed(words(error))

    @property
    def takes_more(self) -> bool:
        """Whether somebody who can wait may put more: it has begun, and nothing is on disk or waits for a failure."""
        if not self._stock.numbered or self.row.spooled:
            return False
        return not (self._courier.fails and self.queued)

    @property
    def mark(self) -> int:
        """Stands for all that was put so far, for :meth:`passed`; once it has begun (:attr:`takes_more`)."""
        return self._stock.next_seq

    def passed(self, mark: int) -> bool:
        """Whether nothing that was put before a mark is in memory any more: it has ended, or stands in the spool."""
        return self._stock.oldest_seq >= mark

    def reopen(self) -> None:
        """Makes the thread look at whether the sink is still what it was, and try again if it fails."""
        self._ending.call()

    def document(self) -> dict[str, Any]:
        """What the status says of the sink beside its row: how much waits, how long, in which state; any thread."""
        failing_s = self._books.standing.failing_s
        document = self._stock.document() | {
            "circuit": self._courier.circuit,
            "failing_seconds": None if failing_s is None else round(failing_s, 3),
        }
        with contextlib.suppress(Exception):  # somebody else's code, and the collector's thread
            document |= self.sink.document()
        return document

    # ── the end, from the collector's thread ────────────────────────────────────────────────────────────────────

    def retire(self, deadline: float) -> None:
        """Has the thread write what is queued until ``deadline`` (monotonic seconds) and then end; does not wait."""
        self._ending.begin(deadline)

    def wait(self, seconds: float) -> bool:
        """Waits for the end of a retired writer; False when that took longer."""
        return self._ended.wait(seconds)

    def give_up(self) -> None:
        """Ends a retired writer whose deadline is over, a step with each call; does not wait.

        Its call is aborted, and the next one if that came between two. If it does not come back, nothing that its
        thread does counts any more; what is left goes into the spool, where there is one, and after :data:`SPILL_S`
        the books are closed whatever has become of that.
        """
        deadline, now = self._ending.deadline, time.monotonic()
        if deadline is None or now < deadline or self.ended:
            return
        if not (self._leaving or self._books.struck):
            self._abort()
        if now < deadline + HANG_S:
            return
        keeper = self._stock.keeper
        if not self._leaving:
            if unknown := self._books.strike(kept=self._spills and keeper is not None):
                text = f"{unknown:,} records are in a write that does not come back: nobody knows what became of them"
                self._complain(f"sink {self.row.name!r}: {text}")
            if keeper is not None:
                keeper.end()
        spilling = not keeper.ended if keeper is not None else self._leaving and bool(self._behind)
        if not spilling or now >= deadline + HANG_S + SPILL_S:
            self._close_books()

    def finish(self, deadline: float) -> None:
        """Writes what is queued until ``deadline`` (monotonic seconds), keeps or books the rest, closes the sink."""
        if self._thread.ident is None:
            self._close_books()
            return
        self.retire(deadline)
        while not self.wait(max(0.01, min(deadline - time.monotonic(), HANG_S / 4))):
            self.give_up()
        if not self._books.struck:
            self._thread.join(HANG_S)
        if self._stock.keeper is not None:
            self._stock.keeper.join(HANG_S)

    def cancel(self) -> None:
        """Ends a writer that was given nothing, started or not, and takes its row back."""
        if self._thread.ident is None:
            self.sink.close()
            return
        self.finish(0.0)
        if not self._shares_row:
            self.remove()

    def remove(self) -> None:
        """Books the sink as removed: it has ended, and none of its name has come."""
        self._books.remove()

    def _abort(self) -> None:
        """Has the call under way end, if there is one. On a thread of its own: other people's code may hang."""
        if self._aborter is not None and self._aborter.is_alive():
            return
        name = f"logbus-abort-{self.sink.name}"
        with contextlib.suppress(RuntimeError):  # no more threads are to be had: the next turn tries again
            self._aborter = threading.Thread(target=self._tell_to_end, name=name, daemon=True)
            self._aborter.start()
            self._aborter.join(ABORT_S)

    def _tell_to_end(self) -> None:
        with contextlib.suppress(Exception):
            self.sink.abort()

    def _close_books(self) -> None:
        """What is left is dropped by the shutdown, and told; so is what waits in the spool."""
        try:
            if self._books.closed:
                return
            dropped, name = self._books.close(), self.row.name
            if dropped:
                self._complain(f"sink {name!r}: {dropped:,} records were dropped at its end")
            if self._stock.keeper is not None and self.row.spooled:
                self._complain(f"sink {name!r}: {self.row.spooled:,} records wait in its spool")
        finally:
            self._ended.set()

    # ── its own thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            if self._come_first():
                self._serve()
        finally:
            self._leave()

    def _come_first(self) -> bool:
        """Waits for those before it to end, then opens spool and sink. False when its own end comes sooner."""
        for writer in self._behind:
            while not writer.wait(TURN_S):
                if self._ending.over:
                    return False
        self._behind = ()
        if not self._insist(lambda: self._stock.open_spool(self._spools, lambda: self._courier.fails)):
            return False
        if not self._opened and not self._courier.open():
            return False
        self._opened = True
        if self._shares_row or self.row.state != "ok":
            return self._insist(lambda: self._books.enter(self.sink))
        return True

    def _insist(self, step: Callable[[], None]) -> bool:
        """Does what only the ledger's disk can keep from working, again and again. False when the end comes before."""
        while True:
            try:
                step()
            except Exception as error:
                self._books.standing.queue_failed(words(error))
                with self._stock.more:
                    if self._stock.more.wait_for(lambda: self._ending.over, AGAIN_S):
                        return False
            else:
                return True

    def _serve(self) -> None:
        stock, ending = self._stock, self._ending
        while True:
            with stock.more:
                look_at, due_in = time.monotonic() + LOOK_S, inf
                while not (over := self._is_over()):
                    due_in = stock.due_in(ending=ending.begun)
                    until = look_at if ending.deadline is None else min(look_at, ending.deadline)
                    if due_in <= 0 or ending.called or (rest := min(due_in, until - time.monotonic())) <= 0:
                        break
                    stock.more.wait(rest)
                waits = stock.waits
            if over:
                return
            if ending.called or not waits:
                self._courier.look_in(reopen=ending.heed())
            if due_in <= 0:
                self._courier.deliver()

    def _is_over(self) -> bool:
        """Whether it is time to end; the lock is held."""
        if self._books.struck or self._books.closed:
            return True
        return self._ending.begun and (not self._stock.waits or self._ending.given_up or self._ending.over)

    def _leave(self) -> None:
        """Has what is left moved into the spool, closes the sink and the books."""
        self._leaving = True
        try:
            with contextlib.suppress(LogbusError):  # the ledger's disk still refuses: the next start finds it out
                self._courier.settle()
            if self._behind and self._spills:  # its end has come before its turn
                until = time.monotonic() + SPILL_S
                if all(writer.wait(max(0.0, until - time.monotonic())) for writer in self._behind):
                    self._stock.open_spool(self._spools, lambda: True)
            self._behind = ()
            if self._stock.keeper is not None:
                self._stock.keeper.end()
                self._stock.keeper.wait(SPILL_S)
            self._courier.close()
        except Exception as error:
            self._complain(f"sink {self.row.name!r} fails as it is closed: {words(error)}")
        finally:
            self._close_books()
