"""The journal of rotated files: what a next life reads in it, however the last one ended."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.rotation import Moment
from logbus.collectors.sinks import entry as entry_module
from logbus.collectors.sinks.entry import COMPRESSED, PLAIN, Entry
from logbus.collectors.sinks.journal import Journal, journal_of
from tests.dying import Dying
from tests.lives import refusing

LOGS = Path("/logs/app.jsonl")


def test_what_is_noted_is_read_again(tmp_path: Path) -> None:
    """Files, the active one and the last name come back as they were; what was forgotten does not."""
    journal = _journal(tmp_path)
    one, two = _entry("one", 1), _entry("tw\udcffö", 2)
    for entry in (one, two, _entry("three", 3)):
        journal.note(entry)
    one.state, one.packed, one.packed_inode, one.size = COMPRESSED, "one.gz", 77, 5
    journal.note(one)
    journal.forget("three")
    began = Moment.now()
    journal.begin((4, 5), began)
    journal.close()
    assert journal.entries == {}

    again = _journal(tmp_path)
    assert list(again.entries.values()) == [one, two]
    assert again.active is not None
    assert (again.active.identity, again.active.began) == ((4, 5), began)
    assert again.last_stamp == 3
    again.close()


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """The file has mode 0600 and its directory 0700."""
    journal = _journal(tmp_path)

    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700
    journal.close()


def test_cut_at_any_byte_it_keeps_what_came_before(tmp_path: Path) -> None:
    """A death in the middle of an append leaves every earlier line; the torn one says nothing, and is gone then."""
    journal = _journal(tmp_path)
    journal.note(_entry("one", 1))
    whole = journal.path.stat().st_size
    journal.note(_entry("two", 2))
    journal.close()
    data = journal.path.read_bytes()

    with Dying():  # which syncs nothing
        for end in range(whole, len(data) - 1):
            journal.path.write_bytes(data[:end] + b"\0" * (end % 3))
            again = Journal(journal.path, LOGS)
            assert again.open() is None
            assert list(again.entries) == ["one"], end
            again.note(_entry("three", 3))
            again.close()
            assert again.open() is None
            assert list(again.entries) == ["one", "three"]
            again.close()


@pytest.mark.parametrize("at", ["head", "middle"])
def test_a_damaged_one_is_put_aside(tmp_path: Path, at: str) -> None:
    """A line that is wrong with right ones after it was not torn by a death: nothing of the journal is believed."""
    journal = _journal(tmp_path)
    for number in range(3):
        journal.note(_entry(f"file{number}", number))
    journal.close()
    data = bytearray(journal.path.read_bytes())
    data[20 if at == "head" else len(data) // 2] ^= 1
    journal.path.write_bytes(data)

    said = journal.open()

    assert said is not None
    assert "unreadable" in said
    assert f"{journal.path}.unreadable" in said
    assert "checksum" in said
    assert journal.entries == {}
    assert Path(f"{journal.path}.unreadable").read_bytes() == data
    journal.close()
    assert journal.open() is None
    journal.close()


WRONG: list[dict[str, Any]] = [
    {"name": "../secret"},
    {"name": ""},
    {"name": ".."},
    {"name": 5},
    {"inode": -1},
    {"inode": True},
    {"stamp": 10**18},
    {"state": "eaten"},
    {"state": ["plain"]},
    {"state": COMPRESSED},
    {"packed": "a/b"},
    {"rotated": [1.0]},
    {"rotated": ["1", "2"]},
    {"began": None},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_values_that_we_never_wrote_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """Whole lines with a value of a wrong kind, above all a path out of the directory, put the journal aside."""
    journal = _journal(tmp_path)
    journal.note(_entry("one", 1))
    journal.close()
    document = entry_module.entry_document(_entry("two", 2)) | change
    _append(journal.path, {"file": document})

    assert "unreadable" in (journal.open() or "")
    assert journal.entries == {}
    journal.close()


@pytest.mark.parametrize(
    "document",
    [{"v": 2, "last": 0}, {"v": 1}, {"v": 1, "last": 10**18}, {}, {"active": 7}, {"file": []}, {"gone": ["a"]}],
    ids=str,
)
def test_a_line_that_we_never_wrote_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    """Neither another version nor another kind of line is guessed at."""
    journal = _journal(tmp_path)
    journal.close()
    _append(journal.path, document)

    assert "unreadable" in (journal.open() or "")
    journal.close()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """A link that somebody has planted is neither read nor written through."""
    journal = _journal(tmp_path)
    journal.close()
    target = tmp_path / "target"
    target.write_text("precious")
    journal.path.unlink()
    journal.path.symlink_to(target)

    assert journal.open() is None
    assert journal.failure is not None
    journal.note(_entry("one", 1))
    assert journal.mend() is None

    assert target.read_text() == "precious"
    journal.close()


def test_a_place_that_cannot_be_written_is_said_and_mended_later(tmp_path: Path) -> None:
    """Without its directory the book is in memory; once it can be written it is there, with what came meanwhile."""
    blocked = tmp_path / "state"
    blocked.write_text("no directory")
    journal = Journal(journal_of(blocked, LOGS), LOGS)
    assert journal.open() is None
    assert journal.failure is not None
    assert str(journal.path) in journal.failure
    journal.note(_entry("one", 1))
    assert list(journal.entries) == ["one"]
    assert journal.duplicate() is None

    blocked.unlink()
    blocked.mkdir()
    journal.mend()
    journal.close()
    assert journal.open() is None
    assert list(journal.entries) == ["one"]
    journal.close()


def test_a_journal_that_was_removed_comes_back(tmp_path: Path) -> None:
    """Where somebody removes its directory, the next look writes the journal anew, whole."""
    journal = _journal(tmp_path)
    journal.note(_entry("one", 1))
    journal.path.unlink()
    journal.path.parent.rmdir()

    journal.mend()
    journal.close()

    again = _journal(tmp_path)
    assert list(again.entries) == ["one"]
    again.close()


def test_old_lines_go(tmp_path: Path) -> None:
    """A journal with more old lines than files says so, and is short after it was written anew."""
    journal = _journal(tmp_path)
    for number in range(300):
        journal.note(_entry(f"file{number}", number))
        journal.forget(f"file{number}")
    lines = journal.path.read_bytes().count(b"\n")
    assert journal.long
    before = journal.path.stat().st_size

    journal.rewrite()

    assert (lines, journal.path.read_bytes().count(b"\n")) == (601, 1)
    assert journal.path.stat().st_size < before / 100
    journal.close()
    journal.open()
    assert journal.last_stamp == 299
    journal.close()


def test_nobody_waits_for_the_disk_while_old_lines_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that rotates meanwhile notes it at once, and what it noted is in the old journal and in the new one."""
    journal = _journal(tmp_path)
    for number in range(300):
        journal.note(_entry(f"file{number}", number))
        journal.forget(f"file{number}")
    noted: list[list[str]] = []

    def sync(fd: int) -> None:
        assert journal.lock.acquire(timeout=5.0)
        journal.note(_entry(f"late{len(noted)}", 1000 + len(noted)))
        journal.lock.release()
        other = Journal(journal.path, LOGS)
        other.open()
        noted.append(list(other.entries))
        other.close()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        journal.shorten()

    assert noted == [["late0"], ["late0", "late1"]]
    assert journal.path.read_bytes().count(b"\n") == 3
    assert journal.failure is None
    journal.close()


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_journal_that_can_not_be_shortened_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A full disk takes a line still where it does not take another file; it is tried again, not at once."""
    journal = _journal(tmp_path)
    for number in range(300):
        journal.note(_entry("one", number))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refusing(errno.ENOSPC))
        journal.shorten()
    assert journal.failure is None
    long = [journal.long]
    journal.note(_entry("two", 300))
    assert _names(tmp_path) == ["one", "two"]
    for number in range(301, 600):
        journal.note(_entry("one", number))
    assert [*long, journal.long] == [False, True]
    journal.shorten()
    assert journal.path.read_bytes().count(b"\n") == 3
    journal.close()


def test_a_shorter_journal_of_which_nobody_knows_whether_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its directory can't be synced that is said, and it is written once more."""
    journal = _journal(tmp_path)
    journal.note(_entry("one", 1))
    with monkeypatch.context() as patch:
        patch.setattr("logbus.collectors.sinks.journal.sync_directory", refusing(errno.EIO))
        journal.shorten()
    assert "Input/output error" in str(journal.failure)
    journal.note(_entry("two", 2))
    journal.mend()
    assert journal.failure is None
    assert _names(tmp_path) == ["one", "two"]
    journal.close()


