"""Names in a directory: what is removed is first known for ours, whatever stands there."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.collectors.sinks.folder import (
    create,
    held_open,
    is_file,
    is_released,
    keep_free,
    remove,
    remove_empty,
    status,
)
from tests.lives import REPLACEMENTS


def test_a_file_is_removed_by_name_and_inode(tmp_path: Path) -> None:
    """One that has gone counts as removed, and so does ours."""
    (tmp_path / "ours").write_text("x")
    inode = (tmp_path / "ours").stat().st_ino
    with held_open(tmp_path) as folder:
        assert is_file(folder, "ours", inode)
        assert not is_file(folder, "ours", inode + 1)
        assert not is_file(folder, "none", inode)
        assert remove(folder, "none", inode)
        assert not remove(folder, "ours", inode + 1)
        assert (tmp_path / "ours").exists()
        assert remove(folder, "ours", inode)
        assert status(folder, "ours") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_what_took_its_place_is_not_removed(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    """Neither as the file that it is not, nor as one that keeps a name free."""
    ours = tmp_path / "ours"
    ours.write_text("x")
    inode = ours.stat().st_ino
    replace(ours)
    with held_open(tmp_path) as folder:
        assert not remove(folder, "ours", inode)
        remove_empty(folder, "ours")
        assert status(folder, "ours") is not None


def test_a_name_is_kept_free_by_an_empty_file(tmp_path: Path) -> None:
    """Nobody's file is taken for that, and only an empty one is removed again."""
    with held_open(tmp_path) as folder:
        keep_free(folder, "name")
        with pytest.raises(FileExistsError):
            keep_free(folder, "name")
        remove_empty(folder, "name")
        remove_empty(folder, "name")
        assert list(tmp_path.iterdir()) == []

        (tmp_path / "name").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileExistsError):
            create(folder, "name")
    assert not (tmp_path / "elsewhere").exists()


def test_the_directory_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    """Moved away and replaced by a link, it is still the one in which names are looked up."""
    logs, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
    for directory in (logs, elsewhere):
        directory.mkdir()
        (directory / "file").write_text("")
    with held_open(logs) as folder:
        logs.rename(tmp_path / "moved")
        logs.symlink_to(elsewhere)
        remove_empty(folder, "file")
    assert (elsewhere / "file").exists()
    assert not (tmp_path / "moved" / "file").exists()


def test_a_file_is_released_when_nobody_holds_its_lock(tmp_path: Path) -> None:
    """As long as its sink has it open and locked it is not."""
    (tmp_path / "file").write_text("x")
    with held_open(tmp_path) as folder:
        with (tmp_path / "file").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert not is_released(folder, "file")
        assert is_released(folder, "file")
