"""The tables of growth: their order, their columns, and a latency beside that of a call that does nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.suite import growth
from benchmarks.suite.runs import Runs
from benchmarks.suite.sample import Sample


def measured(*samples: Sample) -> dict[str, Any]:
    """The document of one round."""
    return {"figures": Runs((0, sample) for sample in samples).summary()}


def first_column(text: str) -> list[str]:
    """The variants of a table."""
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        (["200", "4", "16", "1"], ["1", "4", "16", "200"]),
        (
            ["64 KiB, message", "100 B, message", "1 KiB, message"],
            ["100 B, message", "1 KiB, message", "64 KiB, message"],
        ),
        (
            ["4, different formats", "2", "4", "2, different formats"],
            ["2", "4", "2, different formats", "4, different formats"],
        ),
    ],
)
def test_variants_stand_in_the_order_of_their_numbers(given: list[str], ordered: list[str]) -> None:
    """Numbers, then sizes with their units, then what differs otherwise."""
    assert sorted(given, key=growth.order) == ordered


def test_workers_that_are_paced_and_flat_out_have_a_table_each() -> None:
    """Their figures are not the same: no table has columns of dashes."""
    text = growth.growth(
        measured(
            Sample("workers", "200", {"paced_process_us": 40.0}, {"paced_process_us": 10.0}, 10, 0),
            Sample("workers", "4", {"paced_process_us": 12.0}, {"paced_process_us": 10.0}, 10, 0),
            Sample("workers", "4, flat out", {"process_us": 9.0}, {"process_us": 6.0}, 10, 0),
        )
    )
    paced, seldom, flat = (first_column(part) for part in re.split(r"\*\*Workers that|\*\*Workers\*\* as fast", text))
    assert (paced, seldom, flat) == (["4", "200"], ["200"], ["4, flat out"])
    assert "4.00" in text


def test_workers_that_log_seldom_stand_beside_the_crowd_alone() -> None:
    """What is compared at one rate of each worker is in one table, and in no other that is at one rate of all."""
    cost = {"paced_process_us": 30.0}
    text = growth.growth(
        measured(*(Sample("workers", name, cost, cost, 10, 0) for name in ("4", "200", "4, as slow as 200")))
    )
    together, seldom = (first_column(part) for part in text.split("**Workers that"))
    assert (together, seldom) == (["4", "200"], ["200", "4, as slow as 200"])


def test_what_was_measured_once_says_so() -> None:
    """Figures of one round have no brackets, which looks as if the rounds agreed."""
    once = [Sample("idle", "4", {"worker_ms_per_s": 1.0}, None, 0, 0)]
    assert "(One round.)" in growth.growth(measured(*once))


def test_what_was_not_measured_has_no_table() -> None:
    """A run without these families has nothing to say of growth."""
    assert growth.growth(measured(Sample("producer", "null", {"process_us": 5.0}, None, 10, 0))) == ""


def test_states_stand_beside_what_the_machine_did() -> None:
    """Serving is first, the handler before the others; a null handler's p99.9 of the same moments is in the row."""
    text = growth.stalls(
        measured(
            Sample("stalls", "fast: serving", {"call_p999_us": 50.0, "above_serving_us": 0.0}, None, 10, 0),
            Sample(
                "stalls",
                "handler: stopped",
                {
                    "call_p999_us": 90.0,
                    "above_serving_us": 30.0,
                    "calm_p999_us": 60.0,
                    "calm_above_serving_us": 10.0,
                },
                {"call_p999_us": 45.0, "calm_p999_us": 40.0},
                10,
                0,
            ),
            Sample("stalls", "handler: serving", {"call_p999_us": 60.0, "above_serving_us": 0.0}, None, 10, 0),
        )
    )
    assert first_column(text) == ["handler: serving", "handler: stopped", "fast: serving"]
    stopped = next(line for line in text.splitlines() if "handler: stopped" in line)
    assert [cell.strip() for cell in stopped.split("|")[4:10]] == ["90.0", "30.0", "45.0", "60.0", "10.0", "40.0"]
    assert "SIGSTOP" in stopped
