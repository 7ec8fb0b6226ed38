"""The roll of workers: what becomes of a row when its worker has gone, by its page or by its last MARK."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logbus import folded
from logbus.collectors import roll as roll_module
from logbus.collectors.decode import Source
from logbus.collectors.ledger import Ledger, WorkerRow
from logbus.collectors.mark import MAX_COUNT
from logbus.collectors.roll import LIVE_S, OWN, QUIET_S, Loss, Roll
from logbus.collectors.rows import OLDER
from logbus.counters import CHUNK_BYTES, DeadPage
from logbus.errors import PageError
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, WORKER_LOST
from tests.frames import producer
from tests.rolled import META, QUIET, Clock, Rolled, page

A, B = producer(1), producer(2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The roll's clock."""
    clock = Clock()
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def rolled(tmp_path: Path, clock: Clock) -> Iterator[Rolled]:
    """A roll whose ledger has a past, but not of these workers."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        yield rolled


def test_a_worker_that_said_bye_is_gone(rolled: Rolled) -> None:
    """Its page agrees, is removed, and the row is closed: nothing lost."""
    counters = page(rolled, A, emitted=5, sent=3, dropped=2, bye=True)
    rolled.data(A, 0, "a", "b", "c")
    rolled.mark(A, sent=3, drops=[[0, 1, 2]], bye=True)
    assert rolled.sweep(after=60) == []
    assert rolled.row().state == "live"  # its lock is held: the process lives
    counters.close()
    rolled.sweep()
    assert rolled.sweep(after=QUIET) == []
    row = rolled.row()
    assert (row.state, row.collected, row.emitted, row.dropped[HIGH_WATER_MARK], row.exact) == ("gone", 3, 5, 2, True)
    assert list(rolled.pages.glob("*.page")) == []
    assert len(rolled.roll) == 0
    assert rolled.balanced()


def test_a_killed_worker_leaves_its_counters(rolled: Rolled) -> None:
    """From the page: what was in its buffer is lost with it, what it had sent and did not come is lost in transit."""
    counters = page(rolled, A, emitted=20, sent=10, dropped=3)
    rolled.data(A, 0, *"abcdefgh")
    counters.close()
    rolled.sweep(after=QUIET)
    losses = rolled.sweep(after=QUIET)
    assert losses == [Loss("w1", "collector_lost", 2, 8), Loss("w1", "worker_lost", 7, 10)]
    row = rolled.row()
    assert (row.state, row.collected, row.lost[COLLECTOR_LOST], row.lost[WORKER_LOST]) == ("crashed", 8, 2, 7)
    assert rolled.balanced()


def test_a_frame_may_be_ahead_of_the_page(rolled: Rolled) -> None:
    """Killed between a send and its count, a worker has sent more than its page says."""
    counters = page(rolled, A, emitted=5, sent=2)
    rolled.data(A, 0, *"abc")
    counters.close()
    rolled.sweep(after=QUIET)
    assert rolled.sweep(after=QUIET) == [Loss("w1", "worker_lost", 2, 3)]
    assert (rolled.row().sent, rolled.row().collected) == (3, 3)
    assert rolled.balanced()


def test_nobody_is_closed_while_something_of_him_may_come(rolled: Rolled) -> None:
    """Neither one that was heard nor a stranger, while the socket holds something, however long that takes."""
    page(rolled, A, emitted=3, sent=3, bye=True).close()
    page(rolled, B, emitted=2, sent=2, bye=True).close()
    rolled.data(A, 0, "a")
    for _ in range(20):
        assert rolled.sweep(emptied=False, after=LIVE_S) == []
    assert rolled.data(A, 1, "b", "c") == ([], ["b", "c"])
    assert rolled.data(B, 0, "a", "b") == ([], ["a", "b"])
    rolled.sweep(after=QUIET)
    assert rolled.sweep(after=QUIET) == []
    assert {rolled.row(who).state for who in (A, B)} == {"gone"}
    assert {rolled.row(who).duplicated for who in (A, B)} == {0}
    assert rolled.balanced()


def test_nobody_is_closed_the_moment_that_he_dies(rolled: Rolled) -> None:
    """His last frames are under way in the kernel: he has to be dead and unheard for a while, a stranger too."""
    page(rolled, A, emitted=1, sent=1, bye=True).close()
    assert rolled.sweep() == []
    assert rolled.sweep(after=QUIET_S / 2) == []
    assert rolled.data(A, 0, "a") == ([], ["a"])
    assert rolled.sweep(after=QUIET_S * 0.9) == []
    assert rolled.row().state == "live"
    rolled.sweep(after=QUIET)
    assert rolled.sweep(after=QUIET) == []
    assert (rolled.row().state, rolled.row().collected) == ("gone", 1)


def test_a_stranger_s_page_is_adopted(rolled: Rolled) -> None:
    """A producer that died without being heard here is accounted for by its page."""
    page(rolled, A, emitted=9, sent=4, dropped=1).close()
    rolled.sweep()
    assert rolled.sweep(after=QUIET) == [Loss("w1", "collector_lost", 4, 0), Loss("w1", "worker_lost", 4, 4)]
    assert rolled.row().state == "crashed"
    assert list(rolled.pages.glob("*.page")) == []
    assert rolled.balanced()


def test_a_stranger_that_said_nothing_has_no_row(rolled: Rolled) -> None:
    """A process that imported logbus, logged nothing and ended is no worker; its page goes."""
    page(rolled, A, emitted=0, sent=0, bye=True).close()
    rolled.sweep()
    rolled.sweep(after=QUIET)
    assert A not in rolled.ledger.workers
    assert list(rolled.pages.glob("*.page")) == []


def test_a_crash_between_the_row_and_the_page_counts_once(tmp_path: Path, clock: Clock) -> None:
    """A page that is still there though its row is closed is removed, and adds nothing."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        page(rolled, A, emitted=9, sent=0).close()
        kept = next(rolled.pages.iterdir())
        data = kept.read_bytes()
        rolled.sweep()
        rolled.sweep(after=QUIET)
        before = rolled.row().lost[WORKER_LOST]
        kept.write_bytes(data)
    with closing(Rolled(tmp_path, clock)) as rolled:
        rolled.sweep()
        assert rolled.sweep(after=QUIET) == []
        assert rolled.row().lost[WORKER_LOST] == before == 9
        assert not kept.exists()


