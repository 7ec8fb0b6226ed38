"""The file in which a collector puts its lines: waited for while it grows, and judged when all is over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

#: What each line of a reference record has once, in every form: the name of one of its fields.
MARK: Final = b"request_id"
#: What the passwords of the reference records begin with.
_SECRET: Final = b":s3cr3t-"
#: Seconds for which a file may stand still before its missing lines count as lost, and between looks.
_STILL_S: Final = 8.0
_LOOK_S: Final = 0.005
#: Bytes that are read at a time.
_CHUNK: Final = 1 << 20


class Lines:
    """The lines of a file that need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._count = 0

    def wait(self, count: int) -> bool:
        """Waits until there are so many lines in all; False when the file has stood still before that."""
        changed = time.monotonic()
        while True:
            before = self._offset
            if self._read() >= count:
                return True
            if self._offset > before:
                changed = time.monotonic()
            elif time.monotonic() > changed + _STILL_S:
                return False
            time.sleep(_LOOK_S)

    def records(self) -> int:
        """How many records are in the file."""
        return self._in_all(MARK)

    def lost(self, records: int) -> int:
        """How many of so many records are not in the file, or are more than these."""
        return abs(records - self.records())

    def secrets(self) -> int:
        """How many passwords are in the file."""
        return self._in_all(_SECRET)

    def _read(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while data := file.read(_CHUNK):
                    self._offset += len(data)
                    self._count += data.count(b"\n")
        return self._count

    def _in_all(self, word: bytes) -> int:
        found, rest = 0, b""
        if self._path.exists():
            with self._path.open("rb") as file:
                while data := file.read(_CHUNK):
                    data = rest + data
                    found += data.count(word)
                    rest = data[-len(word) + 1 :]  # not enough for one that was counted
        return found
