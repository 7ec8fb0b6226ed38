"""The promises of performance: what is judged, in which unit, and how a verdict comes about."""

from __future__ import annotations

import pytest

from benchmarks.spread import spread
from benchmarks.suite.goals import PROMISES, Promise, Verdict, judge
from benchmarks.suite.runs import Runs
from benchmarks.suite.sample import Sample
from tests.measured import sample, three_rounds


def verdicts(runs: Runs) -> dict[str, Verdict]:
    """By what was promised."""
    return {verdict.promise.what: verdict for verdict in judge(runs)}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([1.2], "goal"), ([1.3], "goal"), ([1.4], "must"), ([1.45], "must"), ([1.46], "missed"), ([], "none")],
)
def test_a_verdict_is_of_the_median(values: list[float], verdict: str) -> None:
    """Bounds are inclusive; the goal counts before the must; without a figure there is none."""
    promise = Promise("1", "a call", "floors", 1.45, 1.3, lambda runs: values)
    assert Verdict(promise, spread(values)).verdict == verdict


@pytest.mark.parametrize(
    ("values", "divided"),
    [
        ([1.4, 1.42, 1.45], False),  # each held
        ([1.4, 1.44, 1.46], True),  # held, one missed
        ([1.44, 1.46, 1.5], True),  # missed, one held
        ([1.2, 1.25, 1.31], True),  # the goal, but for one
        ([1.2, 1.35, 1.4], False),  # the must is held, which is what is said
        ([], False),
    ],
)
def test_a_bound_among_the_rounds_makes_a_verdict_uncertain(values: list[float], divided: bool) -> None:
    """A median on the right side of a bound may be luck: whether all rounds are there is said beside it."""
    promise = Promise("1", "a call", "floors", 1.45, 1.3, lambda runs: values)
    assert Verdict(promise, spread(values)).divided is divided


@pytest.mark.parametrize(("value", "verdict"), [(1.2, "must"), (1.0, "must"), (0.9, "missed")])
def test_some_promises_are_of_at_least(value: float, verdict: str) -> None:
    """What must be more is missed by less; where there is no goal, none is reached."""
    promise = Promise("3", "the cheapest peer", "x", 1.0, None, lambda runs: [value], ">=")
    assert Verdict(promise, spread([value])).verdict == verdict


def test_nothing_measured_is_nothing_held() -> None:
    """Without samples every promise stands there, row by row, without a verdict."""
    found = judge(Runs([]))
    assert set(PROMISES) < {verdict.promise for verdict in found}
    assert {verdict.verdict for verdict in found} == {"none"}
    assert list(dict.fromkeys(verdict.promise.row for verdict in found)) == ["1", "2", "3", "4", "5", "before"]


def test_calls_beside_a_collector_in_trouble_have_a_promise_each() -> None:
    """Each state but serving is judged by how far its p99.9 lies above that, ten microseconds being none."""
    above = {"handler: serving": 0.0, "handler: stopped": 4.0, "handler: dead": 60.0, "fast: absent": 101.0}
    runs = Runs([(0, Sample("stalls", state, {"above_serving_us": us}, None, 10, 0)) for state, us in above.items()])
    found = {verdict.promise.what: verdict.verdict for verdict in judge(runs) if verdict.promise.row == "4"}
    assert found == {
        "a call's p99.9 above serving: handler: stopped": "goal",
        "a call's p99.9 above serving: handler: dead": "must",
        "a call's p99.9 above serving: fast: absent": "missed",
    }


def test_the_largest_of_a_family_decides_about_memory() -> None:
    """However many workers there are, none may be bigger; each round counts with its biggest."""
    figures = {0: {"1": 5.0, "4": 6.0}, 1: {"1": 7.0, "4": 6.5}}
    runs = Runs(
        (number, Sample("workers", workers, {"above_bare_rss_mib": mib}, None, 10, 0))
        for number, found in figures.items()
        for workers, mib in found.items()
    )
    found = verdicts(runs)["a worker, buffer empty, RSS above a bare process: 8 MB"]
    assert found.value is not None
    assert (found.value["values"], found.verdict) == ([6.0, 7.0], "must")


