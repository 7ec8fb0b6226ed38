"""What becomes of rotated files: compression, retention, and everything that others do to the files meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks import shelf as module
from tests.lives import REPLACEMENTS, Clock, Life, archived, lines_in, refusing, rotated


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes when the test says so."""
    return Clock(monkeypatch)


def test_files_go_when_their_age_is_reached(tmp_path: Path, clock: Clock) -> None:
    """A file goes as long after its rotation as was said, not before, and the turn says when the next is due."""
    life = rotated(tmp_path, 1, retention="10 s")
    clock.go(4)
    life.write("line 1")
    life.rotate()
    life.rest()

    clock.go(5.9)
    assert life.turn() == pytest.approx(0.1)
    assert len(lines_in(tmp_path)) == 2
    clock.go(0.2)
    life.turn()
    assert lines_in(tmp_path) == [["active", "line 1"]]
    clock.go(10)
    life.turn()
    assert lines_in(tmp_path) == []
    life.close()


@pytest.mark.parametrize("seconds", [365 * 86_400, -365 * 86_400, 3600, -3600])
def test_a_clock_that_is_set_changes_no_age(tmp_path: Path, clock: Clock, seconds: float) -> None:
    """Set forward by a year it deletes nothing early, set back nothing too late; also over a restart."""
    life = rotated(tmp_path, 2, retention="10 s")
    clock.set_by(seconds)
    life.rest()
    assert len(lines_in(tmp_path)) == 2
    life.close()

    life = Life(tmp_path, retention="10 s").open()
    clock.go(9)
    life.rest()
    assert len(lines_in(tmp_path)) == 2
    clock.go(2)
    life.rest()
    assert lines_in(tmp_path) == []
    life.close()


def test_the_total_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    """The oldest go until the rest fits, counted as compressed, so that big files that shrink are not thrown away."""
    life = Life(tmp_path, retention="1 kB").open()
    for number in range(4):
        life.write(f"{number}" * 5000)  # some fifty bytes when compressed
        life.rotate()
        life.rest()
    assert len(archived(tmp_path)) == 4

    life.write(os.urandom(500).hex())
    life.rotate()
    life.rest()
    life.write(os.urandom(500).hex())
    life.rotate()
    life.rest()

    sizes = [path.stat().st_size for path in archived(tmp_path)]
    assert sum(sizes) <= 1000
    assert life.archive.document()["bytes"] == sum(sizes)
    assert len(sizes) == 1
    life.close()


def test_the_total_counts_what_cannot_be_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where compression fails the plain files count as they are: the disk is not to fill up behind a broken promise."""
    life = rotated(tmp_path, 3, retention="1 kB", line="x" * 800)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", refusing(errno.ENOSPC))
        life.rest()
        life.rest()

    assert [len(path.read_bytes()) for path in archived(tmp_path)] == [801]
    assert len(life.told) == 1
    assert "No space left" in life.told[0]
    life.close()


def test_a_foreign_file_with_a_fitting_name_stays(tmp_path: Path) -> None:
    """What the journal does not list is not removed, compressed or counted, whatever its name."""
    life = rotated(tmp_path, 1, retention="1 file")
    foreign = [
        life.path.with_name(name)
        for name in ("app.20200101T000000.000000Z.jsonl", "app.20200101T000000.000000Z.jsonl.gz", "app.jsonl.1")
    ]
    for path in foreign:
        path.write_text("foreign\n")
    life.write("line 1")
    life.rotate()
    life.rest()

    assert [path.read_text() for path in foreign] == ["foreign\n"] * 3
    assert len(archived(tmp_path)) == 4
    life.close()


@pytest.mark.parametrize("replace", REPLACEMENTS)
@pytest.mark.parametrize("compression", [None, "gz"])
def test_what_took_the_place_of_a_file_stays(
    tmp_path: Path, replace: Callable[[Path], None], compression: str | None
) -> None:
    """A copy, a link, a directory or a pipe under the name of one of ours is not followed, opened or removed."""
    life = rotated(tmp_path, 1, retention="1 file", compression=compression)
    if compression:
        life.rest()
    (ours,) = archived(tmp_path)
    replace(ours)
    life.write("line 1")
    life.rotate()
    life.rest()

    assert os.path.lexists(ours)
    assert len([path for path in archived(tmp_path) if path.suffix != ".moved"]) == 2
    assert life.archive.document()["files"] == 1
    life.close()


def test_a_compressed_file_that_an_operator_removes_is_forgotten(tmp_path: Path) -> None:
    """It counts no longer, so that as many files are kept as were asked for."""
    life = rotated(tmp_path, 3, retention="3 files")
    life.rest()
    archived(tmp_path)[1].unlink()

    life.write("line 3")
    life.rotate()
    life.rest()

    assert lines_in(tmp_path) == [["line 0"], ["line 2"], ["active", "line 3"]]
    assert life.archive.document() | {"bytes": 0} == {"files": 3, "bytes": 0, "waiting": 0, "deleted": 0}
    life.close()


def test_files_that_may_only_be_unmounted_are_remembered(tmp_path: Path) -> None:
    """With the directory on another device than the files were on, missing ones are not forgotten, nor counted."""
    life = rotated(tmp_path, 3, compression=None)
    life.rest()
    names = [path.name for path in archived(tmp_path)]
    for entry in list(life.archive._journal.entries.values()):
        entry.device += 1
        life.archive._journal.note(entry)
    life.close()
    away = tmp_path / "away"
    away.mkdir()
    for name in names[:2]:
        life.path.with_name(name).rename(away / name)

    life = Life(tmp_path, retention="2 files", compression=None).open()
    life.rest()
    assert [path.name for path in archived(tmp_path)] == names[2:]
    assert life.archive.document()["files"] == 3

    for name in names[:2]:
        (away / name).rename(life.path.with_name(name))
    life.rest()
    assert [path.name for path in archived(tmp_path)] == names[1:]
    life.close()


def test_without_a_journal_files_are_rotated_and_removed_but_not_compressed(tmp_path: Path) -> None:
    """A state directory that can't be written to is told once; once it can, all that is there is listed."""
    life = Life(tmp_path, retention="2 files")
    life.journal.parent.write_text("no directory")
    life.open()
    for number in range(4):
        life.write(f"line {number}")
        life.rotate()
        life.rest()

    assert lines_in(tmp_path) == [["line 2"], ["line 3"]]
    assert [path.suffix for path in archived(tmp_path)] == [".jsonl", ".jsonl"]
    assert len(life.told) == 1
    assert f"{life.journal}" in life.told[0]
    assert "left alone" in life.told[0]

    life.journal.parent.unlink()
    life.shelf._mend_at = 0.0
    life.rest()
    assert [path.suffix for path in archived(tmp_path)] == [".gz", ".gz"]
    life.close()
    life = Life(tmp_path, retention="1 file").open()
    life.rest()
    assert lines_in(tmp_path) == [["line 3"]]
    life.close()


