"""The archive of one sink: names, rotation under every obstacle, and the thread."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.retention import Retention, parse_retention
from logbus.collectors.rotation import Moment
from logbus.collectors.sinks import pack
from logbus.collectors.sinks.archive import Archive, archived_name
from logbus.collectors.sinks.journal import journal_of
from tests.eventually import eventually
from tests.lives import Life, archived, lines_of

#: Everything is kept.
_ALL = Retention()


def test_a_rotated_file_is_renamed_compressed_and_listed(tmp_path: Path) -> None:
    """Rotation gives a sortable name in UTC, then the compressed form replaces the file, with its times and mode."""
    life = Life(tmp_path).open()
    life.write("one")
    life.path.chmod(0o604)
    os.utime(life.path, ns=(1_000_000_000, 2_000_000_000))

    rotated = life.rotate()
    life.write("two")
    life.rest()

    assert re.fullmatch(r"app\.\d{8}T\d{6}\.\d{6}Z\.jsonl", rotated.name)
    packed = rotated.with_name(f"{rotated.name}.gz")
    assert archived(tmp_path) == [packed]
    assert (lines_of(packed), lines_of(life.path)) == (["one"], ["two"])
    info = packed.stat()
    assert (info.st_mode & 0o7777, info.st_mtime_ns) == (0o604, 2_000_000_000)
    assert life.archive.document() == {"files": 1, "bytes": info.st_size, "waiting": 0, "deleted": 0}
    assert life.told == []
    life.close()


def test_names_sort_though_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name sorts after every earlier one, also in one microsecond, with the clock set back, and after a restart."""
    names = []
    life = Life(tmp_path, compression=None).open()
    for wall in (1_800_000_000.0, 1_800_000_000.0, 1_700_000_000.0):
        _set_clock(monkeypatch, wall)
        life.write("line")
        names.append(life.rotate().name)
    life.close()
    life = Life(tmp_path, compression=None).open()
    life.write("line")
    names.append(life.rotate().name)

    assert names == sorted(set(names))
    assert names[0] == "app.20270115T080000.000000Z.jsonl"
    life.close()


@pytest.mark.parametrize("taken", ["", ".gz", ".zst"])
def test_a_name_that_is_taken_is_left_to_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    """Nobody's file is overwritten: where the name or that of a compressed form is there, the next one is used."""
    _set_clock(monkeypatch, 1_800_000_000.0)
    life = Life(tmp_path).open()
    foreign = life.path.with_name(archived_name("app.jsonl", 1_800_000_000_000_000) + taken)
    foreign.write_text("foreign\n")
    life.write("ours")

    rotated = life.rotate()

    assert rotated.name == archived_name("app.jsonl", 1_800_000_000_000_001)
    assert foreign.read_text() == "foreign\n"
    assert rotated.read_text() == "ours\n"
    life.close()


def test_a_name_that_is_taken_at_the_last_moment_fails_the_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that comes in between the look and the rename is not overwritten, and the active one stays."""
    life = Life(tmp_path).open()
    life.write("ours")
    real = os.open

    def hasty(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_EXCL and str(path).startswith("app.2"):
            life.path.with_name(str(path)).write_text("foreign\n")
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", hasty)
    with pytest.raises(FileExistsError):
        life.rotate()
    monkeypatch.undo()

    assert life.path.read_text() == "ours\n"
    (foreign,) = archived(tmp_path)
    assert foreign.read_text() == "foreign\n"
    assert life.archive.document()["files"] == 0
    life.close()


def test_another_file_at_the_path_is_not_rotated(tmp_path: Path) -> None:
    """Where somebody has put another file in place of the active one, rotation refuses and touches neither."""
    life = Life(tmp_path).open()
    life.path.unlink()
    life.path.write_text("foreign\n")

    with pytest.raises(OSError, match="another file is there") as raised:
        life.archive.rotate(life.path, life.identity)

    assert raised.value.errno == errno.ESTALE
    assert (archived(tmp_path), life.path.read_text()) == ([], "foreign\n")
    life.close()


def test_a_file_that_comes_in_its_place_while_it_is_renamed_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the rename somebody replaces the active file: his is not taken for ours, nor lost."""
    life = Life(tmp_path, retention="1 s").open()
    life.write("ours")
    real = os.rename

    def late(source: str, target: str, **options: Any) -> None:
        life.path.unlink()
        life.path.write_text("foreign\n")
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(OSError, match="another file came"):
        life.rotate()
    monkeypatch.undo()

    (foreign,) = archived(tmp_path)
    assert foreign.read_text() == "foreign\n"
    assert life.archive.document()["files"] == 0
    life.close()


