"""The spool of one sink: order, portions, dialects, what it leaves on disk, and its threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors.spool import stored
from logbus.collectors.spool.lanes import MIN_SEGMENT
from logbus.collectors.spool.spool import Found
from tests.spooled import CRITICAL, DEBUG, ERROR, INFO, LONG, WARNING, Spooled, rest


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Spooled]:
    """Makes the spool of this test, and its next lives."""
    with Spooled(tmp_path) as lives:
        yield lives


def test_what_is_appended_is_read_in_order(begin: Spooled) -> None:
    """Whatever the levels, with its numbers, at most as much as asked for, and at least one record."""
    spool = begin()
    assert spool.append(5, [b"a\n", b"bb\n", b"ccc\n", b"d\n"], bytes([ERROR, DEBUG, ERROR, INFO])) == [0] * 6
    portion = spool.read(10, 9)
    assert portion is not None
    assert (portion.data, portion.count, portion.numbers) == (b"a\nbb\nccc\n", 3, [5, 6, 7])
    assert (portion.first_seq, portion.last_seq, portion.dialect) == (5, 7, None)
    one = spool.read(10, 1)
    assert one is not None
    assert one.data == b"a\n"
    assert rest(spool) == [5, 6, 7, 8]


def test_a_portion_is_the_same_until_it_has_ended(begin: Spooled) -> None:
    """Also when less is asked for, some of it has ended, or more has come."""
    spool = begin()
    spool.append(0, [b"%d\n" % number for number in range(6)], bytes([INFO] * 6))
    first = spool.read(4, 1000)
    spool.append(6, [b"6\n"], bytes([CRITICAL]))
    assert spool.read(4, 1000) == first
    probe = spool.read(1, 1000)
    assert probe is not None
    assert probe.data == b"0\n"
    spool.done(1)
    again = spool.read(4, 1000)
    assert again is not None
    assert again.data == b"2\n3\n4\n5\n"
    assert spool.records == 5


def test_nothing_is_on_disk_before_and_after(begin: Spooled, tmp_path: Path) -> None:
    """A spool that was not used makes no directory, and one that is empty has no files."""
    spool = begin()
    assert spool.read(1, 1) is None
    assert list(tmp_path.iterdir()) == []
    spool.append(0, [b"a\n", b"b\n"], bytes([INFO, ERROR]))
    assert (spool.records, spool.segments, spool.bytes) == (2, 2, 2 * MIN_SEGMENT)
    assert spool.oldest_at == pytest.approx(time.time(), abs=60)
    rest(spool)
    assert (spool.records, spool.segments, spool.bytes, spool.oldest_at) == (0, 0, 0, None)
    assert begin.files == []


def test_files_and_directories_are_their_owners(begin: Spooled) -> None:
    """Nobody else reads them, whatever the umask."""
    before = os.umask(0)
    try:
        spool = begin()
        spool.append(0, [b"a\n"], bytes([INFO]))
        (path,) = begin.files
        modes = [item.stat().st_mode & 0o777 for item in (path, path.parent, path.parent.parent)]
    finally:
        os.umask(before)
    assert modes == [0o600, 0o700, 0o700]
    assert path.stat().st_size == MIN_SEGMENT


def test_older_numbers_that_come_late_are_read_first(begin: Spooled) -> None:
    """In this life, although later ones have been read ahead, and in the next one."""
    spool = begin()
    spool.append(10, [b"%d\n" % number for number in range(10, 20)], bytes([INFO, ERROR] * 5))
    portion = spool.read(2, 1000)
    assert portion is not None
    spool.append(0, [b"late\n"] * 3, bytes([ERROR, INFO, INFO]))
    spool.done(portion.last_seq)
    portion = spool.read(5, 1000)
    assert portion is not None
    assert portion.numbers == [0, 1, 2, 12, 13]
    spool.append(5, [b"later\n"], bytes([INFO]))
    portion = spool.read(50, 1000)
    assert portion is not None
    assert portion.numbers == [0, 1, 2, 12, 13, 5, 14, 15, 16, 17, 18, 19]
    spool.done(2)
    assert rest(begin(acked=3)) == [5, *range(10, 20)]


def test_another_dialect_is_not_mixed_in(begin: Spooled) -> None:
    """Lines from before the configuration changed come alone, and say what they are."""
    spool = begin(dialect="old")
    spool.append(0, [b"a\n", b"b\n"], bytes([INFO, INFO]))
    spool.configure(1 << 20, "new")
    spool.append(2, [b"c\n"], bytes([INFO]))
    found = []
    while portion := spool.read(10, 1000):
        found.append((portion.data, portion.dialect))
        spool.done(portion.last_seq)
    assert found == [(b"a\nb\n", "old"), (b"c\n", None)]


def test_a_life_goes_on_where_the_last_one_ended(begin: Spooled) -> None:
    """What has ended is not read again, numbers go on above it, and nothing is allocated in vain."""
    spool = begin()
    spool.append(0, [b"line %d\n" % number for number in range(100)], bytes([INFO, ERROR] * 50))
    spool.close()
    assert all(path.stat().st_size < 4096 for path in begin.files)
    spool = begin(acked=31)
    assert spool.open(31) == Found(69, spool.bytes, 100, 0)
    assert rest(spool) == list(range(31, 100))


def test_a_life_after_the_end_of_all_has_nothing(begin: Spooled) -> None:
    """Segments whose records have all ended are removed at the start."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    spool = begin(acked=7)
    assert spool.open(7) == Found(0, 0, 7, 0)
    assert begin.files == []


