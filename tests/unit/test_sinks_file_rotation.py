"""The file sink when its file is full, or old: what goes where, and what happens when the next file can't be had."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from logbus.collectors.sinks import file as file_module
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.file import ROTATE_RETRY_S, FileSink
from logbus.errors import OwnedError, SinkError
from tests.rotating import Clocks, Rotating, fill, write
from tests.small_disk import can_mount, small_disk

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
#: A line of which three are more than 1 kB.
LINE: Final = b'"' + b"x" * 397 + b'"\n'


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    """Clocks that the test moves, and no summer time; the sink looks at its path every time."""
    monkeypatch.setattr(file_module, "LOOK_S", 0.0)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "UTC0")
        time.tzset()
        yield Clocks(monkeypatch)
    time.tzset()


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[Rotating]:
    """Makes sinks that rotate, and closes them."""
    with Rotating(tmp_path) as rotating:
        yield rotating


def test_the_next_file_begins_with_the_line_that_does_not_fit(rotating: Rotating, clocks: Clocks) -> None:
    """No file is longer than its size, and no line is torn or lost or out of order."""
    lines = [b'"%d%s"\n' % (number, b"x" * (number % 7 * 50)) for number in range(100)]
    fill(rotating.sink("1 kB"), lines)
    assert b"".join(rotating.contents) == b"".join(lines)
    assert all(len(content) <= 1000 for content in rotating.contents)
    assert all(len(content) > 600 and content.endswith(b"\n") for content in rotating.contents[:-1])
    assert len(rotating.rotated) == 17


def test_a_longer_line_has_a_file_of_its_own(rotating: Rotating, clocks: Clocks) -> None:
    """It is written whole, and what stands around it is not in its file."""
    long = b'"' + b"x" * 5000 + b'"\n'
    write(rotating.sink("1 kB"), long, b"1\n", b"2\n", long, long, b"3\n")
    assert rotating.contents == [long, b"1\n2\n", long, long, b"3\n"]


def test_a_full_file_is_rotated_though_nothing_comes(rotating: Rotating, clocks: Clocks) -> None:
    """By a look without a line; and an empty file is not, however often it is looked at."""
    sink = rotating.sink("1 kB")
    sink.look(1000)
    sink.write(b"x" * 999 + b"\n")
    for _ in range(3):
        sink.look()
        clocks.advance(1.0)
    assert rotating.contents == [b"x" * 999 + b"\n", b""]


def test_names_sort_as_the_files_were_written(rotating: Rotating, clocks: Clocks) -> None:
    """Also of two rotations in one microsecond, and after the clock was set back."""
    sink = rotating.sink("1 kB")
    for number in range(6):
        write(sink, LINE, LINE, b"%d\n" % number)
        if number == 3:
            clocks.set(-DAY)
        write(sink, LINE)
    assert [path.name for path in rotating.rotated][:2] == [
        "app.20261122T120000.000000Z.jsonl",
        "app.20261122T120000.000001Z.jsonl",
    ]
    assert len(rotating.rotated) == 8
    assert b"".join(rotating.contents) == b"".join(LINE + LINE + b"%d\n" % number + LINE for number in range(6))


def test_a_file_lasts_for_its_interval(rotating: Rotating, clocks: Clocks) -> None:
    """From its first line on, whatever the clock on the wall says."""
    sink = rotating.sink("1 hour")
    clocks.advance(10 * HOUR)  # nothing is old in an empty file
    write(sink, b"1\n")
    for by in (400 * DAY, -800 * DAY, 400 * DAY):
        clocks.set(by)
        clocks.advance(HOUR / 4)
        write(sink, b"2\n")
    clocks.advance(HOUR / 4)
    write(sink, b"3\n")
    assert rotating.contents == [b"1\n2\n2\n2\n", b"3\n"]


def test_a_file_is_rotated_at_its_time(rotating: Rotating, clocks: Clocks) -> None:
    """At midnight and at noon; a day without records has no file."""
    sink = rotating.sink("00:00", "12:00")
    clocks.advance(1.0)
    write(sink, b"1\n")
    clocks.advance(11 * HOUR)
    write(sink, b"2\n")
    clocks.advance(HOUR)
    sink.look()
    assert rotating.contents == [b"1\n2\n", b""]
    clocks.advance(3 * DAY)
    sink.look()
    write(sink, b"3\n")
    assert rotating.contents == [b"1\n2\n", b"3\n"]
    clocks.advance(DAY)
    write(sink, b"4\n")
    assert rotating.contents == [b"1\n2\n", b"3\n", b"4\n"]


@pytest.mark.parametrize("by", [-400 * DAY, 400 * DAY])
def test_a_clock_that_is_set_makes_no_storm(rotating: Rotating, clocks: Clocks, by: float) -> None:
    """Nor a file that never ends: a line each hour for three days, and a file each day, one more where it was set."""
    sink = rotating.sink("00:00")
    for hour in range(72):
        if hour == 30:
            clocks.set(by)
        write(sink, b"%d\n" % hour)
        clocks.advance(HOUR)
    assert b"".join(rotating.contents) == b"".join(b"%d\n" % hour for hour in range(72))
    assert 4 <= len(rotating.contents) <= 5
    assert max(content.count(b"\n") for content in rotating.contents) <= 25


def test_an_age_goes_on_over_a_restart(rotating: Rotating, clocks: Clocks) -> None:
    """The next collector knows when the file began; so a collector that is restarted every hour rotates each day."""
    for number in range(5):
        clocks.advance(HOUR / 4)
        sink = rotating.sink("1 hour")
        write(sink, b"%d\n" % number)
        sink.look()
        sink.close()
        os.utime(rotating.path, (clocks.now.wall, clocks.now.wall))
    assert rotating.contents == [b"0\n1\n2\n3\n", b"4\n"]


def test_a_file_of_which_nothing_is_known_is_as_old_as_its_last_line(rotating: Rotating, clocks: Clocks) -> None:
    """A file that is a week old by then is rotated before anything is added; a fresh one has its time."""
    rotating.path.parent.mkdir()
    rotating.path.write_bytes(b"old\n")
    os.utime(rotating.path, (clocks.now.wall - 7 * DAY,) * 2)
    write(rotating.sink("1 day"), b"new\n")
    assert rotating.contents == [b"old\n", b"new\n"]


def test_a_file_that_is_too_long_already_is_rotated_first(rotating: Rotating, clocks: Clocks) -> None:
    """As after a change of its size in the configuration."""
    rotating.path.parent.mkdir()
    rotating.path.write_bytes(LINE * 10)
    write(rotating.sink("1 kB"), b"1\n")
    assert rotating.contents == [LINE * 10, b"1\n"]


def test_the_lock_is_on_the_new_file_and_off_the_old(rotating: Rotating, clocks: Clocks) -> None:
    """Nobody else gets the one; the other is free to be compressed, moved or read."""
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE, LINE)
    with pytest.raises(OwnedError):
        rotating.sink("1 kB")
    with rotating.rotated[0].open() as old:
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ── others at work on the file ──────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_logrotate_has_moved_is_not_rotated_again(rotating: Rotating, clocks: Clocks) -> None:
    """What another tool has moved is its own; ours goes on with a new file, at its full size."""
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    moved = rotating.path.rename(rotating.path.with_suffix(".1"))
    write(sink, LINE, LINE)
    assert (moved.read_bytes(), rotating.contents) == (LINE * 2, [LINE * 2])


def test_a_file_that_was_moved_just_before_its_rotation(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks too nobody else's file is renamed."""
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    sink.look()
    rotating.path.rename(rotating.path.with_suffix(".1"))
    rotating.path.write_bytes(b'"theirs"\n')
    write(sink, LINE)
    assert rotating.contents == [b'"theirs"\n' + LINE]


