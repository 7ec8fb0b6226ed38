"""The process that a peer's records go to, as it is seen from the peer's: it reads, counts and answers.

Its program is :mod:`benchmarks.peers.readers`, which is not imported here: what it needs would count as the peer's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from benchmarks.child import Child

#: What a publisher sends until its subscriber is there.
KNOCK: Final = b"?"


class Reader(Child):
    """A reader's process, for the length of the block; ``address`` is where it listens, or what it was given."""

    def __init__(self, kind: str, directory: Path, address: str = "") -> None:
        super().__init__("benchmarks.peers.readers", kind, address, directory=directory)
        self.address: str = json.loads(self.hear())
        self.records = 0
        self.bytes = 0

    @property
    def port(self) -> int:
        """The TCP port at which it listens, on loopback."""
        return int(self.address)

    def wait(self, records: int) -> int:
        """How many records it has in all, once it has so many or no more come."""
        self.tell(f"{records}\n")
        self.records, self.bytes = json.loads(self.hear())
        return self.records
