"""One writer thread per sink: a queue, writes of whole lines, and the books around each write.

Before a write its intent goes into the ledger, after it the count of what was delivered; so a restart can find out
how far a killed writer came. Before both the sink is asked how much it may be given, and a delivery that is longer is
split after a line. Lines stay in the queue until they are written: a sink that fails keeps its records and is tried
again. A sink that is slow pushes back on the receiver or, if it is impatient, has new records dropped. One in which a
call does not come back, as on a network disk that has gone, is no slow one: it holds nobody up. All is counted where it
happens.

A row has one intent, and a file has one lock. So where a reload replaces a writer by one of the same name or for the
same file, the new one starts behind the old: it takes records at once, and writes when the old has written its last.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logbus.collectors.histogram import Histogram
from logbus.collectors.ledger import Change, Ledger, SinkRow
from logbus.collectors.rows import Range, coalesced, divided
from logbus.collectors.sinks.base import Sink
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN, UNENCODABLE

#: Bytes that wait for one sink before it pushes back or drops.
QUEUE_BYTES: Final = 8 * 1024 * 1024
#: Bytes of one write, about.
WRITE_BYTES: Final = 1024 * 1024
#: Seconds between attempts on a sink that fails.
RETRY_S: Final = 0.5

#: Seconds for which a sink is called failing after the last record that its format could not write.
REFUSED_S: Final = 10.0
#: Seconds between complaints about that.
REFUSAL_TOLD_S: Final = 60.0

#: Seconds beyond its deadline after which a write counts as one that hangs.
HANG_S: Final = 0.2
#: Seconds after which any call of a sink does, and the sink as one that fails; disks that are busy take a few.
HUNG_S: Final = 5.0
#: Seconds between looks at whether a writer that waits for another one is to end itself.
TURN_S: Final = 0.1

#: Lines, how many records they are, and which; and when they came, in monotonic seconds.
Lines = tuple[bytes, int, tuple[Range, ...], float]


class Writer:
    """The thread, the queue and the ledger row of one sink.

    ``behind`` are writers with the same row or the same destination, which are about to end: this one's queue takes
    records meanwhile, and its first write comes after their last. One that ends gives its sink up from its own thread.
    """

    def __init__(
        self,
        sink: Sink,
        ledger: Ledger,
        *,
        complain: Callable[[str], None],
        queue_bytes: int = QUEUE_BYTES,
        behind: Sequence[Writer] = (),
        latency: Histogram | None = None,
    ) -> None:
        self.sink = sink
        self.row = ledger.sinks.get(sink.name) or SinkRow(sink.name, sink.type, sink.checkable)
        #: Records in the queue and in hand; changed inside the ledger's transactions only.
        self.queued = 0
        #: Of each write: seconds from the arrival of its oldest lines until they were delivered.
        self.latency = latency or Histogram()
        self._ledger = ledger
        self._complain = complain
        self._queue: deque[Lines] = deque()
        self._queue_bytes = queue_bytes
        self._bytes = 0
        self._more = threading.Condition()
        self._deadline: float | None = None
        self._reopen = False
        self._in_write = False
        #: Whether the sink takes nothing at present.
        self._stuck = False
        #: When the call of the sink began that is under way, in monotonic seconds.
        self._called_at: float | None = None
        #: Why records could not be encoded, while that is a reason to call the sink failing; and when that was told.
        self._refusal: str | None = None
        self._refused_at = -REFUSED_S
        self._refusal_told_at = -REFUSAL_TOLD_S
        #: What the sink last said was wrong with it.
        self._trouble: str | None = None
        self._behind = tuple(behind)
        self._opened = False
        #: Whether one of those before it has the same row, which is its until it ends.
        self._shares_row = False
        #: Whether the books are closed: changed inside the ledger's transactions only.
        self._closed = False
        #: Set once nothing is written any more, and the row and the destination are free.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logbus-sink-{sink.name}", daemon=True)

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
            self._enter_row()
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether the queue holds as many bytes as it may."""
        return self._bytes >= self._queue_bytes

    @property
    def pushes_back(self) -> bool:
        """Whether the receiver should wait: the sink is patient, slow, and works, and so do those before it."""
        if not (self.full and self.sink.patient):
            return False
        return not any(writer._stuck or writer.hung for writer in (self, *self._behind))

    @property
    def hung(self) -> bool:
        """Whether a call of the sink has not come back for long."""
        called_at = self._called_at
        return called_at is not None and time.monotonic() >= called_at + HUNG_S

    @property
    def ended(self) -> bool:
        """Whether it has written its last line, and its books are closed."""
        return self._ended.is_set()

    def transaction(self) -> Change:
        """A transaction of the ledger that has the sink's row."""
        return self._ledger.transaction()

    def admit(self, records: int) -> bool:
        """Inside a transaction: books records as handed over, or as dropped when there is no room for them."""
        self.row.accepted += records
        if self.row.state == "ok" and self.hung:
            self.row.state, self.row.last_error = "failing", f"it has not come back for {HUNG_S:g} s, and is waited for"
            self._complain(f"sink {self.row.name!r} hangs: {self.row.last_error}")
        if self.full and not self.pushes_back:
            self.row.dropped[HIGH_WATER_MARK] += records
            return False
        self.queued += records
        return True

    def withdraw(self, records: int) -> None:
        """Inside a transaction: books records that :meth:`admit` has let in, and that never came, as sampled out."""
        if not self._closed:  # else they are booked as dropped by the shutdown
            self.queued -= records
            self.row.accepted -= records
            self.row.sampled_out += records

    @property
    def refusing(self) -> bool:
        """Whether records could not be encoded a short while ago."""
        return self._refusal is not None

    def refuse(self, records: int, error: str, *, tell: bool) -> None:
        """Inside a transaction: books records that :meth:`admit` has let in, and that its format can't write.

        The sink is called failing until its format has written everything for :data:`REFUSED_S`. ``tell`` says whether
        a complaint may be made, which is a record too: not for one that may itself be what can't be written.
        """
        self.queued -= records
        self.row.dropped[UNENCODABLE] += records
        self._refusal, self._refused_at = error, time.monotonic()
        self.row.state, self.row.last_error = "failing", error
        if tell and self._refused_at >= self._refusal_told_at + REFUSAL_TOLD_S:
            self._refusal_told_at = self._refused_at
            self._complain(f"sink {self.row.name!r} drops records that its format can't write: {error}")

    def forgive(self) -> None:
        """Inside a transaction: the format has written everything; what it could not is history, after a while."""
        if self._refusal is not None and time.monotonic() >= self._refused_at + REFUSED_S:
            self._refusal = None
            if not self._stuck:
                self._works()

    def put(self, data: bytes, records: int, ranges: tuple[Range, ...]) -> None:
        """Hands over lines that :meth:`admit` has let in."""
        with self._more:
            self._queue.append((data, records, ranges, time.monotonic()))
            self._bytes += len(data)
            self._more.notify()

    def reopen(self) -> None:
        """Makes the thread look at whether the sink is still what it was."""
        with self._more:
            self._reopen = True
            self._more.notify()

    def retire(self, deadline: float) -> None:
        """Has the thread write what is queued until ``deadline`` (monotonic seconds) and then end; does not wait."""
        with self._more:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            self._more.notify()

    def give_up(self) -> None:
        """Closes the books of a retired writer whose deadline is over while a write hangs; does not wait."""
        with self._more:
            overdue = self._deadline is not None and time.monotonic() >= self._deadline + HANG_S
        if overdue:
            self._close_books()

    def finish(self, deadline: float) -> None:
        """Writes what is queued until ``deadline`` (monotonic seconds), books the rest, and closes the sink."""
        self.retire(deadline)
        self._thread.join(max(0.0, deadline - time.monotonic()) + HANG_S)
        self._close_books()

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
        with self._ledger.transaction() as change:
            self.row.state = "removed"
            change.sink(self.row)

    def _enter_row(self) -> None:
        with self._ledger.transaction() as change:
            self.row.type, self.row.checkable = self.sink.type, self.sink.checkable
            self._stuck = False
            self.row.state, self.row.last_error = "ok", None
            change.sink(self.row)

    def _close_books(self) -> None:
        """What is left is dropped by the shutdown, and unknown if it is in a write that hangs."""
        with self._ledger.transaction() as change:
            if not self._closed:
                self._closed = True
                if self._in_write:  # a terminal that takes nothing: the thread is in there for good
                    intent = self.row.intent
                    if intent is not None:
                        self.row.unknown += intent.count
                        self.queued -= intent.count
                        self.row.intent = None
                self.row.dropped[SHUTDOWN] += self.queued
                self.queued = 0
                change.sink(self.row)
        self._ended.set()

    def _run(self) -> None:
        try:
            if self._come_first():
                self._serve()
        finally:
            try:
                self.sink.close()
            except Exception as error:
                self._complain(f"sink {self.row.name!r} fails as it is closed: {_words(error)}")
            finally:
                self._close_books()

    def _come_first(self) -> bool:
        """Waits for those before it to end, then opens the sink. False when its own end comes sooner."""
        for writer in self._behind:
            while not writer.ended:
                if self._overdue():
                    return False
                writer._ended.wait(TURN_S)
        self._behind = ()
        while not self._opened:
            try:
                with self._calling():
                    self.open()
            except Exception as error:  # whatever it was, see _write
                self._failed(error, 0)
                with self._more:
                    self._more.wait_for(self._overdue, RETRY_S)
                if self._overdue():
                    return False
        if self._shares_row or self.row.state != "ok":
            self._enter_row()
        return True

    def _overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _serve(self) -> None:
        while True:
            with self._more:
                # A second at most: a file that was moved is noticed though nothing comes.
                self._more.wait_for(lambda: self._queue or self._deadline is not None or self._reopen, 1.0)
                ended = self._deadline is not None and (not self._queue or self._overdue())
                reopen, self._reopen = self._reopen, False
                waiting = bool(self._queue)
            if ended:
                return
            if reopen or not waiting:
                with contextlib.suppress(Exception):  # the next write says the same, and is tried again
                    with self._calling():
                        if reopen:
                            self.sink.reopen()
                        self._look(0)
            if waiting:
                self._write_until_done()

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Around what may hang in the sink."""
        self._called_at = time.monotonic()
        try:
            yield
        finally:
            self._called_at = None

    def _look(self, first: int) -> int:
        """What the sink's look says; and tells what is wrong with a sink that works. Raises OSError, LogbusError."""
        room = self.sink.look(first)
        if self.sink.trouble != self._trouble:
            self._trouble = self.sink.trouble
            if self._trouble is not None:
                self._complain(f"sink {self.row.name!r}: {self._trouble}")
            with self._ledger.transaction() as change:
                if not self._closed and self.row.state == "ok":
                    self.row.last_error = self._trouble
                    change.sink(self.row)
        return room

    def _take(self, room: int) -> list[Lines]:
        """What the next write takes of the queue, in which it stays: a line at least, else no more than ``room``."""
        with self._more:
            if len(self._queue[0][0]) > room:
                self._split(room)
            taken: list[Lines] = []
            size = 0
            for lines in self._queue:
                size += len(lines[0])
                if taken and size > min(room, WRITE_BYTES):
                    break
                taken.append(lines)
            return taken

    def _split(self, room: int) -> None:
        """Makes the first lines of the queue two: those for which there is room, one at least, and the others."""
        data, records, ranges, came = self._queue[0]
        end = data.rfind(b"\n", 0, room) + 1 or data.find(b"\n") + 1
        if end < len(data):
            first = data.count(b"\n", 0, end)
            front, back = divided(ranges, first)
            self._queue[0] = (data[end:], records - first, back, came)
            self._queue.appendleft((data[:end], first, front, came))

    def _write_until_done(self) -> None:
        while not self._write():
            with self._more:
                left = RETRY_S if self._deadline is None else min(RETRY_S, self._deadline - time.monotonic())
                if left <= 0:
                    return
                self._more.wait(left)

    def _write(self) -> bool:
        """One attempt at the first lines of the queue. False when the sink failed and nothing of it remains."""
        row, sink = self.row, self.sink
        taken: list[Lines] = []
        count = 0
        try:
            # Only this thread takes lines away; what comes meanwhile comes behind these.
            with self._calling():
                room = self._look(self._queue[0][0].find(b"\n") + 1)
            taken = self._take(room)
            data = taken[0][0] if len(taken) == 1 else b"".join([lines[0] for lines in taken])
            count = sum(lines[1] for lines in taken)
            ranges = coalesced(found for lines in taken for found in lines[2])
            with self._ledger.transaction() as change:
                closed = self._closed
                if closed:
                    return True
                row.intent = sink.intent(count, len(data), row.delivered, ranges)
                self._in_write = True
                change.sink(row)
            with self._calling():
                sink.write(data)
        except Exception as error:  # a defect, or no memory: without its thread a sink would wedge all the others
            if not self._failed(error, count):
                return False
        else:
            with self._ledger.transaction() as change:
                self._in_write = False
                if self._closed:  # the books are closed, and say that nobody knows
                    return True
                row.delivered += count
                self.queued -= count
                row.intent = None
                self._stuck = False
                if row.state != "ok":
                    self._works()
                change.sink(row)
        self._let_go(taken)
        return True

    def _let_go(self, taken: list[Lines]) -> None:
        """Takes what has been written, or given up, out of the queue."""
        if taken:
            self.latency.observe(time.monotonic() - taken[0][3])
        with self._more:
            for lines in taken:
                self._queue.popleft()
                self._bytes -= len(lines[0])

    def _works(self) -> None:
        """Inside a transaction: the sink takes lines; what else is wrong stands in the row."""
        if self._refusal is not None:
            self.row.state, self.row.last_error = "failing", self._refusal
        else:
            self.row.state, self.row.last_error = "ok", self._trouble

    def _failed(self, error: Exception, count: int) -> bool:
        row = self.row
        undone = not self._in_write or self.sink.undo()
        text = _words(error)
        if row.state == "ok" or row.last_error != text:
            self._complain(f"sink {row.name!r} fails and is tried again: {text}")
        with self._ledger.transaction() as change:
            self._in_write = False
            if self._closed:
                return True
            self._stuck = True
            row.state, row.last_error, row.intent = "failing", text, None
            if not undone:  # some of it may be out there: to write it again could double it
                row.unknown += count
                self.queued -= count
            change.sink(row)
        return not undone


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
