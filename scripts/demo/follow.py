"""Reads the lines that are appended to a file, as ``tail -F`` does: over truncation and rotation."""

from __future__ import annotations

import os
from pathlib import Path

#: Bytes read at a time.
CHUNK_BYTES = 256 * 1024


class Follower:
    """Gives the lines that come after the point at which it began; the file need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def skip(self, lines: int) -> None:
        """Begins at the last so many lines of what is there already."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        kept = content.splitlines(keepends=True)[-lines:] if lines else []
        self._inode = self._path.stat().st_ino
        self._offset = len(content) - sum(map(len, kept))

    def read(self) -> list[str]:
        """The lines that were finished since the last call, without their newlines; empty when there is none."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._inode, self._offset, self._rest = found.st_ino, 0, b""
                file.seek(self._offset)
                content = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
