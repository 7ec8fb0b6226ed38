"""A results document of a made-up run of the benchmarks: a few variants, three rounds, one that loses records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from benchmarks.suite.job import Job
from benchmarks.suite.results import Results
from benchmarks.suite.sample import Sample

#: Processor, interpreter and packages of the made-up machine.
MACHINE: dict[str, Any] = {
    "cpu": "Abacus 2000",
    "cores": 2,
    "memory_gib": 24.0,
    "kernel": "Linux 6.1",
    "libc": "glibc 2.36",
    "python": "3.11.7",
    "logbus": "0.1.0",
    "load_average_before": [0.5, 0.4, 0.3],
    "peers": {
        "python": "3.11.7",
        "compiler": "GCC 12.2.0",
        "pgo": False,
        "lto": False,
        "log_calls": "compiled",
        "packages": {"loguru": "0.7.3", "pyzmq": "27.3.0"},
    },
}


def sample(family: str, variant: str, cost: float, floor: float | None = 5.0, lost: int = 0, **more: float) -> Sample:
    """One whose ``process_us``, ``thread_us`` and what else is given have this floor beside them."""
    figures = {"thread_us": cost / 2, "process_us": cost, **more}
    return Sample(family, variant, figures, None if floor is None else dict.fromkeys(figures, floor), 1000, lost)


def three_rounds() -> Iterable[tuple[int, Sample]]:
    """Samples of three rounds: the machine is half as fast in the last one."""
    for number, slow in enumerate((1.0, 1.1, 2.0)):
        yield number, sample("producer", "null", 5.0 * slow, 5.0 * slow)
        yield number, sample("producer", "handler", 8.0 * slow, 5.0 * slow, paced_process_us=12.0 * slow)
        yield number, sample("producer", "fast", 2.0 * slow, 5.0 * slow, call_p999_us=30.0)
        yield number, sample("producer", "loguru file", 20.0 * slow, 5.0 * slow)
        yield number, sample("producer", "leaky", 1.0 * slow, 5.0 * slow, lost=7 if number else 0)
        yield number, sample("end_to_end", "handler", 12.0 * slow, 5.0 * slow, records_per_s=90_000.0)
        yield number, sample("end_to_end", "SysLogHandler, rsyslog", 60.0 * slow, 5.0 * slow)
        yield number, Sample("startup", "configure", {"wall_ms": 50.0 * slow}, None, 0, 0)


def results(rounds: int = 3) -> Results:
    """What a run that measured these has to say."""
    jobs = [
        Job("producer", "loguru file", lambda number: [], "plain text | no fields", "loguru 0.7.3"),
        Job("end_to_end", "SysLogHandler, rsyslog", lambda number: [], "no redaction", "rsyslogd 8.2302.0"),
    ]
    head = {"mode": "full", "seed": 7, "machine": MACHINE}
    made = Results(head, jobs, {"producer/logxide": "there is no Python 3.13"})
    for number, one in three_rounds():
        if number < rounds:
            made.take(number, one)
    made.rounds = rounds
    return made


def document() -> dict[str, Any]:
    """The same as it comes out of the file, without what differs from run to run."""
    found: dict[str, Any] = json.loads(json.dumps(results().document()))
    return found | {"load_average_after": [0.6, 0.5, 0.4], "seconds": 600}
