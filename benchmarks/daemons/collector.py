"""The family ``collector``: a collector that is fed as fast as it reads, and what that costs its process."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Final

from benchmarks.compiled import expect
from benchmarks.daemons import logbus
from benchmarks.daemons.fluent_bit import FLUENT_BIT
from benchmarks.daemons.lines import Lines
from benchmarks.daemons.queue_listener import QUEUE_LISTENER
from benchmarks.daemons.receiver import Daemon
from benchmarks.daemons.rsyslog import RSYSLOG
from benchmarks.daemons.socket_server import SOCKET_SERVER
from benchmarks.daemons.syslog_ng import SYSLOG_NG
from benchmarks.record import floor_seconds
from benchmarks.suite.sample import IN_PYTHON, Sample

FAMILY: Final = "collector"
#: By the name that the tables have.
DAEMONS: Final[dict[str, Daemon]] = {
    "logbus": logbus.LOGBUS,
    f"logbus{IN_PYTHON}": logbus.IN_PYTHON,
    "logbus_fresh": logbus.FRESH,
    "logbus_bare": logbus.BARE,
    "cookbook socket server": SOCKET_SERVER,
    "multiprocessing.Queue + QueueListener": QUEUE_LISTENER,
    **RSYSLOG,
    **SYSLOG_NG,
    **FLUENT_BIT,
}
#: Records before the clock starts.
_WARM_UP: Final = 800
#: Times that the floor is taken before a sample, and after it.
_FLOORS: Final = 3


def measure(variant: str, directory: Path, records: int, form: str = "") -> Sample:
    """Starts the collector, feeds it, and ends it. ``form`` is that of logbus's collector.

    Raises RuntimeError when it does not start, has another form, or its file is not what is said of it.
    """
    daemon = DAEMONS[variant]
    with daemon.start(directory) as receiver:
        assert receiver.prepare is not None
        expect(form, "collectors", receiver.form)
        lines = Lines(receiver.file)
        warm, send = receiver.prepare(_WARM_UP), receiver.prepare(records)
        warm()
        lines.wait(_WARM_UP)
        floors = floor()
        before, begun = receiver.cpu_seconds(), time.monotonic()
        send()
        lines.wait(_WARM_UP + records)
        wall, cpu = time.monotonic() - begun, receiver.cpu_seconds() - before
        floors += floor()
        peak = receiver.peak_mib()
    judge(daemon, variant, lines)
    return Sample(
        FAMILY,
        variant,
        {"process_us": cpu / records * 1e6, "records_per_s": records / wall, "rss_mib": peak},
        {"process_us": statistics.median(floors) * 1e6},
        records,
        lines.lost(_WARM_UP + records),
        receiver.form,
    )


def floor() -> list[float]:
    """What a log call with a null handler takes just now, seconds of CPU: some values, of which the median counts."""
    return [floor_seconds() for _ in range(_FLOORS)]


def judge(daemon: Daemon, variant: str, lines: Lines) -> None:
    """Raises RuntimeError when a collector that is said to redact has let a password through, or one that is said not
    to redact has hidden them.
    """
    found = lines.secrets()
    if daemon.redacts and found:
        raise RuntimeError(f"{variant} is said to redact, but {found} passwords are in its file")
    if not daemon.redacts and not found and lines.records():
        raise RuntimeError(f"{variant} is said not to redact, but no password is in its file")
