"""The roll of workers: from frames, MARKs and counter pages to rows that balance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from logbus import folded
from logbus.collectors import roll as roll_module
from logbus.collectors.decode import Batch, decode
from logbus.collectors.ledger import Ledger, WorkerRow
from logbus.collectors.mark import MAX_COUNT, decode_mark
from logbus.collectors.roll import LIVE_S, OWN, QUIET_S, Loss, Roll
from logbus.counters import CHUNK_BYTES, DROPPED, EMITTED, SETTLED, Counters, Meta
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED, WORKER_LOST, Header, pack_payload
from tests.frames import mark_payload, payload, producer

A, B = producer(1), producer(2)
META = Meta("host", 7, "w1", "app", 1_700_000_000_000_000)


class Clock:
    """Time as the roll sees it; it stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Rolled:
    """A roll and its ledger, with a collector's turns as calls."""

    def __init__(self, directory: Path, clock: Clock, *, fresh: bool = False) -> None:
        self.pages = directory / "pages"
        self.pages.mkdir(exist_ok=True)
        self.clock = clock
        self.ledger = Ledger.open(directory / "state", name="t")
        self.roll = Roll(self.ledger, self.pages, fresh=fresh)

    def close(self) -> None:
        """Gives the ledger up."""
        self.ledger.close()

    def data(self, who: bytes, first_seq: int, *messages: str, worker: str = "w1") -> tuple[list[Loss], list[str]]:
        """Enters a frame; new losses, and the messages that are collected now and go to the sinks."""
        batch = self.batch(who, first_seq, *messages, worker=worker)
        with self.ledger.transaction() as change:
            losses = self.roll.enter(change, batch)
        return losses, [record.message for record in batch.records]

    @staticmethod
    def batch(who: bytes, first_seq: int, *messages: str, worker: str = "w1") -> Batch:
        """A batch as it arrives."""
        body = pack_payload(payload(*messages, worker=worker, drops=[] if messages else [[0, 1, 5, 1, 2]]))
        return decode(Header(1, 0, 1, who, first_seq, len(messages)), body)

    def reject(self, who: bytes, first_seq: int, count: int) -> list[Loss]:
        """Enters a frame that can't be decoded."""
        with self.ledger.transaction() as change:
            return self.roll.reject(change, who, first_seq, count)

    def mark(self, who: bytes, *, bye: bool = False, **counters: object) -> list[Loss]:
        """Enters a MARK or a BYE."""
        found = decode_mark(pack_payload(mark_payload(**counters)))  # type: ignore[arg-type]
        with self.ledger.transaction() as change:
            return self.roll.mark(change, who, found, bye=bye)

    def sweep(self, *listeners: bytes, emptied: bool = True, after: float = 0.0) -> list[Loss]:
        """Sweeps, ``after`` seconds from now."""
        self.clock.now += after
        return self.roll.sweep(set(listeners), emptied=emptied)

    def row(self, who: bytes = A) -> WorkerRow:
        """A worker's row."""
        return self.ledger.workers[who]

    def balanced(self) -> bool:
        """Whether every row's law holds; shows what doesn't."""
        problems = [problem for row in self.ledger.workers.values() for problem in row.problems()]
        assert problems == []
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The roll's clock."""
    clock = Clock()
    fake = SimpleNamespace(monotonic=clock.monotonic, time=time.time, time_ns=time.time_ns)
    monkeypatch.setattr(roll_module, "time", fake)
    return clock


@pytest.fixture
def rolled(tmp_path: Path, clock: Clock) -> Iterator[Rolled]:
    """A roll whose ledger has a past, but not of these workers."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        yield rolled


def page(rolled: Rolled, who: bytes, *, emitted: int, sent: int, dropped: int = 0, bye: bool = False) -> Counters:
    """A producer's counter page, its lock held."""
    counters = Counters(rolled.pages, who, META)
    cell = counters.cell()
    cell[EMITTED] = emitted
    cell[SETTLED] = emitted
    cell[DROPPED + 1] = dropped
    counters.sent = sent
    if bye:
        counters.say_bye()
    return counters


