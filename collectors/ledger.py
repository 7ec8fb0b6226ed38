"""The collector's book: a row per worker and per sink, and a commit for every change to them.

It stands between the receive thread and the sinks: a record is *collected* once its frame is decoded and entered
here, before any sink sees it, and *delivered* once a sink's writer has entered that. So whatever is killed, and
whenever, each record is in one term of the two laws (:mod:`logbus.collectors.rows`).

Theory of operation. A transaction names the rows that it changes; when its block ends, their absolute values go
to the page (:mod:`logbus.collectors.page`) as one entry. Redoing an entry twice gives the same rows, and rows that
change together are never seen apart. When a block or its commit raises, the rows go back to what the page holds.
One lock guards it all, since the receive thread and one writer thread per sink commit; it is held for a few
microseconds, except for the snapshot when a slot of the page is full.

Workers come and go, so the oldest that have gone are folded into one row: history is bounded, counts are not
forgotten.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final

from logbus.bus import private_directory
from logbus.collectors.book import Book, pack_change, pack_snapshot, refill, replay
from logbus.collectors.page import SLOT_BYTES, Page
from logbus.collectors.resolve import Resolution, resolve
from logbus.collectors.rows import OLDER, Intent, SinkRow, WorkerRow

__all__ = ["Change", "Intent", "Ledger", "Resolution", "SinkRow", "WorkerRow"]

#: Rows of workers that have gone, beyond which the oldest are folded into one.
KEPT_GONE: Final = 512
#: The ledger's page in the state directory of a collector.
FILE_NAME: Final = "ledger"
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Change:
    """An open transaction. The lock of the ledger is held; the rows may be changed until the block ends."""

    __slots__ = ("_beside", "_dirty", "_forgotten", "_ledger", "_sinks", "_workers")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._workers: dict[bytes, WorkerRow] = {}
        self._sinks: dict[str, SinkRow] = {}
        self._forgotten: list[bytes] = []
        self._beside: list[Callable[[], None]] = []
        self._dirty = False

    def beside(self, undo: Callable[[], None]) -> None:
        """Says how to undo what was changed together with the rows: it is called if they go back to what they were."""
        self._beside.append(undo)

    def worker(self, row: WorkerRow) -> None:
        """Commits this row with the transaction; a new one enters the ledger."""
        self._dirty = True
        self._workers[row.producer] = self._ledger.workers[row.producer] = row

    def sink(self, row: SinkRow) -> None:
        """Commits this row with the transaction; a new one enters the ledger."""
        self._dirty = True
        self._sinks[row.name] = self._ledger.sinks[row.name] = row

    def forget(self, producer: bytes) -> None:
        """Takes a worker's row out of the ledger; its counts must stand in another row of this transaction."""
        self._dirty = True
        self._workers.pop(producer, None)
        if self._ledger.workers.pop(producer, None) is not None:
            self._forgotten.append(producer)

    def next_version(self, *, beyond: int = 0) -> int:
        """The next number of :attr:`Ledger.version`, above ``beyond`` too, committed with the transaction."""
        self._dirty = True
        self._ledger.version = max(self._ledger.version, beyond) + 1
        return self._ledger.version

    def __enter__(self) -> Change:
        self._ledger._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._dirty:
                self._ledger._commit(self._workers.values(), self._sinks.values(), self._forgotten)
        except BaseException:
            self._take_back()
            raise
        else:
            if kind is not None:
                self._take_back()
        finally:
            if self._beside:
                self._beside.clear()
            if self._dirty:
                self._workers.clear()
                self._sinks.clear()
                self._forgotten.clear()
                self._dirty = False
            self._ledger._lock.release()

    def _take_back(self) -> None:
        for undo in reversed(self._beside):
            undo()
        self._ledger._roll_back()


