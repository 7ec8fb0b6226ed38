"""The rows of the ledger and their two laws."""

from __future__ import annotations

import pytest

from logbus.collectors.rows import MAX_RANGES, SinkRow, WorkerRow, by_reason, coalesced, divided, gates_of, weakest_gate
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED, WORKER_LOST

A, B = b"a" * 16, b"b" * 16


def worker() -> WorkerRow:
    """A live worker: 20 emitted, of which 12 sent, 2 dropped by it and 6 still in its buffer; 9 of the 12 came."""
    row = WorkerRow(A, "rotator-1", "h", 7, "app", 1)
    row.collected = 9
    row.mark(100.0, emitted=20, sent=12, buffered=6, dropped=[2, 0, 0])
    return row


def sink() -> SinkRow:
    """A sink that was offered 20 and has 3 of them in its queue."""
    return SinkRow("main", "file", True, "ok", 20, 4, 3, 13, 7, [1, 0, 0, 0, 0, 0], 1, 1)


def test_a_mark_compares_what_was_said_with_what_was_counted_then() -> None:
    """Records that are collected after a MARK don't disturb the law until the next one."""
    row = worker()
    assert row.in_flight == 6 + 3
    assert row.law()
    row.collected += 5
    row.lost[REJECTED] += 1
    assert row.in_flight == 9
    assert row.law()
    row.mark(101.0, emitted=20, sent=18, buffered=0, dropped=[2, 0, 0])
    assert (row.mark_collected, row.mark_lost[REJECTED], row.in_flight) == (14, 1, 3)
    assert row.law()


def test_what_the_collector_books_counts_where_it_was() -> None:
    """Lost in transit, rejected and unknown were sent; what was lost in a killed worker's buffer was not."""
    row = worker()
    row.lost[COLLECTOR_LOST], row.lost[REJECTED], row.lost[WORKER_LOST], row.unknown = 2, 1, 5, 4
    row.state = "crashed"
    row.mark(101.0, emitted=23, sent=16, buffered=0, dropped=[2, 0, 0])
    assert row.in_flight == 0
    assert row.problems() == []


def test_what_is_unknown_can_not_be_in_flight_too() -> None:
    """More unknown than was sent is a negative term, though the sum is right."""
    row = worker()
    row.unknown = 4
    row.mark(101.0, emitted=20, sent=12, buffered=6, dropped=[2, 0, 0])
    assert row.problems() == ["worker rotator-1 (pid 7): sent and not collected is negative: -1"]


def test_a_wrong_sum_is_said_with_its_numbers() -> None:
    """A record too many is a problem, in one sentence that can be checked."""
    row = worker()
    row.emitted += 1
    assert row.problems() == [
        "worker rotator-1 (pid 7): emitted 21, but collected 9 + dropped 2 + in flight 9 + unknown 0 = 20"
    ]
    assert not row.law()


def test_more_collected_than_sent_is_a_problem() -> None:
    """A sum that is right does not hide a negative term."""
    row = worker()
    row.mark_collected = 13
    assert row.problems() == [
        "worker rotator-1 (pid 7): sent and not collected is negative: -1",
        "worker rotator-1 (pid 7): collected 13, but only 12 were sent",
    ]


@pytest.mark.parametrize("state", ["gone", "crashed"])
def test_nothing_is_in_flight_of_a_worker_that_is_no_more(state: str) -> None:
    """A row of a worker that has ended must say what became of everything."""
    row = worker()
    row.state = state  # type: ignore[assignment]
    assert row.problems() == [f"worker rotator-1 (pid 7): it is {state} and still has 9 in flight"]


@pytest.mark.parametrize(
    ("name", "term"),
    [("emitted", "emitted"), ("mark_collected", "collected"), ("buffered", "buffered"), ("mark_unknown", "unknown")],
)
def test_a_negative_term_of_a_worker_is_a_problem(name: str, term: str) -> None:
    """No term may be negative, whatever the sum."""
    row = worker()
    setattr(row, name, -1)
    assert f"worker rotator-1 (pid 7): {term} is negative: -1" in row.problems()


@pytest.mark.parametrize("name", ["dropped", "mark_lost"])
def test_a_negative_reason_is_a_problem(name: str) -> None:
    """Two reasons may not make up for one another."""
    row = worker()
    counts = getattr(row, name)
    counts[HIGH_WATER_MARK], counts[WORKER_LOST] = counts[HIGH_WATER_MARK] + 3, -3
    assert row.problems() == ["worker rotator-1 (pid 7): dropped is negative: -3"]


def test_the_document_of_a_worker() -> None:
    """A row as the contract has it: reasons without zeros, producer's and collector's together, counts of the MARK."""
    row = worker()
    row.lost[HIGH_WATER_MARK] = 1
    row.mark(100.0, emitted=21, sent=12, buffered=6, dropped=[2, 0, 0])
    row.collected, row.duplicated, row.level_version, row.gate = 10, 4, 3, "stdlib=source,loguru=filter"
    assert row.document(101.5) == {
        "worker": "rotator-1",
        "pid": 7,
        "host": "h",
        "app_name": "app",
        "producer": A.hex(),
        "state": "live",
        "level_version": 3,
        "gate": "filter",
        "gates": {"stdlib": "source", "loguru": "filter"},
        "exact": True,
        "mark_age_seconds": 1.5,
        "emitted": 21,
        "sent": 12,
        "collected": 9,
        "dropped": {"high_water_mark": 3},
        "in_flight": 9,
        "unknown": 0,
        "duplicated": 4,
    }


