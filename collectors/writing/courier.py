"""Brings lines to a sink: attempts, what comes of each, and when the next one is made.

Before a write its intent goes into the ledger, after it the count of what has ended
(:mod:`logbus.collectors.writing.books`); so a restart can find out how far a killed writer came. Before both the sink
is asked how much it may be given, and a delivery that is longer is split after a line.

The sink answers: all is delivered; the first records have ended, some of them refused for good (they are buried as dead
letters, and only then booked: a crash in between shows them twice rather than not at all); or nothing has, and it is
tried again (:mod:`logbus.collectors.writing.retry`), a single record at a time where much has failed
(:mod:`logbus.collectors.writing.breaker`). What has not ended comes first the next time. Whatever else a sink raises is
a failure of that sink: without its thread it would wedge all the others.

What has ended and could not be booked, since the ledger's own disk refuses, is not brought again: it is booked before
anything else is done.

All but the properties of a courier belong to the writer's thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from logbus.collectors.histogram import Histogram
from logbus.collectors.rows import Intent
from logbus.collectors.sinks.base import Refusal, Sent, Sink, TryAgainError
from logbus.collectors.writing.books import Books
from logbus.collectors.writing.breaker import Breaker, Circuit
from logbus.collectors.writing.ending import Ending
from logbus.collectors.writing.hand import Hand
from logbus.collectors.writing.retry import retrying
from logbus.collectors.writing.standing import words
from logbus.collectors.writing.stock import Stock

#: Seconds of a call of a sink after which nobody waits for it: what waits goes to disk, or is dropped where there is no
#: room. Busy disks take a few. It counts as one that hangs, and the sink as failing, after what the sink says it may
#: take (:attr:`~logbus.collectors.sinks.base.Sink.patience_s`), if that is longer.
HUNG_S: Final = 5.0

#: Keeps what a sink (by its name) refuses for good; the last is the dialect of the lines.
Bury = Callable[[str, Sequence[Refusal], str], None]


class Call:
    """Around what may hang in a sink. ``began`` is when it did, in monotonic seconds; None while it is not called."""

    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began: float | None = None

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.began = None


class Courier:
    """Brings what is in stock to one sink. ``latency`` is of each write from memory, ``bury`` keeps dead letters."""

    def __init__(
        self,
        sink: Sink,
        stock: Stock,
        books: Books,
        ending: Ending,
        *,
        latency: Histogram,
        bury: Bury | None,
        complain: Callable[[str], None],
    ) -> None:
        self._sink = sink
        self._stock = stock
        self._books = books
        self._ending = ending
        self._latency = latency
        self._bury = bury
        self._complain = complain
        self._terms = stock.terms
        self._breaker = Breaker.of(stock.terms)
        #: What the sink last said was wrong with it.
        self._trouble: str | None = None
        self._calling = Call()
        #: What has ended and is not booked: how to book it, what it was a part of, and how many records it is.
        self._owed: tuple[Callable[[], bool], Hand, int] | None = None

    @property
    def called_s(self) -> float:
        """For how many seconds the sink has been in a call; 0 when it is in none."""
        began = self._calling.began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def keeps_waiting(self) -> bool:
        """Whether a call of the sink takes so long that nobody should wait for it."""
        return self._calling.began is not None and self.called_s >= HUNG_S

    @property
    def hung(self) -> bool:
        """Whether a call of the sink takes longer than it may."""
        return self.keeps_waiting and self.called_s >= self._sink.patience_s

    @property
    def circuit(self) -> Circuit:
        """What the breaker does at present."""
        return self._breaker.state

    @property
    def fails(self) -> bool:
        """Whether what waits will have to wait."""
        return self._books.standing.stuck or self._breaker.state != "closed" or self.keeps_waiting

    def open(self) -> bool:
        """Opens the sink. False when the end comes before that works."""
        while True:
            ending = self._ending.begun
            self._ending.heed()  # to open it is to look at it; a call that nobody heeds would leave no pause
            try:
                with self._calling:
                    self._sink.open()
            except Exception as error:
                self._ending.tried(ending=ending, failed=True)
                self._books.fail(words(error))
                if self._ending.gives_up():
                    return False
                self._ending.pause(self._terms.initial_s)
            else:
                return True

    def close(self) -> None:
        """Closes the sink, and enters what it says of that. Raises what closing raises."""
        try:
            self._sink.close()
        finally:
            self._hear()

    def look_in(self, *, reopen: bool) -> None:
        """Has the sink look whether it is still what it was. What that raises the next write says too."""
        with contextlib.suppress(Exception):
            self._look_in(reopen=reopen)

    def deliver(self) -> None:
        """Makes attempts until something of what comes first has ended, or it is time to end without that."""
        if self._books.struck or self._books.closed:  # it comes back from a call that hung: the rest is another one's
            return
        while not self._ending.begun and not self._ending.called and not self._breaker.allows():
            self._ending.pause(self._breaker.wait_s)
        try:
            self._attempt()
        except Exception as error:
            if not self._ends():
                self._try_again(error)

    def _try_again(self, first: Exception) -> None:
        failures = [first]

        def attempt() -> None:
            if failures:
                raise failures.pop()
            self._breaker.allows()
            self._attempt()

        try:
            retrying(self._terms, sleep=self._ending.pause, ended=self._ends, breaker=self._breaker)(attempt)
        except Exception as error:
            if not self._ends():
                self._abandon(f"given up after {self._terms.max_elapsed_s:g} s: {words(error)}")

    def _ends(self) -> bool:
        return self._books.struck or self._books.closed or self._ending.gives_up()

    def _attempt(self) -> None:
        """One attempt at what comes first. Raises what the sink raises, when that is booked, and PageError."""
        self.settle()
        ending = self._ending.begun
        hand: Hand | None = None
        try:
            if self._ending.heed():
                self._look_in(reopen=True)
            hand = self._take(self._terms.max_records if ending else self._breaker.max_records)
            if hand is None or not self._begin(hand):
                return
            with self._calling:
                sent = self._sink.write(hand.data)
            if sent is not None and not 0 < sent.records <= hand.records:
                text = f"expected an answer for 1 to {hand.records} records, found one for {sent.records}"
                raise TryAgainError(text, doubtful=sent.resent)
        except Exception as error:
            self._ending.tried(ending=ending, failed=True)
            self._fail(error, hand)
            raise
        self._ending.tried(ending=ending, failed=False)
        self._breaker.succeeded()
        self._end(hand, sent or Sent(hand.records))

    def _take(self, most: int | None) -> Hand | None:
        """What comes first and is for this sink; what is for another one, from before a change of it, is buried."""
        while True:
            hand = self._stock.take(most or self._terms.max_records, self._look)
            if hand is None or hand.foreign is None:
                return hand
            reason = f"it was written as {hand.foreign!r}, and the sink takes {self._terms.dialect!r} now"
            self._give_up(hand, reason, hand.foreign)

    def _begin(self, hand: Hand) -> bool:
        def intent(delivered: int) -> Intent:
            found = self._sink.intent(hand.records, len(hand.data), delivered, hand.ranges)
            return found._replace(spooled=True) if hand.spooled else found

        return self._books.begin(intent)

    def _end(self, hand: Hand, sent: Sent) -> None:
        """Books what has ended, and lets it go."""
        if not hand.spooled:
            self._latency.observe(time.monotonic() - hand.came)
        refused = 0
        if sent.refused:
            refused = sum([refusal.records for refusal in sent.refused])
            self._keep(sent.refused, self._terms.dialect)
        last, again = hand.last_of(sent.records), sent.resent

        def book() -> bool:
            return self._books.end(sent.records, last, spooled=hand.spooled, rejected=refused, duplicated=again)

        self._owed = book, hand, sent.records
        self.settle()

    def settle(self) -> None:
        """Books what has ended and is not booked, if anything, and lets it go. Raises PageError: to be called again."""
        if self._owed is not None:
            book, hand, records = self._owed
            booked = book()
            self._owed = None
            if booked:
                self._stock.let_go(hand, records)

    def _fail(self, error: Exception, hand: Hand | None) -> None:
        """Books a failure. What may be out there, and can't be undone, is not written again."""
        undone = hand is None or not self._books.writing or self._sink.undo()
        after_s, doubtful = (error.after_s, error.doubtful) if isinstance(error, TryAgainError) else (0.0, 0)
        self._breaker.failed(after_s)
        if hand is None or undone:
            self._books.fail(words(error), doubtful=doubtful)
            self._stock.put_back()
        else:
            text, records, last, spooled = words(error), hand.records, hand.last, hand.spooled
            self._owed = (lambda: self._books.fail_for_good(text, records, last, spooled=spooled)), hand, records
            self.settle()

    def _abandon(self, reason: str) -> None:
        """Gives up what comes first."""
        with contextlib.suppress(Exception):  # what the sink's look raises is an attempt's to say
            if self._owed is not None:
                self.settle()
            elif (hand := self._take(None)) is not None:
                self._give_up(hand, reason, self._terms.dialect)

    def _give_up(self, hand: Hand, reason: str, dialect: str) -> None:
        """Makes dead letters of all that is in hand."""
        self._keep((Refusal(hand.data, hand.records, reason),), dialect)
        records, last, spooled = hand.records, hand.last, hand.spooled
        self._owed = (lambda: self._books.reject(records, last, spooled=spooled)), hand, records
        self.settle()

    def _keep(self, refusals: Sequence[Refusal], dialect: str) -> None:
        """Buries what is refused for good; a store that fails makes no difference to the count."""
        if self._books.struck or self._books.closed:  # what has become of them was booked without us
            return
        self._books.standing.rejected(sum([refusal.records for refusal in refusals]), refusals[0].reason)
        try:
            if self._bury is not None:
                self._bury(self._books.row.name, refusals, dialect)
        except Exception as error:
            self._complain(f"sink {self._books.row.name!r}: its dead letters can't be kept: {words(error)}")

    def _look_in(self, *, reopen: bool) -> None:
        if reopen:
            with self._calling:
                self._sink.reopen()
        self._look(0)

    def _look(self, first: int) -> int:
        """How many bytes the next write may have."""
        try:
            with self._calling:
                return self._sink.look(first)
        finally:
            self._hear()

    def _hear(self) -> None:
        """Enters what the sink has to say without a write: what it sends again, and what is wrong though it works."""
        if resent := self._sink.resent():
            self._books.repeat(resent)
        if self._sink.trouble != self._trouble:
            self._trouble = self._sink.trouble
            self._books.look(self._trouble)