def test_an_old_worker_dies_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    """A row from an earlier life of the collector goes on where it was."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        counters = page(rolled, A, emitted=5, sent=5)
        rolled.data(A, 0, "a", "b")
    with closing(Rolled(tmp_path, clock)) as rolled:
        assert len(rolled.roll) == 1
        assert rolled.data(A, 3, "d") == ([Loss("w1", "collector_lost", 1, 2)], ["d"])
        counters.close()
        rolled.sweep(after=QUIET)
        assert rolled.sweep(after=QUIET) == [Loss("w1", "collector_lost", 1, 4)]
        assert (rolled.row().state, rolled.row().collected) == ("crashed", 3)
        assert rolled.balanced()


@pytest.mark.parametrize("damage", ["torn", "magic", "meta", "counts"])
def test_a_page_that_can_not_be_read_is_put_aside(rolled: Rolled, damage: str) -> None:
    """Its worker is closed by its last MARK, says that it is not exact, and no number of the page is believed."""
    counters = page(rolled, A, emitted=MAX_COUNT + 1 if damage == "counts" else 12, sent=10)
    rolled.data(A, 0, *"abcd")
    rolled.mark(A, sent=4, buffered=3)
    counters.close()
    path = rolled.pages / f"{A.hex()}.page"
    content = bytearray(path.read_bytes())
    if damage == "torn":
        del content[CHUNK_BYTES // 2 :]
    elif damage == "magic":
        content[0] ^= 1
    elif damage == "meta":
        content[48] = 0xC1
    path.write_bytes(content)
    rolled.sweep(after=QUIET)
    rolled.sweep(after=QUIET)
    row = rolled.row()
    assert (row.state, row.collected, row.unknown, row.exact) == ("crashed", 4, 3, False)
    assert [left.suffix for left in rolled.pages.iterdir() if left.suffix != ".lock"] == [".unreadable"]
    assert rolled.balanced()


def test_a_page_that_can_not_be_opened_now_is_read_later(rolled: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is out of descriptors knows nothing about a page, and does not put it aside."""

    def refuse(path: Path) -> DeadPage:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            raise PageError(path, "can't be read") from error

    page(rolled, A, emitted=2, sent=0).close()
    rolled.sweep()
    with monkeypatch.context() as patch:
        patch.setattr(roll_module, "read_page", refuse)
        assert rolled.sweep(after=QUIET) == []
    assert rolled.sweep() == [Loss("w1", "worker_lost", 2, 0)]