def test_it_is_synced_with_its_directories(begin: Spooled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each segment that was written since, once, before the directories in which something was made."""
    synced: list[str] = []
    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    spool = begin()
    spool.append(0, [b"a\n", b"b\n"], bytes([INFO, ERROR]))
    spool.sync()
    directory = tmp_path / "spools" / "main"
    assert set(synced[:2]) == {str(path) for path in begin.files}
    assert set(synced[2:]) == {str(directory), str(directory.parent), str(tmp_path)}
    synced.clear()
    spool.sync()
    assert synced == []


def test_memory_does_not_grow_with_the_spool(begin: Spooled) -> None:
    """Of a spool of many megabytes, what is in memory is a portion and a piece of a segment for each level."""
    spool = begin(size=1 << 30)
    for first in range(0, 30_000, 1000):
        spool.append(first, [LONG] * 1000, bytes([DEBUG, INFO, WARNING, ERROR] * 250))
    pieces = 4 * stored.CHUNK + (1 << 20)
    for _ in range(5):
        portion = spool.read(500, 1 << 20)
        assert portion is not None
        window = spool._window
        kept = window._bytes + sum(len(e[2]) for s in spool._lanes.segments.values() for e in s.decoded)
        assert kept < pieces
        spool.done(portion.last_seq)


def test_one_thread_appends_while_another_reads(begin: Spooled) -> None:
    """Every record that did not have to go is read once, in order within what is there, and the counts agree."""
    spool = begin(size=6 * MIN_SEGMENT)
    gone: list[int] = []
    appended = threading.Event()

    def append() -> None:
        try:
            for first in range(0, 6000, 100):
                lines = [b"%d\n" % number + LONG for number in range(first, first + 100)]
                gone.append(sum(spool.append(first, lines, bytes([DEBUG, INFO, INFO, ERROR] * 25))))
        finally:
            appended.set()

    thread = threading.Thread(target=append)
    thread.start()
    numbers: list[int] = []
    try:
        while not appended.is_set() or spool.records:
            if portion := spool.read(150, 1 << 20):
                assert portion.data == b"".join(b"%d\n" % number + LONG for number in portion.numbers)
                numbers += portion.numbers
                spool.done(portion.last_seq)
    finally:
        thread.join()
    assert numbers == sorted(set(numbers))
    assert len(numbers) + sum(gone) == 6000


def test_a_directory_of_nothing_goes_at_the_end(begin: Spooled, tmp_path: Path) -> None:
    """So that a spool on disk is one with something in it; it is made again when it is needed."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    rest(spool)
    spool.close()
    assert list((tmp_path / "spools").iterdir()) == []
    spool.close()
    spool = begin(acked=1)
    spool.append(1, [b"b\n"], bytes([INFO]))
    assert rest(spool) == [1]


def test_few_files_are_open(begin: Spooled) -> None:
    """However many segments there are: those that are appended to, and those that are read."""
    spool = begin(size=100 * MIN_SEGMENT)
    spool.append(0, [LONG] * 3000, bytes([INFO, ERROR] * 1500))
    while portion := spool.read(100, 1 << 20):
        spool.done(portion.last_seq)
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
        assert sum(link.endswith(".seg") for link in links) <= 6
        spool.sync()


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")
