"""The store of dead letters: what is kept, in which order it is shown, what goes when, and what damage costs."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from logbus.collectors.dead_letters import graveyard, store
from logbus.collectors.dead_letters.grave import Grave
from logbus.collectors.dead_letters.letter import MAX_REASON_CHARS, Letter
from logbus.collectors.dead_letters.reasons import Reasons
from logbus.collectors.dead_letters.store import DIRECTORY, DeadLetters
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.sinks.base import Refusal
from tests.small_disk import can_mount, small_disk


class Churchyard:
    """A store in a directory, whose lives a test begins and ends."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.directory = state / DIRECTORY
        self.told: list[str] = []
        self.now = 1000.0
        self._store: DeadLetters | None = None
        self.open()

    @property
    def store(self) -> DeadLetters:
        """That of this life."""
        assert self._store is not None
        return self._store

    def open(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        """A life begins, without any end of the one before: as after a kill, which only closes files."""
        if self._store is not None:
            for grave in self._store._yard.graves:
                grave.close()
            self._store._yard._folder.close()
        self._store = DeadLetters(
            self.state, self.told.append, max_bytes=max_bytes, clock=lambda: self.now, mask=self.mask
        )
        self._store.open()

    @staticmethod
    def mask(text: str) -> str:
        """Masks a word."""
        return text.replace("hunter2", "***")

    def bury(self, *lines: str, sink: str = "web", reason: str = "answered 400", dialect: str = "json") -> None:
        """Refuses these lines, in one refusal."""
        data = "".join(f"{line}\n" for line in lines).encode()
        self.store.bury(sink, [Refusal(data, len(lines), reason)], dialect)

    def letters(self, sink: str | None = None) -> list[Letter]:
        """All of them, oldest first."""
        return self.store.page(sink=sink, max_letters=10**6, max_bytes=10**9).letters

    def lines(self, sink: str | None = None) -> list[str]:
        """Their lines."""
        return [letter.line.decode() for letter in self.letters(sink)]

    @property
    def files(self) -> list[Path]:
        """The segments."""
        return sorted(self.directory.glob("*.seg"))

    def newest_first(self, below: int, most: int) -> list[int]:
        """The numbers of a page as the list asks for it."""
        page = self.store.page(until=below - 1, newest=True, max_letters=most, max_bytes=10**9)
        return [letter.number for letter in page.letters]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Churchyard]:
    """An empty store, closed at the end."""
    yard = Churchyard(tmp_path)
    yield yard
    yard.store.close()


def test_a_refused_line_is_kept_with_all_that_is_known_of_it(yard: Churchyard) -> None:
    """When it was refused, by which sink, why, in which dialect; a letter for each line."""
    yard.bury("one", "two", reason="answered 400: bad", dialect="http ndjson json")
    yard.bury("three", sink="logs")
    assert yard.letters() == [
        Letter(1, 1_000_000_000, "web", "answered 400: bad", "http ndjson json", b"one"),
        Letter(2, 1_000_000_000, "web", "answered 400: bad", "http ndjson json", b"two"),
        Letter(3, 1_000_000_000, "logs", "answered 400", "json", b"three"),
    ]
    assert (yard.store.counts, yard.store.last) == ({"web": 2, "logs": 1}, 3)
    assert yard.store.document()["letters"] == 3


def test_records_that_nobody_names_are_one_letter(yard: Churchyard) -> None:
    """A server may say how many it has refused and not which: so much is kept."""
    yard.store.bury("otlp", [Refusal(b"", 7, "quota")], "otlp")
    assert [(letter.records, letter.line, letter.reason) for letter in yard.letters()] == [(7, b"", "quota")]


def test_nothing_is_made_on_disk_before_the_first_letter(yard: Churchyard) -> None:
    """Who never has one has no directory either."""
    assert yard.letters() == []
    assert not yard.directory.exists()


def test_letters_are_for_their_owner(yard: Churchyard) -> None:
    """Nobody else reads the lines, or finds out that there are any."""
    yard.bury("one")
    assert stat.S_IMODE(yard.directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in yard.files] == [0o600]


def test_a_kill_loses_no_letter(yard: Churchyard) -> None:
    """What was buried is found by the next life, under its numbers, without any end of the one before."""
    yard.bury("one", "two")
    yard.bury("three", sink="logs")
    before = yard.letters()
    yard.open()
    assert yard.letters() == before
    yard.bury("four")
    assert [letter.number for letter in yard.letters()] == [1, 2, 3, 4]
    assert yard.told == []


