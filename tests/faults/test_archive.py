"""Rotation, compression and retention, killed at every step, on full disks, and among files that are not ours."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collector_command import ROOT
from tests.dying import Died, Dying
from tests.lives import Life, archived, lines_of
from tests.small_disk import PAGE, can_mount, small_disk

LINES = [f"line {number}" for number in range(6)]


def test_a_death_at_any_call_leaves_nothing_half_done(tmp_path: Path) -> None:
    """Killed at whichever call, also in the midst of a write: the next life has every line once, in whole files."""
    life = Life(tmp_path / "whole")
    with Dying() as dying:
        _live(life, [])
    assert dying.calls > 40

    for torn in (False, True):
        for at in range(1, dying.calls + 1):
            directory = tmp_path / f"{at}{'torn' if torn else ''}"
            written: list[str] = []
            life = Life(directory)
            with pytest.raises(Died), Dying(at, torn=torn):
                _live(life, written)
            _assert_nothing_half_done(directory)
            with Dying():  # which syncs nothing
                _assert_whole(directory, written)


def test_a_death_in_the_next_life_too(tmp_path: Path) -> None:
    """A second death, at any call of what clears up after the first, changes nothing."""
    life = Life(tmp_path / "whole")
    with Dying() as dying:
        _live(life, [])
    for at in range(3, dying.calls + 1, 5):
        again = 0
        while True:
            again += 1
            directory = tmp_path / f"{at}-{again}"
            written: list[str] = []
            life = Life(directory)
            with pytest.raises(Died), Dying(at):
                _live(life, written)
            life = Life(directory)
            try:
                with Dying(again):
                    life.open()
                    life.rest()
            except Died:
                pass
            else:
                break
            finally:
                life.bury()
            with Dying():
                _assert_whole(directory, written)
        life.archive.close()


def test_a_file_that_is_written_to_is_never_taken_for_a_rotated_one(tmp_path: Path) -> None:
    """Dead before the rename, and somebody gives the active file that name too: the next life leaves the link alone."""
    life = Life(tmp_path).open()
    life.write("line 0")
    with pytest.raises(Died), Dying(3):
        life.rotate()
    (reserved,) = archived(tmp_path)
    assert reserved.stat().st_size == 0
    life.bury()
    reserved.unlink()
    reserved.hardlink_to(life.path)

    life = Life(tmp_path, retention="1 s").open()
    life.rest()

    assert archived(tmp_path) == [reserved]
    assert lines_of(life.path) == ["line 0"]
    assert life.archive.document()["files"] == 0
    life.close()


def _live(life: Life, written: list[str]) -> None:
    """Two files rotated and compressed, with lines before, between and after; then an end in order."""
    try:
        life.open()
        for number, line in enumerate(LINES):
            if number in (2, 4):
                life.rotate()
                life.rest()
            life.write(line)
            written.append(line)
        life.archive.close()
    finally:
        life.bury()


def _assert_nothing_half_done(directory: Path) -> None:
    """While nobody has cleared up yet: nothing that has the name of a compressed file is less than one."""
    for path in archived(directory):
        if path.suffix == ".gz":
            lines_of(path)


def _assert_whole(directory: Path, written: list[str]) -> None:
    """After one more life: each line is there once and in order, and nothing else is there."""
    life = Life(directory).open()
    life.rest()
    files = archived(directory)
    found = [line for path in [*files, life.path] for line in lines_of(path)]
    assert found[: len(written)] == written
    assert len(found) <= len(written) + 1
    assert all(path.suffix == ".gz" for path in files)
    assert life.archive.document()["files"] == len(files)
    assert life.told == []
    life.close()


#: Rotates and compresses without end in the directory argv[1], with a real archive, and says when it has begun.
PROGRAM = """
import fcntl, itertools, os, sys
from pathlib import Path
from logbus.collectors.retention import Retention
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.journal import journal_of
directory, kind = Path(sys.argv[1]), sys.argv[2]
path = directory / "logs" / "app.jsonl"
archive = Archive(
    path, name="main", journal=journal_of(directory / "state", path), retention=Retention(),
    compression=kind, tell=print,
)
if path.exists():
    os.truncate(path, path.read_bytes().rfind(b"\\n") + 1)
