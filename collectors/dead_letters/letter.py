"""A dead letter, and how it is written into an entry of a segment: msgpack, one array. No I/O here.

The reason is somebody else's text, so it is bounded, and masked by then. The line is as the sink was given it, redacted
before it was encoded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

#: Characters of a reason that are kept.
MAX_REASON_CHARS: Final = 1000
#: Characters of a line that are shown where nobody has asked for all of it.
SHOWN_CHARS: Final = 200

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, str, str, str, bytes, int]).decode


class Letter(NamedTuple):
    """Records that a sink has refused for good: nearly always one, and its line, without the newline.

    ``number`` is its own. ``time_us`` is when it was refused, in epoch microseconds. ``dialect`` names the form of the
    line, see :class:`logbus.collectors.writing.terms.Terms`. Where a server says how many records it refuses and not
    which, ``records`` has the number and the line is empty.
    """

    number: int
    time_us: int
    sink: str
    reason: str
    dialect: str
    line: bytes
    records: int = 1

    def pack(self) -> bytes:
        """It as the payload of an entry, whose number is its number."""
        return _encode(self[1:])

    @classmethod
    def unpack(cls, number: int, payload: bytes) -> Letter | None:
        """The letter in an entry; None when there is none, as in an entry of a later version."""
        try:
            return cls(number, *_decode(payload))
        except msgspec.DecodeError:
            return None

    def document(self, *, full: bool) -> dict[str, Any]:
        """It for the command line; ``full``: with all of its line, else the beginning."""
        text = self.line.decode("utf-8", "backslashreplace")
        shown = text if full else text[:SHOWN_CHARS]
        return {
            "id": self.number,
            "time": _rfc3339(self.time_us),
            "sink": self.sink,
            "reason": self.reason,
            "dialect": self.dialect,
            "records": self.records,
            "line": shown,
            "truncated": len(shown) < len(text),
        }


def _rfc3339(time_us: int) -> str:
    try:
        moment = datetime.fromtimestamp(time_us / 1_000_000, UTC)
    except (OverflowError, OSError, ValueError):  # a clock that was far off
        return "?"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
