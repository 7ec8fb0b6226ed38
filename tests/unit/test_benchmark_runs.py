"""Figures of a benchmark's samples: what is divided by what, and what a loss leaves of a run."""

from __future__ import annotations

import pytest

from benchmarks.suite.runs import Runs
from benchmarks.suite.sample import Sample
from tests.measured import sample, three_rounds


def test_a_ratio_is_to_the_floor_beside_it() -> None:
    """A figure is divided by the floor of its own sample; one without a floor has no ratio."""
    found = Sample("producer", "handler", {"thread_us": 6.0, "rss_mib": 20.0}, {"thread_us": 4.0}, 10, 0)
    assert found.ratios == {"thread_us": 1.5}


def test_a_floor_of_nothing_gives_no_ratio() -> None:
    """A clock too coarse to see the floor does not end a run."""
    assert Sample("producer", "handler", {"thread_us": 6.0}, {"thread_us": 0.0}, 10, 0).ratios == {}


def test_samples_survive_json() -> None:
    """What is written is what is read."""
    found = sample("collector", "logbus", 3.0)
    assert Sample.read(found.document()) == found


def test_a_spread_is_of_the_rounds() -> None:
    """Median, smallest and largest of the rounds, in microseconds and in floors, which a slow round does not move."""
    row = Runs(three_rounds()).summary()["producer"]["handler"]
    assert [row["figures"]["process_us"][name] for name in ("median", "min", "max")] == [8.8, 8.0, 16.0]
    assert [row["floors"]["process_us"][name] for name in ("median", "min", "max")] == [1.6, 1.6, 1.6]


def test_a_run_that_lost_records_is_in_no_figure() -> None:
    """Its costs are of fewer records than it seems: they are left out, the loss is counted and named."""
    runs = Runs(three_rounds())
    row = runs.summary()["producer"]["leaky"]
    assert (row["runs"], row["void"], row["lost"], row["records"]) == (3, 2, 14, 3000)
    assert row["figures"]["process_us"]["values"] == [1.0]
    assert row["by"]["handler"]["process_us"]["values"] == [pytest.approx(1 / 8)]
    assert runs.void() == [
        "producer: leaky, round 2: 7 of 1,000 records lost",
        "producer: leaky, round 3: 7 of 1,000 records lost",
    ]


def test_a_variant_that_always_loses_has_no_cost() -> None:
    """There is a row for it, without a figure in it."""
    row = Runs([(0, sample("producer", "leaky", 1.0, lost=1))]).summary()["producer"]["leaky"]
    assert row["figures"] == {"thread_us": None, "process_us": None}
    assert (row["void"], row["runs"]) == (1, 1)


def test_two_variants_are_compared_round_by_round() -> None:
    """Only rounds count in which both are whole, each by the other's cost of the same round."""
    runs = Runs(
        [
            (0, sample("end_to_end", "handler", 10.0, None)),
            (0, sample("end_to_end", "queue", 50.0, None)),
            (1, sample("end_to_end", "handler", 20.0, None)),
            (1, sample("end_to_end", "queue", 60.0, None)),
            (2, sample("end_to_end", "handler", 10.0, None, lost=3)),
            (2, sample("end_to_end", "queue", 90.0, None)),
        ]
    )
    assert runs.compared("end_to_end", "queue", "handler", "process_us") == [5.0, 3.0]


def test_two_variants_with_floors_are_compared_in_floors() -> None:
    """What the clock did between the two is taken out of their ratio."""
    runs = Runs([(0, sample("producer", "handler", 10.0, 5.0)), (0, sample("producer", "peer", 80.0, 10.0))])
    assert runs.compared("producer", "peer", "handler", "process_us") == [4.0]


def test_nothing_is_compared_with_itself() -> None:
    """Ours have the other of ours beside them, never themselves."""
    rows = Runs(three_rounds()).summary()["producer"]
    assert set(rows["handler"]["by"]) == {"fast"}
    assert set(rows["loguru file"]["by"]) == {"handler", "fast"}
    assert rows["loguru file"]["by"]["fast"]["process_us"]["median"] == 10.0