def test_files_of_others_among_the_pages_are_left_alone(rolled: Rolled) -> None:
    """Whatever lies there, a sweep does not raise."""
    (rolled.pages / "notes.txt").write_text("mine")
    (rolled.pages / "not-hex.page").write_text("mine")
    (rolled.pages / f"{B.hex()}.page").mkdir()
    (rolled.pages / f"{A.hex()}.page").symlink_to(rolled.pages / "notes.txt")
    rolled.sweep()
    rolled.sweep(after=QUIET)
    assert (rolled.pages / "notes.txt").read_text() == "mine"
    assert (rolled.pages / "not-hex.page").read_text() == "mine"
    assert (rolled.pages / f"{B.hex()}.page").is_dir()
    assert rolled.ledger.workers == {}


def test_without_a_page_the_last_mark_has_the_last_word(rolled: Rolled) -> None:
    """A worker whose page can't be had is gone when it neither listens nor speaks; what it had left is unknown."""
    rolled.data(A, 0, "a", "b")
    rolled.mark(A, sent=2, buffered=4)
    rolled.data(A, 2, "c")
    assert rolled.sweep(A, after=10 * LIVE_S) == []
    assert rolled.row().state == "live"  # it listens
    rolled.sweep(emptied=False)
    assert rolled.row().state == "live"  # its last words may still be in the socket
    rolled.sweep()
    row = rolled.row()
    assert (row.state, row.collected, row.unknown, row.emitted, row.exact) == ("crashed", 3, 3, 6, False)
    assert rolled.balanced()


def test_a_bye_without_a_page_outlives_the_collector(tmp_path: Path, clock: Clock) -> None:
    """A collector that ends right after a BYE leaves a closed row: the next one does not call that worker crashed."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        counters = page(rolled, B, emitted=1, sent=1, bye=True)
        for who in (A, B):
            rolled.data(who, 0, "a")
            rolled.mark(who, sent=1, bye=True)
        assert (rolled.row(A).state, rolled.row(B).state) == ("gone", "live")  # B's page has the last word
    counters.close()
    with closing(Rolled(tmp_path, clock)) as rolled:
        for _ in range(3):
            rolled.sweep(after=LIVE_S)
        assert [(rolled.row(who).state, rolled.row(who).exact) for who in (A, B)] == [("gone", True)] * 2


def test_without_a_page_a_bye_is_exact(rolled: Rolled) -> None:
    """A BYE closes the book: nothing is unknown, and it need not be waited for."""
    rolled.data(A, 0, "a", "b")
    rolled.mark(A, sent=2, drops=[[1, 2, 5]], bye=True)
    rolled.sweep(after=QUIET)
    row = rolled.row()
    assert (row.state, row.unknown, row.emitted, row.exact) == ("gone", 0, 7, True)
    assert rolled.balanced()


def test_folded_pages_are_taken_over_once(rolled: Rolled) -> None:
    """The sums of dead pages that never sent become one row, and the files go."""
    for number in range(3, 8):
        page(rolled, producer(number), emitted=10, sent=0, dropped=4).close()
    with folded.locked(rolled.pages):
        folded.fold(rolled.pages)
    losses = rolled.sweep()
    assert losses == [Loss("(5 older)", "worker_lost", 30, 0)]
    assert rolled.sweep() == []
    [row] = rolled.ledger.workers.values()
    assert (row.emitted, row.dropped[HIGH_WATER_MARK], row.lost[WORKER_LOST], row.state) == (50, 20, 30, "gone")
    assert not (rolled.pages / folded.FOLDED).exists()
    assert rolled.balanced()


def test_pages_that_somebody_folds_just_now_are_left_to_him(rolled: Rolled) -> None:
    """Nothing is counted twice and nobody waits: not for a worker that was stopped in the middle of a fold, either."""
    page(rolled, A, emitted=10, sent=0).close()
    known = page(rolled, B, emitted=5, sent=0)
    known.say_welcomed()
    known.close()
    with folded.locked(rolled.pages):
        rolled.sweep()
        assert rolled.sweep(after=QUIET) == [Loss("w1", "worker_lost", 5, 0)]  # nobody folds who was welcomed
        folded.fold(rolled.pages)
        assert rolled.sweep(after=QUIET) == []
    assert rolled.sweep() == [Loss("(1 older)", "worker_lost", 10, 0)]
    assert rolled.ledger.total()["emitted"] == 15


def test_a_fold_that_was_killed_is_not_counted_twice(rolled: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are in the sums already, and whose files are there still, go with the sums."""
    page(rolled, A, emitted=10, sent=0).close()
    rolled.sweep()
    with monkeypatch.context() as killed, folded.locked(rolled.pages):
        killed.setattr(folded, "_remove", lambda directory, members: None)
        folded.fold(rolled.pages)
    assert rolled.sweep(after=QUIET) == [Loss("(1 older)", "worker_lost", 10, 0)]
    assert rolled.sweep(after=QUIET) == []
    assert rolled.ledger.total()["emitted"] == 10
    assert list(rolled.pages.glob("*.page")) == []