def test_an_hour_is_judged_by_its_slope() -> None:
    """Noise holds nothing: a steep slope misses, however unsure it is, and is said to be unsure."""
    flatness = {
        "collector_rss_mib": {"per_hour": 3.0, "error": 1.5},
        "worker_rss_mib": {"per_hour": 3.0, "error": 0.5},
        "collector_floors": {"percent_per_hour": -9.0, "percent_error": 1.0},
        "worker_floors": None,
    }
    found = {verdict.promise.what: verdict for verdict in judge(Runs([]), {"flatness": flatness})}
    hour = {
        what: (verdict.value and verdict.value["values"], verdict.verdict, verdict.divided)
        for what, verdict in found.items()
        if what.startswith("flat in uptime")
    }
    assert hour == {
        "flat in uptime and records: the collector's RSS": ([0.0, 3.0, 6.0], "missed", True),
        "flat in uptime and records: a worker's RSS": ([2.0, 3.0, 4.0], "missed", False),
        "flat in uptime and records: the collector's CPU": ([-11.0, -9.0, -7.0], "must", False),
        "flat in uptime and records: a worker's CPU": (None, "none", False),
    }


def test_a_start_is_judged_by_the_best() -> None:
    """What configure() takes beyond the libraries, where the slowest starts say nothing."""
    runs = Runs(
        (number, Sample("startup", variant, {"wall_ms": ms}, None, 0, 0))
        for variant, found in (("libraries", (30.0, 25.0)), ("configure", (95.0, 70.0)))
        for number, ms in enumerate(found)
    )
    found = verdicts(runs)["import logbus and configure(), beyond the libraries"]
    assert found.value is not None
    assert (found.value["median"], found.verdict) == (45.0, "must")


def test_calls_are_judged_in_floors() -> None:
    """The calling thread and the process, each by the floor of its own sample."""
    found = verdicts(Runs(three_rounds()))
    process = found["stdlib logger and LogbusHandler: whole process"]
    assert process.value is not None
    assert (process.value["median"], process.verdict) == (1.6, "must")
    assert found["FastLogger, fast: calling thread"].verdict == "goal"  # 0.2 of 0.25
    assert found["FastLogger, lean: calling thread"].verdict == "none"


@pytest.mark.parametrize(
    ("family", "variant", "what", "must", "goal"),
    [
        ("collector", "logbus", "collector, default redaction: 4.5 / 2.5 µs", 4.5, 2.5),
        ("collector", "logbus_bare", "collector, no redaction: 2.5 / 1.2 µs", 2.5, 1.2),
        ("end_to_end", "handler", "call to file, LogbusHandler: 14 / 10 µs", 14.0, 10.0),
        ("end_to_end", "fast", "call to file, FastLogger: 8 / 5 µs", 8.0, 5.0),
    ],
)
def test_microseconds_are_judged_where_the_floor_was_theirs(
    family: str, variant: str, what: str, must: float, goal: float
) -> None:
    """A promise in microseconds holds at 5.9 a floor: on a machine twice as slow twice as many are allowed."""
    for cost, verdict in ((goal, "goal"), (must, "must"), (must * 1.02, "missed")):
        for slow in (1.0, 2.0):
            runs = Runs([(0, sample(family, variant, cost * slow, 5.9 * slow))])
            assert verdicts(runs)[what].verdict == verdict, (cost, slow)


def test_the_cheapest_peer_decides() -> None:
    """Of the peers that lost nothing the cheapest by us; ours are not among them."""
    runs = Runs(
        [
            (0, sample("end_to_end", "handler", 10.0)),
            (0, sample("end_to_end", "fast", 5.0)),
            (0, sample("end_to_end", "queue", 60.0)),
            (0, sample("end_to_end", "fluent", 40.0)),
            (0, sample("end_to_end", "leaky", 1.0, lost=5)),
        ]
    )
    found = verdicts(runs)["call to file: the cheapest peer by LogbusHandler"]
    assert found.value is not None
    assert found.value["median"] == 4.0


def test_a_verdict_is_a_row_of_the_document() -> None:
    """JSON gets what the table needs: row, words, bounds, unit, figure, verdict and command."""
    found = judge(Runs([(0, Sample("producer", "fast", {"thread_us": 2.0}, {"thread_us": 5.0}, 10, 0))]))
    [row] = [verdict.document() for verdict in found if verdict.value is not None]
    assert row == {
        "row": "1",
        "what": "FastLogger, fast: calling thread",
        "unit": "floors",
        "must": 0.4,
        "goal": 0.25,
        "sense": "<=",
        "command": "python -m benchmarks.suite",
        "value": spread([0.4]),
        "verdict": "must",
        "divided": False,
    }
