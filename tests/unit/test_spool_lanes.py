"""The bound of a spool: who goes first, what is counted, and appends that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors.spool import lanes
from logbus.collectors.spool.lanes import MIN_SEGMENT
from tests.small_disk import can_mount, small_disk
from tests.spooled import CRITICAL, DEBUG, ERROR, INFO, LONG, WARNING, Spooled, rest


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Spooled]:
    """Makes the spool of this test, and its next lives."""
    with Spooled(tmp_path) as lives:
        yield lives


def test_the_oldest_of_the_lowest_level_goes_first(begin: Spooled) -> None:
    """To make room for what is higher or newer, and every record that goes is counted at its level."""
    spool = begin(size=4 * MIN_SEGMENT)
    spool.append(0, [LONG] * 60, bytes([WARNING] * 60))
    spool.append(60, [LONG] * 120, bytes([INFO] * 120))
    assert spool.append(180, [LONG] * 60, bytes([DEBUG] * 60)) == [0] * 6
    assert spool.append(240, [LONG], bytes([ERROR])) == [0, 60, 0, 0, 0, 0]
    assert spool.append(241, [LONG] * 70, bytes([ERROR] * 70)) == [0, 0, 63, 0, 0, 0]
    assert rest(spool) == [*range(60), *range(123, 180), *range(240, 311)]


def test_what_is_lower_than_all_is_itself_dropped(begin: Spooled) -> None:
    """And takes nothing with it."""
    spool = begin(size=2 * MIN_SEGMENT)
    spool.append(0, [LONG] * 120, bytes([ERROR] * 120))
    assert spool.append(120, [b"low\n"] * 5 + [b"high\n"], bytes([INFO] * 5 + [ERROR])) == [0, 0, 5, 0, 0, 0]
    assert rest(spool) == [*range(120), 125]


def test_one_append_may_be_more_than_there_is_room_for(begin: Spooled) -> None:
    """Then the newest of it stay, and it is counted all the same."""
    spool = begin(size=3 * MIN_SEGMENT)
    gone = spool.append(0, [LONG] * 1000, bytes([INFO] * 1000))
    numbers = rest(spool)
    assert gone == [0, 0, 1000 - len(numbers), 0, 0, 0]
    assert numbers == list(range(1000 - len(numbers), 1000))
    assert len(numbers) > 120


def test_what_was_handed_out_stays(begin: Spooled) -> None:
    """However low it is: its reader says what became of it."""
    spool = begin(size=2 * MIN_SEGMENT)
    spool.append(0, [LONG] * 60, bytes([DEBUG] * 60))
    portion = spool.read(3, 1 << 20)
    spool.append(60, [LONG] * 60, bytes([DEBUG] * 60))
    assert spool.append(120, [LONG] * 60, bytes([ERROR] * 60))[DEBUG] == 57
    assert spool.read(3, 1 << 20) == portion
    assert rest(spool) == [*range(63), *range(120, 180)]


def test_a_bound_that_shrinks_meanwhile_holds_once_that_has_ended(begin: Spooled) -> None:
    """Segments of which records were handed out go as soon as nothing is left of them, though more would fit in."""
    spool = begin(size=4 * MIN_SEGMENT)
    spool.append(0, [LONG] * 4, bytes([DEBUG, DEBUG, INFO, ERROR]))
    spool.append(4, [LONG], bytes([DEBUG]))
    assert spool.read(4, 1 << 20) is not None
    assert spool.configure(2 * MIN_SEGMENT, "own") == [0] * 6
    assert spool.bytes == 3 * MIN_SEGMENT
    spool.done(3)
    assert spool.bytes <= 2 * MIN_SEGMENT
    assert rest(spool) == [4]


def test_a_line_that_is_longer_than_a_segment_has_one_of_its_own(begin: Spooled) -> None:
    """And one that is longer than the spool is dropped alone."""
    spool = begin(size=4 * MIN_SEGMENT)
    longer, longest = b"y" * 150_000 + b"\n", b"z" * 300_000 + b"\n"
    assert spool.append(0, [b"a\n", longer, longest, b"b\n"], bytes([INFO] * 4)) == [0, 0, 1, 0, 0, 0]
    portion = spool.read(10, 1)
    assert portion is not None
    assert portion.count == 1
    spool.done(0)
    portion = spool.read(10, 10)
    assert portion is not None
    assert portion.data == longer
    assert rest(spool) == [1, 3]


def test_a_smaller_bound_takes_effect_at_once(begin: Spooled) -> None:
    """By the same order; no bound at all takes nothing new and keeps what is there."""
    spool = begin(size=8 * MIN_SEGMENT)
    spool.append(0, [LONG] * 120, bytes([DEBUG] * 60 + [ERROR] * 60))
    assert spool.configure(MIN_SEGMENT, "own") == [0, 60, 0, 0, 0, 0]
    assert spool.configure(0, "own") == [0] * 6
    assert spool.append(120, [b"a\n"], bytes([CRITICAL])) == [0, 0, 0, 0, 0, 1]
    assert rest(spool) == list(range(60, 120))


@pytest.mark.parametrize("call", ["pwrite", "posix_fallocate", "open"])
def test_an_append_that_fails_has_not_happened(begin: Spooled, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whichever call it is that the disk refuses; the records that went for it are counted with the next one."""
    spool = begin(size=3 * MIN_SEGMENT)
    spool.append(0, [LONG] * 60, bytes([DEBUG] * 60))
    spool.append(60, [LONG] * 60, bytes([ERROR] * 60))
    spool.append(120, [LONG] * 10, bytes([INFO] * 10))
    real, calls = getattr(os, call), 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal calls
        if call == "open" and not int(str(arguments[1])) & os.O_CREAT:
            return real(*arguments, **options)
        calls += 1
        if calls == 2 or (calls == 1 and call != "pwrite"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OSError, match="No space left"):
            spool.append(130, [LONG] * 20, bytes([INFO] * 10 + [ERROR] * 10))
    assert spool.records in (70, 130)  # with the room made already, and without
    went = spool.append(130, [b"again\n"], bytes([ERROR]))
    numbers = rest(spool)
    assert sum(went) == 131 - len(numbers)
    assert numbers[-11:] == [*range(120, 131)]
    assert begin.files == []


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_full_disk_is_told_by_an_error_and_costs_nothing(tmp_path: Path) -> None:
    """What fits before is there, what does not is not; with room again it goes on."""
    with small_disk(tmp_path / "disk", 40) as disk, Spooled(disk.path) as begin:
        spool = begin()
        spool.append(0, [LONG] * 120, bytes([INFO] * 120))
        with pytest.raises(OSError, match="No space left"):
            spool.append(120, [LONG] * 10, bytes([INFO] * 10))
        assert spool.records == 120
        disk.grow(100)
        spool.append(120, [LONG] * 10, bytes([INFO] * 10))
        assert rest(spool) == list(range(130))


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_disk_that_is_nearly_full_has_room_for_small_segments(tmp_path: Path) -> None:
    """Those of a spool of many megabytes are long: a full disk would have nothing of it, however much is left."""
    with small_disk(tmp_path / "disk", 100) as disk, Spooled(disk.path) as begin:
        spool = begin(size=1 << 30)
        spool.append(0, [LONG] * 100, bytes([INFO, ERROR] * 50))
        assert spool.bytes < disk.size
        assert rest(spool) == list(range(100))


