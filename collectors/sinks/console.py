"""The collector's own stdout or stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

from logbus.collectors.rows import Intent, Range

_DESCRIPTORS: Final = {"stdout": 1, "stderr": 2}


class ConsoleSink:
    """Lines on a standard stream."""

    type = "console"
    checkable = False
    patience_s = 0.0
    trouble: str | None = None

    def __init__(self, name: str, stream: Literal["stdout", "stderr"]) -> None:
        self.name = name
        self._fd = _DESCRIPTORS[stream]
        self._written = 0

    def open(self) -> None:
        """Nothing to do: the stream is there or each write says that it isn't."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What is about to be written; where it goes nobody can look."""
        return Intent(count, delivered_before, ranges)

    def write(self, data: bytes) -> None:
        """Writes all lines. Raises OSError when the stream is closed."""
        view = memoryview(data)
        self._written = 0
        while self._written < len(data):
            self._written += os.write(self._fd, view[self._written :])

    def undo(self) -> bool:
        """True when not a byte of the last write went out."""
        return self._written == 0

    def look(self, first: int = 0) -> int:
        """Nothing to do: any number of bytes."""
        return sys.maxsize

    def reopen(self) -> None:
        """Nothing to do."""

    def resent(self) -> int:
        """None: what was delivered stays."""
        return 0

    def abort(self) -> None:
        """Nothing to do: no call can be ended."""

    def document(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing to do: the stream is not ours to close."""
