"""A line of complaint that says to programs, too, what it is about.

It takes the way of any line for people, to the collector's stderr, and becomes a record of the collector's own with the
fields that it has.

A record about a sink that fails, or is refused records, is not for that sink, nor for another one of which the same is
true: it would be refused there, that would be a complaint, and so on for as long as both live. There it counts as
filtered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from logbus.collectors.decode import Batch

#: What a complaint's record has as its ``event``: a sink fails, is refused records, or works again.
FAILED: Final = "sink_failed"
REFUSED: Final = "sink_refused"
DROPS: Final = "sink_drops"
WORKS: Final = "sink_works"
#: Those whose records are not for sinks in trouble.
ABOUT_TROUBLE: Final = frozenset({FAILED, REFUSED, DROPS})


class Complaint(str):
    """A line, and the fields of its record, ``event`` among them."""

    __slots__ = ("fields",)

    fields: Mapping[str, str | int]

    def __new__(cls, text: str, **fields: str | int) -> Complaint:
        """The line ``text``."""
        made = super().__new__(cls, text)
        made.fields = fields
        return made


def fields_of(line: str) -> Mapping[str, str | int]:
    """The fields of the record of a line: those of a complaint, else that something is wrong with sinks."""
    return line.fields if isinstance(line, Complaint) else {"event": FAILED}


def without_complaints(batch: Batch, chosen: Sequence[int] | None) -> Sequence[int] | None:
    """The chosen records (None: all) of the collector's own without those about sinks in trouble."""
    found = {at for at, record in enumerate(batch.records) if (record.extra or {}).get("event") in ABOUT_TROUBLE}
    if not found:
        return chosen
    return [at for at in (range(len(batch.records)) if chosen is None else chosen) if at not in found]
