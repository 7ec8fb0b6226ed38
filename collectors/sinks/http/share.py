"""How much one request holds, learnt from what the server has said. No I/O here.

Two bounds, each halved and grown again in its own way. *Room*, in bytes, is for a server that answers 413: half of what
was too large is tried at once, and the whole again a minute later, since limits are raised. *Few*, in records, is for a
server that refuses a request for one record of it: halves lead to that one in a few steps, it alone is given up, and
with each request that is accepted the next may hold twice as many.

A server that refuses everything would get a request for each record that way. So after eight records in a row were
refused one by one, a request that is refused is given up whole, until one is accepted. Lest a few bad records in each
keep it so for ever, the first record of one that is refused is tried by itself once a minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

#: Seconds after which more bytes than were too large are tried again.
GROW_S: Final = 60.0
#: Records refused one by one, with none accepted between, after which requests are refused whole.
IN_A_ROW: Final = 8
#: Seconds for which they are, until a single record is tried again.
WHOLE_S: Final = 60.0
#: Bytes up to which fewer are no bound that lasts.
MIN_ROOM: Final = 16 * 1024
#: Where a bound that grows ends: bytes, and records.
MAX_ROOM: Final = 64 * 1024 * 1024
MAX_FEW: Final = 1 << 20


class Share:
    """The bounds of one sink. ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Bytes of lines that a request may have, and records; ``sys.maxsize`` where nothing is known.
        self.room = sys.maxsize
        self.few = sys.maxsize
        self._clock = clock
        self._grow_at = 0.0
        #: Records refused one by one since the last request that was accepted.
        self._in_a_row = 0
        #: Where requests are refused whole: when a single record is tried again.
        self._single_at = 0.0

    @property
    def whole(self) -> bool:
        """Whether requests are refused whole."""
        return self._in_a_row >= IN_A_ROW

    def cut(self, data: bytes) -> tuple[bytes, int]:
        """The first lines, as many as one request may hold and one at least, and how many they are."""
        if len(data) > self.room:
            data = data[: data.rfind(b"\n", 0, self.room) + 1 or data.find(b"\n") + 1]
        records = data.count(b"\n")
        if records <= self.few:
            return data, records
        return data[: len(data) - len(data.split(b"\n", self.few)[-1])], self.few

    def accepted(self, records: int) -> None:
        """So many were delivered by one request."""
        self._in_a_row = 0
        if records >= self.few:
            self.few = sys.maxsize if self.few >= MAX_FEW else self.few * 2
        if self.room < sys.maxsize and self._clock() >= self._grow_at:
            self.room = sys.maxsize if self.room >= MAX_ROOM else self.room * 2
            self._grow_at = self._clock() + GROW_S

    def too_large(self, size: int, records: int) -> bool:
        """A request with so many bytes of lines was: whether less is to be tried, for which one record is too few."""
        if records == 1:
            return False
        if size > MIN_ROOM:
            self.room = size // 2
            self._grow_at = self._clock() + GROW_S
        else:  # not for long: whoever said so has something else in mind, or a limit that is soon mended
            self.few = records // 2
        return True

    def refused(self, records: int) -> bool:
        """A request was, for what it holds: whether less is to be tried; else all of it is given up."""
        if records > 1:
            if self.whole and self._clock() < self._single_at:
                return False
            self.few = 1 if self.whole else records // 2
            return True
        self._in_a_row += 1
        if self.whole:
            self.few = sys.maxsize
            self._single_at = self._clock() + WHOLE_S
        return False
