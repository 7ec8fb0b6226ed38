"""The spools of a collector: a directory for each sink, in its state directory, which its ledger has locked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from logbus.collectors.spool.names import escape, unescape
from logbus.collectors.spool.spool import Spool

#: Their directory in the state directory.
DIRECTORY: Final = "spools"


class Spools:
    """One spool for each name of a sink, the same object each time. ``tell`` is given what is wrong, a line each."""

    def __init__(self, state: Path, tell: Callable[[str], None]) -> None:
        self._directory = state / DIRECTORY
        self._tell = tell
        self._spools: dict[str, Spool] = {}

    def of(self, name: str) -> Spool:
        """The spool of a sink, which is to be opened. Nothing is made on disk until it is appended to."""
        spool = self._spools.get(name)
        if spool is None:
            spool = self._spools.setdefault(name, Spool(name, self._directory / escape(name), self._tell))
        return spool

    def names(self) -> list[str]:
        """The sinks for which there is a spool on disk, sorted. What is no sink's directory is told. Never raises."""
        try:
            found = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._tell(f"spools: {self._directory} can't be read: {error.strerror}")
            return []
        names = []
        for directory in found:
            name = unescape(directory)
            if name is None:
                self._tell(f"spools: {str(self._directory / directory)!r} is no sink's, and is left alone")
            else:
                names.append(name)
        return sorted(names)

    def close(self) -> None:
        """Closes them all; idempotent."""
        for spool in self._spools.values():
            spool.close()