def test_a_reason_is_bounded_and_masked(yard: Churchyard) -> None:
    """It is a server's text: before it is written it is cut, masked, and made such as every encoder takes."""
    yard.bury("one", reason="token hunter2 " + "x" * 10_000)
    yard.bury("two", reason="odd \udcff")
    first, second = yard.letters()
    assert first.reason == ("token *** " + "x" * 10_000)[:MAX_REASON_CHARS]
    assert second.reason == "odd \\udcff"
    assert b"hunter2" not in b"".join(path.read_bytes() for path in yard.files)


def test_reasons_are_masked_by_the_rules_in_force() -> None:
    """The users' patterns too, and others after a reload; by a redactor that no other thread uses."""
    rules = [Redactor(patterns=["acct-[0-9]+"])]
    reasons = Reasons(lambda: rules[0])
    assert reasons("no acct-123, password=x") == "no ***, password=***"
    rules[0] = Redactor(fields=["colour"])
    assert reasons("no acct-123, colour=red") == "no acct-123, colour=***"


def test_pages_go_from_the_newest_backwards(yard: Churchyard) -> None:
    """In the order of the numbers, though the letters of sinks lie in files of their own."""
    for number in range(10):
        yard.bury(f"line {number}", sink="abc"[number % 3])
    assert yard.newest_first(below=10**9, most=4) == [10, 9, 8, 7]
    assert yard.newest_first(below=7, most=4) == [6, 5, 4, 3]
    assert yard.newest_first(below=3, most=4) == [2, 1]


def test_a_page_is_bounded(yard: Churchyard) -> None:
    """In letters and in bytes of lines, but for one; it says whether there is more."""
    yard.bury("x" * 100, "y" * 100, "z" * 100)
    store = yard.store
    assert [len(store.page(max_letters=2, max_bytes=1000)[0]), store.page(max_letters=2, max_bytes=1000)[1]] == [
        2,
        True,
    ]
    assert len(store.page(max_letters=9, max_bytes=250).letters) == 2
    assert len(store.page(max_letters=9, max_bytes=1).letters) == 1
    page = store.page(max_letters=3, max_bytes=300)
    assert (len(page.letters), page.more) == (3, False)


def test_letters_are_chosen_by_sink_and_number(yard: Churchyard) -> None:
    """As a replay asks for them: oldest first, from a number on, up to another."""
    for number in range(1, 9):
        yard.bury(f"line {number}", sink="ab"[number % 2])
    page = yard.store.page(sink="a", after=2, until=6, max_letters=9, max_bytes=999)
    assert [letter.number for letter in page.letters] == [4, 6]
    page = yard.store.page(numbers={1, 5, 99}, max_letters=9, max_bytes=999)
    assert [letter.number for letter in page.letters] == [1, 5]


def test_what_is_removed_is_gone_for_good(yard: Churchyard) -> None:
    """Single letters out of the middle of a file, in every later life too; the others keep their numbers."""
    yard.bury(*(f"line {number}" for number in range(1, 7)))
    yard.bury("other", sink="logs")
    assert yard.store.remove({2, 3, 7, 50}) == 3
    for _ in range(2):
        assert [letter.number for letter in yard.letters()] == [1, 4, 5, 6]
        assert yard.store.counts == {"web": 4}
        yard.open()
    yard.bury("new")
    assert yard.lines() == ["line 1", "line 4", "line 5", "line 6", "new"]
    assert yard.letters()[-1].number == 7  # its number had gone before the start


def test_a_file_of_which_nothing_is_left_is_removed(yard: Churchyard) -> None:
    """And the next letter gets a new one."""
    yard.bury("one")
    yard.store.remove({1})
    assert yard.files == []
    yard.bury("two")
    assert (yard.lines(), len(yard.files)) == (["two"], 1)


def test_purging_by_sink_age_and_all(yard: Churchyard) -> None:
    """What is not meant stays."""
    yard.bury("old", "older", sink="a")
    yard.bury("old too", sink="b")
    yard.now += 100
    yard.bury("young", sink="a")
    assert yard.store.purge(sink="a", before=1050.0) == 2
    assert yard.lines() == ["old too", "young"]
    assert yard.store.purge(sink="a") == 1
    assert yard.lines() == ["old too"]
    assert yard.store.purge(before=1000.0) == 0
    assert yard.store.purge() == 1
    assert (yard.files, yard.store.counts, yard.store.size) == ([], {}, 0)


