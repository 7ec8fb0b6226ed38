"""The dead letters of a collector: a bounded store on disk, in segments as the spools have them.

What a letter says is not kept in memory: it is read when somebody asks. Letters are numbered as they come, over all
sinks; after a start the numbers go on above the highest one that is left.

A letter is in the kernel's hands before its record is booked as rejected, and leaves the disk after its record was
entered anew: so a crash may show it once too often, and loses none. It survives a power cut once the collector has
closed. Nothing here keeps a collector from starting, or a writer from writing: what fails is told.

Writers' threads bury; another thread reads, removes and purges (:mod:`logbus.collectors.dead_letters.clerk`). The
collector's own thread, which must wait for no disk, reads the counts, which need no lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

from logbus.collectors.dead_letters.grave import DIALECT, room_for
from logbus.collectors.dead_letters.graveyard import Graveyard
from logbus.collectors.dead_letters.letter import MAX_REASON_CHARS, Letter
from logbus.collectors.sinks.base import Refusal

#: The directory in the state directory of a collector.
DIRECTORY: Final = "dead-letters"
#: Bytes on disk, at most; beside it there is the quarantine, which has bounds of its own.
MAX_BYTES: Final = 64 * 1024 * 1024
#: Seconds between two lines about the same kind of trouble.
TOLD_S: Final = 60.0
#: Lines that are told, at most, about what is found at the start.
MAX_TOLD: Final = 20
#: Seconds for which the end waits for a disk that hangs while somebody buries.
CLOSE_S: Final = 5.0


class Page(NamedTuple):
    """Letters, and whether there are more of those that were asked for."""

    letters: list[Letter]
    more: bool


class DeadLetters:
    """The letters in a state directory, which its ledger has locked. For any thread, once it is open.

    ``tell`` is given what goes wrong, a line each; ``mask`` masks secrets in a reason, and is called by one thread at a
    time; ``clock`` gives epoch seconds. ``counts`` has the letters by the name of the sink, ``size`` is their bytes on
    disk, and ``unkept`` how many could not be kept since the start.
    """

    def __init__(
        self,
        state: Path,
        tell: Callable[[str], None],
        *,
        mask: Callable[[str], str] = str,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts: Mapping[str, int] = {}
        self.size = 0
        self.unkept = 0
        self._max_bytes = max_bytes
        self._tell = tell
        self._mask = mask
        self._clock = clock
        self._lock = threading.Lock()
        self._yard = Graveyard(state / DIRECTORY, max_bytes, self._say)
        self._next = 1
        #: What is told once the lock is free.
        self._news: list[str] = []
        #: When each kind of trouble was told, in monotonic seconds, and up to which count.
        self._told_at: dict[str, float] = {}
        self._told: dict[str, int] = {}

    def open(self) -> None:
        """Finds what is there. Never raises: what can't be read is told and set aside."""
        with self._locked():
            self._yard.find()
            if (more := len(self._news) - MAX_TOLD) > 0:
                del self._news[-more:]
                self._say(f"{more:,} lines more of this kind about what lies in their directory")
            self._next = max((grave.last + 1 for grave in self._yard.graves), default=1)

    def bury(self, sink: str, refusals: Sequence[Refusal], dialect: str) -> None:
        """Keeps what a sink has refused for good. Never raises: what can't be kept is counted and told."""
        with self._locked():
            now_us = int(self._clock() * 1e6)
            for refusal in refusals:
                reason = self._mask(refusal.reason[: 4 * MAX_REASON_CHARS])[:MAX_REASON_CHARS]
                reason = reason.encode("utf-8", "backslashreplace").decode()
                # Without lines: the other side has not said which ones.
                lines = refusal.lines.removesuffix(b"\n").split(b"\n") if refusal.lines else [b""]
                records = 1 if refusal.lines else refusal.records
                letters = [Letter(0, now_us, sink, reason, dialect, line, records) for line in lines]
                self._bury(sink, [letter.pack() for letter in letters])

    def page(
        self,
        *,
        sink: str | None = None,
        numbers: Collection[int] | None = None,
        after: int = 0,
        until: float = inf,
        newest: bool = False,
        max_letters: int,
        max_bytes: int,
    ) -> Page:
        """The oldest letters, or the newest and from there backwards: so many bytes of lines at most, or one letter.

        ``sink`` and ``numbers`` choose among those with numbers above ``after`` and up to ``until``. Raises OSError.
        """
        found: list[Letter] = []
        size = 0
        with self._locked():
            for letter in self._yard.walk(sink, numbers, after, until, newest=newest):
                size += len(letter.line)
                if found and (len(found) >= max_letters or size > max_bytes):
                    return Page(found, True)
                found.append(letter)
        return Page(found, False)

    def remove(self, numbers: Collection[int]) -> int:
        """Removes letters; how many there were. Raises OSError, after some of them may have gone."""
        with self._locked():
            return self._remove(self._yard.walk(None, numbers, 0, inf, newest=False))

    def purge(self, *, sink: str | None = None, before: float = inf) -> int:
        """Removes those of a sink (None: of all) that were refused before ``before``, in epoch seconds; how many.

        Raises OSError, after some of them may have gone.
        """
        with self._locked():
            if before < inf:
                letters = self._yard.walk(sink, None, 0, inf, newest=False)
                return self._remove(letter for letter in letters if letter.time_us < before * 1e6)
            gone = 0
            for grave in self._yard.about(sink):
                gone += grave.letters_left
                self._yard.remove(grave)
            return gone

    def document(self) -> dict[str, Any]:
        """How many there are, for the status."""
        return {
            "letters": sum(self.counts.values()),
            "bytes": self.size,
            "max_bytes": self._max_bytes,
            "evicted": self._yard.evicted,
            "lost": self.unkept + self._yard.lost,
        }

    def close(self) -> None:
        """Has what was buried survive a power cut, and gives back what is allocated and not used; idempotent.

        Where the disk hangs it is left as it is after :data:`CLOSE_S`: it is as after a crash.
        """
        with contextlib.suppress(TimeoutError), self._locked(CLOSE_S):
            self._yard.close()
            self._told_at.clear()

    @property
    def last(self) -> int:
        """The number of the letter that came last."""
        return self._next - 1

    @contextmanager
    def _locked(self, patience: float = -1.0) -> Iterator[None]:
        """The lock. Raises TimeoutError after ``patience`` seconds, if that is not negative."""
        news: list[str] = []
        if not self._lock.acquire(timeout=patience):
            raise TimeoutError
        try:
            try:
                yield
            finally:
                self._settle()
                news, self._news = self._news, []
        finally:
            self._lock.release()
            for line in news:
                self._tell(line)

    def _settle(self) -> None:
        """Brings the counts up to date, and tells of those that count what has gone."""
        yard = self._yard
        yard.note_losses()
        counts: dict[str, int] = {}
        for grave in yard.graves:
            counts[grave.sink] = counts.get(grave.sink, 0) + grave.letters_left
        self.counts = counts
        self.size = sum([grave.size for grave in yard.graves])
        for kind, count, words in (
            ("evicted", yard.evicted, f"of the oldest had to go: there is room for {self._max_bytes:,} bytes"),
            ("unkept", self.unkept, "could not be kept"),
        ):
            if (more := count - self._told.get(kind, 0)) and self._due(kind):
                self._told[kind] = count
                self._say(f"{more:,} {words}")

    def _bury(self, sink: str, payloads: Sequence[bytes]) -> None:
        at = 0
        try:
            while at < len(payloads):
                grave = self._yard.dig(sink, room_for(payloads[at]))
                if grave is None:  # longer than all of them may be
                    self.unkept, at = self.unkept + 1, at + 1
                    continue
                stop, left = at, grave.free
                while stop < len(payloads) and (left := left - room_for(payloads[stop])) >= 0:
                    stop += 1
                grave.put(list(zip(range(self._next, self._next + stop - at), payloads[at:stop], strict=True)))
                self._next, at = self._next + stop - at, stop
        except OSError as error:
            self.unkept += len(payloads) - at
            if self._due("disk"):
                self._say(f"those of sink {sink!r}: {error.strerror}")
            self._yard.leave(sink)

    def _remove(self, letters: Iterator[Letter]) -> int:
        numbers = {letter.number for letter in letters}
        for grave in self._yard.about(None, numbers):
            if mine := numbers.intersection(letter.number for letter in grave.letters()):
                self._yard.take_out(grave, mine)
        return len(numbers)

    def _due(self, kind: str) -> bool:
        """Whether this kind of trouble may be told now; it then has been."""
        now = time.monotonic()
        if now < self._told_at.get(kind, -inf) + TOLD_S:
            return False
        self._told_at[kind] = now
        return True

    def _say(self, text: str) -> None:
        self._news.append(f"{DIALECT}: {text}")
