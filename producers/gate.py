"""The gate of a producer: the level rules in force here, and the logging libraries through which they act.

Rules arrive as a whole (:class:`logbus.rules.Levels`), from the snapshot file as the producer opens and from the
control socket afterwards. What this worker makes of them, a :class:`logbus.rules.Table`, goes to every *front*: the
part of logbus that sets levels in one library. A version counts as confirmed once every front has taken it.

Two threads come here: the one that calls configure() or logs first, and the sender, which hears the collector and
keeps the time for rules that expire. A front may say that it can't take a table now, because somebody holds a lock of
its library: the sender never waits for one (its holder may wait for the sender, in a flush), it comes back soon.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from logbus.control import MAX_CONTROL_BYTES
from logbus.errors import WireError
from logbus.os_threads import RLock
from logbus.rules import Levels, Table, supersedes
from logbus.wire import MAX_NAME_CHARS, MAX_NAMES

if TYPE_CHECKING:
    from logbus.producers.accounts import Confirmed
    from logbus.producers.recorder import Recorder

#: Seconds until a front that could not take a table is asked again, at first and at most.
RETRY_S: Final = 0.02
RETRY_MAX_S: Final = 1.0
#: Seconds between looks at what the application has loaded and changed.
LOOK_S: Final = 1.0


def _nobody() -> None:
    """The sender, or the producer, of a gate that has none."""


class Front(Protocol):
    """One logging library as the gate sees it. All but ``kind`` is called under the gate's lock."""

    #: The library, as ``logbus levels`` names it.
    name: str

    def kind(self) -> str:
        """What a suppressed call is stopped by: "source", "direct" or "filter"."""

    def join(self, gate: Gate) -> None:
        """The gate that it serves from now on; an earlier one is forgotten."""

    def leave(self) -> None:
        """Gives the library back as the application had it."""

    def apply(self, table: Table) -> bool:
        """Puts rules into force. False when it can't now: it is asked again soon, and must then do all of it."""

    def look(self) -> bool | None:
        """Once a second: takes in what the application has loaded or changed since. False: ``apply`` it again soon."""

    def names(self) -> Iterable[str]:
        """The loggers that exist, by name."""


