"""Which workers have a new version of the level rules: what ``set-level`` waits for and reports.

Asked are the workers that stand at the moment of publication: whose control connection stands, a word said or not,
or that were heard lately. Whoever comes later is welcomed with the new rules and has them before its first record.
Whoever goes meanwhile is not waited for, and not counted. A stopped process is still connected: it is waited for, and
named in the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence, Set as AbstractSet
from pathlib import Path
from typing import Any

from logbus.collectors.roll import Member, Roll
from logbus.rules import Levels, concerns


class Confirmation:
    """The wait for one version. ``patterns``: only workers that one of them means are counted.

    ``listeners`` is the publisher's own set, which changes as connections come and go; ``host`` is our name.
    """

    def __init__(
        self,
        levels: Levels,
        roll: Roll,
        listeners: AbstractSet[bytes],
        *,
        patterns: Sequence[str] = ("",),
        published_at: float,
        host: str,
    ) -> None:
        self._levels = levels
        self._roll = roll
        self._listeners = listeners
        self._patterns = tuple(patterns)
        self._published_at = published_at
        self._host = host
        self._waiting = {
            producer for producer, member in roll.standing(listeners).items() if member is None or self._means(member)
        }
        #: When each confirmed, in monotonic seconds.
        self._confirmed: dict[bytes, float] = {}

    def heard(self, producer: bytes, version: int) -> None:
        """Takes in which version of our levels a worker has; the roll has what else it says already."""
        if producer not in self._waiting:
            return
        member = self._roll.member(producer)
        if member is None and self._patterns != ("",):  # nobody knows yet whether it is meant
            return
        if not self._means(member):  # it had not said its name when we began
            self._waiting.discard(producer)
        elif version >= self._levels.version:
            self._waiting.discard(producer)
            self._confirmed[producer] = time.monotonic()

    def ready(self) -> bool:
        """Whether every worker has confirmed or gone. Cheap enough for every turn of the loop."""
        while self._waiting:
            producer = next(iter(self._waiting))
            if self._roll.stands(producer, self._listeners):
                return False
            self._waiting.discard(producer)
        return True

    def document(self) -> dict[str, Any]:
        """How it ended: version, how many of how many, in what time (of the last that confirmed), and who has not."""
        standing = [producer for producer in self._waiting if self._roll.stands(producer, self._listeners)]
        unconfirmed = [self._row(producer) for producer in standing]
        last = max(self._confirmed.values(), default=time.monotonic() if unconfirmed else self._published_at)
        return {
            "ledger": self._levels.ledger,
            "version": self._levels.version,
            "confirmed": len(self._confirmed),
            "workers": len(self._confirmed) + len(unconfirmed),
            "milliseconds": round((last - self._published_at) * 1000, 1),
            "unconfirmed": sorted(unconfirmed, key=lambda row: (row["worker"], row["pid"] or 0)),
        }

    def _means(self, member: Member | None) -> bool:
        if member is None:
            return True
        row = member.row
        return any(concerns(pattern, name=row.worker, pid=row.pid, host=row.host) for pattern in self._patterns)

    def _row(self, producer: bytes) -> dict[str, Any]:
        member = self._roll.member(producer)
        state = "connected" if producer in self._listeners else "silent"
        if member is None:
            return {"worker": "(not heard yet)", "pid": None, "host": None, "state": state, "level_version": None}
        row = member.row
        if row.host == self._host and is_stopped(row.pid):
            state = "stopped"
        ledger, version = member.confirmed
        known = version if ledger == self._levels.ledger else None
        return {"worker": row.worker, "pid": row.pid, "host": row.host, "state": state, "level_version": known}


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped, by SIGSTOP or a debugger; False where nobody can say."""
    with contextlib.suppress(OSError):
        # Its name, in parentheses, may hold anything; the letter of its state follows the last of them.
        after = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return bool(after) and after[0] in (b"T", b"t")
    return False
