"""Growth: what more workers, more sinks, bigger records, more hours and a collector in trouble do to logbus alone.

Nothing here is compared with peers. The questions are whether the cost of a record stays what it is as everything
around it grows, whether memory stays where it is, and whether a log call ever waits for a collector:

- :mod:`~benchmarks.scale.workers`: 1 to 200 workers, forked from one process as an application server's are, which
  together log at one rate; what they take when they are silent; how fast they are welcomed and confirm a level.
- :mod:`~benchmarks.scale.parts`: what memory one worker takes, part by part.
- :mod:`~benchmarks.scale.sizes`: records of 100 bytes to 64 KiB. :mod:`~benchmarks.scale.sinks`: one to four sinks.
- :mod:`~benchmarks.scale.flood`: four workers flat out until buffers overflow: memory, and what the ledger says then.
- :mod:`~benchmarks.scale.stalls`: a single call's latency while the collector serves, is stopped, dead, absent,
  restarting, or has left the buffer full.
- :mod:`~benchmarks.scale.endurance`: an hour at 10,000 records a second, in pieces; a command of its own.

The suite gets what fits its time; ``python -m benchmarks.scale`` runs all of it, but for the hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.suite.job import Bench, Job

# The workers that are measured are programs of this package: they must not load what the jobs need.


def jobs(bench: Bench) -> list[Job]:
    """What the suite measures of this."""
    from benchmarks.scale.offer import of_the_suite

    return of_the_suite(bench)


def skipped(bench: Bench) -> dict[str, str]:
    """What can't be measured of this here, and why."""
    from benchmarks.scale.offer import left_out

    return left_out(bench)