old = -1
for file in itertools.count():
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    fcntl.flock(fd, fcntl.LOCK_EX)
    if old >= 0:
        os.close(old)
    else:
        archive.recover((os.fstat(fd).st_dev, os.fstat(fd).st_ino))
        print("ready", flush=True)
    old = fd
    for part in range(20):
        os.write(fd, b"".join(b"%d %d %d\\n" % (os.getpid(), file, part * 500 + line) for line in range(500)))
    archive.rotate(path, (os.fstat(fd).st_dev, os.fstat(fd).st_ino))
"""


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_process_killed_while_it_compresses_leaves_no_half_file(
    tmp_path: Path, scale: Callable[[int, int], int], kind: str
) -> None:
    """Killed at seeded moments, life after life: at no time is a compressed file less than whole, and no line is lost
    or there twice.
    """
    moments = random.Random(7)
    Life(tmp_path)
    for _ in range(scale(50, 3)):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), kind], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            deadline = moments.uniform(0.0, 0.3)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(deadline)
            process.send_signal(signal.SIGKILL)
        for path in archived(tmp_path):
            if path.suffix == f".{kind}":
                lines_of(path)
    left = len(archived(tmp_path))

    life = Life(tmp_path, compression=kind).open()
    life.rest()
    files = archived(tmp_path)
    assert left > 3
    assert all(path.suffix == f".{kind}" for path in files)
    lines = [tuple(map(int, line.split())) for path in files for line in lines_of(path)]
    for pid, of_one in itertools.groupby(lines, key=lambda line: line[0]):
        numbers = [(file, line) for _, file, line in of_one]
        assert numbers == [divmod(number, 10_000) for number in range(len(numbers))], pid
    assert life.archive.document()["files"] == len(files)
    assert life.told == []
    life.close()


@pytest.mark.skipif(not can_mount(), reason="only root can mount a disk that is full soon")
def test_a_disk_that_fills_up_under_a_compression(tmp_path: Path) -> None:
    """The partial file goes, the plain one stays, people are told once, and with room it is done."""
    with small_disk(tmp_path / "disk", 64) as disk:
        state = tmp_path / "state"
        state.mkdir()
        life = Life(disk.path)
        life.open()
        noise = os.urandom(PAGE * 12).hex()
        life.write(noise)
        life.rotate()
        filler = _fill(disk.path)
        (plain,) = archived(disk.path)

        for _ in range(3):
            life.turn()
            life.shelf._pack_at = life.shelf._mend_at = 0.0
        assert archived(disk.path) == [plain]
        assert lines_of(plain) == [noise]
        assert 1 <= len(life.told) <= 2, life.told

        filler.unlink()
        life.rest()
        (packed,) = archived(disk.path)
        assert gzip.decompress(packed.read_bytes()) == noise.encode() + b"\n"
        life.close()


@pytest.mark.skipif(not can_mount(), reason="only root can mount a disk that is full soon")
def test_a_full_disk_is_freed_by_retention(tmp_path: Path) -> None:
    """Journal and logs on one full disk: what is too old goes all the same, and the journal is whole afterwards."""
    with small_disk(tmp_path / "disk", 64) as disk:
        life = Life(disk.path, retention="2 files", compression=None)
        life.open()
        for _ in range(2):
            life.write("x" * PAGE * 8)
            life.rotate()
        life.rest()
        life.write("x" * PAGE * 8)
        _fill(disk.path)
        oldest, newer = archived(disk.path)
        last = life.archive.rotate(life.path, life.identity)
        life.bury()
        life.rest()
        assert archived(disk.path) == [newer, last]
        assert not oldest.exists()

        life = Life(disk.path, retention="1 file", compression=None).open()
        life.rest()
        assert archived(disk.path) == [last]
        life.close()


def _fill(disk: Path) -> Path:
    """The file that takes what room there was."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(PAGE)):
            pass
    return filler