def test_the_oldest_go_when_there_is_no_room(yard: Churchyard) -> None:
    """Of the sink that takes the most; that is counted, and told once."""
    yard.open(max_bytes=1024 * 1024)
    yard.bury("rare", sink="quiet")
    for number in range(3000):
        yard.bury(f"{number:05} " + "x" * 1000, sink="loud")
    store, lines = yard.store, yard.lines()
    assert lines[0] == "rare"
    assert [int(line[:5]) for line in lines[1:]] == list(range(3001 - len(lines), 3000))
    assert store.document()["evicted"] == 3001 - len(lines) > 1000
    on_disk = sum(os.stat(path).st_blocks * 512 for path in yard.files)
    assert on_disk <= store.size <= 1024 * 1024
    [told] = yard.told
    assert told.endswith("of the oldest had to go: there is room for 1,048,576 bytes")


def test_a_smaller_bound_counts_at_once(yard: Churchyard) -> None:
    """At the next start the oldest go."""
    for number in range(100):
        yard.bury(f"{number:03} " + "x" * 10_000)
    yard.open(max_bytes=600_000)
    assert yard.store.size <= 600_000
    assert yard.lines()[-1].startswith("099 ")


def test_a_letter_may_be_longer_than_a_file(yard: Churchyard) -> None:
    """It gets one of its own; one that is longer than all of them may be is counted as not kept."""
    yard.open(max_bytes=1024 * 1024)
    yard.bury("x" * 500_000)
    assert [len(line) for line in yard.lines()] == [500_000]
    yard.bury("small", "y" * 2_000_000, "last")
    assert [len(line) for line in yard.lines()] == [500_000, 5, 4]
    assert yard.told == ["dead letters: 1 could not be kept"]


@pytest.mark.parametrize("at", range(0, 260, 7))
def test_a_flipped_byte_costs_one_letter_at_most(yard: Churchyard, at: int) -> None:
    """The others are kept, the start goes on; the damaged file is in quarantine, and told once."""
    yard.bury("one", "two", "three")
    yard.store.close()
    [path] = yard.files
    data = bytearray(path.read_bytes())
    at = min(at, len(data) - 1)
    data[at] ^= 0x5A
    path.write_bytes(data)
    yard.open()
    lines = yard.lines()
    assert len(lines) >= 2
    assert [line for line in ("one", "two", "three") if line in lines] == lines
    assert any("is damaged" in told for told in yard.told)
    assert [found.name for found in (yard.directory / "quarantine").iterdir()] == [path.name]
    yard.told.clear()
    yard.open()
    assert (yard.lines(), yard.told) == (lines, [])


def test_a_cut_file_gives_what_is_whole(yard: Churchyard) -> None:
    """A kill in the middle of a write is no damage: nobody was told that the letter is kept."""
    yard.bury("one", "two", "three")
    yard.store.close()
    [path] = yard.files
    whole = path.read_bytes()
    for size in range(len(whole), 0, -3):
        path.write_bytes(whole[:size])
        yard.open()
        assert yard.lines() == ["one", "two", "three"][: len(yard.lines())]
        assert yard.told == []
        path.write_bytes(whole)


def test_foreign_things_are_left_alone(yard: Churchyard) -> None:
    """Other names, links, directories: told, never followed or removed, and no obstacle."""
    yard.bury("one")
    yard.store.close()
    secret = yard.state / "secret"
    secret.write_text("mine")
    (yard.directory / "notes.txt").write_text("mine")
    (yard.directory / "0000000000000001-00000001.seg").symlink_to(secret)
    (yard.directory / "0000000000000002-00000001.seg").mkdir()
    yard.open()
    assert yard.lines() == ["one"]
    assert secret.read_text() == (yard.directory / "notes.txt").read_text() == "mine"
    assert any("notes.txt" in told for told in yard.told)