class Gate:
    """The rules of one producer. Safe in every thread; at most one of them changes it at a time."""

    def __init__(self, *, component: str = "") -> None:
        self.table = Table()
        self.recorder: Recorder | None = None
        #: Called once a second, as fronts are: what else the application may have loaded.
        self.look_too: Callable[[], object] = _nobody
        self._component = component
        self._worker, self._pid, self._host = "", 0, ""
        self._levels: Levels | None = None
        self._fronts: list[Front] = []
        #: Fronts that have not taken the table yet.
        self._waiting: list[Front] = []
        #: Version and ledger of the rules that every front has taken.
        self.in_force = (0, "")
        #: When the sender has to come back, in monotonic seconds, and how it is told of a change.
        self.due = 0.0
        self.wake: Callable[[], None] = _nobody
        self._look_at = 0.0
        self._retry_s = RETRY_S
        self._told: frozenset[str] = frozenset()
        self._turning = RLock()

    def begin(self, *, worker: str, pid: int, host: str, snapshot: Path | None) -> None:
        """A new life of the producer, in this process, under this name: it starts with the rules of a snapshot file."""
        with self._turning:
            self._worker, self._pid, self._host = worker, pid, host
            self._told = frozenset()
            found = read_snapshot(snapshot) if snapshot is not None else None
            if found is not None and supersedes(found, self._levels, welcome=False):
                self._levels = found
            if self._levels is not None:
                self._turn()

    def take(self, levels: Levels, *, welcome: bool) -> bool:
        """Puts a collector's rules into force, if they supersede those here. True when they did."""
        with self._turning:
            if not supersedes(levels, self._levels, welcome=welcome):
                return False
            self._levels = levels
            self._turn()
            return True

    def attach(self, front: Front) -> None:
        """Lets the rules act through a front too."""
        with self._turning:
            if front not in self._fronts:
                self._fronts.append(front)
            front.join(self)
            if not _applied(front, self.table):
                self._wait_for([*self._waiting, front])

    def detach(self, front: Front) -> None:
        """The front serves somebody else from now on, or nobody."""
        with self._turning:
            with contextlib.suppress(ValueError):
                self._fronts.remove(front)
            if front in self._waiting:
                self._wait_for([other for other in self._waiting if other is not front])

    def tick(self) -> bool:
        """What time brings: rules that end, fronts that were busy, new loggers. True when it confirms a version."""
        now = time.monotonic()
        if now < self.due:
            return False
        with self._turning:
            before = self.in_force
            if self._levels is not None and self._expired():
                self._turn()
            elif self._waiting:
                self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
                self._wait_for([front for front in self._waiting if not _applied(front, self.table)])
            if now >= self._look_at:
                self._look_at = now + LOOK_S
                late = [front for front in self._fronts if not _looked(front) and front not in self._waiting]
                if late:
                    self._retry_s = RETRY_S
                    self._wait_for([*self._waiting, *late])
                self.look_too()
                if self.recorder is not None:
                    self.recorder.trim()
            self._schedule()
            return self.in_force != before

    def look_soon(self) -> None:
        """Has the fronts look now: something was taken from us. Takes no lock; safe wherever the application is."""
        self._look_at = self.due = 0.0
        self.wake()

    def confirmed(self) -> Confirmed:
        """What a MARK says of the rules: version, ledger, gates, and the counts of the flight recorder."""
        version, ledger = self.in_force
        counts = self.recorder.counts() if self.recorder is not None else (0, 0, 0)
        return version, ledger, ",".join(f"{front.name}={front.kind()}" for front in list(self._fronts)), counts

    def names(self) -> list[str] | None:
        """Loggers of which the collector has not heard, as many as a NAMES frame takes; None when there is none."""
        with self._turning:
            found = {name for front in self._fronts for name in front.names() if _can_travel(name)}
        new = sorted(found - self._told)[:MAX_NAMES]
        self._told |= frozenset(new)
        return new or None

    def forget_told(self) -> None:
        """A new collector has not heard of any logger."""
        self._told = frozenset()

    def close(self) -> None:
        """Gives every library back as the application had it."""
        with self._turning:
            for front in list(self._fronts):
                front.leave()
            self._fronts.clear()
            self._waiting.clear()

    def after_fork(self) -> None:
        """In a forked child: the lock may be held by a thread that is not here."""
        self._turning = RLock()

    def _turn(self) -> None:
        """Makes the table of what is in force now and hands it to every front."""
        levels = self._levels or Levels()
        self.table = Table(levels.rules, worker=self._worker, pid=self._pid, host=self._host, component=self._component)
        self._retry_s = RETRY_S
        self._wait_for([front for front in self._fronts if not _applied(front, self.table)])

    def _wait_for(self, fronts: list[Front]) -> None:
        self._waiting = fronts
        if not fronts and self._levels is not None:
            self.in_force = self._levels.version, self._levels.ledger
        self._schedule()

    def _schedule(self) -> None:
        now = time.monotonic()
        self.due = self._look_at
        expiry = self.table.next_expiry
        if expiry is not None:
            self.due = min(self.due, now + max(0.0, expiry - time.time()))
        if self._waiting:
            self.due = min(self.due, now + self._retry_s)

    def _expired(self) -> bool:
        expiry = self.table.next_expiry
        return expiry is not None and time.time() >= expiry


def _can_travel(name: object) -> bool:
    """Whether a NAMES frame takes this name of a logger, which may be anything: no frame takes a lone surrogate."""
    if type(name) is not str or not 0 < len(name) <= MAX_NAME_CHARS:
        return False
    return name.isascii() or not any("\ud800" <= char <= "\udfff" for char in name)


def _applied(front: Front, table: Table) -> bool:
    try:
        return front.apply(table)
    except Exception:  # the application's loggers may do anything; the operator sees a worker that does not confirm
        return False


def _looked(front: Front) -> bool:
    try:
        return front.look() is not False
    except Exception:  # the application's objects: they may do anything
        return True


def read_snapshot(path: Path) -> Levels | None:
    """The rules in a snapshot file; None when there is none that can be trusted: ours or its directory's owner's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            info, above = os.fstat(fd), path.parent.stat()
            shared = above.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            trusted = info.st_uid == os.geteuid() or (info.st_uid == above.st_uid and not shared)
            if not stat.S_ISREG(info.st_mode) or not trusted or info.st_size > MAX_CONTROL_BYTES:
                return None
            return Levels.of(json.loads(file.read(MAX_CONTROL_BYTES)))
    except (OSError, ValueError, RecursionError, WireError):
        return None
