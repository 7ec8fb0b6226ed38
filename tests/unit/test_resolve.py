"""What a restart finds out about the records that a dead collector had handed to a sink."""

from __future__ import annotations

import copy
import errno
import fcntl
import os
from pathlib import Path

import pytest

from logbus.collectors.resolve import CHUNK_BYTES, Resolution, resolve
from logbus.collectors.rows import Intent, SinkRow
from logbus.wire import COLLECTOR_LOST

A, B = b"a" * 16, b"b" * 16
BEFORE = b"earlier\n"
LINES = b"one\ntwo\nthree\n"


def interrupted(path: Path, written: bytes, *, count: int = 3, waiting: int = 0) -> SinkRow:
    """A file sink that had delivered one record and died while it wrote three, of which ``written`` is in the file."""
    path.write_bytes(BEFORE + written)
    info = path.stat()
    ranges = ((A, 10, 2), (B, 5, 1))
    intent = Intent(count, 1, ranges, str(path), info.st_ino, info.st_dev, len(BEFORE), len(LINES))
    accepted = 1 + count + waiting
    return SinkRow("main", "file", True, offered=accepted, accepted=accepted, delivered=1, intent=intent)


def test_a_sink_with_nothing_at_stake_has_no_result() -> None:
    """After a clean stop there is nothing to find out."""
    assert resolve(SinkRow("main", "file", True, offered=5, accepted=5, delivered=5)) is None


def test_a_whole_write_is_delivered(tmp_path: Path) -> None:
    """The collector died after the write and before it said so."""
    row = interrupted(tmp_path / "log", LINES)
    assert resolve(row) == Resolution("main", 3, 0, 0, 0, ())
    assert (row.delivered, row.intent, row.law(0)) == (4, None, True)
    assert (tmp_path / "log").read_bytes() == BEFORE + LINES


def test_a_torn_line_is_cut_and_the_rest_is_lost(tmp_path: Path) -> None:
    """Whole lines are delivered; the torn one, what followed it and what was queued are lost, with their numbers."""
    row = interrupted(tmp_path / "log", b"one\ntw", waiting=4)
    assert resolve(row) == Resolution("main", 1, 2 + 4, 0, 2, ((A, 11, 1), (B, 5, 1)))
    assert (row.delivered, row.dropped[COLLECTOR_LOST], row.law(0)) == (2, 6, True)
    assert (tmp_path / "log").read_bytes() == BEFORE + b"one\n"