def test_entries_of_a_later_version_stay(yard: Churchyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is whole and can't be understood is not thrown away."""
    monkeypatch.setattr(Letter, "pack", lambda letter: b"\x93\x01\x02\x03")
    yard.bury("one")
    monkeypatch.undo()
    yard.open()
    assert yard.letters() == []
    assert len(yard.files) == 1
    assert "later version" in yard.told[0]


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_crash_has_interrupted_is_finished(yard: Churchyard, whole: bool) -> None:
    """A file that was to take another's place takes it where that has gone, and goes itself where it has not."""
    yard.bury("one", "two")
    yard.store.close()
    [path] = yard.files
    beside = path.with_name(f"{path.name}.part")
    if whole:
        path.rename(beside)
    else:
        beside.write_bytes(path.read_bytes()[:50])
    yard.open()
    assert (yard.lines(), yard.files, beside.exists()) == (["one", "two"], [path], False)


def test_a_file_that_is_damaged_while_it_is_used_is_no_end(yard: Churchyard) -> None:
    """What is lost is counted and told, and the rest is there."""
    yard.bury("one", "two", "three")
    [path] = yard.files
    data = path.read_bytes()
    path.write_bytes(data.replace(b"two", b"tow"))
    assert yard.lines() == ["one", "three"]
    assert yard.store.counts == {"web": 2}
    assert yard.store.document()["lost"] == 1
    assert "1 letters of it are lost" in yard.told[0]
    path.unlink()
    yard.open()
    assert yard.letters() == []


def test_a_disk_that_refuses_is_told_once_and_counted(yard: Churchyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer goes on whatever happens; letters are kept again once the disk takes them."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(3):
        yard.bury("one", "two")
    assert yard.told == [
        "dead letters: those of sink 'web': No space left on device",
        "dead letters: 2 could not be kept",
    ]
    assert yard.store.document()["lost"] == 6
    monkeypatch.undo()
    yard.bury("three")
    assert yard.lines() == ["three"]


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_full_disk_keeps_what_is_there(tmp_path: Path) -> None:
    """No letter that was kept is lost by one for which there is no room."""
    with small_disk(tmp_path / "disk", 100) as disk:
        yard = Churchyard(disk.path)
        for number in range(600):
            yard.bury(f"{number} " + "x" * 1000)
        lines = yard.lines()
        kept = len(lines)
        assert lines == [f"{number} " + "x" * 1000 for number in range(kept)]
        assert kept + yard.store.document()["lost"] == 600
        yard.store.purge()
        yard.bury("again")
        assert yard.lines() == ["again"]
        yard.store.close()


def test_writers_bury_while_others_read_and_remove(yard: Churchyard) -> None:
    """From any thread, each letter once, none twice."""

    def bury(sink: str) -> None:
        for number in range(200):
            yard.bury(f"{sink} {number}", sink=sink)

    threads = [threading.Thread(target=bury, args=(sink,)) for sink in "abc"]
    for thread in threads:
        thread.start()
    removed: list[Letter] = []
    while any(thread.is_alive() for thread in threads):
        found = yard.store.page(max_letters=50, max_bytes=10**6).letters
        assert yard.store.remove({letter.number for letter in found}) == len(found)
        removed += found
    for thread in threads:
        thread.join()
    everything = [letter.line.decode() for letter in removed + yard.letters()]
    assert sorted(everything) == sorted(f"{sink} {number}" for sink in "abc" for number in range(200))
    assert len({letter.number for letter in removed + yard.letters()}) == 600


def test_many_small_files_count_against_the_bound(yard: Churchyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that is started often leaves one each time: they take whole blocks."""
    monkeypatch.setattr(graveyard, "SEGMENT_BYTES", 8192)
    for number in range(20):
        yard.open(max_bytes=65_536)
        yard.bury(f"line {number}")
        yard.store.close()
    assert len(yard.files) <= 16
    assert yard.lines()[-1] == "line 19"


def test_a_crowd_of_strange_files_is_not_told_one_by_one(tmp_path: Path) -> None:
    """Each line is a record too: the first ones are told, and how many there are more."""
    directory = tmp_path / store.DIRECTORY
    directory.mkdir()
    for number in range(100):
        (directory / f"strange {number}").touch()
    told: list[str] = []
    letters = DeadLetters(tmp_path, told.append)
    letters.open()
    letters.close()
    assert len(told) == store.MAX_TOLD + 1
    assert told[-1] == "dead letters: 80 lines more of this kind about what lies in their directory"


def test_a_disk_that_hangs_does_not_keep_the_collector(yard: Churchyard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer hangs while it buries: the end does not wait for it for good."""
    monkeypatch.setattr(store, "CLOSE_S", 0.01)
    inside, going = threading.Event(), threading.Event()
    put = Grave.put

    def hanging(grave: Grave, letters: Sequence[tuple[int, bytes]]) -> None:
        inside.set()
        assert going.wait(20)
        put(grave, letters)

    monkeypatch.setattr(Grave, "put", hanging)
    thread = threading.Thread(target=yard.bury, args=("one",))
    thread.start()
    assert inside.wait(20)
    yard.store.close()
    assert thread.is_alive()
    going.set()
    thread.join()
    assert yard.lines() == ["one"]
