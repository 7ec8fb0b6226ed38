"""Files that rotate by clocks that people set, and by lines of any length."""

from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.collectors.rotation import EXPECTED, GRACE_S, ClockTime, Moment, Rotation, parse_rotation
from logbus.errors import ConfigurationError

DAY = 86_400.0
TIMES = st.builds(ClockTime, st.integers(0, 23), st.integers(0, 59), st.none() | st.integers(0, 6))
#: From 1990 to 2100.
WALLS = st.floats(631_152_000.0, 4_102_444_800.0)
TEXTS = st.sampled_from(["1 kB", "100 MB", "1 hour", "1 day", "00:00", "03:30", "sunday", "sunday at 03:00"])


@given(TIMES, WALLS)
def test_a_time_comes_within_a_day_or_a_week(at: ClockTime, wall: float) -> None:
    """It is later, and no later than the next day or week of any length, whatever clocks do in summer."""
    period = DAY if at.weekday is None else 7 * DAY
    assert 0 < at.after(wall) - wall <= period + 2 * 3600


@given(
    st.lists(TIMES, max_size=3),
    st.none() | st.floats(1.0, 10 * DAY),
    WALLS,
    st.lists(st.tuples(st.floats(0.0, DAY), st.sampled_from([0.0, -1.0, 1.0, -3600.0, 3600.0, -400 * DAY, 400 * DAY]))),
)
def test_no_storm_and_no_file_for_ever(
    times: list[ClockTime], interval: float | None, wall: float, steps: list[tuple[float, float]]
) -> None:
    """However clocks are set: at most one rotation for each setting and each period, and none that never comes."""
    rotation = Rotation(("…",), interval_s=interval, times=tuple(times))
    now = Moment(wall, 0.0)
    began, rotations, settings = now, 0, 0
    for passed, set_by in steps:
        now = Moment(now.wall + passed + set_by, now.steady + passed)
        settings += set_by != 0
        if rotation.deadline(began).reached(now):
            began = now
            rotations += 1
            assert not rotation.deadline(began).reached(now)
        if times or interval:
            longest = min(
                [interval or 1e9] + [(DAY if at.weekday is None else 7 * DAY) + 2 * 3600 + GRACE_S for at in times]
            )
            assert now.steady - began.steady < longest
    by_interval = now.steady / interval if interval else 0
    by_times = sum(now.steady / DAY + 1 for _ in times)
    assert rotations <= by_interval + by_times + settings


@given(st.integers(1000, 5000), st.lists(st.integers(1, 3000), min_size=1, max_size=200))
def test_files_are_full_and_never_too_long(max_bytes: int, lines: list[int]) -> None:
    """No file is longer than its size but by a single line, and each ends for want of room for the next line."""
    rotation = Rotation(("…",), max_bytes)
    files: list[list[int]] = [[]]
    for line in lines:
        if rotation.full(sum(files[-1]), line):
            files.append([])
        elif files[-1]:
            assert line <= rotation.room(sum(files[-1]))
        files[-1].append(line)
    for file, following in zip(files, [*files[1:], [max_bytes + 1]], strict=True):
        assert sum(file) <= max_bytes or len(file) == 1
        assert sum(file) + following[0] > max_bytes


@given(st.lists(TEXTS, min_size=1) | st.lists(st.text(max_size=30)))
def test_any_texts_are_a_rotation_or_mistakes(texts: list[str]) -> None:
    """Nothing else is ever raised, and each mistake has its words."""
    problems: list[str] = []
    try:
        rotation = parse_rotation(texts)
    except ConfigurationError as error:
        problems = error.problems
    else:
        assert rotation.texts == tuple(texts)
        assert rotation.max_bytes or rotation.interval_s or rotation.times
    assert all(EXPECTED in problem for problem in problems)
