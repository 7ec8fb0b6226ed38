"""How rotated files are compressed, whatever fails and whatever others do meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks import pack, shelf as module
from logbus.collectors.sinks.compress import compress
from tests.lives import REPLACEMENTS, Clock, Life, archived, lines_in, lines_of, refusing, rotated
from tests.stranger import NOBODY, needs_root


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes when the test says so."""
    return Clock(monkeypatch)


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_what_took_the_place_of_a_file_is_not_compressed(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    """A copy, a link, a directory or a pipe under the name of one of ours is not compressed; what comes after it is."""
    life = rotated(tmp_path, 2, compression=None)
    life.rest()
    life.close()
    first, _ = archived(tmp_path)
    life = Life(tmp_path).open()
    life.shelf._refresh_at = float("inf")  # it comes after the look at all files
    replace(first)

    life.rest()

    packed = [path for path in archived(tmp_path) if path.suffix == ".gz"]
    assert [lines_of(path) for path in packed] == [["line 1"]]
    assert os.path.lexists(first)
    assert life.told == []
    life.close()


def test_a_name_for_the_compressed_form_that_is_taken_stays_its_owners(tmp_path: Path) -> None:
    """The file stays uncompressed, people are told why, and the next one is compressed."""
    life = rotated(tmp_path, 2)
    first, second = archived(tmp_path)
    foreign = first.with_name(f"{first.name}.gz")
    foreign.write_text("foreign\n")

    life.rest()

    assert foreign.read_text() == "foreign\n"
    assert archived(tmp_path) == [first, foreign, second.with_name(f"{second.name}.gz")]
    assert len(life.told) == 1
    assert f"{first} stays uncompressed" in life.told[0]
    assert life.archive.document()["waiting"] == 0
    life.close()


def test_a_name_that_is_taken_while_the_file_is_compressed_stays_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the link another file comes: it is not overwritten, and the plain file stays."""
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)
    foreign = plain.with_name(f"{plain.name}.gz")
    real = os.link

    def late(*arguments: Any, **options: Any) -> None:
        foreign.write_text("foreign\n")
        real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", late)
        life.turn()
    life.rest()

    assert archived(tmp_path) == [plain, foreign]
    assert foreign.read_text() == "foreign\n"
    assert lines_of(plain) == ["line 0"]
    life.close()


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links are refused the compressed form is renamed."""
    life = rotated(tmp_path, 2)
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))

    life.rest()

    assert [path.suffix for path in archived(tmp_path)] == [".gz", ".gz"]
    assert lines_in(tmp_path) == [["line 0"], ["line 1"]]
    assert life.told == []
    life.close()


def test_a_file_system_that_syncs_no_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each file would be there twice, plain and compressed, out of reach of every rule."""
    life = rotated(tmp_path, 2, retention="1 file")
    monkeypatch.setattr(os, "fsync", _files_only(os.fsync))
    life.archive._journal.rewrite()

    life.rest()

    assert lines_in(tmp_path) == [["line 1"]]
    assert [path.suffix for path in archived(tmp_path)] == [".gz"]
    assert life.told == []
    life.close()


def _files_only(sync: Callable[[int], None]) -> Callable[[int], None]:
    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(fd)

    return fsync


@pytest.mark.parametrize("mode", [0o640, 0o600])
def test_a_file_system_without_modes_and_times_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Where neither can be set it compresses all the same, unless others could then read what they could not before."""
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)
    plain.chmod(mode)

    def create(folder: int, name: str) -> int:
        return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640, dir_fd=folder)

    monkeypatch.setattr(pack, "create", create)
    for call in ("fchmod", "utime"):
        monkeypatch.setattr(os, call, refusing(errno.EPERM))

    life.turn()

    assert [path.suffix for path in archived(tmp_path)] == [".gz" if mode == 0o640 else ".jsonl"]
    assert len(life.told) == (mode != 0o640)
    life.close()


