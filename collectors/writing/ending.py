"""When a writer is to end, and what makes it get up before: its deadline, and calls for a look at its sink.

At the end each sink is tried once more, whatever it was waiting for; what it was before is no reason to give it up.
Then ``enough`` failures in a row are, or the deadline: with a spool the first one, since nothing is lost by it,
without one as many as open a breaker.
"""

from __future__ import annotations

import threading
import time
from typing import Final

#: Seconds between attempts at the end, at most.
LAST_RETRY_S: Final = 0.5


class Ending:
    """The deadline of one writer, under its lock (that of the condition ``more``). Failures count from its coming on.

    ``enough`` is how many failures in a row end it before the deadline, 0 for none.
    """

    def __init__(self, more: threading.Condition, enough: int) -> None:
        self.deadline: float | None = None
        self.given_up = False
        self._more = more
        self._enough = enough
        self._called = False
        self._tried = False
        self._failures = 0

    @property
    def begun(self) -> bool:
        """Whether there is a deadline."""
        return self.deadline is not None

    @property
    def over(self) -> bool:
        """Whether the deadline is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def called(self) -> bool:
        """Whether somebody wants a look at the sink."""
        return self._called

    def begin(self, deadline: float) -> None:
        """The writer is to have ended by then (monotonic seconds); the first such time counts, or an earlier one."""
        deadline = max(deadline, time.monotonic())
        with self._more:
            self.deadline = deadline if self.deadline is None else min(deadline, self.deadline)
            self._more.notify_all()

    def call(self) -> None:
        """Has the writer look at its sink, and try again at once if that fails."""
        with self._more:
            self._called = True
            self._more.notify_all()

    def heed(self) -> bool:
        """Whether somebody wants a look at the sink; that is seen to now."""
        called, self._called = self._called, False
        return called

    def tried(self, *, ending: bool, failed: bool) -> None:
        """An attempt was made, ``ending`` says whether after the end had begun."""
        self._tried |= ending
        self._failures = self._failures + 1 if failed and ending else 0

    def gives_up(self) -> bool:
        """Whether no attempt is to be made any more, after a failed one."""
        self.given_up = self.over or (self.begun and 0 < self._enough <= self._failures)
        return self.given_up

    def pause(self, seconds: float) -> None:
        """Waits so long; no longer once the end begins, or somebody calls."""
        if self.deadline is not None:
            seconds = min(seconds, LAST_RETRY_S, self.deadline - time.monotonic())
        with self._more:
            self._more.wait_for(self._is_pressed, max(0.0, seconds))

    def _is_pressed(self) -> bool:
        return self._called or (self.begun and not self._tried) or self.over