@pytest.mark.parametrize(
    ("text", "gates", "gate"),
    [
        ("", {}, "none"),
        ("none", {}, "none"),
        ("stdlib=source", {"stdlib": "source"}, "source"),
        ("stdlib=source,loguru=direct", {"stdlib": "source", "loguru": "direct"}, "source"),
        ("stdlib=source,structlog=filter", {"stdlib": "source", "structlog": "filter"}, "filter"),
        ("handler", {"handler": "handler"}, "handler"),
        (",=,", {"": ""}, ""),
    ],
)
def test_the_weakest_gate_counts(text: str, gates: dict[str, str], gate: str) -> None:
    """A worker's gate is its source if that of each library is; any words of any worker are taken."""
    assert gates_of(text) == gates
    assert weakest_gate(gates) == gate


def test_a_flight_recorder_is_in_the_document_when_it_has_recorded() -> None:
    """Its counts are named; a worker without one has no such key, and the folded row has the sums."""
    row = worker()
    assert "recorder" not in row.document(101.0)
    row.recorder = [5, 2, 1]
    assert row.document(101.0)["recorder"] == {"recorded": 5, "replayed": 2, "discarded": 1}
    older = WorkerRow.older(1)
    older.absorb(row)
    older.absorb(row)
    assert older.recorder == [10, 4, 2]


def test_the_age_of_a_mark_is_never_made_up() -> None:
    """A worker without a MARK has no age, and a clock that was set back gives none below zero."""
    assert WorkerRow(A, "w", "h", 1, "app", 1).document(100.0)["mark_age_seconds"] is None
    assert worker().document(50.0)["mark_age_seconds"] == 0


def test_the_law_of_a_sink() -> None:
    """The queue's own count is a term: it is told, not worked out."""
    assert sink().law(3)
    (problem,) = sink().problems(2)
    assert problem == (
        "sink main: offered 20, but delivered 7 + filtered 4 + sampled out 3 + dropped 1 + queued 2 + spooled 1"
        " + unknown 1 = 19"
    )


@pytest.mark.parametrize("name", ["delivered", "filtered", "sampled_out", "spooled", "unknown"])
def test_a_negative_term_of_a_sink_is_a_problem(name: str) -> None:
    """No term may be negative, even when the sum is right."""
    row = sink()
    row.offered -= getattr(row, name) + 2
    setattr(row, name, -2)
    assert row.problems(3) == [f"sink main: {name.replace('_', ' ')} is negative: -2"]


def test_the_document_of_a_sink() -> None:
    """A row as the contract has it."""
    row = sink()
    row.last_error = "disk full"
    assert row.document(3) == {
        "name": "main",
        "type": "file",
        "state": "ok",
        "offered": 20,
        "delivered": 7,
        "filtered": 4,
        "sampled_out": 3,
        "dropped": {"high_water_mark": 1},
        "queued": 3,
        "spooled": 1,
        "unknown": 1,
        "duplicated": 0,
        "last_error": "disk full",
    }


def test_what_is_outstanding() -> None:
    """What was handed to the queue and has not ended is what a crash puts at stake."""
    assert sink().outstanding == 13 - 7 - 1 - 1 - 1


def test_ranges_that_continue_one_another_are_one() -> None:
    """Order is kept: a range of another producer between two others keeps them apart."""
    assert coalesced([(A, 0, 3), (A, 3, 2), (B, 5, 1), (A, 5, 1), (A, 7, 1)]) == (
        (A, 0, 5),
        (B, 5, 1),
        (A, 5, 1),
        (A, 7, 1),
    )


def test_ranges_are_bounded() -> None:
    """An intent stays small, however many producers one write mixes."""
    ranges = [(A, 2 * number, 1) for number in range(MAX_RANGES + 5)]
    assert coalesced(ranges) == tuple(ranges[:MAX_RANGES])


@pytest.mark.parametrize(
    ("count", "front", "back"),
    [
        (0, (), ((A, 0, 3), (B, 5, 1), (A, 7, 2))),
        (2, ((A, 0, 2),), ((A, 2, 1), (B, 5, 1), (A, 7, 2))),
        (3, ((A, 0, 3),), ((B, 5, 1), (A, 7, 2))),
        (5, ((A, 0, 3), (B, 5, 1), (A, 7, 1)), ((A, 8, 1),)),
        (6, ((A, 0, 3), (B, 5, 1), (A, 7, 2)), ()),
        (9, ((A, 0, 3), (B, 5, 1), (A, 7, 2)), ()),
    ],
)
def test_ranges_are_divided_after_any_record(count: int, front: object, back: object) -> None:
    """The first records and the others, in their order, none twice and none empty."""
    assert divided([(A, 0, 3), (B, 5, 1), (A, 7, 2)], count) == (front, back)


def test_reasons_without_zeros() -> None:
    """Only what happened is shown."""
    assert by_reason([0, 2, 0, 0, 0, 1]) == {"shutdown": 2, "rejected": 1}
