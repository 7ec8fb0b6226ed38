"""Finds out, at a restart, what became of the records that a dead collector had handed to a sink.

Before a sink writes it says in its row what it is about to write and where (an intent). If the collector dies
there, the size of the file tells how far the write came: the kernel finishes or tears one ``write``, and nobody
writes after it. Whole lines are delivered, a torn last line is cut off, and the rest is lost; so is what waited in
the sink's queue, which was in memory. A file is rotated between writes, when there is no intent: so the file of an
intent still has its name, unless somebody else has taken it away. Where nothing can be looked at (a console, a socket,
a file that has gone or is another one) the write in hand is unknown.

What stands in a sink's spool is counted there, entry by entry: it is spooled, whatever the row says. A write in hand
that came from the spool is there still and is sent again; how far it got nobody knows, so that it counts as possibly
there twice. A spool that holds more than was ever handed over (the state was lost, and the spool was not) has its
records entered as newly offered.

Nothing here depends on how often it runs. Cutting a file does not change its number of whole lines, and the counts
start from ``delivered_before``: a crash between the cut and the commit of the row gives the same the next time.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import Final, NamedTuple

from logbus.collectors.rows import Intent, Range, SinkRow, divided
from logbus.wire import COLLECTOR_LOST

#: Bytes read at once when the lines of an interrupted write are counted.
CHUNK_BYTES: Final = 64 * 1024


class Resolution(NamedTuple):
    """What was found out about one sink, in records.

    ``delivered`` counts those of the interrupted write that are in the file; ``lost`` its others and what was
    queued; ``unknown`` the interrupted write where nobody can tell. ``cut_bytes`` is the torn line that was cut off.
    ``ranges`` numbers the records of the interrupted write that are lost or unknown, as far as the intent did.
    ``spooled`` wait in the sink's spool, of which ``again`` may have been delivered before, and ``appeared`` were never
    heard of.
    """

    sink: str
    delivered: int
    lost: int
    unknown: int
    cut_bytes: int
    ranges: tuple[Range, ...]
    spooled: int = 0
    again: int = 0
    appeared: int = 0


def resolve(row: SinkRow, spooled: int = 0) -> Resolution | None:
    """What became of a sink's unfinished records, entered in its row; None when there was nothing to find out.

    ``spooled`` is how many records stand in its spool, with numbers from :attr:`SinkRow.acked` on. The row then holds
    no intent. A file is looked at, and cut, here; the row is the caller's to commit.
    """
    intent, before = row.intent, row.spooled
    if intent is None and row.outstanding <= 0 and spooled == before:
        return None
    delivered = unknown = cut = again = 0
    ranges: tuple[Range, ...] = ()
    if intent is not None and intent.spooled:
        again = min(intent.count, spooled)
        row.duplicated += again
    elif intent is not None:
        seen = _look(intent) if row.checkable else None
        if seen is None:
            unknown, ranges = intent.count, intent.ranges
        else:
            delivered, cut = seen
            ranges = _after(intent, delivered)
        row.delivered = intent.delivered_before + delivered
        row.unknown += unknown
    row.intent = None
    stake = max(0, row.outstanding) + before
    row.spooled = spooled
    lost, appeared = max(0, stake - spooled), max(0, spooled - stake)
    row.dropped[COLLECTOR_LOST] += lost
    row.offered += appeared
    row.accepted += appeared
    return Resolution(row.name, delivered, lost, unknown, cut, ranges, spooled, again, appeared)


def _look(intent: Intent) -> tuple[int, int] | None:
    """Records of the write that are in the file, and bytes cut off its end; None when the file can't tell."""
    try:
        fd = os.open(intent.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        # Another collector may write to it by now: then nothing here is ours to cut, nor to judge by its size.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or (info.st_ino, info.st_dev) != (intent.inode, intent.device):
            return None
        if info.st_size < intent.offset:  # emptied by somebody else: the write may have been in what is gone
            return None
        if info.st_size >= intent.offset + intent.length:
            return intent.count, 0
        lines, end = _whole_lines(fd, intent.offset, info.st_size)
        if end < info.st_size:
            os.ftruncate(fd, end)
        return min(lines, intent.count), info.st_size - end
    except OSError:
        return None
    finally:
        os.close(fd)


def _whole_lines(fd: int, start: int, stop: int) -> tuple[int, int]:
    """How many lines end between two offsets, and the offset after the last of them (``start`` if none)."""
    lines, end, at = 0, start, start
    while at < stop:
        chunk = os.pread(fd, min(CHUNK_BYTES, stop - at), at)
        if not chunk:
            break
        lines += chunk.count(b"\n")
        last = chunk.rfind(b"\n")
        if last >= 0:
            end = at + last + 1
        at += len(chunk)
    return lines, end


def _after(intent: Intent, delivered: int) -> tuple[Range, ...]:
    """The ranges without their first ``delivered`` records.

    All of them when a filter or the limit of ranges has left no one-to-one order of numbers and lines, and some are
    missing.
    """
    if delivered >= intent.count:
        return ()
    if sum(count for _, _, count in intent.ranges) != intent.count:
        return intent.ranges
    return divided(intent.ranges, delivered)[1]
