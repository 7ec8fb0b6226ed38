"""Payloads of DATA frames and what their fields may hold, as Hypothesis strategies for the stages of the collector."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import strategies as st

from logbus import wire
from logbus.collectors.decode import Batch, decode

PRODUCER = bytes(range(16))
INT64 = st.integers(-(2**63), 2**63 - 1)
#: Texts with the characters that end lines, move cursors and reorder what one reads, more often than chance has it.
TEXTS = st.text(max_size=20) | st.text(
    st.sampled_from('ab "=\\\n\r\t\0\x1b\x7f\x85\u2028\u202e\u200b\U000e0001é'), max_size=9
)
FLOATS = st.floats(min_value=-sys.float_info.max, max_value=sys.float_info.max)
SCALARS = st.none() | st.booleans() | INT64 | FLOATS | TEXTS
KEYS = st.sampled_from(["request_id", "operation", "proxy_url", "source", "user_id", "n", "token", "a b"]) | TEXTS
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
EXCEPTIONS = st.recursive(
    st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=2), st.none(), st.none(), st.just([])).map(list),
    lambda inner: st.tuples(
        TEXTS, TEXTS, st.lists(TEXTS, max_size=2), st.none() | inner, st.none() | inner, st.lists(inner, max_size=2)
    ).map(list),
    max_leaves=4,
)
LEVELS = st.sampled_from([(10, "DEBUG"), (20, "INFO"), (50, "CRITICAL"), (25, "SUCCESS"), (7, "INFO"), (33, "")])


@st.composite
def payloads(draw: st.DrawFn) -> list[Any]:
    """A valid payload, as plain lists: up to four records of up to three call sites and two threads."""
    sites = [
        [draw(TEXTS), level_no, level_name, draw(TEXTS), draw(TEXTS), draw(INT64), draw(TEXTS)]
        for level_no, level_name in draw(st.lists(LEVELS, min_size=1, max_size=3))
    ]
    threads = draw(st.lists(TEXTS, min_size=1, max_size=2))
    record = st.tuples(
        INT64,
        st.integers(0, len(sites) - 1),
        st.integers(0, len(threads) - 1),
        TEXTS,
        st.none() | st.dictionaries(KEYS, SCALARS, max_size=4),
        st.none() | st.dictionaries(KEYS, NESTED, max_size=2),
        st.none() | EXCEPTIONS,
    ).map(list)
    drops = st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 9), INT64, INT64).map(list), max_size=2
    )
    source = [draw(TEXTS), draw(st.integers(0, 2**31)), draw(TEXTS), draw(TEXTS)]
    return [source, sites, threads, draw(st.lists(record, max_size=4)), draw(drops)]


def header(count: int) -> wire.Header:
    """The header of a DATA frame with so many records."""
    return wire.Header(wire.DATA, 0, wire.SCHEMA, PRODUCER, 7, count)


def batch_of(payload: list[Any]) -> Batch:
    """The batch that a valid payload becomes."""
    return decode(header(len(payload[3])), wire.pack_payload(payload))


def payload_of(*records: list[Any], threads: list[str] | None = None) -> list[Any]:
    """A payload with these records, all of one call site at INFO."""
    site = ["app.db", 20, "INFO", "db", "query", 7, "app"]
    return [["host", 42, "worker-1", "app"], [site], threads or ["MainThread"], list(records), []]
