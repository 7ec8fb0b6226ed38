"""The directory of a spool, made when something is first written and held open by all that use it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A directory, and that above it, both of which are made with mode 0700 when they are missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        #: Directories to sync: an entry was made in them.
        self._changed: set[Path] = set()

    @property
    def fd(self) -> int:
        """Its descriptor. Raises OSError when it is not there, or is a link or something else."""
        if self._fd < 0:
            self._fd = os.open(self.path, _OPEN)
        return self._fd

    def make(self) -> None:
        """Makes it unless it is there; also when it was there and somebody has removed it. Raises OSError."""
        for path in (self.path.parent, self.path):
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            self._changed.add(path.parent)
        self.close()

    def note(self) -> None:
        """Has it synced next time: a file was made in it."""
        self._changed.add(self.path)

    def sync(self) -> None:
        """Has the names of files made in it survive a power cut. Raises OSError."""
        while self._changed:
            fd = os.open(self._changed.pop(), _OPEN)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def remove_empty(self) -> None:
        """Removes it if nothing is in it."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def close(self) -> None:
        """Closes it; it is opened again when it is used."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
