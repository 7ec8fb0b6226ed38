"""The page: entries, generations, growth, ownership, and what is done with a file that is not one."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.page import KEPT_CORRUPT
from logbus.errors import OwnedError, PageError
from tests.page_owner import SLOT, Owner, reopened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the page is."""
    return tmp_path / "page"


@pytest.fixture
def owner(path: Path) -> Iterator[Owner]:
    """The page's owner, with small slots."""
    with closing(Owner(path)) as owner:
        yield owner


def test_no_file_is_made_before_the_first_entry(path: Path, owner: Owner) -> None:
    """An empty page recovers to nothing and leaves no file that might be mistaken for a lost one."""
    assert owner.page.recover() == []
    owner.page.sync()
    assert not path.exists()


def test_the_file_is_private_and_allocated(path: Path) -> None:
    """Mode 0600, and a disk block under every byte: a hole would be a SIGBUS when the disk is full."""
    slot_bytes = 64 * 1024
    with closing(Owner(path, slot_bytes=slot_bytes)) as owner:
        owner.append(b"x")
    info = path.stat()
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert info.st_size == 2 * slot_bytes
    assert info.st_blocks * 512 >= info.st_size


def test_the_holes_of_a_copy_are_filled(path: Path) -> None:
    """A page that came back from a backup as a sparse file is allocated before anything is stored into it."""
    with closing(Owner(path, slot_bytes=64 * 1024)) as owner:
        owner.append(b"x")
    start, size = path.read_bytes()[:4096], path.stat().st_size
    path.write_bytes(start)
    os.truncate(path, size)
    assert path.stat().st_blocks * 512 < size
    with closing(Owner(path)) as owner:
        assert path.stat().st_blocks * 512 >= size
        assert owner.state == b"x"


def test_entries_come_back_in_order(path: Path, owner: Owner) -> None:
    """A later owner finds the snapshot and the entries after it, whatever their size, empty ones included."""
    for payload in (b"first", b"", b"1234567", b"12345678", b"123456789"):
        owner.append(payload)
    entries = owner.page.recover()
    owner.close()
    assert entries == [b"first", b"", b"1234567", b"12345678", b"123456789"]
    assert reopened(path) == b"first12345671234567812345678" + b"9"


def test_a_full_slot_begins_the_next_generation_in_the_other(path: Path, owner: Owner) -> None:
    """Going round the two slots keeps the state, and the file its size."""
    inode, expected = None, b""
    for number in range(200):
        if number % 40 == 0:
            owner.state = expected = b""
            owner.page.compact()
            inode = inode or path.stat().st_ino
        owner.append(b"<%d>" % number)
        expected += b"<%d>" % number
    owner.close()
    assert (path.stat().st_ino, path.stat().st_size) == (inode, 2 * SLOT)
    assert reopened(path) == expected


def test_a_big_snapshot_makes_the_file_grow(path: Path, owner: Owner) -> None:
    """More than half a slot: a bigger file takes the place of the old one, and stays this owner's."""
    owner.append(b"x")
    before = path.stat().st_ino
    owner.append(b"y" * 3000)
    assert path.stat().st_size == 32 * SLOT
    assert path.stat().st_ino != before
    assert sorted(os.listdir(path.parent)) == ["page", "page.lock"]
    with pytest.raises(OwnedError):
        Owner(path)
    owner.close()
    assert reopened(path) == b"x" + b"y" * 3000


def test_a_file_that_has_grown_stays_big(path: Path, owner: Owner) -> None:
    """The next owner takes the slots that are there, not those of a new file."""
    owner.append(b"y" * 3000)
    owner.close()
    with closing(Owner(path)) as second:
        second.append(b"z")
        assert second.state == b"y" * 3000 + b"z"
    assert path.stat().st_size == 32 * SLOT


