"""The book of level rules: numbered, kept, shown and published in this order; opened again after anything."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logbus.collectors import levels as levels_module
from logbus.collectors.ledger import Ledger
from logbus.collectors.levels import FILE_NAME, RETRY_S, LevelBook
from logbus.errors import ConfigurationError, PageError
from logbus.rules import MAX_CHARS, MAX_RULES, Levels
from tests.small_disk import can_mount, small_disk


class Clock:
    """Time as the book sees it; it stands until a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        begun, epoch = time.monotonic(), time.time()
        fake = SimpleNamespace(monotonic=lambda: begun + self.passed, time=lambda: epoch + self.passed)
        monkeypatch.setattr(levels_module, "time", fake)


class Shelf:
    """A state directory and a place for the snapshot; books are opened on it one after the other."""

    def __init__(self, directory: Path) -> None:
        self.state, self.snapshot = directory / "state", directory / "control.levels"
        self.published: list[Levels] = []
        self.told: list[str] = []
        self.ledger = Ledger.open(self.state, name="t")

    def open(self, **configured: int) -> LevelBook:
        """The book, as a collector opens it at its start."""
        return LevelBook(
            self.state,
            self.ledger,
            snapshot=self.snapshot,
            publish=self._publish,
            tell=self.told.append,
            configured=configured,
        )

    def restart(self, **configured: int) -> LevelBook:
        """The book of the next life."""
        self.close()
        self.ledger = Ledger.open(self.state, name="t")
        return self.open(**configured)

    def close(self) -> None:
        """Gives the ledger up."""
        self.ledger.close()

    @property
    def kept(self) -> Levels:
        """The rules in the file."""
        return Levels.of(json.loads((self.state / FILE_NAME).read_text()))

    @property
    def shown(self) -> Levels:
        """The rules in the snapshot."""
        return Levels.of(json.loads(self.snapshot.read_text()))

    def _publish(self, levels: Levels) -> None:
        assert self.kept == self.shown == levels, "persisted before published"
        self.published.append(levels)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """A shelf."""
    with closing(Shelf(tmp_path)) as shelf:
        yield shelf


def said(book: LevelBook) -> dict[tuple[str, str], int]:
    """Rank, selector and level of the rules in force."""
    return {(rule.rank, rule.selector): rule.level for rule in book.levels.rules}


def test_a_start_takes_a_new_version_and_shows_it(shelf: Shelf) -> None:
    """Before anybody is told, rules and snapshot are on disk, for their owner only."""
    first = shelf.open(default=20, rotator=10).levels
    assert {(rule.selector, rule.level, rule.rank) for rule in first.rules} == {
        ("", 20, "configuration"),
        ("rotator", 10, "configuration"),
    }
    assert shelf.kept == shelf.shown == first
    assert shelf.published == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in (shelf.snapshot, shelf.state / FILE_NAME)} == {0o600}
    second = shelf.restart(default=20, rotator=10).levels
    assert (second.ledger, second.version) == (first.ledger, first.version + 1)
    assert second.rules == first.rules


def test_what_is_set_is_published_once_it_is_kept(shelf: Shelf) -> None:
    """Each change is one version; a rule for the same thing replaces the one before, another stands beside it."""
    book = shelf.open()
    rule = book.set("rotator", 10, by="me")
    assert (rule.version, rule.by, shelf.published[-1].rules) == (book.levels.version, "me", (rule,))
    book.set("rotator", 30)
    book.set("rotator", 40, worker="api-*")
    book.set("rotator", 50, where=(("request_id", "7"),))
    assert sorted(rule.level for rule in book.levels.rules) == [30, 40, 50]
    assert [levels.version for levels in shelf.published] == [rule.version + at for at in range(4)]


def test_a_reset_takes_out_what_was_set_and_no_more(shelf: Shelf) -> None:
    """By selector, by pattern, or all; configuration stays; nothing to take out is no new version."""
    book = shelf.open(rotator=20)
    for selector, worker in (("rotator", ""), ("rotator", "api"), ("", ""), ("health", "")):
        book.set(selector, 10, worker=worker)
    assert [rule.worker for rule in book.reset("rotator", "api")] == ["api"]
    assert [rule.selector for rule in book.reset("rotator")] == ["rotator"]
    assert [rule.selector for rule in book.reset("")] == [""]
    version = book.levels.version
    assert book.reset("rotator") == ()
    assert book.levels.version == version
    assert [rule.selector for rule in book.reset(None)] == ["health"]
    assert said(book) == {("configuration", "rotator"): 20}


