"""Keeps what a sink can't take on disk: moves its queue into its spool, and gives what the spool holds.

Records leave in the order of their numbers: first what is in hand, then what stands in the spool, then what waits in
memory. So the oldest of memory goes to disk, and while anything is there nothing newer is sent.

A thread of its own appends, since a disk may take its time, or hang, and neither the receiver nor the sink has any to
spare. While the sink works it moves only what memory has no room for, beginning at half of the queue; while the sink
fails or hangs, everything, and soon, so that a ``kill -9`` costs little: between two attempts what is in hand, too.
Each batch is on disk before the ledger says so, in one commit: a crash in between finds the records in the spool and
counts them there (:mod:`logbus.collectors.resolve`). A disk that refuses leaves them in memory, where the lowest
levels give way to newer records; that is told, and tried again.

The writer's thread reads, and the thread of the receiver never touches the disk.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from logbus.collectors.spool.spool import Spool
from logbus.collectors.writing.backlog import Backlog
from logbus.collectors.writing.books import Books
from logbus.collectors.writing.hand import Hand
from logbus.collectors.writing.lines import Lines
from logbus.collectors.writing.standing import words
from logbus.collectors.writing.terms import Terms

#: Bytes, about, that are moved with one commit.
MOVE_BYTES: Final = 1024 * 1024
#: The same, at least, on a disk that refuses more: a move happens as a whole, and there may be room for a small one.
MIN_MOVE_BYTES: Final = 32 * 1024
#: Seconds for which lines gather before they are moved while the sink fails.
GATHER_S: Final = 0.1
#: Seconds between looks at whether the sink hangs, and between attempts on a disk that refuses.
LOOK_S: Final = 0.5
DISK_RETRY_S: Final = 2.0


class Keeper:
    """The spool of one writer, and the thread that fills it from ``backlog``, around which ``lock`` is.

    ``more`` is told when the writer may go on; ``urgent`` says whether the sink takes nothing at present, and ``lent``
    whether the writer is at work on what is in hand.
    """

    def __init__(
        self,
        spool: Spool,
        terms: Terms,
        *,
        backlog: Backlog,
        lock: threading.Lock,
        more: threading.Condition,
        books: Books,
        urgent: Callable[[], bool],
        lent: Callable[[], bool],
    ) -> None:
        #: Whether what is in hand is on its way to disk, and not to be taken; under the lock.
        self.has_hand = False
        self._spool = spool
        self._terms = terms
        self._backlog = backlog
        self._lock = lock
        self._more = more
        self._books = books
        self._urgent = urgent
        self._lent = lent
        self._wake = threading.Condition(lock)
        #: Whether the spool is open, and whether it knows its bounds.
        self._opened = False
        self._bounded = False
        self._ending = False
        #: Held while the spool changes and the ledger does not know.
        self._moving = threading.Lock()
        #: Of what was appended last, and the ledger could not be told of: the records, and those that went for them.
        self._untold: tuple[int, int] | None = None
        self._move_bytes = MOVE_BYTES
        self._retry_at = 0.0
        self._moved_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logbus-keeper-{books.row.name}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether the spool is open."""
        return self._opened

    @property
    def ended(self) -> bool:
        """Whether it has moved what it could, and ended."""
        return self._ended.is_set()

    def open(self) -> None:
        """Opens the spool, which is this writer's from now on, and books what is there."""
        row = self._books.row
        found = self._spool.open(row.acked)
        self._books.adopt(found.records)
        with self._lock:
            self._backlog.number_from(max(found.next_seq, row.acked))
        self._opened = True
        try:
            self._bound()
        except OSError as error:  # tried again before the next append
            self._books.spool_troubled(words(error))

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Has the thread look now; the lock is held."""
        self._wake.notify()

    def end(self) -> None:
        """Has everything moved that is in memory, in hand too, and the thread end; does not wait."""
        with self._lock:
            self._ending = True
            self._wake.notify()

    def wait(self, seconds: float) -> bool:
        """Waits for its end; False when that took longer."""
        return self._ended.wait(seconds)

    def join(self, seconds: float) -> None:
        """Waits for its thread to be gone."""
        self._thread.join(seconds)

    def document(self, now: float) -> dict[str, Any]:
        """What the status says of the spool; ``now`` is epoch seconds."""
        spool, oldest = self._spool, self._spool.oldest_at
        return {
            "records": self._books.row.spooled,
            "bytes": spool.bytes,
            "max_bytes": self._terms.spool_bytes,
            "segments": spool.segments,
            "oldest_seconds": None if oldest is None else round(max(0.0, now - oldest), 3),
        }

    # ── for the writer's thread ─────────────────────────────────────────────────────────────────────────────────

    def read(self, max_records: int, max_bytes: int) -> Hand | None:
        """The oldest of what the spool holds, no more than these bounds but a line at least; None when it is empty.

        The same again until :meth:`done`. Raises OSError.
        """
        row = self._books.row
        with self._moving:
            if not (self._opened and row.spooled):
                return None
            # No more than the ledger knows of: what it could not be told of is still counted as queued.
            portion = self._spool.read(min(max_records, row.spooled), max_bytes)
            self._books.lose(self._spool.take_lost())
            if portion is None:
                self._miss()
                return None
        numbers, foreign = portion.numbers, portion.dialect
        return Hand(portion.data, portion.count, (), portion.last_seq, numbers=numbers, foreign=foreign)

    def _miss(self) -> None:
        """Books what the ledger knows of and the spool has not got any more."""
        self._bound()  # which says what an append that failed has removed
        if self._spool.read(1, 1) is None:
            self._books.adopt(0)

    def done(self, last: int) -> None:
        """All records up to this number have ended, and the ledger says so."""
        self._spool.done(last)

    # ── its own thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(self._due, GATHER_S if self._urgent() else LOOK_S)
                    ending = self._ending
                    due = self._due()
                if self._books.closed:  # that took too long; the next writer of this name has the spool
                    return
                if ending and not (self._terms.spool_bytes and self._left()):
                    self._spool.close()
                    return
                if due and not self._move():
                    if ending:
                        self._spool.close()
                        return
                    self._retry_at = time.monotonic() + DISK_RETRY_S
        finally:
            self._ended.set()
            with self._more:
                self._more.notify()

    def _left(self) -> bool:
        with self._lock:
            return self._backlog.records > 0

    def _due(self) -> bool:
        """Whether something is to be moved now. The lock is held."""
        if self._ending:
            return True
        now = time.monotonic()
        if now < self._retry_at or not self._terms.spool_bytes:
            return False
        if self._untold:
            return True
        if self._urgent() and now >= self._moved_at + GATHER_S:
            return self._backlog.waiting or self._is_idle()
        return self._backlog.half_full and self._backlog.waiting

    def _is_idle(self) -> bool:
        """Whether something is in hand, and nobody is at work on it. The lock is held."""
        return not self._lent() and bool(self._backlog.hand)

    def _move(self) -> bool:
        """Moves some of what waits. False when the disk refuses, and it waits again."""
        with self._lock:
            if self._untold is None:
                # Between attempts on a sink that fails, what is in hand is as much at stake as the rest.
                self.has_hand = self._ending or (self._urgent() and not self._lent())
            hand = self._backlog.hand if self.has_hand else []
            self.has_hand = bool(hand)
            lines = hand or self._backlog.spill(self._move_bytes)
        if not lines:
            return True
        moved, works, bytes_next = 0, True, min(2 * self._move_bytes, MOVE_BYTES)
        try:
            if self._untold is not None:  # it is in the spool, and first of what is to be moved
                with self._moving:
                    moved = self._tell()
            else:
                if not self._bounded:
                    self._bound()
                for group in _groups(lines, self._move_bytes):
                    if self._books.closed:  # that took too long
                        works = False
                        break
                    moved += self._append(group)
        except Exception as error:  # a disk that is full or broken, or a defect: what waits, waits
            works, bytes_next = False, max(self._move_bytes // 4, MIN_MOVE_BYTES)
            with contextlib.suppress(Exception):  # the ledger's own disk
                self._books.spool_troubled(words(error))
        self._move_bytes = bytes_next
        with self._lock:
            if hand:
                self._backlog.done(moved)
                self.has_hand = self._untold is not None
            else:
                self._backlog.spilled(moved)
                if not self._untold:  # else the spool has it, and it must not be sent or shed here
                    self._backlog.unspill()
            self._moved_at = time.monotonic()
            self._more.notify()
        return works

    def _append(self, group: Sequence[Lines]) -> int:
        """Puts lines whose numbers follow one another into the spool and the ledger; how many records."""
        with self._moving:
            texts = [line for one in group for line in one.lines()]
            shed = self._spool.append(group[0].first, texts, b"".join([one.levels for one in group]))
            self._untold = len(texts), sum(shed)
            return self._tell()

    def _tell(self) -> int:
        """Tells the ledger of what was appended last; how many records."""
        assert self._untold is not None
        records, gone = self._untold
        self._books.move(records, gone)
        self._untold = None
        return records

    def _bound(self) -> None:
        """Tells the spool its bound and the dialect of its lines. Raises OSError."""
        self._books.shed_spooled(sum(self._spool.configure(self._terms.spool_bytes, self._terms.dialect)))
        self._bounded = True


def _groups(lines: Sequence[Lines], size: int) -> list[list[Lines]]:
    """The lines in groups of so many bytes, about, whose numbers follow one another."""
    groups, room = [[lines[0]]], size - lines[0].size
    for before, one in pairwise(lines):
        room -= one.size
        if before.last + 1 == one.first and room >= 0:
            groups[-1].append(one)
        else:
            groups.append([one])
            room = size - one.size
    return groups
