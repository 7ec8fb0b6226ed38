"""The rounds of a run: every job once in each, in an order that each round shuffles anew.

What a busy minute does to one variant it does to those that run in it: so all of a round lie close to one another, and
no variant is always the first or the last.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.suite.job import Job, Mode
from benchmarks.suite.sample import Sample


@dataclass(frozen=True, slots=True)
class Plan:
    """At least so many rounds, whatever they take: three show a spread. Then more, up to ``most``, as long as a further
    one, which takes as long as its jobs have taken so far, fits into the budget.
    """

    least: int
    most: int
    budget_s: float


PLANS: Final[Mapping[Mode, Plan]] = {
    "full": Plan(least=3, most=9, budget_s=600.0),
    "quick": Plan(least=3, most=5, budget_s=60.0),
    "tiny": Plan(least=1, most=1, budget_s=0.0),
}

Taken = Callable[[int, Sample], None]
Failed = Callable[[int, Job, Exception], None]
#: Called before each job: the number of the round, that of the job in it, how many the round has, the job.
Begun = Callable[[int, int, int, Job], None]
#: Called after each round, with how many there have been.
Over = Callable[[int], None]


def run(
    jobs: Sequence[Job],
    plan: Plan,
    order: random.Random,
    *,
    taken: Taken,
    failed: Failed,
    begun: Begun,
    over: Over,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs the rounds; how many there were.

    A job that raises is told to ``failed`` and does not end the run: the others' figures are not its fault.
    """
    started = clock()
    longest: dict[tuple[str, str], float] = {}
    number = 0
    while number < plan.most or number < plan.least:
        due = [job for job in jobs if job.rounds is None or number < job.rounds]
        likely = sum(longest.get((job.family, job.variant), 0.0) for job in due)
        if number >= plan.least and clock() - started + likely > plan.budget_s:
            break
        for place, job in enumerate(order.sample(due, len(due))):
            begun(number, place, len(due), job)
            at = clock()
            try:
                found = job.run(number)
            except Exception as error:  # whatever a peer raises is reported beside the others' figures
                failed(number, job, error)
            else:
                for sample in [found] if isinstance(found, Sample) else found:
                    taken(number, sample)
            name = (job.family, job.variant)
            longest[name] = max(longest.get(name, 0.0), clock() - at)
        number += 1
        over(number)
    return number
