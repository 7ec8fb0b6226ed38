"""The collector's own records: what they say, and that they are counted like all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.decode import Batch, Drop
from logbus.collectors.hold import Early
from logbus.collectors.ledger import Ledger
from logbus.collectors.own import OwnRecords
from logbus.collectors.roll import NAME_CHARS, OWN, Loss
from logbus.collectors.sample import LeftOut


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        yield ledger


def entered(own: OwnRecords, ledger: Ledger) -> Batch | None:
    """What one turn enters."""
    with ledger.transaction() as change:
        return own.enter(change)


def told(own: OwnRecords, ledger: Ledger) -> list[tuple[str, dict[str, Any] | None]]:
    """Messages and fields of what one turn enters."""
    batch = entered(own, ledger)
    assert batch is not None
    return [(record.message, record.extra) for record in batch.records]


def test_a_loss_is_told(ledger: Ledger) -> None:
    """How many, whose, why and from which number on, in words and in fields."""
    own = OwnRecords(ledger, host="h")
    own.tell_losses([Loss("w1", "collector_lost", 3, 17)])
    assert told(own, ledger) == [
        (
            "3 records of w1 lost: collector lost",
            {"event": "lost", "lost_worker": "w1", "reason": "collector_lost", "count": 3, "first_seq": 17},
        )
    ]


def test_drops_are_told_as_a_gap(ledger: Ledger) -> None:
    """One record for an entry of drops: level, reason and the time in which they were."""
    own = OwnRecords(ledger, host="h")
    own.tell_drops("w1", [Drop(0, 1, 37, 1_700_000_001_000_000, 1_700_000_003_000_000)])
    [(message, fields)] = told(own, ledger)
    assert message == "37 DEBUG records of w1 dropped: high water mark, 22:13:21 to 22:13:23"
    assert fields == {
        "event": "dropped",
        "dropped_worker": "w1",
        "reason": "high_water_mark",
        "dropped_level": "DEBUG",
        "count": 37,
        "first_us": 1_700_000_001_000_000,
        "last_us": 1_700_000_003_000_000,
    }


def test_a_worker_s_long_name_is_cut(ledger: Ledger) -> None:
    """A gap record names its worker in as many characters as the row does, whatever a frame says."""
    own = OwnRecords(ledger, host="h")
    own.tell_drops("w" * 200_000, [Drop(0, 1, 37, 1, 1)] * 2)
    for message, fields in told(own, ledger):
        assert len(message) < NAME_CHARS + 100
        assert fields is not None
        assert fields["dropped_worker"] == "w" * NAME_CHARS


@pytest.mark.parametrize("time_us", [-(2**63), 2**63 - 1, -(10**17), 10**18])
def test_a_time_beyond_the_calendar_is_a_question_mark(ledger: Ledger, time_us: int) -> None:
    """A producer whose clock is mad does not end the collector."""
    own = OwnRecords(ledger, host="h")
    own.tell_drops("w1", [Drop(1, 5, 1, time_us, time_us)])
    [(message, _)] = told(own, ledger)
    assert message == "1 CRITICAL records of w1 dropped: shutdown, ? to ?"


def test_text_that_is_not_utf_8_is_told_with_escapes(ledger: Ledger) -> None:
    """The name of a file may be any bytes, and stands in the error that is told."""
    own = OwnRecords(ledger, host="h")
    own.say("can't write to " + os.fsdecode(b"/var/log/\xff.jsonl"), event="sink_failed")
    assert told(own, ledger)[0][0] == "can't write to /var/log/\\udcff.jsonl"


def test_a_complaint_is_a_warning_and_a_note_is_not(ledger: Ledger) -> None:
    """What went wrong is a WARNING, what somebody wanted an INFO; text and fields are what any encoder takes."""
    own = OwnRecords(ledger, host="h")
    own.say("bad", event="x")
    own.note("asked \ud800", event="y", by="\udcff")
    batch = entered(own, ledger)
    assert batch is not None
    assert [(batch.sites[record.site].level_name, record.message, record.extra) for record in batch.records] == [
        ("WARNING", "bad", {"event": "x"}),
        ("INFO", "asked \\ud800", {"event": "y", "by": "\\udcff"}),
    ]


def test_own_records_are_a_row_that_balances(ledger: Ledger) -> None:
    """Worker "logbus", collected as entered, numbered without a gap, and nothing waits when all was entered."""
    own = OwnRecords(ledger, host="h")
    assert entered(own, ledger) is None
    own.say("one", event="x")
    own.say("two", event="x")
    assert len(own) == 2
    first = entered(own, ledger)
    own.say("three", event="x")
    second = entered(own, ledger)
    assert first is not None
    assert second is not None
    assert (first.producer, first.first_seq, len(first.records), second.first_seq) == (OWN, 0, 2, 2)
    assert (first.source.worker, first.source.pid, first.source.host) == ("logbus", os.getpid(), "h")
    assert {site.component for site in first.sites} == {"logbus"}
    row = ledger.workers[OWN]
    assert (row.worker, row.collected, row.emitted, row.in_flight, row.state) == ("logbus", 3, 3, 0, "live")
    assert row.law()
    assert len(own) == 0


def test_many_go_in_several_turns(ledger: Ledger) -> None:
    """One turn enters a thousand; none is left out."""
    own = OwnRecords(ledger, host="h")
    for number in range(2500):
        own.say(f"{number}", event="x")
    messages: list[str] = []
    while own:
        messages += [message for message, _ in told(own, ledger)]
    assert messages == [str(number) for number in range(2500)]
    assert ledger.workers[OWN].collected == 2500


def test_the_row_goes_on_after_a_restart(tmp_path: Path) -> None:
    """All lives of a collector are one row, and its numbers go on."""
    for life in range(3):
        with closing(Ledger.open(tmp_path, name="t")) as ledger:
            own = OwnRecords(ledger, host="h")
            own.say("hello", event="x")
            batch = entered(own, ledger)
            assert batch is not None
            assert batch.first_seq == life
            assert ledger.workers[OWN].law()


def test_what_sampling_left_out_is_told(ledger: Ledger) -> None:
    """The sink, how many in which time, and the busiest call sites: an INFO, since it was meant to be."""
    own = OwnRecords(ledger, host="h")
    own.tell_sampling([("main", LeftOut(1234, 1.0, (("shop.till INFO till.sell:7", 1200), ("a \ud800", 34))))])
    batch = entered(own, ledger)
    assert batch is not None
    [record] = batch.records
    assert batch.sites[record.site].level_name == "INFO"
    expected = "sink 'main': 1234 records left out in 1 s: 1200 of shop.till INFO till.sell:7, 34 of a \\ud800"
    assert record.message == expected
    assert record.extra == {"event": "sampled", "sink": "main", "count": 1234, "interval": "1 s"}
    assert record.nested == {
        "sites": [{"site": "shop.till INFO till.sell:7", "count": 1200}, {"site": "a \\ud800", "count": 34}]
    }


def test_requests_that_were_sampled_early_are_told(ledger: Ledger) -> None:
    """With what there was too little of: a WARNING, since it was not meant to be."""
    own = OwnRecords(ledger, host="h")
    own.tell_sampling([("main", Early(7, 16 * 1024 * 1024))])
    batch = entered(own, ledger)
    assert batch is not None
    [record] = batch.records
    assert batch.sites[record.site].level_name == "WARNING"
    expected = "sink 'main': 7 requests were sampled before their window had ended, since max_bytes (16 MiB) can't hold"
    assert record.message.startswith(expected)
    assert record.extra == {"event": "sampled_early", "sink": "main", "count": 7}
