"""What a follower gets: some whole lines, how many such messages there were, and what it has missed. No I/O here.

On the command socket it travels among JSON documents, which begin with a brace; an excerpt begins with a 1::

    1 | number of the message | records skipped: queue full | records skipped: beyond the bound | lines
    B | Q                     | Q                           | Q                                 | bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from logbus.errors import WireError

_HEADER: Final = struct.Struct("!BQQQ")
_KIND: Final = 1


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Whole lines, each with its newline; perhaps none, where only the counts have moved.

    ``number`` counts the messages to this follower from 0. The other counts are sums of records since it asked:
    ``slow`` were skipped because its queue was full, ``beyond`` because a follower may cost no more.
    """

    number: int
    slow: int
    beyond: int
    lines: bytes = b""

    def pack(self) -> bytes:
        """The message."""
        return _HEADER.pack(_KIND, self.number, self.slow, self.beyond) + self.lines

    @classmethod
    def unpack(cls, message: bytes) -> Excerpt | None:
        """The excerpt in a message; None when it is a document. Raises WireError("control") when it is neither."""
        if message.startswith(b"{"):
            return None
        if len(message) < _HEADER.size or message[0] != _KIND:
            raise WireError("control", f"message of {len(message)} bytes: expected an excerpt or a document")
        _, number, slow, beyond = _HEADER.unpack_from(message)
        return cls(number, slow, beyond, message[_HEADER.size :])