def test_nothing_is_removed_before_what_replaces_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds one of the two forms: contents, journal and name are synced, in this order, then comes the
    removal.
    """
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)
    steps: list[str] = []
    sync, link, unlink = os.fsync, os.link, os.unlink

    def traced_sync(fd: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")
        sync(fd)

    def traced_link(source: str, target: str, **options: Any) -> None:
        steps.append(f"link {target}")
        link(source, target, **options)

    def traced_unlink(path: Any, **options: Any) -> None:
        steps.append(f"unlink {path}")
        unlink(path, **options)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(os, "link", traced_link)
    monkeypatch.setattr(os, "unlink", traced_unlink)
    life.turn()
    monkeypatch.undo()

    assert steps == [
        f"sync {plain.name}.gz.part",
        f"sync {life.journal.name}",
        f"link {plain.name}.gz",
        "sync logs",
        f"unlink {plain.name}.gz.part",
        f"unlink {plain.name}",
    ]
    life.close()


def test_the_compressed_form_belongs_to_the_group_of_the_file(tmp_path: Path) -> None:
    """Whoever reads the logs by their group reads the compressed ones too."""
    needs_root()
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)
    os.chown(plain, -1, NOBODY)

    life.rest()

    (packed,) = archived(tmp_path)
    assert (packed.suffix, packed.stat().st_gid) == (".gz", NOBODY)
    life.close()


def test_nobody_else_reads_a_compressed_form_that_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that an operator keeps to himself is his alone while it is compressed, too."""
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)
    plain.chmod(0o600)
    modes: list[int] = []

    def traced(source: int, target: int, kind: str, *, go_on: Callable[[], bool]) -> int | None:
        modes.append(stat.S_IMODE(os.fstat(target).st_mode))
        return compress(source, target, kind, go_on=go_on)

    monkeypatch.setattr(pack, "compress", traced)
    life.rest()

    (packed,) = archived(tmp_path)
    assert [*modes, stat.S_IMODE(packed.stat().st_mode)] == [0o600, 0o600]
    life.close()


@pytest.mark.parametrize("call", ["fchmod", "fsync", "link", "write"])
def test_a_compression_that_fails_is_told_once_and_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, call: str
) -> None:
    """The plain files stay, nothing partial stays, there is a pause between attempts, and success ends it."""
    life = rotated(tmp_path, 2)
    plain = archived(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refusing(errno.EIO))
        for _ in range(3):
            life.turn()
            clock.go(module.PACK_RETRY_S + 1)
        assert [path for path in archived(tmp_path) if ".part" not in path.name] == plain
        compression = [text for text in life.told if "compressed for now" in text]
        assert len(compression) <= 1
        assert 1 <= len(life.told) <= 2  # where nothing can be written, of the journal too

    clock.go(module.PACK_RETRY_S + 1)
    life.rest()
    assert lines_in(tmp_path) == [["line 0"], ["line 1"]]
    assert all(path.suffix == ".gz" for path in archived(tmp_path))
    life.close()


def test_a_failed_compression_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Turns come with each rotation, attempts do not."""
    life = rotated(tmp_path, 1)
    attempts: list[int] = []

    def refuse(fd: int, mode: int) -> None:
        attempts.append(fd)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", refuse)
    for _ in range(5):
        life.turn()
        clock.go(1)
    assert len(attempts) == 1
    assert not [path for path in archived(tmp_path) if ".part" in path.name]
    clock.go(module.PACK_RETRY_S)
    life.turn()
    assert len(attempts) == 2
    life.close()


def test_what_somebody_writes_to_a_rotated_file_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has grown while it was compressed stays as it is, and is compressed again."""
    life = rotated(tmp_path, 1)
    (plain,) = archived(tmp_path)

    def growing(*arguments: Any, **options: Any) -> int | None:
        read = compress(*arguments, **options)
        with plain.open("a") as file:
            file.write("more\n")
        return read

    with monkeypatch.context() as patch:
        patch.setattr(pack, "compress", growing)
        life.turn()
    assert archived(tmp_path) == [plain]
    assert lines_of(plain) == ["line 0", "more"]
    assert "written to a file after its rotation" in life.told[0]
    life.close()


def test_a_compression_is_given_up_at_the_end(tmp_path: Path) -> None:
    """A collector that ends leaves the plain file and nothing partial, and tells nobody; the next one compresses it."""
    life = rotated(tmp_path, 1)
    asked = [0]

    class Ending(threading.Event):
        """Set once compression is under way."""

        def is_set(self) -> bool:
            asked[0] += 1
            return asked[0] > 1

    life.turn(Ending())
    assert asked[0] > 1
    assert [path.suffix for path in archived(tmp_path)] == [".jsonl"]
    assert life.told == []
    life.close()

    life = Life(tmp_path).open()
    life.rest()
    assert [path.suffix for path in archived(tmp_path)] == [".gz"]
    life.close()


def test_files_from_before_compression_was_asked_for_are_compressed(tmp_path: Path) -> None:
    """A journal of plain files and a configuration with compression: they are compressed, and stay so without it."""
    life = rotated(tmp_path, 2, compression=None)
    life.rest()
    life.close()
    for kind in ("zst", None):
        life = Life(tmp_path, compression=kind).open()
        life.rest()
        assert [path.suffix for path in archived(tmp_path)] == [".zst", ".zst"]
        assert lines_in(tmp_path) == [["line 0"], ["line 1"]]
        life.close()
