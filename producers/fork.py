"""Forks: threads and ZeroMQ contexts stop before one and start again after it, on both sides.

Sends on an inherited socket "succeed" and never arrive; a context that lives during a fork makes Python 3.12
warn. So there is none: the parent's frames leave first, then the process forks, then the parent opens its own again,
and a child opens its own with its first record.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Protocol

from logbus.os_threads import RLock


class Forkable(Protocol):
    """What takes part in a fork."""

    def before_fork(self) -> None:
        """Stops what must not be inherited."""

    def after_fork_in_parent(self) -> None:
        """Starts it again."""

    def after_fork_in_child(self) -> None:
        """Begins anew; nothing of the parent's is used."""


def is_about_to_exec() -> bool:
    """Whether this process, just forked, only runs a ``preexec_fn``.

    :mod:`subprocess` closes every descriptor between that and the exec: under a live ZeroMQ context that is an abort
    (43 of 100 processes that were started with ``preexec_fn=os.setsid``).
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_execute_child" and frame.f_globals.get("__name__") == "subprocess":
            return True
        frame = frame.f_back
    return False


class Forks:
    """Forks in progress: two threads may fork at a time, and only the last to return opens everything again."""

    def __init__(self, parties: Callable[[], Iterable[Forkable]]) -> None:
        self._parties = parties
        self._depth = 0
        # Re-entrant: a signal handler may fork in the middle of these hooks.
        self._lock = RLock()

    def install(self) -> None:
        """Registers the hooks with the interpreter; they stay for its life."""
        os.register_at_fork(
            before=self.before, after_in_parent=self.after_in_parent, after_in_child=self.after_in_child
        )

    def before(self) -> None:
        """Stops every party."""
        with self._lock:
            self._depth += 1
        for party in self._parties():
            party.before_fork()

    def after_in_parent(self) -> None:
        """Starts every party, unless another thread is forking still."""
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
        for party in self._parties():
            party.after_fork_in_parent()

    def after_in_child(self) -> None:
        """Makes every party begin anew. The lock may be held by a thread that is not here: it is replaced."""
        self._lock = RLock()
        self._depth = 0
        for party in self._parties():
            party.after_fork_in_child()
