"""The header ``traceparent`` of W3C Trace Context, level 1: which trace a request belongs to, and who has called.

A pure reader of https://www.w3.org/TR/trace-context/ §3.2, with its MUSTs: lower-case hex only, no id of zeros, no
version ``ff``, nothing behind the flags in version 00. Of a version that is not known yet the four parts known today
are read and the rest, which has to begin with a dash, is ignored (§3.2.4). What is not valid is None: the
receiver starts a trace of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: Characters of a header that is looked at: version 00 has 55, and later ones may say more.
MAX_CHARS: Final = 512

_PARTS: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
#: The bit of the flags that says that the caller may have recorded its part (§3.2.2.5.1).
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class Traceparent:
    """One valid header: ``trace_id`` in 32 and ``span_id`` (the caller's) in 16 lower-case hex digits."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def parse(cls, header: str) -> Traceparent | None:
        """The ids in the value of a header, or None where it is not valid. Blanks around it (RFC 9110) don't count."""
        if len(header) > MAX_CHARS:
            return None
        found = _PARTS.fullmatch(header.strip(" \t"))
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "00" and more is not None:
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
