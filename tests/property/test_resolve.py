"""The interrupted write at every point where it may have stopped."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

from hypothesis import given, strategies as st

from logbus.collectors.resolve import resolve
from logbus.collectors.rows import Intent, SinkRow, coalesced

PRODUCER = b"p" * 16
LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" ") + b"\n"), min_size=1, max_size=6)


@given(earlier=LINES, lines=LINES, waiting=st.integers(0, 3))
def test_every_point_at_which_a_write_may_stop(earlier: list[bytes], lines: list[bytes], waiting: int) -> None:
    """Delivered are the lines that are in the file, and the file ends with a line; a second look says the same."""
    before, written = b"".join(earlier), b"".join(lines)
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory:
        for cut in range(len(written) + 1):
            path = Path(directory) / "log"
            path.write_bytes(before + written[:cut])
            info = path.stat()
            ranges = coalesced((PRODUCER, 100 + number, 1) for number in range(len(lines)))
            intent = Intent(
                len(lines), len(earlier), ranges, str(path), info.st_ino, info.st_dev, len(before), len(written)
            )
            accepted = len(earlier) + len(lines) + waiting
            row = SinkRow(
                "main", "file", True, offered=accepted, accepted=accepted, delivered=len(earlier), intent=intent
            )
            crashed = copy.deepcopy(row)  # the row as the page has it, until the resolution is committed

            result = resolve(row)
            again = resolve(crashed)

            whole = written[:cut].count(b"\n")
            assert result is not None
            assert (result.delivered, result.lost, result.unknown) == (whole, len(lines) - whole + waiting, 0)
            assert result.ranges == (((PRODUCER, 100 + whole, len(lines) - whole),) if whole < len(lines) else ())
            assert path.read_bytes() == before + b"".join(lines[:whole])
            assert result.cut_bytes == cut - len(b"".join(lines[:whole]))
            assert row.delivered == path.read_bytes().count(b"\n")
            assert row.law(0)
            assert row.outstanding == 0
            assert again == result._replace(cut_bytes=0)
            assert crashed == row
            assert resolve(row) is None