def test_a_file_that_another_collector_has_taken_over_is_left_alone(tmp_path: Path) -> None:
    """What is locked is somebody else's by now: nothing is cut, and nobody knows how far the write came."""
    row = interrupted(tmp_path / "log", b"one\ntw")
    with (tmp_path / "log").open("rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert resolve(row) == Resolution("main", 0, 0, 3, 0, ((A, 10, 2), (B, 5, 1)))
    assert (tmp_path / "log").read_bytes() == BEFORE + b"one\ntw"


def test_nothing_written_is_all_lost(tmp_path: Path) -> None:
    """A file that ends where the write should begin is left as it is."""
    row = interrupted(tmp_path / "log", b"")
    assert resolve(row) == Resolution("main", 0, 3, 0, 0, ((A, 10, 2), (B, 5, 1)))
    assert (tmp_path / "log").read_bytes() == BEFORE


def test_counts_start_from_the_intent(tmp_path: Path) -> None:
    """A row that already counts the write, or a part of it, does not count it twice."""
    row = interrupted(tmp_path / "log", b"one\ntwo\nth")
    row.delivered = 3
    assert resolve(row) == Resolution("main", 2, 1, 0, 2, ((B, 5, 1),))
    assert (row.delivered, row.law(0)) == (3, True)


def test_lines_longer_than_a_read(tmp_path: Path) -> None:
    """The torn line is found over any number of reads."""
    row = interrupted(tmp_path / "log", b"x" * CHUNK_BYTES + b"\n" + b"y" * (2 * CHUNK_BYTES))
    assert row.intent is not None
    row.intent = row.intent._replace(length=10 * CHUNK_BYTES)
    assert resolve(row) == Resolution("main", 1, 2, 0, 2 * CHUNK_BYTES, ((A, 11, 1), (B, 5, 1)))
    assert (tmp_path / "log").stat().st_size == len(BEFORE) + CHUNK_BYTES + 1


def test_the_queue_of_a_sink_that_was_not_writing_is_lost() -> None:
    """What waited was in memory."""
    row = SinkRow("main", "file", True, offered=9, filtered=2, accepted=7, delivered=4, spooled=1)
    assert resolve(row, 1) == Resolution("main", 0, 2, 0, 0, (), 1)
    assert row.law(0)


def test_what_can_not_be_checked_is_unknown(tmp_path: Path) -> None:
    """The write in hand of a console may have been seen or not; what waited behind it was not."""
    row = SinkRow("console", "console", offered=9, accepted=9, delivered=3, intent=Intent(4, 3, ((A, 3, 4),)))
    assert resolve(row) == Resolution("console", 0, 2, 4, 0, ((A, 3, 4),))
    assert (row.delivered, row.unknown, row.law(0)) == (3, 4, True)


def remove(path: Path) -> None:
    """The file has gone."""
    path.unlink()


def replace(path: Path) -> None:
    """Another file has its name."""
    path.rename(path.with_name("old"))
    path.write_bytes(BEFORE + LINES)


def empty(path: Path) -> None:
    """Somebody has emptied it."""
    os.truncate(path, len(BEFORE) - 1)


def link(path: Path) -> None:
    """A link to it has its name."""
    path.rename(path.with_name("old"))
    path.symlink_to(path.with_name("old"))


def pipe(path: Path) -> None:
    """A pipe has its name."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [remove, replace, empty, link, pipe])
def test_a_file_that_is_not_the_one_says_nothing(tmp_path: Path, change: object) -> None:
    """The write in hand is unknown, and what stands there now is not touched."""
    assert callable(change)
    path = tmp_path / "log"
    row = interrupted(path, b"one\ntw", waiting=1)
    change(path)
    before = path.read_bytes() if path.is_file() else None
    assert resolve(row) == Resolution("main", 0, 1, 3, 0, ((A, 10, 2), (B, 5, 1)))
    assert (path.read_bytes() if path.is_file() else None) == before
    assert row.law(0)


def test_a_path_that_can_not_be_one_is_unknown(tmp_path: Path) -> None:
    """Nothing in a row can stop a start."""
    row = interrupted(tmp_path / "log", b"one\n")
    assert row.intent is not None
    row.intent = row.intent._replace(path="a\0b")
    assert resolve(row) == Resolution("main", 0, 0, 3, 0, ((A, 10, 2), (B, 5, 1)))


@pytest.mark.parametrize("call", ["pread", "ftruncate"])
def test_a_disk_that_fails_says_nothing(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be read or cut does not stop a start: the write in hand is unknown."""
    row = interrupted(tmp_path / "log", b"one\ntw")

    def fail(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    assert resolve(row) == Resolution("main", 0, 0, 3, 0, ((A, 10, 2), (B, 5, 1)))


def test_ranges_that_do_not_number_each_line_are_given_whole(tmp_path: Path) -> None:
    """With a filter between, nobody can say which of the numbers are the missing lines."""
    row = interrupted(tmp_path / "log", b"one\n", count=2)
    assert resolve(row) == Resolution("main", 1, 1, 0, 0, ((A, 10, 2), (B, 5, 1)))


def test_more_lines_than_records_are_no_more_records(tmp_path: Path) -> None:
    """Lines that somebody else wrote in between don't count for ours."""
    row = interrupted(tmp_path / "log", b"1\n2\n3\n4\n5\n")
    assert resolve(row) == Resolution("main", 3, 0, 0, 0, ())
    assert row.law(0)


def test_counts_that_are_off_are_not_made_worse(tmp_path: Path) -> None:
    """A row that has ended more than it accepted loses nothing; the law says that it is wrong."""
    row = SinkRow("main", "file", True, offered=3, accepted=3, delivered=5, intent=None)
    assert resolve(row) is None
    assert not row.law(0)


def spooling(*, waiting: int = 0, spooled: int = 0, intent: Intent | None = None) -> SinkRow:
    """A remote sink that had delivered three records, with some in memory and some in its spool."""
    accepted = 3 + waiting + spooled
    return SinkRow("far", "http", offered=accepted, accepted=accepted, delivered=3, spooled=spooled, intent=intent)


def test_what_stands_in_the_spool_is_spooled() -> None:
    """However much the row says: what was on its way there when the collector died is there, or is lost."""
    row = spooling(waiting=5, spooled=2)
    assert resolve(row, 4) == Resolution("far", 0, 3, 0, 0, (), 4)
    assert (row.spooled, row.dropped[COLLECTOR_LOST], row.offered, row.law(0)) == (4, 3, 10, True)
    assert resolve(row, 4) is None


def test_a_write_from_the_spool_is_made_again() -> None:
    """It may have arrived: that is counted, and nothing of it is unknown."""
    row = spooling(waiting=1, spooled=6, intent=Intent(4, 3, (), spooled=True))
    crashed = copy.deepcopy(row)
    assert resolve(row, 6) == Resolution("far", 0, 1, 0, 0, (), 6, 4)
    assert (row.duplicated, row.unknown, row.delivered, row.intent, row.law(0)) == (4, 0, 3, None, True)
    resolve(crashed, 6)
    assert crashed == row


def test_a_write_from_memory_is_unknown_beside_a_spool() -> None:
    """Nobody can tell, and it is not sent again; the spool's records are."""
    row = spooling(waiting=5, spooled=6, intent=Intent(2, 3, ((A, 1, 2),)))
    assert resolve(row, 6) == Resolution("far", 0, 3, 2, 0, ((A, 1, 2),), 6)
    assert (row.unknown, row.dropped[COLLECTOR_LOST], row.duplicated, row.law(0)) == (2, 3, 0, True)


@pytest.mark.parametrize(("found", "lost", "appeared"), [(0, 6, 0), (5, 1, 0), (6, 0, 0), (9, 0, 3)])
def test_a_spool_that_holds_something_else_is_right(found: int, lost: int, appeared: int) -> None:
    """What it has lost is lost, and what it has beyond what was ever handed over is newly offered."""
    row = spooling(spooled=6)
    result = resolve(row, found)
    assert (result is None) == (found == 6)
    assert (row.spooled, row.dropped[COLLECTOR_LOST], row.offered, row.law(0)) == (found, lost, 9 + appeared, True)
    assert result is None or (result.lost, result.appeared) == (lost, appeared)
