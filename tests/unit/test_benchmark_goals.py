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


def stalled(*rounds: dict[str, float], raw: float = 200.0, null: float = 30.0) -> dict[str, Verdict]:
    """Verdicts on calls beside a collector in trouble, by the kind of logger: of calm figures by state, by round."""
    runs = Runs(
        (
            number,
            Sample(
                "stalls",
                state,
                {"above_serving_us": raw, "calm_above_serving_us": us, "calm_p999_us": 50.0},
                {"calm_p999_us": null},
                10,
                0,
            ),
        )
        for number, found in enumerate(rounds)
        for state, us in found.items()
    )
    found = [verdict for verdict in judge(runs) if verdict.promise.row == "4"]
    return dict(zip(("handler", "fast"), found, strict=True))


def test_calls_beside_a_collector_in_trouble_are_judged_by_their_worst_state() -> None:
    """Of each kind of logger the state with the largest median is named and judged by its calm bursts."""
    found = stalled(
        {"handler: serving": 1.0, "handler: stopped": 90.0, "handler: dead": 60.0, "fast: serving": 1.0},
        {"handler: serving": -2.0, "handler: stopped": 4.0, "handler: dead": 60.0, "fast: absent": 101.0},
        {"handler: serving": 1.0, "handler: stopped": 5.0, "handler: dead": 50.0, "fast: absent": 102.0},
    )
    assert [(verdict.promise.what, verdict.verdict) for verdict in found.values()] == [
        ("a call's p99.9 above serving, LogbusHandler, worst state: dead", "must"),
        ("a call's p99.9 above serving, FastLogger, worst state: absent", "missed"),
    ]
    assert stalled({"handler: serving": 1.0})["handler"].verdict == "none"


def test_all_bursts_the_null_handler_and_the_control_stand_beside_that() -> None:
    """What is not judged is shown with its unit, so that the reader sees what was left out."""
    [found] = [stalled({"handler: serving": -7.0, "handler: dead": 60.0})["handler"].document()]
    assert {name: (one["value"]["median"], one["unit"]) for name, one in found["beside"].items()} == {
        "with preempted bursts": (200.0, "µs"),
        "a NullHandler's p99.9": (30.0, "µs"),
        "control, serving above serving": (-7.0, "µs"),
    }


@pytest.mark.parametrize(
    ("control", "above", "verdict"),
    [
        ((3.0, -10.0, 2.0), 9.0, "goal"),
        ((-11.0, 12.0, -13.0), 9.0, "must"),  # as far apart as the goal: that it was reached can't be told
        ((-100.0, 100.0, 90.0), 100.0, "must"),
        ((-101.0, 150.0, 20.0), 9.0, "noise"),  # either way round, and whatever was found
        ((-101.0, 150.0, 20.0), 500.0, "noise"),
        ((), 9.0, "noise"),
    ],
)
def test_where_the_control_is_off_nothing_is_decided(control: tuple[float, ...], above: float, verdict: str) -> None:
    """Serving beside serving shows what the machine does: a bound within that noise has no verdict, neither has one
    whose noise nobody knows.
    """
    rounds = [{"fast: dead": above, **({"fast: serving": control[at]} if control else {})} for at in range(3)]
    found = stalled(*rounds)["fast"]
    assert (found.verdict, found.divided) == (verdict, False)


def test_flat_in_workers_is_judged_at_one_rate() -> None:
    """Workers at one rate of each, the collector at one of all: what 200 cost at the other is shown, not judged."""
    costs = {"4": (10.0, 8.0, 3.0), "200": (20.0, 8.8, 3.6), "4, as slow as 200": (16.0, 8.0, 90.0)}
    names = ("paced_process_us", "beyond_idle_process_us", "paced_collector_us")
    runs = Runs(
        (0, Sample("workers", variant, dict(zip(names, found, strict=True)), None, 10, 0))
        for variant, found in costs.items()
    )
    found = verdicts(runs)
    workers = found["flat in workers: a worker's CPU per record, 200 by 4 at one rate of each"].document()
    assert (workers["value"]["median"], workers["verdict"], workers["one_round"]) == (1.25, "must", True)
    assert {name: one["value"]["median"] for name, one in workers["beside"].items()} == {
        "200 by 4 at one rate of all": 2.0,
        "the same beyond idle": 1.1,
    }
    collector = found["flat in workers: the collector's CPU per record, 200 by 4 at one rate of all"]
    assert (collector.value and collector.value["median"], collector.verdict) == (1.2, "must")


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
    assert found.document()["one_round"] is False  # the best of all rounds


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
    """Of the peers that lost nothing the cheapest by us; ours are not among them, compiled or in Python."""
    runs = Runs(
        [
            (0, sample("end_to_end", "handler", 10.0)),
            (0, sample("end_to_end", "fast", 5.0)),
            (0, sample("end_to_end", "fast, in Python", 8.0)),
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
        "one_round": True,
        "beside": {},
    }
