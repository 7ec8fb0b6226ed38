from __future__ import annotations

import sys

from hypothesis import given, strategies as st

from logbus.collectors.sinks.syslog.tail import Tail


def test_a_tail_has_the_last_lines() -> None:
    """It gives them once, in order."""
    tail = Tail()
    tail.add(b"1\n2\n")
    tail.add(b"3\n")
    assert (tail.take(), tail.take()) == (b"1\n2\n3\n", b"")


def test_a_tail_knows_how_many_connections_were_closed() -> None:
    """Also of those of which not all have room."""
    tail = Tail(max_bytes=6)
    tail.add(b"1\n2\n", 2)
    tail.add(b"3\n")
    tail.add(b"4\n", 1)
    assert tail.parcels() == [(b"2\n", 2), (b"3\n", 0), (b"4\n", 1)]
    assert not tail


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=12),
    st.integers(0, 40) | st.just(sys.maxsize),
    st.integers(0, 9) | st.just(sys.maxsize),
    st.integers(0, 9) | st.just(sys.maxsize),
)
def test_a_tail_keeps_to_its_bounds(added: list[tuple[int, int]], max_bytes: int, max_records: int, asked: int) -> None:
    """It has exactly those of the last lines that are within all its bounds, whole lines of whole additions' age."""
    now = 0.0
    tail = Tail(max_bytes=max_bytes, max_records=max_records, max_s=5.0, clock=lambda: now)
    lines: list[tuple[float, bytes]] = []
    for records, later in added:
        more = [b"%d\n" % (len(lines) + at) for at in range(records)]
        tail.add(b"".join(more))
        lines += [(now, line) for line in more]
        now += later
    expected: list[bytes] = []
    for when, line in reversed(lines):
        size = sum(map(len, expected)) + len(line)
        if when < now - 5.0 or size > max_bytes or len(expected) >= min(max_records, asked):
            break
        expected.insert(0, line)
    assert tail.take(asked) == b"".join(expected)
