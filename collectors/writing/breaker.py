"""The circuit breaker of one sink: after some failures in a row it lets a single record through now and then.

Closed, it lets everything through. After so many failed attempts in a row it opens: for a while nothing is tried. Then
it is half open, and one attempt of one record shows whether the other side is back: if so it closes, and if not it is
open again for twice as long. So a server that comes back under load is not met by everybody's batches at once, and one
that takes a batch and then fails is not sent that batch over and over.

It is a state machine and no more: its clock is given, and it neither waits nor writes. Its writer asks it before each
attempt, and tells it the outcome. An attempt whose outcome is never told holds it up for no longer than a failed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

from logbus.collectors.writing.terms import RETRY_AFTER_S, Terms

#: Seconds for which a breaker is open at first; twice as long after each single record that fails.
OPEN_S: Final = 5.0

#: What a breaker does: everything is tried, nothing is, or one record.
Circuit = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after ``failures`` failures in a row, 0 for never; for :data:`OPEN_S` at first, for ``max_open_s`` at most.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, failures: int, max_open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.state: Circuit = "closed"
        #: Failures in a row, whatever the state.
        self.failed_attempts = 0
        self._failures = failures
        self._max_open_s = max_open_s
        self._clock = clock
        self._open_s = 0.0
        #: When the next attempt may be made, where the state is not closed.
        self._until = 0.0

    @classmethod
    def of(cls, terms: Terms, clock: Callable[[], float] = time.monotonic) -> Breaker:
        """The breaker for these terms: it is open no longer than attempts are apart."""
        return cls(terms.breaker_failures, terms.max_interval_s, clock)

    @property
    def wait_s(self) -> float:
        """Seconds until :meth:`allows` says yes; 0 if it does now."""
        return 0.0 if self.state == "closed" else max(0.0, self._until - self._clock())

    @property
    def max_records(self) -> int | None:
        """How many records an attempt may have: one, or any number (None)."""
        return None if self.state == "closed" else 1

    def allows(self) -> bool:
        """Whether an attempt may be made now. Where it is not closed, that is the one, and with one record."""
        if self.state == "closed":
            return True
        if self.wait_s > 0:
            return False
        self.state = "half_open"
        self._until = self._clock() + self._open_s
        return True

    def succeeded(self) -> None:
        """An attempt has got through, asked for or not: it closes."""
        self.state = "closed"
        self.failed_attempts = 0
        self._open_s = 0.0

    def failed(self, after_s: float = 0.0) -> None:
        """An attempt has failed, and the other side wants to be left alone for so many seconds (0: it has not said).

        That is kept to while it is open, up to :data:`logbus.collectors.writing.terms.RETRY_AFTER_S`.
        """
        self.failed_attempts += 1
        if not self._failures or (self.state == "closed" and self.failed_attempts < self._failures):
            return
        if self.state != "open":  # an attempt that was made without asking changes little
            self._open_s = min(self._max_open_s, 2 * self._open_s or OPEN_S)
        self.state = "open"
        self._until = self._clock() + max(self._open_s, min(after_s, RETRY_AFTER_S))
