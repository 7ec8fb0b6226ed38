"""Whose each producer is, where several users log: an identity seen from one uid is not continued from another.

The identity of a producer is 16 random bytes. Whoever may read the PUB socket can learn those of others from their
acknowledgements, and a frame with a stolen one would speak for its victim: close his book, or invent losses. The
kernel says with every frame from whose connection it came. The first uid that uses an identity has it; after a
restart of the collector, when nothing is remembered, our own workers are known by their counter pages, which nobody
else can make. Without other users there is nobody to tell apart, and nothing of this runs.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

import zmq

from logbus.collectors.commands import Asker
from logbus.counters import SUFFIX

#: Identities remembered of each user; one that has more forgets its own oldest, nobody else's.
KEPT: Final = 16_384


class Identities:
    """The owner of each producer. ``pages`` is the directory of the counter pages."""

    def __init__(self, pages: Path) -> None:
        #: The uid of this collector.
        self.owner = os.geteuid()
        self._pages = pages
        self._uids: dict[bytes, int] = {}
        self._of: dict[int, OrderedDict[bytes, None]] = {}

    def admits(self, producer: bytes, uid: int | None) -> bool:
        """Whether a producer may be the one of this uid; if it is nobody's yet, it is from now on.

        A ``uid`` of None (no word from the kernel) is admitted nowhere.
        """
        known = self._uids.get(producer)
        if known is not None:
            if known == uid:
                self._of[known].move_to_end(producer)
            return known == uid
        if uid is None or (uid != self.owner and (self._pages / (producer.hex() + SUFFIX)).exists()):
            return False
        mine = self._of.setdefault(uid, OrderedDict())
        mine[producer] = None
        self._uids[producer] = uid
        if len(mine) > KEPT:
            oldest, _ = mine.popitem(last=False)
            del self._uids[oldest]
        return True


def peer_uid(frame: zmq.Frame) -> int | None:
    """The uid at the other end of the connection that a message came from; None where the kernel does not say."""
    try:
        return Asker.of(b"", str(frame.get("Peer-Address"))).uid
    except zmq.ZMQError:
        return None
