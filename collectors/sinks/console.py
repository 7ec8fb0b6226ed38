"""The collector's own stdout or stderr."""

from __future__ import annotations

import os
from typing import Final, Literal

from logbus.collectors.sinks.plain import PlainSink

_DESCRIPTORS: Final = {"stdout": 1, "stderr": 2}


class ConsoleSink(PlainSink):
    """Lines on a standard stream, which is there, or each write says that it isn't; it is not ours to close."""

    type = "console"

    def __init__(self, name: str, stream: Literal["stdout", "stderr"]) -> None:
        super().__init__(name)
        self._fd = _DESCRIPTORS[stream]
        self._written = 0

    def write(self, data: bytes) -> None:
        """Writes all lines. Raises OSError when the stream is closed."""
        view = memoryview(data)
        self._written = 0
        while self._written < len(data):
            self._written += os.write(self._fd, view[self._written :])

    def undo(self) -> bool:
        """True when not a byte of the last write went out."""
        return self._written == 0
