"""A table of the benchmarks' page: columns, alignment, spreads, and what a cell may not break."""

from __future__ import annotations

import pytest

from benchmarks.spread import spread
from benchmarks.suite.table import shown, table, titled


def test_columns_are_aligned_in_the_source() -> None:
    """Words are flush left, figures flush right, in Markdown's rule as well as by spaces."""
    found = table(("call", "µs", "verdict"), [("handler", "7.5", "held"), ("a peer", "120.0", "**missed**")])
    assert found.splitlines() == [
        "| call    |    µs | verdict    |",
        "| ------- | ----: | ---------- |",
        "| handler |   7.5 | held       |",
        "| a peer  | 120.0 | **missed** |",
    ]


@pytest.mark.parametrize("cell", ["7.5 (7.0-8.0)", "**7** of 1,000", "-", "<= 1.45 floors", "+0.2 ± 0.1", ""])
def test_figures_with_signs_and_units_are_figures(cell: str) -> None:
    """A spread, a loss, a dash, a bound: all of them are flush right."""
    assert table(("call", "a wide column of figures"), [("handler", cell)]).splitlines()[1].endswith("-: |")


def test_a_cell_can_not_end_its_column() -> None:
    """A pipe is escaped, a line's end is none."""
    assert table(("call", "does"), [("a|b", "one\ntwo")]).splitlines()[2] == "| a\\|b | one two |"


def test_a_spread_shows_how_far_its_runs_lie_apart() -> None:
    """The median, then the smallest and the largest; one run has none of these, no run a dash."""
    assert shown(spread([1.0, 2.0, 6.0]), 1, "x") == "2.0x (1.0-6.0)"
    assert shown(spread([1234.0]), 0) == "1,234"
    assert shown(spread([-3.0, -2.0, 1.0]), 0) == "-2 (-3 to 1)"
    assert shown(None) == "-"


@pytest.mark.parametrize(
    ("figure", "title"),
    [
        ("process_us", "process, µs"),
        ("collector_rss_mib", "collector RSS, MiB"),
        ("call_p999_us", "call p99.9, µs"),
        ("records_per_s", "records/s"),
        ("bytes_per_record", "bytes per record"),
        ("collector_ms_per_mib", "collector, ms per MiB"),
        ("worker_ms_per_s", "worker, ms per s"),
        ("dropped_percent", "dropped, %"),
    ],
)
def test_a_figures_name_becomes_a_head(figure: str, title: str) -> None:
    """The unit at its end is set apart."""
    assert titled(figure) == title
