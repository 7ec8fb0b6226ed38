"""How a sink stands: the state and the last error of its row, and what is said aloud about it.

Three things make a sink *failing*: it takes nothing, it hangs, or its format could not write a record a short while
ago. Each ends by itself. What is wrong with a sink that delivers all the same (its *trouble*) is its last error and
nothing more.

Who complains is limited, not what: a sink that fails is told once, then at most once in :data:`TOLD_S` with the
attempts that have failed since, whatever the error says; that it delivers again is told if its failing was. So an
endpoint that comes and goes each second, with another text each time, makes two lines a minute.

The rows are changed inside the ledger's transactions; so are these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final

from logbus.collectors.rows import SinkRow
from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.writing.complaint import DROPS, FAILED, REFUSED, WORKS, Complaint

#: Seconds between two complaints about the same thing.
TOLD_S: Final = 60.0
#: Seconds for which a sink is called failing after the last record that its format could not write.
REFUSED_S: Final = 10.0
#: Seconds for which a sink that was refused records gets no complaints about others: longer than any of them is on its
#: way, so that two such sinks do not go on for ever about one another.
REFUSING_S: Final = 300.0
#: Characters of an error that a row keeps: a server's answer may be long.
MAX_ERROR_CHARS: Final = 1000
#: What is left out to compare troubles: one that says how many lines it is about is the same with another number.
_COUNTS: Final = dict.fromkeys(map(ord, "0123456789,"))


class Standing:
    """The standing of one sink, in its row. ``clock`` gives monotonic seconds, ``complain`` takes a line for people."""

    def __init__(
        self, row: SinkRow, complain: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.row = row
        #: Whether the sink takes nothing at present.
        self.stuck = False
        self._complain = complain
        self._clock = clock
        self._trouble: str | None = None
        self._spool_trouble: str | None = None
        #: Why records could not be encoded, while that is a reason to call the sink failing.
        self._unwritable: str | None = None
        self._unwritable_at = -inf
        self._rejected_at = -inf
        self._failing_since: float | None = None
        #: Whether this time of failing was told, and how many attempts have failed since anything was.
        self._told = False
        self._attempts = 0
        #: Records dropped for want of room, and refused for good, since that was last told.
        self._dropped = self._rejected = 0
        #: When each kind of complaint was last made.
        self._told_at: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The sink's."""
        return self.row.name

    def begin(self) -> None:
        """The sink is open, and nothing is known against it."""
        self.stuck = False
        self._failing_since, self._told = None, False
        self.row.state, self.row.last_error = "ok", None

    def failed(self, text: str) -> None:
        """An attempt has failed: the sink takes nothing at present."""
        now = self._clock()
        if self._failing_since is None:
            self._failing_since, self._told, self._attempts = now, False, 0
        self.stuck = True
        self._attempts += 1
        text = text[:MAX_ERROR_CHARS]
        self.row.state, self.row.last_error = "failing", text
        if self._due("fails", now):
            if self._told:
                seconds, attempts = now - self._failing_since, self._attempts
                self._say(f" has failed for {seconds:,.0f} s, {attempts:,} attempts more: {text}", error=text)
            else:
                self._say(f" fails and is tried again: {text}", error=text)
            self._told, self._attempts = True, 0

    def works(self, waiting: int) -> None:
        """The sink has taken records; ``waiting`` is how many others there are."""
        if self._failing_since is not None:
            if self._told:
                seconds = self._clock() - self._failing_since
                self._say(f" delivers again after {seconds:,.0f} s; still waiting: {waiting:,}", event=WORKS)
            self._failing_since = None
        self.stuck = False
        if self.row.state != "ok":
            self._settle()

    def hangs(self, text: str) -> None:
        """A call of the sink has not come back for long."""
        if self.row.state == "ok":
            self.row.state, self.row.last_error = "failing", text
            if self._due("hangs", self._clock()):
                self._say(f" hangs: {text}", error=text)

    def troubled(self, text: str | None) -> None:
        """What is wrong with the sink while it works; None when nothing is any more."""
        if text != self._trouble:
            self._trouble = text
            if text is not None and self._due(f"trouble {text.translate(_COUNTS)}", self._clock()):
                self._say(f": {text}", error=text)
            if self.row.state == "ok":
                self._settle()

    def spool_troubled(self, text: str | None) -> None:
        """What is wrong with the sink's spool; None when nothing is any more."""
        if text != self._spool_trouble:
            self._spool_trouble = text
            if text is not None and self._due("spool", self._clock()):
                self._say(f": its spool can't be used, and is tried again: {text}", error=text)
            if self.row.state == "ok":
                self._settle()

    def queue_failed(self, text: str) -> None:
        """Something is wrong with the sink's queue: the ledger's disk refuses, or there is a defect."""
        if self._due("queue", self._clock()):
            self._say(f": its queue fails: {text}", error=text)

    def rejected(self, records: int, reason: str) -> None:
        """The other side has refused records for good."""
        self._rejected_at = now = self._clock()
        self._rejected += records
        if self._due("rejected", now):
            reason = reason[:MAX_ERROR_CHARS]
            many = "1 record was" if self._rejected == 1 else f"{self._rejected:,} records were"
            self._say(f": {many} refused for good, as dead letters: {reason}", REFUSED, error=reason)
            self._rejected = 0

    def had_no_room(self, records: int) -> None:
        """The sink's queue, or its spool, has given records up."""
        self._dropped += records
        if records and self._due("room", self._clock()):
            many = "1 record" if self._dropped == 1 else f"{self._dropped:,} records"
            self._say(f" had no room for {many}: dropped, as high_water_mark", DROPS)
            self._dropped = 0

    @property
    def failing_s(self) -> float | None:
        """For how many seconds it has taken nothing; None: it has taken the last that it was given."""
        since = self._failing_since
        return None if since is None else max(0.0, self._clock() - since)

    @property
    def in_trouble(self) -> bool:
        """Whether it fails, or was refused records a short while ago: a complaint about another sink is not for it."""
        return self.row.state == "failing" or self._clock() < self._rejected_at + REFUSING_S

    @property
    def unwritable(self) -> bool:
        """Whether records could not be encoded a short while ago."""
        return self._unwritable is not None

    def could_not_write(self, error: str, *, tell: bool) -> None:
        """The sink's format could not write a record. ``tell`` says whether a complaint may be made."""
        now = self._clock()
        self._unwritable, self._unwritable_at = error, now
        self.row.state, self.row.last_error = "failing", error
        if tell and self._due("unwritable", now):
            self._say(f" drops records that its format can't write: {error}", error=error)

    def could_write(self) -> None:
        """The format has written everything; what it could not is history, after :data:`REFUSED_S`."""
        if self._unwritable is not None and self._clock() >= self._unwritable_at + REFUSED_S:
            self._unwritable = None
            if not self.stuck:
                self._settle()

    def _say(self, text: str, event: str = FAILED, **fields: str) -> None:
        """Complains of the sink: its name, and ``text`` right behind it."""
        row = self.row
        waiting = {"queued": row.outstanding, "spooled": row.spooled}
        self._complain(Complaint(f"sink {row.name!r}{text}", event=event, sink=row.name, **fields, **waiting))

    def _settle(self) -> None:
        if self._unwritable is not None:
            self.row.state, self.row.last_error = "failing", self._unwritable
        else:
            self.row.state, self.row.last_error = "ok", self._trouble or self._spool_trouble

    def _due(self, kind: str, now: float) -> bool:
        """Whether a complaint of this kind may be made now; it then has been."""
        if now < self._told_at.get(kind, -inf) + TOLD_S:
            return False
        if len(self._told_at) > 100:  # texts that are never the same again
            self._told_at.clear()
        self._told_at[kind] = now
        return True


def words(error: BaseException) -> str:
    """An error as a row and a complaint have it."""
    return str(error) if isinstance(error, TryAgainError) else f"{type(error).__name__}: {error}"
