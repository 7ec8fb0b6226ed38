"""The slope by which a series of the endurance run is called flat or not."""

from __future__ import annotations

import pytest

from benchmarks.scale.endurance import BACKLOG, SETTLE_S, judge
from benchmarks.scale.slope import flatness, slope


def test_a_line_has_its_slope_and_no_error() -> None:
    """Points on a line give the slope of the line."""
    found = slope([[(0, 5), (10, 7), (20, 9)]])
    assert found == pytest.approx((0.2, 0.0))


def test_a_step_between_two_pieces_is_no_growth() -> None:
    """Each piece has a height of its own: two flat ones are flat, wherever they lie."""
    found = slope([[(0, 1), (10, 1), (20, 1)], [(0, 9), (10, 9), (20, 9)]])
    assert found == pytest.approx((0.0, 0.0))


def test_pieces_share_one_slope() -> None:
    """What two pieces do together weighs the longer one more."""
    found = slope([[(0, 0), (30, 30)], [(0, 7), (10, 7)]])
    assert found is not None
    assert found[0] == pytest.approx(0.9)


def test_noise_around_a_line_is_in_the_error() -> None:
    """The standard error is that of the least-squares slope: sqrt(rest / free / sum of squares)."""
    found = slope([[(0, 1), (1, -1), (2, 1), (3, -1)]])
    assert found == pytest.approx((-0.4, (3.2 / 2 / 5) ** 0.5))


@pytest.mark.parametrize("pieces", [[], [[(0.0, 1.0), (1.0, 2.0)]], [[(0.0, 1.0)], [(1.0, 1.0)]], [[(5.0, 1.0)] * 9]])
def test_too_few_points_have_no_slope(pieces: list[list[tuple[float, float]]]) -> None:
    """Two points, one of each piece, or all at one time say nothing."""
    assert slope(pieces) is None
    assert flatness(pieces) is None


def test_flatness_is_of_an_hour() -> None:
    """A rise of 0.01 a second from 100 on is 36 an hour, in percent of the mean."""
    found = flatness([[(0, 100.0), (100, 101.0), (200, 102.0)]])
    assert found is not None
    assert (found["mean"], found["min"], found["max"]) == (101.0, 100.0, 102.0)
    assert found["per_hour"] == pytest.approx(36.0)
    assert found["percent_per_hour"] == pytest.approx(35.6436)
    assert (found["error"], found["percent_error"]) == (0.0, 0.0)


def test_a_series_of_zeros_has_no_percents() -> None:
    """Where the mean is zero there is nothing to take a percentage of."""
    found = flatness([[(0, 0.0), (100, 0.0), (200, 0.0)]])
    assert found is not None
    assert found["per_hour"] == 0
    assert "percent_per_hour" not in found


def point(at_s: float, rss: float, backlog: int = 0, piece: int = 0) -> dict[str, float]:
    """A point of the endurance run; all of its series have this value."""
    series = ("collector_rss_mib", "worker_rss_mib", "collector_us", "collector_floors", "worker_us", "worker_floors")
    return {"piece": piece, "at_s": at_s, "backlog": backlog, **dict.fromkeys(series, rss)}


def test_what_a_backlog_took_is_a_step_and_no_growth() -> None:
    """A series that is flat before and after a backlog is flat; the step is in its largest value."""
    values = [(1, 50, 0), (2, 50, 0), (3, 50, 0), (4, 57, BACKLOG + 1), (5, 55, 0), (6, 55, 0), (7, 55, 0)]
    found = judge([point(SETTLE_S + at, rss, backlog) for at, rss, backlog in values])["worker_rss_mib"]
    assert (found["per_hour"], found["error"], found["min"], found["max"]) == (0, 0, 50, 57)


def test_growth_between_backlogs_is_growth() -> None:
    """What rises in every stretch rises, whatever the steps between them do."""
    values = [(1, 50, 0), (2, 51, 0), (3, 52, 0), (4, 90, BACKLOG + 1), (5, 60, 0), (6, 61, 0), (7, 62, 0)]
    found = judge([point(SETTLE_S + at, rss, backlog) for at, rss, backlog in values])["collector_rss_mib"]
    assert found["per_hour"] == pytest.approx(3600)


def test_the_beginning_of_each_piece_is_in_no_slope() -> None:
    """What fills caches and finds its size in the first minutes is not judged, in any piece."""
    points = [point(at + 10.0, at, piece=piece) for piece in (0, 1) for at in range(9)]
    points += [point(SETTLE_S + 10 * at, 9, piece=piece) for piece in (0, 1) for at in (1, 2, 3)]
    points.sort(key=lambda one: (one["piece"], one["at_s"]))
    found = judge(points)["worker_us"]
    assert (found["per_hour"], found["min"]) == (0, 9)
    assert judge(points[:9])["worker_us"] is None