def test_levels_are_one_for_each_line(begin: Spooled) -> None:
    """Else nobody could tell which of them to drop first."""
    with pytest.raises(ValueError, match="a level for each of 2 lines, found 1"):
        begin().append(0, [b"a\n", b"b\n"], bytes([INFO]))


def test_segments_are_a_part_of_the_bound(begin: Spooled) -> None:
    """Small ones in a small spool, and none beyond four MiB."""
    for size, expected in ((1 << 20, 64 * 1024), (4 << 20, 128 * 1024), (1 << 30, lanes.MAX_SEGMENT)):
        spool = begin(size=size)
        spool.append(0, [b"a\n"], bytes([INFO]))
        assert spool.bytes == expected
        rest(spool)


def test_what_did_not_happen_is_not_found_by_the_next_life(begin: Spooled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in a segment that was full before the disk was."""
    spool = begin()
    spool.append(0, [LONG] * 10, bytes([INFO] * 10))

    def failing(fd: int, at: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", failing)
        with pytest.raises(OSError, match="No space left"):
            spool.append(10, [LONG] * 100, bytes([INFO] * 100))
    assert spool.records == 10
    assert rest(begin()) == list(range(10))


def test_a_line_without_room_costs_no_other_its_place(begin: Spooled) -> None:
    """Those behind it go where there is room."""
    spool = begin(size=2 * MIN_SEGMENT)
    spool.append(0, [LONG] * 60, bytes([ERROR] * 60))
    spool.append(60, [b"a\n"], bytes([INFO]))
    assert spool.append(61, [b"z" * 100_000 + b"\n", b"b\n"], bytes([INFO, INFO])) == [0, 0, 1, 0, 0, 0]
    assert rest(spool) == [*range(61), 62]
