"""The roll of workers: from frames and MARKs to rows that balance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from logbus.collectors import roll
from logbus.collectors.decode import Drop
from logbus.collectors.roll import LIVE_S, LOOK_S, LOOKS, Loss
from logbus.counters import page_is_alive
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED
from tests.frames import producer
from tests.rolled import QUIET, Clock, Rolled, page

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


def test_the_drops_in_a_duplicate_are_not_told_twice(rolled: Rolled) -> None:
    """A frame that has been here reports nothing; one that was lost and comes late does."""
    for seq, told in ((0, 1), (0, 0), (2, 1), (1, 1), (1, 0)):
        batch = rolled.batch(A, seq, "a")
        batch.drops = [Drop(0, 1, 5, 1, 2)]
        with rolled.ledger.transaction() as change:
            rolled.roll.enter(change, batch)
        assert len(batch.drops) == told


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
    rolled.clock.now += LIVE_S + 0.01
    assert not roll.unanswered(2, [])
    assert roll.unanswered(2, [B])
    rolled.mark(B, sent=1, bye=True)
    assert not roll.unanswered(99, [B])


def test_who_stands_can_be_reached(rolled: Rolled, clock: Clock) -> None:
    """Who listens, a word said or not, and who was heard lately; not who said goodbye, nor who has gone."""
    silent, listening, recent, leaving = (producer(number) for number in range(1, 5))
    for who in (listening, recent, leaving):
        rolled.mark(who, sent=0)
    listeners = {silent, listening, leaving}
    standing = rolled.roll.standing(listeners)
    assert set(standing) == {silent, listening, recent, leaving}
    assert standing[silent] is None
    assert standing[listening] is rolled.roll.member(listening) is not None
    rolled.mark(leaving, sent=0, bye=True)
    assert set(rolled.roll.standing(listeners)) == {silent, listening, recent}
    clock.now += LIVE_S
    assert set(rolled.roll.standing(listeners)) == {silent, listening}
    rolled.sweep(silent, listening)
    assert rolled.roll.member(leaving) is None
    assert set(rolled.roll.standing([*listeners, leaving])) == {silent, listening}, "its row is closed"


def test_who_is_found_dead_does_not_stand(rolled: Rolled) -> None:
    """From the look at its page on, before its row is closed, and though its connection seems to stand."""
    with closing(page(rolled, A, emitted=0, sent=0)):
        rolled.mark(A, sent=0)
        rolled.sweep(A, after=QUIET)
        assert rolled.roll.stands(A, {A})
    rolled.sweep(A, emptied=False)
    assert rolled.roll.member(A) is not None
    assert not rolled.roll.stands(A, {A})


def test_a_member_keeps_what_it_confirmed(rolled: Rolled) -> None:
    """Ledger and version of its last MARK; the row has the version, the gates and the recorder's counts."""
    rolled.mark(A, sent=0, confirmed=(7, "ledger"))
    member = rolled.roll.member(A)
    assert member is not None
    assert member.confirmed == ("ledger", 7)
    assert (rolled.row().level_version, rolled.row().gate, rolled.row().recorder) == (7, "stdlib=source", [0, 0, 0])


def test_whose_process_is_there_stands(rolled: Rolled, clock: Clock) -> None:
    """A worker that was stopped before the collector came does not connect, and is not heard: its page tells of it."""
    rolled.mark(A, emitted=0, sent=0)
    with closing(page(rolled, A, emitted=0, sent=0)):
        rolled.sweep(after=LIVE_S + 1)
        assert rolled.roll.stands(A, set())
        rolled.mark(A, emitted=0, sent=0, bye=True)
        rolled.sweep(after=LIVE_S + 1)
        assert not rolled.roll.stands(A, set())
    rolled.mark(A, emitted=0, sent=0)
    rolled.sweep(after=LIVE_S + 1)
    assert not rolled.roll.stands(A, set())


def test_a_crowd_is_looked_at_in_turns(rolled: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep looks at so many workers, and comes to each about once a second; the dead of a crowd are closed, too."""
    crowd = [producer(number) for number in range(1, 3 * LOOKS + 1)]
    for who in crowd:
        rolled.mark(who, emitted=3, sent=0, buffered=3)
    looked: list[str] = []

    def look(path: str) -> bool | None:
        looked.append(Path(path).name)
        return page_is_alive(path)

    monkeypatch.setattr(roll, "page_is_alive", look)
    with ExitStack() as pages:
        for who in crowd[:-1]:
            pages.enter_context(closing(page(rolled, who, emitted=3, sent=0)))
        with closing(page(rolled, crowd[-1], emitted=3, sent=0)):
            rolled.sweep(after=QUIET)  # none was looked at before
            assert len(looked) == len(set(looked)) == len(crowd)
            looked.clear()
            for _ in range(3):
                rolled.sweep(after=LOOK_S / 4)
            assert len(looked) == len(set(looked)) == len(crowd)
            looked.clear()
            rolled.sweep(after=LOOK_S + 1)
            assert len(looked) == len(set(looked)) == len(crowd)
        rolled.sweep(after=LOOK_S)
        looked.clear()
        losses = rolled.sweep(after=QUIET)
        assert len(looked) == LOOKS + 1
        assert (losses, rolled.row(crowd[-1]).state) == ([Loss("w1", "worker_lost", 3, 0)], "crashed")
        assert [who for who in crowd if rolled.row(who).state == "live"] == crowd[:-1]
        assert rolled.balanced()
