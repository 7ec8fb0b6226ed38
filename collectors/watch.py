"""Whether the configuration file has become another one: a look at it now and then, no thread.

What is looked at is the file that counts at that moment, through every link on its way: an editor that writes a new
file, a link that is turned to another directory (as Kubernetes does), a file that appears or goes, all are changes.
A change counts once it has rested, so that a file is not read while somebody writes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Seconds between looks.
LOOK_S: Final = 0.2
#: Seconds for which a file that has changed must rest before it is read.
SETTLE_S: Final = 0.2

#: What tells one state of a file from another; without numbers: it is not there.
Look = tuple[str, int, int, int, int, int] | None


class Watch:
    """Watches the file that ``choose`` gives; None is no file."""

    def __init__(self, choose: Callable[[], Path | None]) -> None:
        self._choose = choose
        self._known = self._look()
        self._seen = self._known
        self._since = 0.0
        self._look_at = 0.0

    def changed(self) -> bool:
        """Whether the file is another one than the one known, and rests; it is known then. Ask as often as you like."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        found = self._look()
        if found != self._seen:
            self._seen, self._since = found, now
        if found == self._known or now - self._since < SETTLE_S:
            return False
        self._known = found
        return True

    def know(self) -> None:
        """Takes the file as it is now for known. Call it before the file is read: what is written later counts."""
        self._known = self._seen = self._look()

    def _look(self) -> Look:
        path = self._choose()
        if path is None:
            return None
        try:
            info = path.stat()
        except (OSError, ValueError):
            return str(path), 0, 0, 0, 0, 0
        return str(path), info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