def test_frames_in_order_are_collected(rolled: Rolled) -> None:
    """Each record once, and a MARK that says the same leaves nothing in flight."""
    assert rolled.data(A, 0, "a", "b") == ([], ["a", "b"])
    assert rolled.data(A, 2, "c") == ([], ["c"])
    assert rolled.mark(A, sent=3, drops=[[0, 1, 4]], buffered=2) == []
    row = rolled.row()
    assert (row.collected, row.emitted, row.in_flight, row.dropped[HIGH_WATER_MARK]) == (3, 9, 2, 4)
    assert (row.worker, row.pid, row.host, row.app_name, row.state, row.exact) == ("w1", 7, "host", "app", "live", True)
    assert rolled.balanced()


def test_a_gap_is_lost_in_transit(rolled: Rolled) -> None:
    """Numbers that are left out were sent and never collected: said once, and the law holds."""
    rolled.data(A, 0, "a")
    losses, messages = rolled.data(A, 4, "e")
    assert losses == [Loss("w1", "collector_lost", 3, 1)]
    assert messages == ["e"]
    rolled.mark(A, sent=5)
    assert (rolled.row().collected, rolled.row().lost[COLLECTOR_LOST]) == (2, 3)
    assert rolled.balanced()


def test_a_mark_tells_of_a_loss_at_the_end(rolled: Rolled) -> None:
    """What a MARK calls sent, and that has not come before it, will not come any more."""
    rolled.data(A, 0, "a")
    assert rolled.mark(A, sent=3) == [Loss("w1", "collector_lost", 2, 1)]
    assert rolled.mark(A, sent=3) == []
    assert rolled.balanced()


def test_a_frame_that_comes_late_is_collected_after_all(rolled: Rolled) -> None:
    """A lost range that turns up is no loss and no duplicate, in whatever pieces it comes, and only once."""
    rolled.data(A, 0, "0")
    rolled.data(A, 6, "6")
    assert rolled.data(A, 2, "2", "3") == ([], ["2", "3"])
    assert rolled.data(A, 2, "2", "3") == ([], [])
    assert rolled.data(A, 1, "1", "2") == ([], ["1"])
    assert rolled.data(A, 4, "4", "5", "6", "7") == ([], ["4", "5", "7"])
    rolled.mark(A, sent=8)
    row = rolled.row()
    assert (row.collected, row.lost[COLLECTOR_LOST], row.duplicated) == (8, 0, 4)
    assert rolled.balanced()


def test_a_duplicate_is_not_collected_twice(rolled: Rolled) -> None:
    """A frame that has been here is counted as duplicated, outside the law, and nothing of it goes on."""
    rolled.data(A, 0, "a", "b", "c")
    assert rolled.data(A, 0, "a", "b", "c") == ([], [])
    assert rolled.data(A, 2, "c", "d") == ([], ["d"])
    rolled.mark(A, sent=4)
    assert (rolled.row().collected, rolled.row().duplicated) == (4, 4)
    assert rolled.balanced()


def test_an_old_report_of_drops_changes_no_expectation(rolled: Rolled) -> None:
    """A frame without records, sent again, does not make the roll expect again what it has."""
    rolled.data(A, 0)
    rolled.data(A, 0, "a", "b")
    rolled.data(A, 0)
    assert rolled.data(A, 2, "c") == ([], ["c"])
    assert rolled.row().lost[COLLECTOR_LOST] == 0
    assert rolled.data(A, 5) == ([Loss("w1", "collector_lost", 2, 3)], [])


def test_a_frame_that_can_not_be_decoded_is_rejected(rolled: Rolled) -> None:
    """Its records were sent, and end there; a copy of it, or an undecodable copy of a good one, changes nothing."""
    rolled.data(A, 0, "a")
    assert rolled.reject(A, 1, 3) == [Loss("w1", "rejected", 3, 1)]
    assert rolled.reject(A, 1, 3) == []
    assert rolled.reject(A, 0, 1) == []
    assert rolled.reject(A, 4, 0) == []
    assert rolled.reject(A, 6, 1) == [Loss("w1", "collector_lost", 2, 4), Loss("w1", "rejected", 1, 6)]
    rolled.mark(A, sent=7)
    row = rolled.row()
    assert (row.collected, row.lost[REJECTED], row.lost[COLLECTOR_LOST]) == (1, 4, 2)
    assert rolled.balanced()


def test_a_worker_may_begin_with_what_can_not_be_read(rolled: Rolled) -> None:
    """It has a row, though nobody knows its name; the name comes with its first good frame."""
    rolled.reject(A, 0, 2)
    assert rolled.row().worker == f"(unnamed {A.hex()[:8]})"
    rolled.data(A, 2, "x")
    assert rolled.row().worker == "w1"


