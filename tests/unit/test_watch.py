"""Whether the configuration file has become another one: written, replaced, turned to, come, gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.collectors import watch as watch_module
from logbus.collectors.watch import LOOK_S, SETTLE_S, Watch


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the watch."""
    clock = Clock()
    monkeypatch.setattr(watch_module, "time", clock)
    return clock


@pytest.fixture
def later(clock: Clock) -> Callable[[Watch], bool]:
    """Whether a watch says "changed" in what follows now, asked as a loop asks."""

    def look(watch: Watch) -> bool:
        found = []
        for _ in range(8):
            clock.now += LOOK_S
            found.append(watch.changed())
        assert sum(found) <= 1, "one change is one"
        return any(found)

    return look


def touch(path: Path, text: str) -> None:
    """Writes a file in place, with a time of change of its own."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_every_way_to_change_a_file_is_seen_once(tmp_path: Path, later: Callable[[Watch], bool]) -> None:
    """Written in place, replaced by another file of the same size and time, gone, and back."""
    path = tmp_path / "c"
    touch(path, "one")
    watch = Watch(lambda: path)
    assert not later(watch)
    touch(path, "two")
    assert later(watch)
    assert not later(watch)
    times = path.stat().st_mtime_ns
    (tmp_path / "new").write_text("six")
    os.utime(tmp_path / "new", ns=(times, times))
    (tmp_path / "new").replace(path)
    assert later(watch)
    path.rename(tmp_path / "away")
    assert later(watch)
    assert not later(watch)
    (tmp_path / "away").rename(path)
    assert later(watch)


def test_links_are_seen_through(tmp_path: Path, later: Callable[[Watch], bool]) -> None:
    """A directory link that is turned to another directory, as Kubernetes does it, is a change."""
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        touch(tmp_path / name / "c", "same")
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "c").symlink_to("data/c")
    watch = Watch(lambda: tmp_path / "c")
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert later(watch)
    assert not later(watch)


def test_a_file_that_appears_where_none_was(tmp_path: Path, later: Callable[[Watch], bool]) -> None:
    """No file, then one."""
    path = tmp_path / "c"
    watch = Watch(lambda: path if path.exists() else None)
    assert not later(watch)
    path.write_text("x")
    assert later(watch)


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    """It counts once it has rested; a change that is taken back is none."""
    path = tmp_path / "c"
    touch(path, "0")
    watch = Watch(lambda: path)
    for number in range(5):
        touch(path, "0" * number)
        clock.now += LOOK_S
        assert not watch.changed()
    clock.now += max(LOOK_S, SETTLE_S)
    assert watch.changed()
    path.rename(tmp_path / "away")
    clock.now += LOOK_S
    assert not watch.changed()
    watch.know()
    (tmp_path / "away").rename(path)
    watch.know()
    for _ in range(4):
        clock.now += LOOK_S
        assert not watch.changed()


def test_what_is_known_is_no_change(tmp_path: Path, later: Callable[[Watch], bool]) -> None:
    """A file that was read for another reason is not read again."""
    path = tmp_path / "c"
    touch(path, "0")
    watch = Watch(lambda: path)
    touch(path, "1")
    watch.know()
    assert not later(watch)


def test_it_looks_now_and_then_only(tmp_path: Path, clock: Clock) -> None:
    """A loop may ask at each turn: the file is looked at five times a second."""
    looks = 0

    def choose() -> Path:
        nonlocal looks
        looks += 1
        return tmp_path / "c"

    watch = Watch(choose)
    for _ in range(100):
        clock.now += 0.01
        watch.changed()
    assert looks <= 1 + 1 / LOOK_S
