"""Names of sinks as names of directories: one safe component of a path each, which no two names share."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import unquote_to_bytes

#: Bytes that the name of a directory may have.
_MAX: Final = 255
#: What stands before the hash of a name that is too long to be written out. No other byte is written so.
_HASHED: Final = "~"
_UNSAFE: Final = re.compile(rb"^[.]|[^A-Za-z0-9_.-]")


def escape(name: str) -> str:
    """The directory of a sink with this name: ``A-Z a-z 0-9 _ - .`` as they are, other bytes and a first dot as %XX."""
    escaped = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], name.encode(errors="surrogatepass")).decode() or "%"
    return escaped if len(escaped) <= _MAX else _HASHED + hashlib.sha256(escaped.encode()).hexdigest()


def unescape(directory: str) -> str | None:
    """The name of the sink whose directory has this name; None: no sink's, or that of a name too long to read back."""
    try:
        name = unquote_to_bytes(directory).decode(errors="surrogatepass") if directory != "%" else ""
    except ValueError:
        return None
    return name if not directory.startswith(_HASHED) and escape(name) == directory else None
