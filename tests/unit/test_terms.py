"""The terms of a sink: what a file gets by default, and what is refused because a writer would be stuck with it."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from logbus.collectors.writing.terms import Policy, Terms


def test_by_default_a_sink_is_a_file() -> None:
    """Lines are written as they come, tried again each half second for ever, and the receiver waits."""
    terms = Terms()
    assert (terms.max_delay_s, terms.initial_s, terms.max_interval_s, terms.max_elapsed_s) == (0.0, 0.5, 0.5, inf)
    assert (terms.on_full, terms.queue_bytes, terms.max_bytes, terms.breaker_failures) == ("block", 8 << 20, 1 << 20, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_records": 0},
        {"max_bytes": 0},
        {"queue_bytes": 0},
        {"max_delay_s": -1.0},
        {"max_delay_s": inf},
        {"max_delay_s": nan},
        {"initial_s": 0.0},
        {"initial_s": nan},
        {"initial_s": 2.0, "max_interval_s": 1.0},
        {"max_interval_s": inf},
        {"max_elapsed_s": 0.0},
        {"max_elapsed_s": nan},
        {"breaker_failures": -1},
        {"spool_bytes": -1},
        {"on_full": "wait"},
        {"on_full": "spool"},
        {"on_full": "shed_lowest", "spool_bytes": 1},
    ],
    ids=str,
)
def test_terms_that_would_wedge_a_writer_are_refused(wrong: dict[str, Any]) -> None:
    """A bound of nothing, a time without an end, a spool without its policy: the error names the term and its value."""
    with pytest.raises(ValueError, match=f"{list(wrong)[-1] if 'on_full' not in wrong else 'on_full'} .*expected"):
        Terms(**wrong)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each wrong term is in the one message."""
    with pytest.raises(ValueError, match=r"max_records 0: .*; queue_bytes -3: .*; breaker_failures -1: "):
        Terms(max_records=0, queue_bytes=-3, breaker_failures=-1)


@pytest.mark.parametrize(
    ("policy", "by_level"),
    [("block", False), ("drop_newest", False), ("drop_oldest", True), ("shed_lowest", True), ("spool", True)],
)
def test_levels_are_needed_where_something_is_chosen_from_what_waits(policy: Policy, by_level: bool) -> None:
    """A sink that waits, or refuses what comes, does without."""
    assert Terms(on_full=policy, spool_bytes=1 if policy == "spool" else 0).by_level == by_level