def test_a_name_is_bounded(rolled: Rolled) -> None:
    """Every commit writes the row: a worker with a name of 100 kB does not make each of them so long."""
    rolled.data(A, 0, "x", worker="w" * 100_000)
    assert rolled.row().worker == "w" * 255


def test_what_an_earlier_ledger_knew_is_unknown(tmp_path: Path, clock: Clock) -> None:
    """With a new ledger, what an old worker sent before is neither lost nor collected, and its row is not exact."""
    with closing(Rolled(tmp_path, clock, fresh=True)) as rolled:
        assert rolled.data(A, 100, "x") == ([], ["x"])
        assert rolled.data(A, 103, "y") == ([Loss("w1", "collector_lost", 2, 101)], ["y"])
        rolled.mark(A, sent=104, buffered=1)
        row = rolled.row()
        assert (row.unknown, row.collected, row.lost[COLLECTOR_LOST], row.in_flight, row.exact) == (100, 2, 2, 1, False)
        assert rolled.balanced()
        assert rolled.mark(B, sent=50) == []
        assert (rolled.row(B).unknown, rolled.row(B).exact) == (50, False)
        assert rolled.balanced()


def test_a_worker_that_counts_in_memory_only_is_not_exact(rolled: Rolled) -> None:
    """A producer that could make no page says so itself."""
    rolled.mark(A, sent=0, exact=False)
    assert not rolled.row().exact


def test_who_has_not_answered(rolled: Rolled) -> None:
    """A question waits for those who listen or were heard lately, and not for those who said BYE or are long silent."""
    roll = rolled.roll
    assert not roll.unanswered(1, [])
    assert roll.unanswered(1, [A])  # connected, and not a word yet
    rolled.mark(A, sent=0, request=1)
    assert not roll.unanswered(1, [A])
    assert roll.unanswered(2, [])
    rolled.mark(A, sent=0, request=3)
    assert not roll.unanswered(2, [A])
    rolled.data(B, 0, "x")
    assert roll.unanswered(2, [])
    rolled.clock.now += LIVE_S
    assert not roll.unanswered(2, [])
    assert roll.unanswered(2, [B])
    rolled.mark(B, sent=1, bye=True)
    assert not roll.unanswered(99, [B])


def test_a_worker_that_said_bye_is_gone(rolled: Rolled) -> None:
    """Its page agrees, is removed, and the row is closed: nothing lost."""
    counters = page(rolled, A, emitted=5, sent=3, dropped=2, bye=True)
    rolled.data(A, 0, "a", "b", "c")
    rolled.mark(A, sent=3, drops=[[0, 1, 2]], bye=True)
    assert rolled.sweep(after=60) == []
    assert rolled.row().state == "live"  # its lock is held: the process lives
    counters.close()
    rolled.sweep()
    assert rolled.sweep(after=QUIET_S) == []
    row = rolled.row()
    assert (row.state, row.collected, row.emitted, row.dropped[HIGH_WATER_MARK], row.exact) == ("gone", 3, 5, 2, True)
    assert list(rolled.pages.iterdir()) == []
    assert len(rolled.roll) == 0
    assert rolled.balanced()


def test_a_killed_worker_leaves_its_counters(rolled: Rolled) -> None:
    """From the page: what was in its buffer is lost with it, what it had sent and did not come is lost in transit."""
    counters = page(rolled, A, emitted=20, sent=10, dropped=3)
    rolled.data(A, 0, *"abcdefgh")
    counters.close()
    rolled.sweep(after=QUIET_S)
    losses = rolled.sweep(after=QUIET_S)
    assert losses == [Loss("w1", "collector_lost", 2, 8), Loss("w1", "worker_lost", 7, 10)]
    row = rolled.row()
    assert (row.state, row.collected, row.lost[COLLECTOR_LOST], row.lost[WORKER_LOST]) == ("crashed", 8, 2, 7)
    assert rolled.balanced()


def test_a_frame_may_be_ahead_of_the_page(rolled: Rolled) -> None:
    """Killed between a send and its count, a worker has sent more than its page says."""
    counters = page(rolled, A, emitted=5, sent=2)
    rolled.data(A, 0, *"abc")
    counters.close()
    rolled.sweep(after=QUIET_S)
    assert rolled.sweep(after=QUIET_S) == [Loss("w1", "worker_lost", 2, 3)]
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
    rolled.sweep(after=QUIET_S)
    assert rolled.sweep(after=QUIET_S) == []
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
    rolled.sweep(after=QUIET_S)
    assert rolled.sweep(after=QUIET_S) == []
    assert (rolled.row().state, rolled.row().collected) == ("gone", 1)


