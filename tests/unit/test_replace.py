"""Files replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from logbus.collectors.replace import Replacement, put_aside, read_own
from tests.small_disk import can_mount, small_disk
from tests.stranger import NOBODY, needs_root


@pytest.mark.parametrize("durable", [True, False])
def test_the_old_contents_stay_until_the_commit(tmp_path: Path, durable: bool) -> None:
    """Whoever reads meanwhile finds the old ones; afterwards the new ones, for the owner only, and nothing else."""
    path = tmp_path / "rules"
    path.write_text("old")
    with Replacement(path, b"new", durable=durable) as new:
        assert path.read_text() == "old"
        new.commit()
        assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    """A block that ends without a commit, or by an error, changes nothing."""
    path = tmp_path / "rules"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), Replacement(path, b"new"):
        raise ZeroDivisionError
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """Half-written contents, or a link planted in their place, are replaced and never written through."""
    path, precious = tmp_path / "rules", tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "rules.new").symlink_to(precious)
    with Replacement(path, b"new") as new:
        new.commit()
    assert (path.read_text(), precious.read_text()) == ("new", "precious")
    assert not path.is_symlink()


def test_a_group_may_read_it_if_that_is_wanted(tmp_path: Path) -> None:
    """With a group the mode is 0640 and the file the group's."""
    path = tmp_path / "rules"
    with Replacement(path, b"new", group=os.getegid()) as new:
        new.commit()
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, os.getegid())


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """The error comes before the commit, and what was written so far is gone again."""
    with small_disk(tmp_path / "disk", 2) as disk:
        path = disk.path / "rules"
        path.write_text("old")
        with pytest.raises(OSError, match="No space left"):
            Replacement(path, bytes(disk.size))
        assert (path.read_text(), list(disk.path.iterdir())) == ("old", [path])


def test_only_our_own_file_is_read(tmp_path: Path) -> None:
    """None where none is; a link, another thing or too much of it raises."""
    path = tmp_path / "rules"
    assert read_own(path, max_bytes=10) is None
    path.write_bytes(b"x" * 10)
    assert read_own(path, max_bytes=10) == b"x" * 10
    with pytest.raises(ValueError, match="has 10 bytes, expected at most 9"):
        read_own(path, max_bytes=9)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        read_own(tmp_path / "link", max_bytes=10)
    with pytest.raises(OSError, match="directory"):
        read_own(tmp_path, max_bytes=1 << 20)


def test_a_stranger_s_file_is_not_believed(tmp_path: Path) -> None:
    """Whoever can write to our directory can't make us believe what is his."""
    needs_root()
    path = tmp_path / "rules"
    path.write_text("x")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(ValueError, match=f"belongs to uid {NOBODY}"):
        read_own(path, max_bytes=10)


def test_what_is_put_aside_is_kept(tmp_path: Path) -> None:
    """It has another name, and its place is free."""
    path = tmp_path / "rules"
    path.write_text("bad")
    assert put_aside(path).read_text() == "bad"
    assert list(tmp_path.iterdir()) == [tmp_path / "rules.unreadable"]