def test_a_snapshot_beyond_the_biggest_slot_is_refused(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a bound on what a page can take of a disk; the error names the file and the size."""
    monkeypatch.setattr("logbus.collectors.page.MAX_SLOT_BYTES", 4 * SLOT)
    with pytest.raises(PageError, match=r"page: a snapshot of 3000 bytes: a slot has at most 2048"):
        owner.append(b"y" * 3000)


def _full_disk(fd: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_and_not_a_signal(path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't fit is refused with the reason; what was committed stays, and goes on being committed to."""
    owner.append(b"kept")
    monkeypatch.setattr(os, "posix_fallocate", _full_disk)
    with pytest.raises(PageError, match="No space left"):
        owner.append(b"y" * 3000)
    owner.state = b"kept"
    assert b"".join(owner.page.recover()) == b"kept"
    owner.append(b"!")
    monkeypatch.undo()
    owner.close()
    assert sorted(os.listdir(path.parent)) == ["page", "page.lock"]
    assert reopened(path) == b"kept!"


def _broken(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_bigger_file_that_can_not_be_synced_does_not_replace_the_old(
    path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Growing is all or nothing: what can't be brought to the disk is thrown away."""
    owner.append(b"kept")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _broken)
        with pytest.raises(PageError, match=r"page: can't be made with 16384 bytes: Input/output error"):
            owner.append(b"y" * 3000)
    owner.close()
    assert reopened(path) == b"kept"


def test_an_error_after_the_replacement_comes_out(path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that can't be synced is an error even where the old slots would have had room."""
    owner.append(b"x")
    with monkeypatch.context() as patch:
        patch.setattr("logbus.collectors.page.sync_directory", _broken)
        owner.state += b"y" * 300
        with pytest.raises(PageError, match="Input/output error"):
            owner.page.compact()
    owner.append(b"z")
    owner.close()
    assert reopened(path) == b"x" + b"y" * 300 + b"z"


def test_a_full_disk_does_not_matter_while_the_snapshot_fits(
    path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Growth begins at half a slot, so that a page which can't grow has the other half left."""
    owner.append(b"x")
    monkeypatch.setattr(os, "posix_fallocate", _full_disk)
    for _ in range(4):
        owner.append(b"y" * 100)
    owner.page.compact()
    monkeypatch.undo()
    state = owner.state
    owner.close()
    assert path.stat().st_size == 2 * SLOT
    assert reopened(path) == state == b"x" + b"y" * 400


def test_what_a_killed_growth_has_left_is_removed(path: Path, owner: Owner) -> None:
    """A half-made file beside the page is never read, and does not stay."""
    owner.append(b"x")
    owner.close()
    path.with_name("page.new").write_bytes(b"half")
    assert reopened(path) == b"x"
    assert sorted(os.listdir(path.parent)) == ["page", "page.lock"]


def test_a_page_has_one_owner(path: Path, owner: Owner) -> None:
    """The second one is told the name and the pid of the first, and finds the page free once it is closed."""
    with pytest.raises(OwnedError) as refused:
        Owner(path)
    assert (refused.value.name, refused.value.pid) == ("tester", os.getpid())
    assert str(path) in str(refused.value)
    owner.close()
    assert reopened(path) == b""


def test_a_closed_page_takes_nothing(path: Path, owner: Owner) -> None:
    """A late entry is refused: it would go over the page of the next owner."""
    owner.append(b"x")
    owner.close()
    owner.close()
    with pytest.raises(PageError, match="is closed"):
        owner.append(b"late")
    assert reopened(path) == b"x"


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(2 * SLOT))


def _empty(path: Path) -> None:
    path.touch()


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(2 * SLOT))


def _cut(path: Path) -> None:
    with closing(Owner(path)) as owner:
        owner.append(b"x")
    os.truncate(path, 2 * SLOT - 1)


def _halved(path: Path) -> None:
    with closing(Owner(path)) as owner:
        owner.append(b"x")
    os.truncate(path, SLOT)


def _other_version(path: Path) -> None:
    with closing(Owner(path)) as owner:
        owner.append(b"x")
    path.write_bytes(path.read_bytes().replace(b"LBPAGE\0\1", b"LBPAGE\0\2"))


def _link(path: Path) -> None:
    path.with_name("target").write_bytes(b"precious")
    path.symlink_to(path.with_name("target"))


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket has 107 bytes at most
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize(
    "make",
    [_garbage, _empty, _zeros, _cut, _halved, _other_version, _link, _directory, _pipe, _unix_socket],
    ids=lambda make: make.__name__.strip("_"),
)
def test_what_is_not_a_page_is_put_aside(path: Path, make: Any) -> None:
    """Whatever stands there, starting goes on: it is renamed, untouched, and a new page begun."""
    make(path)
    before = path.lstat()
    with closing(Owner(path)) as owner:
        assert owner.state == b""
        assert owner.page.quarantined == path.with_name("page.corrupt-1")
        assert owner.page.damage
        owner.append(b"fresh")
    aside = path.with_name("page.corrupt-1").lstat()
    assert (aside.st_ino, aside.st_size, aside.st_mode) == (before.st_ino, before.st_size, before.st_mode)
    if make is _link:
        assert path.with_name("target").read_bytes() == b"precious"
    assert reopened(path) == b"fresh"


def test_the_file_of_another_user_is_put_aside(path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that somebody else may write is not trusted."""
    owner.append(b"x")
    owner.close()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with closing(Owner(path)) as other:
        assert other.state == b""
        assert other.page.damage == "is not a regular file of this user"


def test_an_error_that_says_nothing_about_the_file_leaves_it_where_it_is(
    path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files is a reason not to start, and none to put the ledger aside."""
    owner.append(b"x")
    owner.close()
    genuine = os.open

    def fail(name: Any, *rest: Any, **named: Any) -> int:
        if Path(name) == path:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return genuine(name, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(PageError, match=r"page: can't be opened: Too many open files"):
            Owner(path)
    assert reopened(path) == b"x"


def test_a_file_that_can_not_be_put_aside_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the directory refuses the new name there is no way to start, and both reasons are said."""
    path.write_bytes(b"garbage")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _broken)
        with pytest.raises(PageError, match="has 7 bytes, which is not two slots; it can't be put aside: Input/output"):
            Owner(path)
    Owner(path).close()


def test_what_was_put_aside_and_is_a_directory_stays(path: Path) -> None:
    """A directory that once stood in the place of the page is in nobody's way and not removed."""
    path.mkdir()
    Owner(path).close()
    for _ in range(KEPT_CORRUPT + 1):
        path.touch()
        Owner(path).close()
    assert path.with_name("page.corrupt-1").is_dir()


def test_a_directory_that_can_not_hold_a_page_is_an_error(tmp_path: Path) -> None:
    """Without a place for the lock there is no page; the error names the file."""
    with pytest.raises(PageError, match=r"absent/page\.lock: can't be locked: No such file"):
        Owner(tmp_path / "absent" / "page")


def test_the_newest_of_the_put_aside_are_kept(path: Path) -> None:
    """Unreadable files don't fill the disk, and files with such a name that are not numbered are left alone."""
    path.with_name("page.corrupt-mine").touch()
    path.with_name("7").touch()
    for number in range(KEPT_CORRUPT + 2):
        path.write_bytes(b"garbage %d" % number)
        Owner(path).close()
    assert sorted(os.listdir(path.parent)) == [
        "7", "page.corrupt-3", "page.corrupt-4", "page.corrupt-5", "page.corrupt-mine", "page.lock"
    ]  # fmt: skip
    assert path.with_name("page.corrupt-5").read_bytes() == b"garbage 4"


def test_a_disk_that_can_not_sync_says_so(path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync goes through to the disk, and its error comes out with the name of the file."""
    owner.append(b"x")
    owner.page.sync()

    def broken(fd: int) -> None:
        assert os.fstat(fd).st_ino == path.stat().st_ino
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(PageError, match=r"page: can't be synced: Input/output error"):
        owner.page.sync()