class Ledger:
    """The rows of a collector and the page that keeps them.

    ``id`` (32 hex digits) names this history: it changes when the page was lost or has lost entries, since a version
    might then be given out twice.
    ``version`` is a number that only grows. ``workers`` (by producer) and ``sinks`` (by name) are read freely from
    any thread (a row may be in the middle of a change) and changed inside :meth:`transaction` only.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(16)
        self.version = 0
        self.workers: dict[bytes, WorkerRow] = {}
        self.sinks: dict[str, SinkRow] = {}
        self._lock = threading.Lock()
        self._change = Change(self)
        self._page: Page

    @classmethod
    def open(cls, directory: Path, *, name: str, slot_bytes: int = SLOT_BYTES) -> Ledger:
        """The ledger in a directory, which is made with mode 0700 if it is not there.

        Its rows are those of the last transaction that was committed. ``name`` is told to whoever comes second;
        ``slot_bytes`` is the page's. Raises OwnedError when another collector has it, ConfigurationError when the
        directory is not ours, PageError when the disk refuses. A page that can't be read is put aside.
        """
        ledger = cls()
        path = private_directory(directory) / FILE_NAME
        page = ledger._page = Page.open(path, name=name, snapshot=ledger._snapshot, slot_bytes=slot_bytes)
        try:
            if entries := page.recover():
                try:
                    ledger._take(replay(entries))
                except Exception as error:  # whatever is in there, starting goes before reading it
                    page.quarantine(f"holds entries that this version can't read: {type(error).__name__}: {error}")
            if page.damage:
                ledger.id = secrets.token_hex(16)
                for row in ledger.workers.values():
                    row.exact = False
            page.compact()
            ledger.fold()
        except BaseException:
            page.close()
            raise
        return ledger

    @property
    def quarantined(self) -> Path | None:
        """Where an unreadable page was put when the ledger was opened; None if there was none."""
        return self._page.quarantined

    @property
    def damage(self) -> str | None:
        """A sentence on what was wrong with the page that was found; None if nothing was."""
        return self._page.damage

    def transaction(self) -> Change:
        """A block that changes rows: ``with ledger.transaction() as change: … change.worker(row); change.sink(row)``.

        All its rows are committed together when the block ends; if it raises, every row is what it was, and a new
        one is not in the ledger. Blocks wait for one another, and one can't stand inside another. Raises PageError
        when the page is closed, or full and can't grow.
        """
        return self._change

    def next_version(self, *, beyond: int = 0) -> int:
        """The next :attr:`version`, committed before it is returned, so that no two runs publish the same.

        It is above ``beyond`` too: somebody may know of numbers that a power cut has taken from the page.
        """
        with self._change as change:
            return change.next_version(beyond=beyond)

    def fold(self, keep: int = KEPT_GONE, *, spare: Container[bytes] = ()) -> int:
        """How many rows were folded: of the workers that have gone, all but the ``keep`` seen last.

        Producers in ``spare`` have gone by their own word, and a last one on them is still to come.
        """
        if len(self.workers) <= keep:
            return 0
        with self._change as change:
            gone = [
                row
                for row in self.workers.values()
                if row.state != "live" and row.producer != OLDER and row.producer not in spare
            ]
            if len(gone) <= keep:
                return 0
            gone.sort(key=lambda row: (row.mark_at, row.started_us))
            folded = gone[: len(gone) - keep]
            older = self.workers.get(OLDER) or WorkerRow.older(folded[0].started_us)
            for row in folded:
                older.absorb(row)
                change.forget(row.producer)
            change.worker(older)
            return len(folded)

    def resolve_intents(self, spooled: Mapping[str, int] = _NOTHING) -> list[Resolution]:
        """What became of the records that a dead collector had handed to its sinks, entered in their rows.

        One result for each sink that had any. ``spooled`` has, by the name of a sink, how many records stand in its
        spool; a spool without a row gets one. Call it before a sink opens its file: a torn last line is cut off.
        """
        with self._change as change:
            results = []
            for name, count in spooled.items():
                if count and name not in self.sinks:
                    self.sinks[name] = SinkRow(name, "spool", state="removed")
            for row in self.sinks.values():
                result = resolve(row, spooled.get(row.name, 0))
                if result is not None:
                    change.sink(row)
                    results.append(result)
            return results

    def total(self) -> dict[str, Any]:
        """The sum of every worker's row, as interface §6 has it."""
        with self._lock:
            return _total(self.workers.values())

    def status_document(self, queued: Mapping[str, int] | Callable[[], Mapping[str, int]]) -> dict[str, Any]:
        """Workers (by name), total, sinks, ``balanced`` and its ``problems``, as interface §6 has them.

        ``queued`` is the live count of each sink's queue, the write in hand included, by name. A callable is asked
        while no transaction is open: a queue that counts inside its transactions is then exact under load.
        """
        now = time.time()
        with self._lock:
            counts = queued() if callable(queued) else queued
            workers = sorted(self.workers.values(), key=lambda row: (row.worker, row.started_us, row.producer))
            problems = [problem for row in workers for problem in row.problems()]
            for sink in self.sinks.values():
                problems += sink.problems(counts.get(sink.name, 0))
            return {
                "workers": [row.document(now) for row in workers],
                "total": _total(workers),
                "sinks": [sink.document(counts.get(sink.name, 0)) for sink in self.sinks.values()],
                "balanced": not problems,
                "problems": problems,
            }

    def sync(self) -> None:
        """Makes what is committed survive a power cut too. Raises PageError, after which nothing is certain."""
        with self._lock:
            self._page.sync()

    def close(self) -> None:
        """Gives the ledger up to the next collector."""
        with self._lock:
            self._page.close()

    def _commit(self, workers: Iterable[WorkerRow], sinks: Iterable[SinkRow], forgotten: list[bytes]) -> None:
        self._page.append(pack_change(self.version, workers, sinks, forgotten))

    def _roll_back(self) -> None:
        """Gives every row the values that the page holds. Rare, and as dear as a start: every entry is read."""
        entries = self._page.recover()
        if not entries:  # closed: what the rows say is history
            return
        book = replay(entries)
        # The rows stay the objects that they were: the receiver and the sinks' writers hold on to them.
        for producer, row in self.workers.items():
            if producer in book.workers:
                book.workers[producer] = refill(row, book.workers[producer])
        for name, sink in self.sinks.items():
            if name in book.sinks:
                book.sinks[name] = refill(sink, book.sinks[name])
        self._take(book)

    def _take(self, book: Book) -> None:
        self.id, self.version, self.workers, self.sinks = book.id, book.version, book.workers, book.sinks

    def _snapshot(self) -> bytes:
        return pack_snapshot(Book(self.id, self.version, self.workers, self.sinks))


def _total(rows: Iterable[WorkerRow]) -> dict[str, Any]:
    total = WorkerRow.older(0)
    for row in rows:
        total.absorb(row)
    document = total.document(0.0)
    keys = ("emitted", "sent", "collected", "dropped", "in_flight", "unknown", "duplicated", "exact")
    return {key: document[key] for key in keys}
