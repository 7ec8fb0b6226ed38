"""Dead pages that nobody knows become one sum: bounded on disk, and nothing is counted twice or forgotten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbus import folded
from logbus.counters import DROP_WORDS, DROPPED, EMITTED, SUFFIX, Counters, Meta
from logbus.errors import PageError
from logbus.wire import pack_payload

META = Meta("host", 1, "worker", "app", 1)


def nobody() -> bool:
    """Says that no collector serves."""
    return False


def page(directory: Path, emitted: int, dropped: int = 0, *, welcomed: bool = False) -> Counters:
    """The page of a producer that lives."""
    made = Counters(directory, os.urandom(16), META)
    cell = made.cell()
    cell[EMITTED] += emitted
    cell[DROPPED] += dropped
    if welcomed:
        made.say_welcomed()
    return made


def pages(directory: Path) -> int:
    """How many pages are in a directory."""
    return len(list(directory.glob(f"*{SUFFIX}")))


def sums(directory: Path) -> folded.Folded:
    """The sums of a directory, which has some."""
    found = folded.read_folded(directory)
    assert found is not None
    return found


def fold(directory: Path) -> None:
    """A fold under the lock."""
    with folded.locked(directory) as mine:
        assert mine
        folded.fold(directory)


def test_many_dead_pages_become_one_sum(tmp_path: Path) -> None:
    """Beyond the limit the dead are added up and removed; what they counted is kept to the last record."""
    for number in range(folded.FOLD_FROM + 44):
        page(tmp_path, number, number // 2).close()
    folded.fold_if_many(tmp_path, nobody)
    assert pages(tmp_path) == 0
    found = sums(tmp_path)
    assert (found.pages, found.emitted) == (300, sum(range(300)))
    assert found.by_reason() == [sum(number // 2 for number in range(300)), 0, 0]
    assert len(found.identity) == 16


def test_a_collector_that_serves_is_left_its_pages(tmp_path: Path) -> None:
    """Where somebody listens the pages are his to remove, however many there are."""
    for _ in range(folded.FOLD_FROM):
        page(tmp_path, 1).close()
    folded.fold_if_many(tmp_path, lambda: True)
    assert pages(tmp_path) == folded.FOLD_FROM
    assert folded.read_folded(tmp_path) is None


def test_few_pages_are_left_alone(tmp_path: Path) -> None:
    """Below the limit a start costs one listing of the directory."""
    for _ in range(3):
        page(tmp_path, 1).close()
    folded.fold_if_many(tmp_path, nobody)
    assert pages(tmp_path) == 3
    assert folded.read_folded(tmp_path) is None


def test_the_living_and_those_whom_a_collector_knows_are_left_alone(tmp_path: Path) -> None:
    """Their pages are still being written, or a collector will look for them by name."""
    living = page(tmp_path, 1)
    page(tmp_path, 10, welcomed=True).close()
    page(tmp_path, 100).close()
    (tmp_path / f"junk{SUFFIX}").write_text("no page")
    fold(tmp_path)
    assert (sums(tmp_path).emitted, sums(tmp_path).pages) == (100, 1)
    assert pages(tmp_path) == 3
    living.close()


def test_sums_grow_from_fold_to_fold(tmp_path: Path) -> None:
    """A second fold adds to the first, under the same identity."""
    page(tmp_path, 5, 1).close()
    fold(tmp_path)
    first = sums(tmp_path)
    page(tmp_path, 7, 2).close()
    fold(tmp_path)
    assert (sums(tmp_path).emitted, sums(tmp_path).pages, sums(tmp_path).by_reason()) == (12, 2, [3, 0, 0])
    assert sums(tmp_path).identity == first.identity


def test_a_crash_before_the_removal_counts_nobody_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose counts are in the sums already are removed by the next fold, and not added again."""
    for _ in range(3):
        page(tmp_path, 5, 1).close()
    monkeypatch.setattr(folded, "_remove", lambda directory, members: None)
    fold(tmp_path)
    monkeypatch.undo()
    assert pages(tmp_path) == 3
    page(tmp_path, 100).close()
    fold(tmp_path)
    assert (sums(tmp_path).emitted, sums(tmp_path).pages) == (115, 4)
    assert pages(tmp_path) == 0


def test_a_crash_before_the_sums_are_in_place_loses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new sums have replaced the old ones every page is still there."""
    page(tmp_path, 5).close()
    fold(tmp_path)
    page(tmp_path, 7).close()

    def crash(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        fold(tmp_path)
    monkeypatch.undo()
    assert (sums(tmp_path).emitted, pages(tmp_path)) == (5, 1)
    fold(tmp_path)
    assert (sums(tmp_path).emitted, pages(tmp_path)) == (12, 0)


def test_a_collector_takes_the_sums_over_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been taken over is gone, members of an unfinished fold too; the next sums have another identity."""
    page(tmp_path, 5).close()
    monkeypatch.setattr(folded, "_remove", lambda directory, members: None)
    fold(tmp_path)
    monkeypatch.undo()
    first = sums(tmp_path)
    with folded.locked(tmp_path):
        folded.take_over(tmp_path, first)
    assert folded.read_folded(tmp_path) is None
    assert pages(tmp_path) == 0
    page(tmp_path, 7).close()
    fold(tmp_path)
    assert sums(tmp_path).emitted == 7
    assert sums(tmp_path).identity != first.identity


def test_nobody_waits_for_who_folds(tmp_path: Path) -> None:
    """A worker or a collector that finds another folding goes on at once; the lock comes free when he has done."""
    with folded.locked(tmp_path) as first, folded.locked(tmp_path) as second:
        assert (first, second) == (True, False)
    with folded.locked(tmp_path) as mine:
        assert mine


def test_pages_that_vanish_meanwhile_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector may remove a page between the listing and the reading."""
    page(tmp_path, 5).close()
    gone = tmp_path / f"gone{SUFFIX}"
    real = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [gone, *real(self, pattern)])
    fold(tmp_path)
    assert sums(tmp_path).emitted == 5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        pack_payload([]),
        pack_payload(["xy", 1, 1, [0] * DROP_WORDS, []]),
        pack_payload(["00", "many", 1, [0] * DROP_WORDS, []]),
        pack_payload(["00", 1, 1, [0], []]),
        pack_payload(["00", 1, 1, [0] * DROP_WORDS, 5]),
    ],
)
def test_sums_that_can_not_be_read_are_an_error(tmp_path: Path, data: bytes) -> None:
    """They are never taken for none, and never overwritten."""
    (tmp_path / folded.FOLDED).write_bytes(data)
    page(tmp_path, 5).close()
    with pytest.raises(PageError, match="folded"):
        fold(tmp_path)
    assert (tmp_path / folded.FOLDED).read_bytes() == data
    assert pages(tmp_path) == 1


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    """An error inside the block does not keep the lock."""
    with pytest.raises(ValueError, match="x"), folded.locked(tmp_path):
        raise ValueError("x")
    with folded.locked(tmp_path) as mine:
        assert mine
