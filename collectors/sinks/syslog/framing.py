"""How a stream tells one message from the next.

Over TCP and TLS each message comes behind its length in bytes and a blank ("octet counting", RFC 6587 §3.4.1, RFC 5425
§4.3): a message may have anything in it. On a Unix stream it ends with a newline, which is what daemons read there, and
no line has another one inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: Bytes of lines that are framed together, about, and that are known to have arrived together.
PIECE: Final = 64 * 1024


def octet_counted(lines: bytes) -> bytes:
    """Whole lines as messages behind their lengths, without their newlines."""
    return b"".join([b"%d %b" % (len(line), line) for line in lines[:-1].split(b"\n")])


def pieces(lines: bytes) -> Iterator[bytes]:
    """Whole lines in pieces of :data:`PIECE` bytes, or of one line that is longer."""
    at = 0
    while at < len(lines):
        end = at + PIECE
        if end < len(lines):
            end = lines.rfind(b"\n", at, end) + 1 or lines.find(b"\n", end) + 1
        yield lines[at:end]
        at = end