def test_unreadable_sums_end_nothing(rolled: Rolled) -> None:
    """A damaged file of sums is left for somebody to look at."""
    (rolled.pages / folded.FOLDED).write_bytes(b"\xc1")
    assert rolled.sweep() == []
    assert (rolled.pages / folded.FOLDED).exists()


def test_the_collector_s_own_row_is_no_worker(tmp_path: Path, clock: Clock) -> None:
    """It is never swept: nobody waits for its MARK, and it has no page."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        with rolled.ledger.transaction() as change:
            change.worker(WorkerRow(OWN, "logbus", "h", 1, "logbus", 1))
    with closing(Rolled(tmp_path, clock)) as rolled:
        assert len(rolled.roll) == 0
        rolled.sweep(after=10 * LIVE_S)
        assert rolled.row(OWN).state == "live"


def test_those_who_have_gone_are_folded_while_the_collector_runs(
    rolled: Rolled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of workers is bounded without a restart; one whose last word is still to come is not folded."""
    monkeypatch.setattr(Ledger.fold, "__defaults__", (4,))
    for number in range(3, 13):
        rolled.data(producer(number), 0, "a")
        rolled.mark(producer(number), sent=1, bye=True)
    rolled.sweep()
    assert len(rolled.ledger.workers) == 10
    rolled.sweep(after=QUIET)
    assert len(rolled.ledger.workers) == 5
    rolled.sweep(after=QUIET)
    older = rolled.row(OLDER)
    assert (older.emitted, older.collected, rolled.ledger.total()["emitted"]) == (6, 6, 10)
    assert rolled.balanced()


def test_the_name_in_a_page_is_masked(tmp_path: Path, clock: Clock) -> None:
    """A worker that died while no collector ran is known by its page alone; its name may hold a password."""

    def mask(source: Source) -> None:
        source.worker = "***"

    with closing(Rolled(tmp_path, clock)) as rolled:
        rolled.roll = Roll(rolled.ledger, rolled.pages, fresh=False, mask=mask)
        page(rolled, A, emitted=2, sent=0).close()
        rolled.sweep(after=QUIET)
        assert rolled.sweep(after=QUIET) == [Loss("***", "worker_lost", 2, 0)]
        assert rolled.row().worker == "***"


@pytest.mark.parametrize("younger", [True, False])
def test_a_worker_that_is_younger_than_a_fresh_ledger_is_exact(tmp_path: Path, clock: Clock, younger: bool) -> None:
    """No earlier ledger can know of it: what it sent and nobody got is lost, where an older worker's is unknown."""
    with closing(Rolled(tmp_path, clock, fresh=True)) as rolled:
        rolled.roll._began_us = META.started_us + (-1 if younger else 1)
        page(rolled, A, emitted=5, sent=3).close()
        rolled.sweep()
        rolled.sweep(after=QUIET)
        row = rolled.row()
        assert (row.lost[COLLECTOR_LOST], row.unknown, row.exact) == ((3, 0, True) if younger else (0, 3, False))
        assert row.lost[WORKER_LOST] == 2
        assert rolled.balanced()