def test_a_stranger_s_page_is_adopted(rolled: Rolled) -> None:
    """A producer that died without being heard here is accounted for by its page."""
    page(rolled, A, emitted=9, sent=4, dropped=1).close()
    rolled.sweep()
    assert rolled.sweep(after=QUIET_S) == [Loss("w1", "collector_lost", 4, 0), Loss("w1", "worker_lost", 4, 4)]
    assert rolled.row().state == "crashed"
    assert list(rolled.pages.iterdir()) == []
    assert rolled.balanced()


def test_a_stranger_that_said_nothing_has_no_row(rolled: Rolled) -> None:
    """A process that imported logbus, logged nothing and ended is no worker; its page goes."""
    page(rolled, A, emitted=0, sent=0, bye=True).close()
    rolled.sweep()
    rolled.sweep(after=QUIET_S)
    assert A not in rolled.ledger.workers
    assert list(rolled.pages.iterdir()) == []


def test_a_crash_between_the_row_and_the_page_counts_once(tmp_path: Path, clock: Clock) -> None:
    """A page that is still there though its row is closed is removed, and adds nothing."""
    with closing(Rolled(tmp_path, clock)) as rolled:
        page(rolled, A, emitted=9, sent=0).close()
        kept = next(rolled.pages.iterdir())
        data = kept.read_bytes()
        rolled.sweep()
        rolled.sweep(after=QUIET_S)
        before = rolled.row().lost[WORKER_LOST]
        kept.write_bytes(data)
    with closing(Rolled(tmp_path, clock)) as rolled:
        rolled.sweep()
        assert rolled.sweep(after=QUIET_S) == []
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
        rolled.sweep(after=QUIET_S)
        assert rolled.sweep(after=QUIET_S) == [Loss("w1", "collector_lost", 1, 4)]
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
    rolled.sweep(after=QUIET_S)
    rolled.sweep(after=QUIET_S)
    row = rolled.row()
    assert (row.state, row.collected, row.unknown, row.exact) == ("crashed", 4, 3, False)
    assert [left.suffix for left in rolled.pages.iterdir()] == [".unreadable"]
    assert rolled.balanced()


def test_files_of_others_among_the_pages_are_left_alone(rolled: Rolled) -> None:
    """Whatever lies there, a sweep does not raise."""
    (rolled.pages / "notes.txt").write_text("mine")
    (rolled.pages / "not-hex.page").write_text("mine")
    (rolled.pages / f"{B.hex()}.page").mkdir()
    (rolled.pages / f"{A.hex()}.page").symlink_to(rolled.pages / "notes.txt")
    rolled.sweep()
    rolled.sweep(after=QUIET_S)
    assert (rolled.pages / "notes.txt").read_text() == "mine"
    assert (rolled.pages / "not-hex.page").read_text() == "mine"
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


def test_without_a_page_a_bye_is_exact(rolled: Rolled) -> None:
    """A BYE closes the book: nothing is unknown, and it need not be waited for."""
    rolled.data(A, 0, "a", "b")
    rolled.mark(A, sent=2, drops=[[1, 2, 5]], bye=True)
    rolled.sweep(after=QUIET_S)
    row = rolled.row()
    assert (row.state, row.unknown, row.emitted, row.exact) == ("gone", 0, 7, True)
    assert rolled.balanced()


def test_folded_pages_are_taken_over_once(rolled: Rolled) -> None:
    """The sums of dead pages that never sent become one row, and the files go."""
    for number in range(3, 8):
        page(rolled, producer(number), emitted=10, sent=0, dropped=4).close()
    with folded.locked(rolled.pages, wait=True):
        folded.fold(rolled.pages)
    losses = rolled.sweep()
    assert losses == [Loss("(5 older)", "worker_lost", 30, 0)]
    assert rolled.sweep() == []
    [row] = rolled.ledger.workers.values()
    assert (row.emitted, row.dropped[HIGH_WATER_MARK], row.lost[WORKER_LOST], row.state) == (50, 20, 30, "gone")
    assert not (rolled.pages / folded.FOLDED).exists()
    assert rolled.balanced()


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
