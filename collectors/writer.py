"""One writer thread per sink: a queue, writes of whole lines, and the books around each write.

Before a write its intent goes into the ledger, after it the count of what was delivered; so a restart can find out
how far a killed writer came. A sink that fails keeps its records and is tried again; a sink that is slow pushes
back on the receiver or, if it is impatient, has new records dropped. Both are counted where they happen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from logbus.collectors.ledger import Ledger, SinkRow
from logbus.collectors.rows import Range, coalesced
from logbus.collectors.sinks.base import Sink
from logbus.errors import LogbusError
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN

#: Bytes that wait for one sink before it pushes back or drops.
QUEUE_BYTES: Final = 8 * 1024 * 1024
#: Bytes of one write, about.
WRITE_BYTES: Final = 1024 * 1024
#: Seconds between attempts on a sink that fails.
RETRY_S: Final = 0.5

#: Lines, how many records they are, and which.
Lines = tuple[bytes, int, tuple[Range, ...]]


class Writer:
    """The thread, the queue and the ledger row of one sink."""

    def __init__(
        self, sink: Sink, ledger: Ledger, *, complain: Callable[[str], None], queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self.sink = sink
        self.row = ledger.sinks.get(sink.name) or SinkRow(sink.name, sink.type, sink.checkable)
        #: Records in the queue and in hand; changed inside the ledger's transactions only.
        self.queued = 0
        self._ledger = ledger
        self._complain = complain
        self._queue: deque[Lines] = deque()
        self._queue_bytes = queue_bytes
        self._bytes = 0
        self._more = threading.Condition()
        self._deadline: float | None = None
        self._reopen = False
        self._in_write = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"logbus-sink-{sink.name}", daemon=True)

    def start(self) -> None:
        """Opens the sink and starts the thread. Raises what opening raises."""
        self.sink.open()
        with self._ledger.transaction() as change:
            self.row.type, self.row.checkable = self.sink.type, self.sink.checkable
            self.row.state, self.row.last_error = "ok", None
            change.sink(self.row)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether the queue holds as many bytes as it may."""
        return self._bytes >= self._queue_bytes

    @property
    def pushes_back(self) -> bool:
        """Whether the receiver should wait: the sink is patient, slow, and works."""
        return self.full and self.sink.patient and self.row.state == "ok"

    def admit(self, records: int) -> bool:
        """Inside a transaction: books records as handed over, or as dropped when there is no room for them."""
        self.row.accepted += records
        if self.full and not self.pushes_back:
            self.row.dropped[HIGH_WATER_MARK] += records
            return False
        self.queued += records
        return True

    def put(self, data: bytes, records: int, ranges: tuple[Range, ...]) -> None:
        """Hands over lines that :meth:`admit` has let in."""
        with self._more:
            self._queue.append((data, records, ranges))
            self._bytes += len(data)
            self._more.notify()

    def reopen(self) -> None:
        """Makes the thread look at whether the sink is still what it was."""
        with self._more:
            self._reopen = True
            self._more.notify()

    def finish(self, deadline: float) -> None:
        """Writes what is queued until ``deadline`` (monotonic seconds), books the rest, and closes the sink."""
        with self._more:
            self._deadline = deadline
            self._more.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()) + 0.2)
        with self._ledger.transaction() as change:
            self._abandoned = self._thread.is_alive()
            if self._in_write:  # a terminal that takes nothing: the thread is in there for good
                intent = self.row.intent
                if intent is not None:
                    self.row.unknown += intent.count
                    self.queued -= intent.count
                    self.row.intent = None
            self.row.dropped[SHUTDOWN] += self.queued
            self.queued = 0
            change.sink(self.row)
        if not self._thread.is_alive():
            self.sink.close()

    def _run(self) -> None:
        while True:
            with self._more:
                # A second at most: a file that was moved is noticed though nothing comes.
                self._more.wait_for(lambda: self._queue or self._deadline is not None or self._reopen, 1.0)
                ended = self._deadline is not None and (not self._queue or time.monotonic() >= self._deadline)
                reopen, self._reopen = self._reopen, False
                taken, size = self._take()
            if ended:
                return
            if reopen or not taken:
                with contextlib.suppress(OSError, LogbusError):  # the next write says the same, and is tried again
                    (self.sink.reopen if reopen else self.sink.look)()
            if taken:
                self._write_until_done(taken, size)

    def _take(self) -> tuple[list[Lines], int]:
        """What the next write takes; it stays in the queue's count of bytes until it is written."""
        taken: list[Lines] = []
        size = 0
        while self._queue and (not taken or size + len(self._queue[0][0]) <= WRITE_BYTES):
            lines = self._queue.popleft()
            size += len(lines[0])
            taken.append(lines)
        return taken, size

    def _write_until_done(self, taken: list[Lines], size: int) -> None:
        data = taken[0][0] if len(taken) == 1 else b"".join([lines[0] for lines in taken])
        count = sum(lines[1] for lines in taken)
        ranges = coalesced(found for lines in taken for found in lines[2])
        while not self._write(data, count, ranges):
            with self._more:
                left = RETRY_S if self._deadline is None else min(RETRY_S, self._deadline - time.monotonic())
                if left <= 0:
                    return
                self._more.wait(left)
        with self._more:
            self._bytes -= size

    def _write(self, data: bytes, count: int, ranges: tuple[Range, ...]) -> bool:
        """One attempt. False when the sink failed and nothing of it remains."""
        row, sink = self.row, self.sink
        try:
            sink.look()
            with self._ledger.transaction() as change:
                row.intent = sink.intent(count, len(data), row.delivered, ranges)
                self._in_write = True
                change.sink(row)
            sink.write(data)
        except (OSError, LogbusError) as error:
            return self._failed(error, count)
        with self._ledger.transaction() as change:
            self._in_write = False
            if self._abandoned:  # the books are closed, and say that nobody knows
                return True
            row.delivered += count
            self.queued -= count
            row.intent = None
            if row.state != "ok":
                row.state, row.last_error = "ok", None
            change.sink(row)
        return True

    def _failed(self, error: Exception, count: int) -> bool:
        row = self.row
        undone = not self._in_write or self.sink.undo()
        text = f"{type(error).__name__}: {error}"
        if row.state == "ok" or row.last_error != text:
            self._complain(f"sink {row.name!r} fails and is tried again: {text}")
        with self._ledger.transaction() as change:
            self._in_write = False
            if self._abandoned:
                return True
            row.state, row.last_error, row.intent = "failing", text, None
            if not undone:  # some of it may be out there: to write it again could double it
                row.unknown += count
                self.queued -= count
            change.sink(row)
        return not undone