def test_configuration_and_the_operator_do_not_touch_each_other(shelf: Shelf) -> None:
    """A reload publishes if something changed, replaces its own rules, and leaves what was set."""
    book = shelf.open(default=20)
    book.set("rotator", 10)
    published = len(shelf.published)
    assert book.configure({"default": 20}) is False
    assert len(shelf.published) == published
    assert book.configure({"default": 30, "health": 40}) is True
    assert said(book) == {("configuration", ""): 30, ("configuration", "health"): 40, ("set", "rotator"): 10}
    assert book.configure({}) is True
    assert said(book) == {("set", "rotator"): 10}


def test_a_rule_of_configuration_is_as_old_as_its_words(shelf: Shelf) -> None:
    """One that says what it has said before keeps version and time, over a restart too."""
    [old] = shelf.open(rotator=10).levels.rules
    assert shelf.restart(rotator=10).levels.rules == (old,)
    [new] = shelf.restart(rotator=20).levels.rules
    assert new.version > old.version


def test_an_end_comes_by_itself(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before its time, then in a version without it; setting it anew sets its end anew."""
    clock = Clock(monkeypatch)
    book = shelf.open()
    rule = book.set("rotator", 10, seconds=60)
    book.set("health", 10, seconds=90)
    book.set("cache", 10)
    assert (book.remaining(rule), book.expire()) == (60, ())
    clock.passed = 59.9
    assert book.expire() == ()
    book.set("health", 10, seconds=90)
    clock.passed = 91
    assert [rule.selector for rule in book.expire()] == ["rotator"]
    assert {rule.selector for rule in shelf.published[-1].rules} == {"health", "cache"}
    book.set("health", 10)
    clock.passed = 1000
    assert book.next_due is None
    assert book.expire() == ()


def test_an_end_survives_a_restart(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of its time is left; what ended while nobody was there is taken out at the start, and told."""
    clock = Clock(monkeypatch)
    book = shelf.open()
    rule = book.set("rotator", 10, seconds=60)
    book.set("health", 10, seconds=600)
    clock.passed = 100
    book = shelf.restart()
    assert [lapsed.selector for lapsed in book.lapsed] == ["rotator"]
    assert said(book) == {("set", "health"): 10}
    assert book.remaining(book.levels.rules[0]) == pytest.approx(500, abs=0.01)
    assert book.remaining(rule) is None
    clock.passed = 601
    assert [rule.selector for rule in book.expire()] == ["health"]


def test_a_clock_that_is_set_ends_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the collector runs only time that passes counts."""
    book = shelf.open()
    book.set("rotator", 10, seconds=60)
    begun = time.monotonic()
    monkeypatch.setattr(levels_module, "time", SimpleNamespace(monotonic=lambda: begun, time=lambda: 1e10))
    assert book.expire() == ()


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{",
        b"[]",
        b'{"ledger": "x", "version": 1}',
        b'{"ledger": "x", "version": 1, "rules": [{"selector": "a", "level": 1000}]}',
        b'{"ledger": "x", "version": 1, "rules": [{"selector": "a", "level": 10, "expires": NaN}]}',
        b'{"ledger": "x", "version": 1, "rules": [{"selector": "a", "level": 10, "expires": 1e300}]}',
        b'{"ledger": "x", "version": 1, "rules": [{"selector": "a", "level": 10, "at": -1}]}',
        b'{"ledger": "x", "version": 9223372036854775807, "rules": []}',
        b"\xff",
        b"[" * 100_000,
        b" " * (2 << 20),
    ],
    ids=range(12),
)
def test_a_book_that_can_not_be_read_is_put_aside(shelf: Shelf, contents: bytes) -> None:
    """The collector starts, with the rules of configuration; the file is kept, and somebody is told."""
    (shelf.state / FILE_NAME).write_bytes(contents)
    book = shelf.open(rotator=10)
    assert said(book) == {("configuration", "rotator"): 10}
    assert (shelf.state / f"{FILE_NAME}.unreadable").read_bytes() == contents
    assert "put aside as" in shelf.told[0]
    book.set("health", 10)


def test_a_lost_ledger_does_not_lose_the_rules(shelf: Shelf, tmp_path: Path) -> None:
    """Another ledger numbers them anew, in their old order, and what is set later is newer than all of them."""
    book = shelf.open(default=20)
    for level in range(30):
        book.set("rotator", level)
    book.set("health", 10)
    old = {rule.selector: rule.version for rule in book.levels.rules}
    shelf.ledger.close()
    (shelf.state / "ledger").unlink()
    shelf.ledger = Ledger.open(shelf.state, name="t")
    book = shelf.open(default=20)
    new = {rule.selector: rule.version for rule in book.levels.rules}
    assert book.levels.ledger == shelf.ledger.id
    assert new["rotator"] < new["health"] <= book.levels.version < old["rotator"]
    assert book.set("cache", 10).version > new["health"]


def test_a_lost_state_directory_is_a_new_beginning(shelf: Shelf) -> None:
    """Another ledger and no rule: nothing of the old one is in force any more."""
    first = shelf.open()
    first.set("rotator", 10)
    shelf.ledger.close()
    shutil.rmtree(shelf.state)
    shelf.ledger = Ledger.open(shelf.state, name="t")
    second = shelf.open()
    assert second.levels.ledger != first.levels.ledger
    assert shelf.shown == Levels(shelf.ledger.id, 1, ())


def test_too_many_rules_are_refused(shelf: Shelf) -> None:
    """One beyond the limit changes nothing; at a start configuration's go before the operator's oldest."""
    book = shelf.open()
    for number in range(MAX_RULES):
        book.set(f"c{number}", 10)
    before = book.levels
    with pytest.raises(ConfigurationError, match=f"at most {MAX_RULES}, this would be {MAX_RULES + 1}"):
        book.set("more", 10)
    with pytest.raises(ConfigurationError):
        book.configure({"default": 10})
    assert book.levels == before == shelf.kept == shelf.shown
    book = shelf.restart(default=10)
    assert len(book.levels.rules) == MAX_RULES
    assert ("set", "c0") not in said(book)
    assert said(book)["configuration", ""] == 10
    assert "1 of set-level make room" in shelf.told[0]


def test_rules_that_no_message_could_hold_are_refused(shelf: Shelf) -> None:
    """The whole of them travels to every worker in one message."""
    book = shelf.open()
    where = tuple((f"{number}".ljust(MAX_CHARS, "🙂"), "🙂" * MAX_CHARS) for number in range(8))

    def fill() -> None:
        for number in range(MAX_RULES):
            book.set(f"c{number}", 10, where=where)

    with pytest.raises(ConfigurationError, match="bytes"):
        fill()
    assert 1 < len(book.levels.rules) < MAX_RULES
    assert shelf.kept == shelf.shown == book.levels


@pytest.mark.parametrize("place", ["state", "snapshot"])
def test_a_disk_that_refuses_changes_nothing(shelf: Shelf, place: str) -> None:
    """The error names the file; rules, files and workers are as before, and later it works again."""
    book = shelf.open()
    before = book.set("rotator", 10)
    path = shelf.state / FILE_NAME if place == "state" else shelf.snapshot
    blocked = path.with_name(path.name + ".new")
    blocked.mkdir()
    published = len(shelf.published)
    attempts: list[Any] = [
        lambda: book.set("rotator", 20),
        lambda: book.reset(None),
        lambda: book.configure({"default": 10}),
    ]
    for attempt in attempts:
        with pytest.raises(PageError, match="can't be written, nothing was changed") as raised:
            attempt()
        assert raised.value.path == path
    assert book.levels.rules == (before,) == shelf.kept.rules == shelf.shown.rules
    assert len(shelf.published) == published
    blocked.rmdir()
    assert book.set("rotator", 20).level == 20


def test_a_snapshot_that_can_not_be_put_in_place_takes_the_rules_back(shelf: Shelf) -> None:
    """The first of two files was renamed when the second fails: the rules in force are on disk again."""
    book = shelf.open()
    before = book.set("rotator", 10)
    shelf.snapshot.unlink()
    shelf.snapshot.mkdir()
    with pytest.raises(PageError):
        book.set("rotator", 20)
    assert shelf.kept.rules == (before,) == book.levels.rules


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_full_disk_refuses_a_rule(tmp_path: Path) -> None:
    """No space for the rules: refused, with the words of the system, and nothing has changed."""
    with small_disk(tmp_path / "disk", 8000) as disk, closing(Shelf(disk.path)) as shelf:
        book = shelf.open()
        with pytest.raises(OSError, match="No space left"):
            (disk.path / "ballast").write_bytes(bytes(disk.size))
        with pytest.raises(PageError, match="nothing was changed: No space left"):
            book.set("rotator", 10)
        assert book.levels.rules == ()


def test_what_has_ended_stays_while_the_disk_refuses(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, tried again each second, and taken out when the disk lets it."""
    clock = Clock(monkeypatch)
    book = shelf.open()
    book.set("rotator", 10, seconds=5)
    (shelf.state / f"{FILE_NAME}.new").mkdir()
    for _ in range(3):
        clock.passed += 10
        assert book.expire() == ()
    assert len(shelf.told) == 1
    assert "levels that have ended can't be taken out" in shelf.told[0]
    (shelf.state / f"{FILE_NAME}.new").rmdir()
    assert book.expire() == ()
    clock.passed += RETRY_S
    assert [rule.selector for rule in book.expire()] == ["rotator"]


def test_a_ledger_that_a_power_cut_set_back_gives_no_version_twice(shelf: Shelf) -> None:
    """The book was on disk before its version was out, and the page was not: what comes next is above the book."""
    book = shelf.open()
    for level in range(9):
        book.set("rotator", level)
    reached = book.levels.version
    with shelf.ledger.transaction() as change:
        shelf.ledger.version = 0
        change.next_version()
    again = shelf.open()
    assert again.levels.ledger == book.levels.ledger
    assert again.levels.version > reached


def test_a_worker_ahead_of_the_state_is_caught_up_with(shelf: Shelf) -> None:
    """The same rules go out once more above its version, and that is told; where the disk refuses, that too."""
    book = shelf.open(default=20)
    rule = book.set("rotator", 10)
    book.catch_up(1000, "api-1")
    assert book.levels.version > 1000
    assert shelf.published[-1].rules == book.levels.rules == shelf.kept.rules
    assert rule in book.levels.rules
    assert "worker 'api-1' has level version 1000, ahead of our" in shelf.told[-1]
    before = book.levels
    (shelf.state / f"{FILE_NAME}.new").mkdir()
    book.catch_up(2000, "api-1")
    assert book.levels == before
    assert "can't be brought back" in shelf.told[-1]


def test_a_disk_that_refuses_at_the_start_stops_no_collector(shelf: Shelf) -> None:
    """The rules are in force, nobody else has them yet, and it is told; what is set later is refused until it works."""
    shelf.open().set("rotator", 10)
    blocked = shelf.state / f"{FILE_NAME}.new"
    blocked.mkdir()
    book = shelf.open(default=30)
    assert said(book) == {("configuration", ""): 30, ("set", "rotator"): 10}
    assert "in force, and not kept" in shelf.told[-1]
    with pytest.raises(PageError):
        book.set("health", 10)
    blocked.rmdir()
    book.set("health", 10)
    assert len(shelf.kept.rules) == 3


def test_rules_that_no_message_could_hold_make_room_at_a_start(shelf: Shelf) -> None:
    """Configuration has grown while no collector ran: the operator's oldest go, and the collector starts."""
    book = shelf.open()
    where = tuple((f"{number}".ljust(MAX_CHARS, "🙂"), "🙂" * MAX_CHARS) for number in range(8))
    with contextlib.suppress(ConfigurationError):
        for number in range(MAX_RULES):
            book.set(f"c{number}", 10, where=where)
    count = len(book.levels.rules)
    book = shelf.open(**{f"{number}".ljust(MAX_CHARS, "ü"): 10 for number in range(128)})
    found = said(book)
    assert sum(rank == "configuration" for rank, _ in found) == 128
    assert ("set", "c0") not in found
    assert ("set", f"c{count - 1}") in found
    assert "make room" in shelf.told[-1]
