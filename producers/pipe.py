"""The pipe that wakes the sender: one byte is written by whoever has something for it, from any thread or handler."""

from __future__ import annotations

import contextlib
import os
import posix


class WakePipe:
    """A pipe of which nobody ever waits to write or to read; ``reading`` is what a poll watches.

    It is written and read by the system's own calls: eventlet puts others into ``os``, which wait.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self._writing, False)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Both ends, while they are open."""
        return () if self.reading < 0 else (self.reading, self._writing)

    def wake(self) -> None:
        """Makes the pipe readable. Safe in a signal handler; never blocks."""
        with contextlib.suppress(OSError):  # full: its reader is awake as it is; closed: that one has ended
            posix.write(self._writing, b"\0")

    def empty(self) -> None:
        """Reads whatever has been written."""
        with contextlib.suppress(BlockingIOError):
            posix.read(self.reading, 4096)

    def close(self) -> None:
        """Closes both ends; idempotent."""
        fds = self.reading, self._writing
        self.reading = self._writing = -1  # first: a number that is closed may be somebody else's file soon
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
