"""What making a process a worker costs at its start: ``import logbus`` and ``configure()`` against what they stand on.

Milliseconds of wall time in fresh interpreters, with the collector running. The best of several is the figure: a
start is made of file reads and page faults, which other processes can only lengthen.
"""

from __future__ import annotations

import subprocess
from typing import Final

from benchmarks.service import environment
from benchmarks.suite.job import Bench, Job
from benchmarks.suite.sample import Sample

#: What is imported, by variant; ``{endpoint}`` is the collector's.
STARTS: Final = {
    "libraries": "import zmq, msgpack",
    "import": "import logbus; logbus.configure",
    "configure": "import logbus; logbus.configure(endpoint={endpoint!r})",
}
_DOES: Final = {
    "libraries": "what a worker stands on: import zmq, msgpack",
    "import": "import logbus, with its libraries",
    "configure": "the same, and configure(): connected, with its level",
}
#: Interpreters of a sample.
_STARTS_OF_A_SAMPLE: Final = 3


def jobs(bench: Bench) -> list[Job]:
    """A job for each step of the start."""
    return [_job(bench, variant) for variant in STARTS]


def skipped(bench: Bench) -> dict[str, str]:
    """Nothing: this can be measured everywhere."""
    return {}


def _job(bench: Bench, variant: str) -> Job:
    statement = STARTS[variant].format(endpoint=bench.service().endpoint)
    repeats = 1 if bench.tiny else _STARTS_OF_A_SAMPLE

    def run(number: int) -> Sample:
        best = min(_milliseconds(bench, statement) for _ in range(repeats))
        return Sample("startup", variant, {"wall_ms": best}, None, 0, 0)

    return Job("startup", variant, run, _DOES[variant])


def _milliseconds(bench: Bench, statement: str) -> float:
    """How long the statement takes in a new process."""
    program = (
        f"from time import perf_counter; begun = perf_counter()\n{statement}\nprint((perf_counter() - begun) * 1000)"
    )
    place = bench.service().directory
    done = subprocess.run(
        [str(bench.python), "-c", program],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(done.stdout)
