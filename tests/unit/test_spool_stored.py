"""Segments on disk that are not as they should be: what is sent all the same, what is told and counted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors.spool import segment, spool as spool_module, stored
from tests.spooled import ERROR, INFO, Spooled, rest


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Spooled]:
    """Makes the spool of this test, and its next lives."""
    with Spooled(tmp_path) as lives:
        yield lives


def test_a_damaged_segment_is_sent_as_far_as_it_is_whole(begin: Spooled) -> None:
    """It is told once, and kept in quarantine when nothing of it is left."""
    spool = begin()
    spool.append(0, [b"line %d\n" % number for number in range(5)], bytes([INFO] * 5))
    spool.close()
    (path,) = begin.files
    content = bytearray(path.read_bytes())
    content[content.index(b"line 2")] ^= 1
    path.write_bytes(content)
    spool = begin()
    assert begin.told == [f"spool of sink 'main': {path.name} is damaged; 4 of its records are whole and will be sent"]
    assert spool.records == 4
    assert rest(spool) == [0, 1, 3, 4]
    assert spool.take_lost() == 0
    assert (path.parent / "quarantine" / path.name).read_bytes() == content
    assert begin.files == []
    assert len(begin.told) == 2


def test_damage_while_it_is_read_is_counted(begin: Spooled) -> None:
    """Once, as records that are lost; the others are sent."""
    spool = begin()
    spool.append(0, [b"line %d\n" % number for number in range(5)], bytes([INFO] * 5))
    (path,) = begin.files
    with path.open("r+b") as file:
        file.seek(path.read_bytes().index(b"line 2"))
        file.write(b"LINE")
    assert rest(spool) == [0, 1, 3, 4]
    assert (spool.take_lost(), spool.take_lost(), spool.records) == (1, 0, 0)
    assert begin.told[0] == f"spool of sink 'main': {path.name} is damaged; 1 of its records lost"


def test_a_damaged_header_costs_nothing(begin: Spooled) -> None:
    """The name tells whether the lines are the sink's."""
    spool = begin()
    spool.append(0, [b"a\n", b"b\n"], bytes([ERROR, ERROR]))
    spool.close()
    (path,) = begin.files
    path.write_bytes(bytes(20) + path.read_bytes()[20:])
    spool = begin()
    portion = spool.read(10, 1000)
    assert portion is not None
    assert (portion.data, portion.dialect) == (b"a\nb\n", None)
    spool = begin(dialect="another")
    portion = spool.read(10, 1000)
    assert portion is not None
    assert portion.dialect == ""


def test_what_is_no_segment_is_left_alone(begin: Spooled, tmp_path: Path) -> None:
    """Other files, directories, pipes and links stay where they are, and are told; the spool works."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    spool.close()
    directory = tmp_path / "spools" / "main"
    name = str(segment.Name(1, 2))
    (directory / "notes.txt").write_text("mine")
    (directory / name).symlink_to("/etc/passwd")
    (directory / str(segment.Name(2, 2))).mkdir()
    os.mkfifo(directory / str(segment.Name(3, 2)))
    spool = begin()
    assert len(begin.told) == 4
    assert rest(spool) == [0]
    assert len(list(directory.iterdir())) == 4


def test_a_segment_of_a_later_version_waits_for_it(begin: Spooled) -> None:
    """It is neither read nor removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "VERSION", 9)
        begin().append(0, [b"a\n"], bytes([INFO]))
        (path,) = begin.files
    spool = begin()
    assert begin.told == [f"spool of sink 'main': {path.name} was written by a later version, and is left alone"]
    assert spool.records == 0
    assert path.exists()


def test_a_directory_that_cannot_be_read_stops_nobody(begin: Spooled, tmp_path: Path) -> None:
    """It is told; what can't be appended raises, and the books are as before."""
    (tmp_path / "spools").mkdir()
    (tmp_path / "spools" / "main").write_text("a file")
    spool = begin()
    assert len(begin.told) == 1
    with pytest.raises(OSError, match="Not a directory"):
        spool.append(0, [b"a\n"], bytes([INFO]))
    assert spool.records == 0


def test_a_directory_that_was_removed_is_made_again(begin: Spooled) -> None:
    """By the next append, and what was in it is lost and counted."""
    spool = begin()
    spool.append(0, [b"a\n"] * 3, bytes([INFO] * 3))
    spool.close()
    spool = begin()
    (path,) = begin.files
    path.unlink()
    path.parent.rmdir()
    spool.append(3, [b"b\n"], bytes([INFO]))
    assert rest(spool) == [3]
    assert spool.take_lost() == 3


def test_a_sector_that_cannot_be_read_costs_its_records(begin: Spooled, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk reads beside it is sent."""
    spool = begin()
    spool.append(0, [b"%05d" % number + b"x" * 994 + b"\n" for number in range(20)], bytes([INFO] * 20))
    pread = os.pread

    def failing(fd: int, size: int, at: int) -> bytes:
        if at < 8192 and at + size > 4096:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", failing)
    assert rest(spool) == [0, 1, 2, *range(8, 20)]
    assert spool.take_lost() == 5
    assert "5 of its records lost" in begin.told[0]


def test_an_error_that_passes_is_the_readers(begin: Spooled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost when there are no descriptors left, for a while."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    spool = begin()

    def failing(fd: int, size: int, at: int) -> bytes:
        raise OSError(errno.ENOMEM, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        with pytest.raises(OSError, match="no memory"):
            spool.read(1, 1)
    assert rest(spool) == [0]


def test_a_file_that_is_longer_than_any_segment_is_not_read(begin: Spooled) -> None:
    """A hole of many gigabytes with the name of a segment would hold up the start; it is left alone, and told."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    (path,) = begin.files
    longer = path.with_name(f"{1:016x}-{0:08x}.seg")
    longer.touch()
    os.truncate(longer, stored.MAX_FILE + 1)
    spool = begin()
    assert rest(spool) == [0]
    assert begin.told == [
        f"spool of sink 'main': '{longer.name}' is left alone: expected at most 268,435,456 bytes, found 268,435,457"
    ]
    assert longer.exists()


def test_a_number_that_leaves_no_room_behind_it_is_not_taken(begin: Spooled) -> None:
    """Records that come later could have none: the segment is left alone, and the spool goes on."""
    spool = begin()
    spool.append(0, [b"a\n"], bytes([INFO]))
    (path,) = begin.files
    name = segment.Name(7, segment.dialect_sum("own"))
    header = segment.encode_header(7, created_us=1, lane=INFO, dialect="own")
    path.with_name(str(name)).write_bytes(header + segment.encode(segment.key(7), INFO, [2**64 - 1], [b"b\n"]))
    spool = begin()
    assert any(f"'{name}' is left alone: expected numbers below" in text for text in begin.told)
    spool.append(1, [b"c\n"], bytes([INFO]))
    assert rest(spool) == [0, 1]


def test_a_crowd_of_strange_files_is_not_told_one_by_one(begin: Spooled) -> None:
    """Each line is a record too: the first ones are told, and how many there are more."""
    begin.directory.mkdir(parents=True)
    for number in range(100):
        (begin.directory / f"strange {number}").touch()
    spool = begin()
    assert len(begin.told) == spool_module.MAX_TOLD + 1
    assert begin.told[-1].startswith("spool of sink 'main': 80 lines more")
    assert spool.records == 0