def test_a_journal_that_was_closed_is_not_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hung on the disk when its sink ended leaves the journal to the one that comes after it."""
    journal = _journal(tmp_path)
    after = Journal(journal.path, LOGS)
    journal.note(_entry("one", 1))

    def sync(fd: int) -> None:
        monkeypatch.undo()
        with journal.lock:
            journal.close()
        after.open()
        after.note(_entry("two", 2))

    monkeypatch.setattr(os, "fsync", sync)
    journal.shorten()

    after.note(_entry("three", 3))
    after.close()
    assert _names(tmp_path) == ["one", "two", "three"]


def test_ages_go_on_over_a_reboot_by_the_wall_clock_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another run of the machine the wall clock tells how long ago it was, and is not asked again."""
    journal = _journal(tmp_path)
    now = Moment.now()
    journal.note(_entry("old", 1, Moment(now.wall - 1000, now.steady - 5)))
    journal.note(_entry("to come", 2, Moment(now.wall + 1e9, now.steady - 5)))
    journal.close()

    journal.open()
    assert now.steady - journal.entries["old"].rotated.steady == 5  # the same run: nothing but its own clock counts
    journal.close()
    monkeypatch.setattr(entry_module, "boot_id", lambda: "another")
    journal.open()
    later = Moment.now()
    assert 1000 <= later.steady - journal.entries["old"].rotated.steady < 1060
    assert 0 <= later.steady - journal.entries["to come"].rotated.steady < 60
    journal.close()

    monkeypatch.setattr(Moment, "now", classmethod(lambda cls: cls(later.wall + 365 * 86_400, later.steady + 1)))
    journal.open()  # the clock has been set forward meanwhile, the machine not rebooted
    assert 1000 <= later.steady - journal.entries["old"].rotated.steady < 1060
    journal.close()