def test_a_file_that_was_emptied_begins_anew(rotating: Rotating, clocks: Clocks) -> None:
    """As copytruncate does it: its size and its age are those of what is in it."""
    sink = rotating.sink("1 kB", "1 hour")
    write(sink, LINE, LINE)
    clocks.advance(HOUR - 1)
    os.truncate(rotating.path, 0)
    write(sink, LINE, LINE)
    clocks.advance(HOUR - 1)
    sink.look()
    assert rotating.contents == [LINE * 2]
    clocks.advance(1)
    sink.look()
    assert rotating.contents == [LINE * 2, b""]


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe"])
def test_what_was_planted_before_a_rotation_is_refused(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """It is neither renamed nor written to, and once it has gone the lines go on."""
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    rotating.path.unlink()
    plant(kind, rotating.path, tmp_path / "target")
    for _ in range(3):
        with pytest.raises((OSError, SinkError)):
            sink.look(len(LINE))
    assert rotating.rotated == []
    assert not (tmp_path / "target").exists() or (tmp_path / "target").read_text() == "precious"
    remove(rotating.path)
    write(sink, LINE)
    assert rotating.contents == [LINE]


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe"])
def test_what_was_planted_in_the_middle_of_a_rotation_is_refused(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """The new file is one that nobody has touched, or none: the lines wait until there can be one."""
    rotate = Archive.rotate

    def rotate_and_plant(self: Archive, path: Path, identity: tuple[int, int]) -> Path:
        monkeypatch.setattr(Archive, "rotate", rotate)
        found = rotate(self, path, identity)
        plant(kind, rotating.path, tmp_path / "target")
        return found

    monkeypatch.setattr(Archive, "rotate", rotate_and_plant)
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    for _ in range(3):
        with pytest.raises((OSError, SinkError)):
            sink.look(len(LINE))
    assert not (tmp_path / "target").exists() or (tmp_path / "target").read_text() == "precious"
    remove(rotating.path)
    write(sink, LINE)
    assert rotating.contents == [LINE * 2, LINE]


def test_a_file_that_somebody_made_in_the_middle_of_a_rotation(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for our new one; the next look judges it like any file that is found at the path."""
    rotate = Archive.rotate

    def rotate_and_make(self: Archive, path: Path, identity: tuple[int, int]) -> Path:
        found = rotate(self, path, identity)
        path.write_bytes(b'"theirs"\n')
        return found

    monkeypatch.setattr(Archive, "rotate", rotate_and_make)
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    with pytest.raises(FileExistsError):
        sink.look(len(LINE))
    write(sink, LINE)
    assert rotating.contents == [LINE * 2, b'"theirs"\n' + LINE]


def plant(kind: str, path: Path, target: Path) -> None:
    """Puts something that is no file at a path."""
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("precious")


def remove(path: Path) -> None:
    """Takes it away again."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


# ── rotations that fail ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rotation_that_fails_stops_no_line(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file grows beyond its size, the sink says why, tries again now and then, and says nothing once it works."""
    attempts = 0
    rename = os.rename

    def refuse(*_: Any, **__: Any) -> None:
        nonlocal attempts
        attempts += 1
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"name {attempts}")

    monkeypatch.setattr(os, "rename", refuse)
    sink = rotating.sink("1 kB")
    write(sink, *[LINE] * 20)
    assert rotating.contents == [LINE * 20]
    assert sink.trouble == f"{rotating.path}: rotation fails and is tried again: Permission denied"
    assert attempts == 1
    told = sink.trouble
    clocks.advance(ROTATE_RETRY_S)
    write(sink, *[LINE] * 20)
    assert (attempts, sink.trouble) == (2, told)
    monkeypatch.setattr(os, "rename", rename)
    clocks.advance(ROTATE_RETRY_S)
    write(sink, LINE)
    assert rotating.contents == [LINE * 40, LINE]
    assert not sink.trouble
    assert {path.name for path in rotating.path.parent.iterdir()} == {rotating.path.name, rotating.rotated[0].name}


def test_a_new_file_that_can_not_be_made_makes_the_lines_wait(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one has its last name: nothing is added to it, each look fails, and the first that works goes on."""
    open_ = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == rotating.path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_(path, *arguments, **options)

    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    monkeypatch.setattr(os, "open", refuse)
    for first in (len(LINE), 2, 0):
        with pytest.raises(OSError, match="No space left"):
            sink.look(first)
    assert rotating.contents == [LINE * 2]
    monkeypatch.setattr(os, "open", open_)
    write(sink, LINE)
    assert rotating.contents == [LINE * 2, LINE]


def test_a_disk_without_room_for_another_file(tmp_path: Path, clocks: Clocks) -> None:
    """A real one: the lines go on into the file that there is, until there is room for the next."""
    if not can_mount():
        pytest.skip("mounting a small disk is not allowed here")
    with small_disk(tmp_path / "disk", 16, files=3) as disk, Rotating(disk.path) as rotating:
        rotating.state = tmp_path / "state"
        sink = rotating.sink("1 kB")  # the root, its directory, and the file
        write(sink, *[LINE] * 5)
        assert rotating.contents == [LINE * 5]
        assert sink.trouble is not None
        assert "No space left on device" in sink.trouble
        disk.grow(16, files=10)
        clocks.advance(ROTATE_RETRY_S)
        write(sink, LINE)
        assert rotating.contents == [LINE * 5, LINE]
        assert not sink.trouble


def test_a_disk_that_is_full_in_the_new_file(tmp_path: Path, clocks: Clocks) -> None:
    """The write fails and is taken back, as in any file; the empty one is not rotated."""
    if not can_mount():
        pytest.skip("mounting a small disk is not allowed here")
    with small_disk(tmp_path / "disk", 4) as disk, Rotating(disk.path) as rotating:
        rotating.state = tmp_path / "state"
        page = b'"' + b"y" * (disk.size // 4 - 3) + b'"\n'
        sink = rotating.sink(f"{disk.size} B")
        fill(sink, [page] * 4)
        for _ in range(3):
            assert sink.look(len(page)) == disk.size
            with pytest.raises(OSError, match="No space left"):
                sink.write(page)
            assert sink.undo()
        assert rotating.contents == [page * 4, b""]
        disk.grow(8)
        write(sink, page)
        assert rotating.contents == [page * 4, page]


def test_a_directory_that_was_removed_has_its_files_no_more(rotating: Rotating, clocks: Clocks) -> None:
    """The next line is in a new directory, and the next rotation is there."""
    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE, LINE)
    for path in rotating.path.parent.iterdir():
        path.unlink()
    rotating.path.parent.rmdir()
    write(sink, LINE, LINE, LINE)
    assert rotating.contents == [LINE * 2, LINE]


# ── the end of a life ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at", ["before the rename", "after the rename"])
def test_a_life_that_ends_in_the_middle_of_a_rotation(
    rotating: Rotating, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The next one has every line once, in order, and goes on as if nothing had been."""

    class Killed(BaseException):
        """What no code of ours catches on its way."""

    rename = os.rename

    def die(*arguments: Any, **options: Any) -> None:
        if at == "after the rename":
            rename(*arguments, **options)
        monkeypatch.setattr(os, "rename", rename)
        raise Killed

    sink = rotating.sink("1 kB")
    write(sink, LINE, LINE)
    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(Killed):
        sink.look(len(LINE))
    sink.close()
    life = rotating.sink("1 kB")
    write(life, LINE, LINE, LINE)
    assert b"".join(rotating.contents) == LINE * 5
    assert all(len(content) <= 1000 for content in rotating.contents)
    assert all(rotating.contents)


def test_closing_ends_the_thread_of_the_archive(rotating: Rotating, clocks: Clocks) -> None:
    """And a sink that could not be opened has left none."""
    rotating.sink("1 kB").close()
    rotating.path.unlink()
    rotating.path.mkdir()
    sink: FileSink = rotating.sink("1 kB", opened=False)
    with pytest.raises(SinkError):
        sink.open()
