"""The rounds of the benchmarks: how many, in which order, and what a job that fails does to the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.suite import rounds
from benchmarks.suite.job import Job
from benchmarks.suite.rounds import Plan
from benchmarks.suite.sample import Sample


@dataclass
class Watch:
    """A clock that jobs move, and what was told."""

    now: float = 0.0
    ran: list[tuple[int, str]] = field(default_factory=list)
    took: list[tuple[int, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    over: list[int] = field(default_factory=list)

    def job(self, name: str, seconds: float = 1.0, most: int | None = None) -> Job:
        """A job that takes so long."""

        def run(number: int) -> Sample:
            self.now += seconds
            self.ran.append((number, name))
            return Sample("producer", name, {}, None, 0, 0)

        return Job("producer", name, run, rounds=most)

    def run(self, jobs: Sequence[Job], plan: Plan, seed: int = 7) -> int:
        """Runs them; how many rounds there were."""
        return rounds.run(
            jobs,
            plan,
            random.Random(seed),
            taken=lambda number, sample: self.took.append((number, sample.variant)),
            failed=lambda number, job, error: self.failed.append(f"{number} {job.variant} {error}"),
            begun=lambda number, place, due, job: None,
            over=self.over.append,
            clock=lambda: self.now,
        )


def test_the_least_rounds_run_whatever_they_take() -> None:
    """A budget that is too small costs no round that is needed for a spread."""
    watch = Watch()
    assert watch.run([watch.job("a", 100.0)], Plan(5, 9, 60.0)) == 5
    assert watch.over == [1, 2, 3, 4, 5]


def test_more_rounds_run_while_one_fits_into_the_budget() -> None:
    """A further one starts only if the longest so far would still end in time."""
    watch = Watch()
    assert watch.run([watch.job("a", 10.0)], Plan(2, 9, 45.0)) == 4


def test_a_further_round_is_reckoned_by_the_jobs_that_it_has() -> None:
    """One that is not part of it any more does not keep it from fitting in."""
    watch = Watch()
    jobs = [watch.job("a", 10.0), watch.job("long", 70.0, most=1)]
    assert watch.run(jobs, Plan(1, 9, 105.0)) == 3


def test_a_full_run_has_three_rounds_and_as_many_more_as_fit_into_ten_minutes() -> None:
    """Of rounds that take four minutes there are three, of rounds of two minutes five, and of quick ones nine."""
    for seconds, expected in ((240.0, 3), (120.0, 5), (1.0, 9)):
        watch = Watch()
        assert watch.run([watch.job("a", seconds)], rounds.PLANS["full"]) == expected


def test_there_are_no_more_rounds_than_asked_for() -> None:
    """Quick jobs do not go on until the budget is used up."""
    watch = Watch()
    assert watch.run([watch.job("a", 0.1)], Plan(1, 3, 600.0)) == 3


def test_each_round_has_every_job_once_in_an_order_of_its_own() -> None:
    """Orders differ from round to round, and are those of the seed."""
    names = list("abcdefgh")

    def orders(seed: int) -> list[list[str]]:
        watch = Watch()
        watch.run([watch.job(name) for name in names], Plan(3, 3, 0.0), seed)
        assert watch.took == watch.ran
        return [[name for at, name in watch.ran if at == number] for number in range(3)]

    first = orders(7)
    assert [sorted(order) for order in first] == [names] * 3
    assert len({tuple(order) for order in first}) == 3
    assert orders(7) == first
    assert orders(8) != first


def test_a_job_may_have_fewer_rounds() -> None:
    """One that takes long is part of the first rounds only."""
    watch = Watch()
    watch.run([watch.job("a"), watch.job("long", most=2)], Plan(4, 4, 0.0))
    assert [number for number, name in watch.ran if name == "long"] == [0, 1]
    assert [number for number, name in watch.ran if name == "a"] == [0, 1, 2, 3]


def test_a_job_that_fails_does_not_end_the_run() -> None:
    """It is told with its round and its error; the others have their samples."""
    watch = Watch()

    def broken(number: int) -> Sample:
        raise RuntimeError("no such peer")

    watch.run([Job("producer", "broken", broken), watch.job("a")], Plan(2, 2, 0.0))
    assert watch.failed == ["0 broken no such peer", "1 broken no such peer"]
    assert watch.took == [(0, "a"), (1, "a")]


def test_a_job_may_give_several_samples() -> None:
    """Variants that had to share a process come out one by one."""
    watch = Watch()
    states = [Sample("stalls", name, {}, None, 0, 0) for name in ("serving", "stopped")]
    watch.run([Job("stalls", "handler", lambda number: states)], Plan(1, 1, 0.0))
    assert watch.took == [(0, "serving"), (0, "stopped")]