def test_a_damaged_journal_deletes_nothing(tmp_path: Path) -> None:
    """What it listed is left alone for ever and said; new files are kept as they were asked for."""
    life = rotated(tmp_path, 3, retention="3 files", compression=None)
    life.close()
    life.journal.write_bytes(b"garbage\n" + life.journal.read_bytes()[8:])

    life = Life(tmp_path, retention="1 file", compression=None).open()
    for number in (3, 4):
        life.write(f"line {number}")
        life.rotate()
    life.rest()

    assert [lines[-1] for lines in lines_in(tmp_path)] == ["line 0", "line 1", "line 2", "line 4"]
    assert len(life.told) == 1
    assert "left alone" in life.told[0]
    life.close()


def test_files_that_cannot_be_removed_are_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go all the same, and the pause between attempts is a long one."""
    life = rotated(tmp_path, 3, retention="1 file", compression=None)
    stubborn = archived(tmp_path)[0].name
    real = os.unlink

    def refuse(path: Any, **options: Any) -> None:
        if path == stubborn:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert life.turn() == module.LOOK_S
        assert life.turn() == module.LOOK_S
        assert lines_in(tmp_path) == [["line 0"], ["line 2"]]
        assert len(life.told) == 1
        assert "Operation not permitted" in life.told[0]

    life.rest()
    assert lines_in(tmp_path) == [["line 2"]]
    life.close()


def test_more_files_than_can_be_remembered_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal stays short; the oldest files are forgotten, which is said, and never removed."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    life = rotated(tmp_path, 5, compression=None)
    life.rest()

    assert list(life.archive._journal.entries) == [path.name for path in archived(tmp_path)][2:]
    assert len(archived(tmp_path)) == 5
    assert len(life.told) == 1
    life.close()


def test_a_journal_at_its_bound_is_not_replaced_at_every_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at every file and writing all of the journal is for once in a while, however many files there are."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 100)
    life = rotated(tmp_path, 101, compression=None)
    life.rest()
    replaced: list[int] = []
    shorten = life.archive._journal.shorten

    def counted() -> None:
        replaced.append(1)
        shorten()

    monkeypatch.setattr(life.archive._journal, "shorten", counted)
    for _ in range(9):
        life.rotate()
        life.rest()

    assert len(replaced) == 3
    assert life.archive.document()["files"] <= 100
    assert len(archived(tmp_path)) == 110
    life.close()


def test_the_journal_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loses its old lines, and what operators have removed, as it goes."""
    monkeypatch.setattr("logbus.collectors.sinks.journal._SPARE_LINES", 10)
    life = Life(tmp_path, compression=None).open()
    for number in range(30):
        life.write(f"line {number}")
        life.rotate().unlink()
        life.rest()

    assert life.journal.read_bytes().count(b"\n") < 20
    assert life.archive.document()["files"] < 10
    life.close()


def test_a_turn_that_outlives_the_end_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hung when the collector closed, on a slow disk, finds no files and no journal."""
    monkeypatch.setattr("logbus.collectors.sinks.journal._SPARE_LINES", 0)
    life = rotated(tmp_path, 5, retention="1 file")
    life.close()
    before = (life.journal.read_bytes(), archived(tmp_path))
    end = threading.Event()
    end.set()

    life.turn(end)

    assert (life.journal.read_bytes(), archived(tmp_path)) == before
