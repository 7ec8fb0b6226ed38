"""How a sink stands, and how often that is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logbus.collectors.rows import SinkRow
from logbus.collectors.writing.standing import MAX_ERROR_CHARS, REFUSED_S, TOLD_S, Standing


class Bench:
    """A standing whose clock is the test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[str] = []
        self.row = SinkRow("far", "http")
        self.standing = Standing(self.row, self.told.append, clock=lambda: self.now)
        self.standing.begin()

    def state(self) -> tuple[str, str | None]:
        """The row's state and error."""
        return self.row.state, self.row.last_error


@pytest.fixture
def bench() -> Bench:
    """One whose sink has begun."""
    return Bench()


def test_a_failing_sink_is_told_once_and_then_once_a_minute(bench: Bench) -> None:
    """Whatever the error says; with how many attempts have failed since, and once more when it is over."""
    for second in range(130):
        bench.now = 1000.0 + second
        bench.standing.failed(f"error {second}")
    assert bench.state() == ("failing", "error 129")
    bench.now = 1130.0
    bench.standing.works(12345)
    assert bench.told == [
        "sink 'far' fails and is tried again: error 0",
        "sink 'far' has failed for 60 s, 60 attempts more: error 60",
        "sink 'far' has failed for 120 s, 60 attempts more: error 120",
        "sink 'far' delivers again after 130 s; still waiting: 12,345",
    ]
    assert bench.state() == ("ok", None)


def test_what_had_no_room_is_told_once_a_minute(bench: Bench) -> None:
    """With how many records it was since the last word, however often that happens; none make no word."""
    bench.standing.had_no_room(0)
    for second in range(121):
        bench.now = 1000.0 + second
        bench.standing.had_no_room(10)
    assert bench.told == [
        "sink 'far' had no room for 10 records: dropped, as high_water_mark",
        "sink 'far' had no room for 600 records: dropped, as high_water_mark",
        "sink 'far' had no room for 600 records: dropped, as high_water_mark",
    ]
    assert bench.state() == ("ok", None)


def test_a_sink_that_comes_and_goes_makes_two_lines_a_minute(bench: Bench) -> None:
    """Its failing and its working are told together or not at all."""
    for second in range(180):
        bench.now = 1000.0 + second
        bench.standing.failed(f"error {second}")
        assert bench.standing.stuck
        bench.standing.works(0)
        assert not bench.standing.stuck
    assert len(bench.told) == 6
    assert [text.split()[2] for text in bench.told] == ["fails", "delivers"] * 3


def test_a_failure_that_lasts_beyond_a_silence_is_told(bench: Bench) -> None:
    """It began too soon after another one; when the minute is over it is still one, as a new one."""
    bench.standing.failed("first")
    bench.standing.works(0)
    bench.now += 10.0
    bench.standing.failed("second")
    bench.now += TOLD_S
    bench.standing.failed("second")
    assert bench.told[2:] == ["sink 'far' fails and is tried again: second"]
    bench.standing.works(1)
    assert bench.told[3:] == ["sink 'far' delivers again after 60 s; still waiting: 1"]


def test_each_reason_ends_by_itself(bench: Bench) -> None:
    """Lines that go through hide no format that fails, and a format that works again hides no failing sink."""
    standing = bench.standing
    standing.could_not_write("ValueError: no", tell=True)
    standing.failed("refused")
    assert bench.state() == ("failing", "refused")
    standing.works(0)
    assert bench.state() == ("failing", "ValueError: no")
    standing.failed("refused")
    bench.now += REFUSED_S
    standing.could_write()
    assert bench.state() == ("failing", "refused")
    standing.troubled("it can't be rotated")
    standing.works(0)
    assert bench.state() == ("ok", "it can't be rotated")
    standing.troubled(None)
    assert bench.state() == ("ok", None)


def test_a_spool_in_trouble_stands_beside_what_the_sink_says(bench: Bench) -> None:
    """The sink's own trouble first; a sink that fails says why it fails."""
    bench.standing.spool_troubled("OSError: full")
    assert bench.state() == ("ok", "OSError: full")
    bench.standing.spool_troubled("OSError: still full")
    assert len(bench.told) == 1
    bench.standing.failed("refused")
    assert bench.state() == ("failing", "refused")
    bench.standing.works(0)
    assert bench.state() == ("ok", "OSError: still full")
    bench.standing.spool_troubled(None)
    assert bench.state() == ("ok", None)


def test_a_sink_that_hangs_is_told_and_is_well_when_it_has_come_back(bench: Bench) -> None:
    """Once for each time, and no more than once a minute."""
    for _ in range(3):
        bench.standing.hangs("it has not come back for 5 s")
        assert bench.state() == ("failing", "it has not come back for 5 s")
        bench.standing.works(0)
        assert bench.state() == ("ok", None)
    assert bench.told == ["sink 'far' hangs: it has not come back for 5 s"]


def test_an_error_is_kept_short(bench: Bench) -> None:
    """A server's answer may be a page."""
    bench.standing.failed("x" * 100_000)
    assert bench.state() == ("failing", "x" * MAX_ERROR_CHARS)
    assert len(bench.told[0]) < MAX_ERROR_CHARS + 100


@pytest.mark.parametrize(
    "complain",
    [
        lambda standing, number: standing.rejected(1, f"400 {number}"),
        lambda standing, number: standing.could_not_write(f"no {number}", tell=True),
        lambda standing, number: standing.troubled(f"{900 + number:,} lines may be lost"),
    ],
)
def test_what_happens_often_is_told_once_a_minute(bench: Bench, complain: Callable[[Standing, int], None]) -> None:
    """Refusals, records that a format can't write, and a trouble that counts what it is about."""
    for number in range(200):
        complain(bench.standing, number)
        bench.now += 1.0
    assert len(bench.told) == 4


def test_refusals_are_told_with_those_before_them_that_were_not(bench: Bench) -> None:
    """Whoever reads the complaints of an hour can add them up."""
    for _ in range(61):
        bench.standing.rejected(500, "400")
        bench.now += 1.0
    assert [line.split(": ")[1] for line in bench.told] == [
        "500 records were refused for good, as dead letters",
        "30,000 records were refused for good, as dead letters",
    ]


def test_troubles_that_are_never_the_same_are_forgotten(bench: Bench) -> None:
    """A sink whose text is another one each time costs no memory."""
    for number in range(1000):
        bench.standing.troubled(f"trouble {'x' * number}")
    assert len(bench.standing._told_at) <= 102
