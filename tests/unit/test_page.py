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

from logbus.collectors.page import KEPT_CORRUPT, Page
from logbus.errors import OwnedError, PageError

SLOT = 512


class Owner:
    """A page and the state that it keeps: the concatenation of every payload since the owner last shrank it."""

    def __init__(self, path: Path, *, slot_bytes: int = SLOT) -> None:
        self.state = b""
        self.page = Page.open(path, name="tester", snapshot=lambda: self.state, slot_bytes=slot_bytes)
        self.state = b"".join(self.page.recover())

    def append(self, payload: bytes) -> None:
        """Changes the state and commits the change."""
        self.state += payload
        self.page.append(payload)

    def close(self) -> None:
        """Gives the page up."""
        self.page.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the page is."""
    return tmp_path / "page"


@pytest.fixture
def owner(path: Path) -> Iterator[Owner]:
    """The page's owner, with small slots."""
    with closing(Owner(path)) as owner:
        yield owner


def reopened(path: Path) -> bytes:
    """The state that the next owner finds."""
    with closing(Owner(path)) as owner:
        assert owner.page.quarantined is None
        assert owner.page.damage is None
        return owner.state


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
        patch.setattr("logbus.collectors.page._sync_directory", _broken)
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


class Tape:
    """Stands in for a map and its words, and keeps every store in the order of the program."""

    def __init__(self, page: Page) -> None:
        self.stores: list[tuple[int, bytes]] = []
        slots: Any = page._slots
        self.map, self.words = slots.map, slots.words
        self.before = bytes(self.map)
        slots.map, slots.words = _Bytes(self), _Words(self)

    def images(self) -> Iterator[bytes]:
        """The file after each store, and in the middle of each copy."""
        image = bytearray(self.before)
        yield bytes(image)
        for offset, data in self.stores:
            # A word is one instruction; a copy may stop anywhere, and need not go from left to right.
            middle = len(data) // 2
            for part in (slice(0, middle), slice(middle, None)) if len(data) != 8 else ():
                torn = bytearray(image)
                torn[offset + (part.start or 0) : offset + (part.stop or len(data))] = data[part]
                yield bytes(torn)
            image[offset : offset + len(data)] = data
            yield bytes(image)


class _Bytes:
    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __getitem__(self, at: slice) -> bytes:
        return bytes(self.tape.map[at])

    def __setitem__(self, at: slice, data: bytes) -> None:
        self.tape.stores.append((at.start, bytes(data)))
        self.tape.map[at] = data

    def close(self) -> None:
        self.tape.map.close()


class _Words:
    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __getitem__(self, at: int) -> int:
        return int(self.tape.words[at])

    def __setitem__(self, at: int, value: int) -> None:
        self.tape.words[at] = value
        self.tape.stores.append((at * 8, self.tape.map[at * 8 : at * 8 + 8]))

    def release(self) -> None:
        self.tape.words.release()


@pytest.mark.parametrize("rounds", [1, 2, 3], ids=["new slot", "other slot", "reused slot"])
def test_a_kill_between_or_inside_any_two_stores_leaves_a_committed_state(path: Path, rounds: int) -> None:
    """Every image that a killed process can leave recovers to a state that was committed, and to the last or next."""
    with closing(Owner(path)) as owner:
        for number in range(rounds * 8):
            owner.state = owner.state[-60:]
            owner.append(b"<%d>" % number * 10)
        tape = Tape(owner.page)
        allowed = [owner.state]
        for number in range(30):
            owner.state = owner.state[-60:]
            owner.append(b"(%d)" % number * 7)
            allowed.append(owner.state)
        assert len({offset >= SLOT for offset, _ in tape.stores}) == 2, "both slots were written"
        images = list(tape.images())
    reached = 0
    image_path = path.with_name("image")
    for image in images:
        image_path.write_bytes(image)
        with closing(Page.open(image_path, name="t", snapshot=bytes)) as page:
            found = b"".join(page.recover())
            assert page.quarantined is None
            assert page.damage is None
        # Shrinking is not an entry, so that states are compared by what they end in.
        matches = [number for number, state in enumerate(allowed) if found.endswith(state[-40:])]
        assert matches, found
        assert reached <= matches[-1] <= reached + 1
        reached = matches[-1]
    assert reached == len(allowed) - 1


def test_stale_bytes_of_an_older_generation_are_no_entries(path: Path) -> None:
    """Even with the end word damaged so that it is an old entry's, whole and in place, that entry stays dead."""
    with closing(Owner(path)) as owner:
        owner.append(b"S" * 24)  # generation 1, slot 0
        owner.append(b"A" * 24)
        owner.append(b"stale! stale! stale! sta")
        word_at = 32 + 2 * 32
        stale = path.read_bytes()[word_at : word_at + 8]
        owner.state = b"S" * 24
        owner.page.compact()  # generation 2, slot 1
        owner.page.compact()  # generation 3, slot 0 again
        owner.append(b"B" * 24)
        assert path.read_bytes()[word_at : word_at + 32] == bytes(8) + b"stale! stale! stale! sta"
    with path.open("r+b") as file:
        file.seek(word_at)
        file.write(stale)
    with closing(Owner(path)) as owner:
        assert owner.state == b"S" * 24 + b"B" * 24
        assert owner.page.damage == "entry 2 of generation 3 fails its check"


def test_a_damaged_generation_falls_back_to_the_one_before(path: Path) -> None:
    """When the newest snapshot can't be read the state is an earlier one, which is said; new entries go on from it."""
    with closing(Owner(path)) as owner:
        owner.append(b"old")
        owner.state = b"new"
        owner.page.compact()
    image = bytearray(path.read_bytes())
    image[SLOT + 40] ^= 1  # in the snapshot of generation 2
    path.write_bytes(image)
    with closing(Owner(path)) as owner:
        assert owner.state == b"old"
        assert owner.page.damage == "entry 0 of generation 2 fails its check"
        assert owner.page.quarantined is None
        owner.append(b"er")
    assert reopened(path) == b"older"


def test_a_damaged_header_is_said_and_its_generation_not_given_again(path: Path) -> None:
    """A slot whose header fails may have been the newest: the state is an earlier one and its number is skipped."""
    with closing(Owner(path)) as owner:
        owner.append(b"old")
        owner.state = b"new"
        owner.page.compact()
    image = bytearray(path.read_bytes())
    image[SLOT + 8] ^= 1  # the number of the generation
    path.write_bytes(image)
    with closing(Owner(path)) as owner:
        assert owner.state == b"old"
        assert owner.page.damage == "the header of slot 1 fails its check"
        owner.append(b"er")
    assert int.from_bytes(path.read_bytes()[SLOT + 8 : SLOT + 16], "little") == 3
    assert reopened(path) == b"older"


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