def test_each_path_has_its_own(tmp_path: Path) -> None:
    """Files of one name in two directories have two journals; one directory by two paths has one."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "logs")
    one = journal_of(tmp_path, tmp_path / "logs" / "app.jsonl")

    assert one.parent == tmp_path / "archives"
    assert one.name.startswith("app.jsonl.")
    assert journal_of(tmp_path, tmp_path / "link" / "app.jsonl") == one
    assert journal_of(tmp_path, tmp_path / "app.jsonl") != one
    odd = journal_of(tmp_path, tmp_path / ("\udcff ö\n" + "x" * 200))
    assert len(os.fsencode(odd.name)) < 120
    assert odd.name.isascii()


def _journal(directory: Path) -> Journal:
    (directory / "state").mkdir(exist_ok=True)
    journal = Journal(journal_of(directory / "state", LOGS), LOGS)
    assert journal.open() is None
    return journal


def _names(directory: Path) -> list[str]:
    """What the next life knows."""
    journal = _journal(directory)
    names = list(journal.entries)
    journal.close()
    return names


def _entry(name: str, stamp: int, rotated: Moment | None = None) -> Entry:
    now = Moment.now()
    return Entry(name, stamp, 10 + stamp, 1, 100, now, rotated or now, PLAIN)


def _append(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document).encode()
    with path.open("ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(text), text))
