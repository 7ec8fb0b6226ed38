"""When a log file is due: the grammar, the sizes, the ages and the times."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import pytest

from logbus.collectors.rotation import GRACE_S, ClockTime, Moment, Rotation, parse_rotation
from logbus.errors import ConfigurationError

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time as in Berlin: from 02:00 to 03:00 on 29 March 2026, and back on 25 October."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


def local(text: str, fold: int = 0) -> float:
    """Seconds since the epoch of a local time."""
    return datetime.fromisoformat(text).replace(fold=fold).timestamp()


def shown(wall: float) -> str:
    """A time as clocks show it."""
    return datetime.fromtimestamp(wall).astimezone().strftime("%Y-%m-%d %H:%M %z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 MB", Rotation(("100 MB",), max_bytes=100_000_000)),
        ("1 GiB", Rotation(("1 GiB",), max_bytes=1024**3)),
        ("1 kB", Rotation(("1 kB",), max_bytes=1000)),
        ("1 hour", Rotation(("1 hour",), interval_s=HOUR)),
        ("1 day", Rotation(("1 day",), interval_s=DAY)),
        ("90m", Rotation(("90m",), interval_s=1.5 * HOUR)),
        ("1 s", Rotation(("1 s",), interval_s=1.0)),
        ("00:00", Rotation(("00:00",), times=(ClockTime(0, 0),))),
        ("3:30", Rotation(("3:30",), times=(ClockTime(3, 30),))),
        (" 23:59 ", Rotation((" 23:59 ",), times=(ClockTime(23, 59),))),
        ("sunday", Rotation(("sunday",), times=(ClockTime(0, 0, 6),))),
        ("Sunday at 03:00", Rotation(("Sunday at 03:00",), times=(ClockTime(3, 0, 6),))),
        ("MONDAY  AT  00:05", Rotation(("MONDAY  AT  00:05",), times=(ClockTime(0, 5, 0),))),
    ],
)
def test_what_can_be_said(text: str, expected: Rotation) -> None:
    """Sizes, intervals, times of the day and of the week."""
    assert parse_rotation([text]) == expected


def test_several_are_whichever_comes_first() -> None:
    """The smallest size, the shortest interval, and every time."""
    rotation = parse_rotation(["1 GB", "12:00", "1 day", "100 MB", "00:00", "6 h", "12:00"])
    assert rotation.texts == ("1 GB", "12:00", "1 day", "100 MB", "00:00", "6 h", "12:00")
    assert (rotation.max_bytes, rotation.interval_s) == (100_000_000, 6 * HOUR)
    assert rotation.times == (ClockTime(12, 0), ClockTime(0, 0))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "banana",
            "100",
            "100 M",
            "100M ",
            "999 B",
            "0 B",
            "2000 TB",
            "0.5 s",
            "0 s",
            "200 years",
            "100 MB, 1 day",
        ),
        *("24:00", "12:60", "12:5", "12:00:00", "noon", "sundays"),
        *("sunday 03:00", "at 03:00", "sunday at 3", "sunday at 25:00"),
    ],
)
def test_what_can_not_is_refused_with_all_that_can(text: str) -> None:
    """The message has the text, and an example of each kind with its bounds; "100 M" may mean MB or minutes."""
    with pytest.raises(ConfigurationError) as raised:
        parse_rotation([text])
    [problem] = raised.value.problems
    assert problem.startswith(f'rotation {text!r}: expected a size from 1 kB to 1000 TB ("100 MB"), an interval from')
    assert all(example in problem for example in ('"1 hour"', '"00:00"', '"sunday"', '"sunday at 03:00"'))


def test_each_mistake_is_a_problem() -> None:
    """All at once, the long ones shortened; and nothing at all is a mistake."""
    with pytest.raises(ConfigurationError) as raised:
        parse_rotation(["banana", "1 day", "x" * 10_000])
    first, second = raised.value.problems
    assert "'banana'" in first
    assert len(second) < 500
    with pytest.raises(ConfigurationError, match="found nothing"):
        parse_rotation([])


def test_a_file_is_full_when_the_next_line_does_not_fit() -> None:
    """Never beyond its size, filled up to it, and an empty file takes a line of any length."""
    rotation = parse_rotation(["1 kB"])
    assert [rotation.full(size, 100) for size in (1, 899, 900, 901, 1000)] == [False, False, False, True, True]
    assert [rotation.full(size) for size in (0, 999, 1000, 1001)] == [False, False, True, True]
    assert not rotation.full(0, 5000)
    assert [rotation.room(size) for size in (0, 900, 1000, 2000)] == [1000, 100, 0, 0]
    assert not parse_rotation(["1 day"]).full(10**15, 10**6)
    assert parse_rotation(["1 day"]).room(10**15) == sys.maxsize


def test_an_interval_is_time_that_has_passed() -> None:
    """Whatever the clock on the wall says meanwhile."""
    deadline = parse_rotation(["1 hour"]).deadline(Moment(1e9, 50.0))
    for wall in (0.0, 1e9, 4e9):
        assert not deadline.reached(Moment(wall, 50.0 + HOUR - 1))
        assert deadline.reached(Moment(wall, 50.0 + HOUR))


def test_a_time_of_the_day_is_local(berlin: None) -> None:
    """The next such time, or a day later when the file began at it."""
    midnight = local("2026-11-23T00:00")
    assert ClockTime(0, 0).after(local("2026-11-22T00:00:01")) == midnight
    assert ClockTime(0, 0).after(local("2026-11-22T23:59:59")) == midnight
    assert ClockTime(0, 0).after(midnight) == midnight + DAY
    deadline = parse_rotation(["00:00"]).deadline(Moment(midnight - 10, 5.0))
    assert [deadline.reached(Moment(midnight + late, 15.0 + late)) for late in (-1, 0, 1)] == [False, True, True]


def test_a_time_of_the_week(berlin: None) -> None:
    """The next one of its weekday."""
    sunday = local("2026-11-29T03:00")
    at = ClockTime(3, 0, 6)
    assert [at.after(local(text)) for text in ("2026-11-23T12:00", "2026-11-29T02:59", "2026-11-22T03:00")] == [
        sunday
    ] * 3
    assert at.after(sunday) == local("2026-12-06T03:00")


def test_of_several_times_the_next_counts(berlin: None) -> None:
    """Noon, midnight, noon."""
    deadline = parse_rotation(["12:00", "00:00"]).deadline(Moment(local("2026-11-22T11:00"), 0.0))
    assert deadline.wall == local("2026-11-22T12:00")
    deadline = parse_rotation(["12:00", "00:00"]).deadline(Moment(deadline.wall, 0.0))
    assert deadline.wall == local("2026-11-23T00:00")


def test_a_time_that_clocks_skip_comes_once(berlin: None) -> None:
    """02:30 does not exist on the night when summer begins: it is half an hour after what would have been 02:00."""
    at = ClockTime(2, 30)
    first = at.after(local("2026-03-28T12:00"))
    assert shown(first) == "2026-03-29 03:30 +0200"
    assert shown(at.after(first)) == "2026-03-30 02:30 +0200"
    assert at.after(local("2026-03-29T01:59")) == first


def test_a_time_that_clocks_show_twice_comes_once(berlin: None) -> None:
    """02:30 comes twice on the night when summer ends: the first time counts."""
    at = ClockTime(2, 30)
    first = at.after(local("2026-10-24T12:00"))
    assert shown(first) == "2026-10-25 02:30 +0200"
    assert shown(at.after(first)) == "2026-10-26 02:30 +0100"
    assert shown(at.after(local("2026-10-25T02:15", fold=1))) == "2026-10-26 02:30 +0100"


def test_a_clock_set_forward_rotates_once(berlin: None) -> None:
    """The next file begins in the new time."""
    rotation = parse_rotation(["00:00"])
    began = Moment(local("2026-11-22T12:00"), 0.0)
    jumped = Moment(local("2027-11-22T12:00"), 60.0)
    assert rotation.deadline(began).reached(jumped)
    again = rotation.deadline(jumped)
    assert not again.reached(Moment(jumped.wall + 11 * HOUR, 60.0 + 11 * HOUR))
    assert again.reached(Moment(jumped.wall + 12 * HOUR, 60.0 + 12 * HOUR))


def test_a_clock_set_back_keeps_no_file_for_ever(berlin: None) -> None:
    """When as much time has passed as there was, and the grace, the file is due whatever the clock says."""
    rotation = parse_rotation(["00:00"])
    deadline = rotation.deadline(Moment(local("2026-11-22T12:00"), 0.0))
    year_ago = local("2025-11-22T12:00")
    assert not deadline.reached(Moment(year_ago + 12 * HOUR, 12 * HOUR))
    assert deadline.reached(Moment(year_ago + 12 * HOUR + GRACE_S, 12 * HOUR + GRACE_S))


def test_a_small_correction_after_midnight_does_not_rotate_twice(berlin: None) -> None:
    """A second back, over midnight: the file that began just now is due at the next midnight."""
    midnight = local("2026-11-23T00:00")
    deadline = parse_rotation(["00:00"]).deadline(Moment(midnight + 0.5, 0.0))
    assert not deadline.reached(Moment(midnight - 0.5, 0.1))
    assert not deadline.reached(Moment(midnight + 0.5, 1.1))
    assert deadline.reached(Moment(midnight + DAY, DAY))


def test_a_moment_of_the_past_is_on_both_clocks() -> None:
    """What a wall clock showed that long ago; a time to come, or before all clocks, is no age to count on."""
    now = Moment(1000.0, 50.0)
    assert now.ago(900.0) == Moment(900.0, -50.0)
    assert now.ago(5000.0) == now
    assert now.ago(-5000.0) == Moment(0.0, -950.0)


def test_the_present_moment_goes_on() -> None:
    """Both clocks are read, and the steady one never goes back."""
    first, second = Moment.now(), Moment.now()
    assert abs(first.wall - time.time()) < 60
    assert second.steady >= first.steady