def test_a_rename_that_fails_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file keeps its name, the name that was kept free goes, and the next attempt works."""
    life = Life(tmp_path, compression=None).open()
    life.write("ours")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(OSError, match="Input/output"):
            life.rotate()
    assert (archived(tmp_path), life.path.read_text()) == ([], "ours\n")
    assert life.archive.document()["files"] == 0

    assert life.rotate().read_text() == "ours\n"
    life.close()


def test_a_directory_that_has_gone_fails_the_rotation(tmp_path: Path) -> None:
    """Rotation in a removed directory raises, the slow side waits, and both go on when it is back."""
    life = Life(tmp_path, retention="1 file").open()
    life.write("one")
    life.rotate()
    gone = life.path.parent.rename(tmp_path / "elsewhere")

    with pytest.raises(FileNotFoundError):
        life.archive.rotate(life.path, life.identity)
    assert life.turn() > 0
    assert len(list(gone.iterdir())) == 2

    life.path.parent.mkdir()
    life._open(0)
    for line in ("two", "three"):
        life.write(line)
        life.rotate()
    life.rest()
    assert [lines_of(path) for path in archived(tmp_path)] == [["three"]]
    assert life.archive.document()["files"] == 1
    life.close()


def test_a_file_is_left_alone_while_its_sink_may_write_to_it(tmp_path: Path) -> None:
    """Between the rename and the opening of the next file the old one is neither compressed nor removed."""
    life = Life(tmp_path, retention="1 s").open()
    life.write("one")

    rotated = life.archive.rotate(life.path, life.identity)
    assert 0 < life.turn() < 1
    life.write("two")  # the next file can't be opened, say
    assert lines_of(rotated) == ["one", "two"]

    life._open(os.O_EXCL)
    life.rest()
    assert [lines_of(path) for path in archived(tmp_path)] == [["one", "two"]]
    life.close()


def test_the_beginning_of_a_file_outlives_a_restart(tmp_path: Path) -> None:
    """When a file began is known to the next life, and nothing is known of another file."""
    life = Life(tmp_path).open()
    began = Moment.now()
    assert life.archive.began(life.identity) is None
    life.archive.begin(life.identity, began)
    life.close()

    life = Life(tmp_path).open()
    assert life.archive.began(life.identity) == began
    assert life.archive.began((0, 1)) is None
    life.close()


def test_nothing_is_opened_or_started_before_it_is_told_to(tmp_path: Path) -> None:
    """An archive that was made and closed, as validation and a cancelled reload do, has left no trace."""
    life = Life(tmp_path)
    life.archive.close()
    life.archive.close()

    assert list((tmp_path / "state").iterdir()) == []
    assert life.archive.document()["files"] == 0


def test_the_thread_compresses_and_removes_by_itself(tmp_path: Path) -> None:
    """A real archive compresses what is rotated and removes what is too old, gives way to others, and ends at close."""
    told: list[str] = []
    path, archive = _archive(
        tmp_path, retention=parse_retention(["1 file", "1 s"]), compression="zst", tell=told.append
    )
    path.write_text("one\n")
    archive.recover(_identity(path))
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "logbus-archive-main"]

    rotated = archive.rotate(path, _identity(path))
    eventually(lambda: archive.document()["deleted"] == 1)
    assert thread.daemon
    niceness = [os.getpriority(os.PRIO_PROCESS, of or 0) for of in (thread.native_id, 0)]
    assert niceness[0] > niceness[1] or niceness == [19, 19]
    assert not rotated.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    archive.close()
    assert not thread.is_alive()
    assert told == []


def test_closing_does_not_wait_for_a_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compression under way is given up, and leaves the plain file alone."""
    under_way = threading.Event()

    def endless(source: int, target: int, kind: str, *, go_on: Callable[[], bool]) -> None:
        os.write(target, b"a part")
        under_way.set()
        while go_on():
            threading.Event().wait(0.001)

    monkeypatch.setattr(pack, "compress", endless)
    path, archive = _archive(tmp_path)
    path.write_text("one\n")
    archive.recover(_identity(path))
    rotated = archive.rotate(path, _identity(path))
    assert under_way.wait(10)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "logbus-archive-main"]

    archive.close()

    assert not thread.is_alive()
    assert sorted(tmp_path.iterdir()) == [rotated, tmp_path / "state"]


def test_who_asks_does_not_wait_for_a_disk(tmp_path: Path) -> None:
    """The collector's own thread asks for the status: it gets one though a rename, or the journal, hangs for good."""
    life = Life(tmp_path).open()
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(life.archive.document()), daemon=True)
    with life.archive._journal.lock:
        asking.start()
        asking.join(10.0)
        assert [answer["files"] for answer in answers] == [0]
    life.close()


def test_a_system_without_another_thread_stops_no_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, once, and the thread is started by the rotation for which there is one."""
    told: list[str] = []
    path, archive = _archive(tmp_path, tell=told.append)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(2):
            path.write_text(f"{number}\n")
            if not number:
                archive.recover(_identity(path))
            archive.rotate(path, _identity(path))
    assert told == ["sink 'main': its rotated files are neither compressed nor removed for now: can't start new thread"]
    path.write_text("2\n")
    archive.rotate(path, _identity(path))
    eventually(lambda: archive.document() | {"bytes": 0} == {"files": 3, "bytes": 0, "waiting": 0, "deleted": 0})
    archive.close()


def test_it_can_be_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    """A sink that is opened again, as after a failed start, has its archive with all that it knew."""
    path, archive = _archive(tmp_path)
    for count in (1, 2):
        path.write_text("line\n")
        archive.recover(_identity(path))
        archive.rotate(path, _identity(path))
        eventually(lambda: archive.document()["waiting"] == 0)
        assert archive.document()["files"] == count
        archive.close()

    assert len(list(tmp_path.glob("app.*.gz"))) == 2


def _archive(
    directory: Path,
    *,
    retention: Retention = _ALL,
    compression: str = "gz",
    tell: Callable[[str], None] = print,
) -> tuple[Path, Archive]:
    """The path of a sink's file, and its archive with all that is real."""
    path = directory / "app.jsonl"
    state = directory / "state"
    state.mkdir()
    journal = journal_of(state, path)
    return path, Archive(path, name="main", journal=journal, retention=retention, compression=compression, tell=tell)


def _identity(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_dev, info.st_ino


def _set_clock(monkeypatch: pytest.MonkeyPatch, wall: float) -> None:
    steady = Moment.now().steady
    monkeypatch.setattr(Moment, "now", classmethod(lambda cls: cls(wall, steady)))
