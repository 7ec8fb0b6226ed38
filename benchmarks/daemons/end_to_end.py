"""The family ``end_to_end``: from the calls of four real workers to the lines of one file, all processes counted.

Each worker makes its calls flat out, as many as fit the default buffer of logbus: where a buffer is full, somebody
loses records or waits, and the figure is another. The clock of CPU time runs from the first call until the last line is
in the file, in the workers until their last record has left them.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.compiled import expect
from benchmarks.daemons import logbus, workers
from benchmarks.daemons.collector import floor, judge
from benchmarks.daemons.fluent_bit import FLUENT_BIT
from benchmarks.daemons.lines import Lines
from benchmarks.daemons.loguru import LOGURU
from benchmarks.daemons.queue_listener import QUEUE_LISTENER
from benchmarks.daemons.receiver import WORKERS, Daemon
from benchmarks.daemons.rsyslog import RSYSLOG_LOCAL
from benchmarks.daemons.socket_server import SOCKET_SERVER
from benchmarks.daemons.spawned import answer, spawned
from benchmarks.daemons.workers import WARM_UP, Attach, work
from benchmarks.suite.sample import IN_PYTHON, Sample

FAMILY: Final = "end_to_end"


@dataclass(frozen=True, slots=True)
class Way:
    """How workers log and who collects. ``records`` is for a sample, all workers together: less for slow ones.

    ``distribution`` is what the workers must have installed.
    """

    attach: Attach
    daemon: Daemon
    records: int = 40_000
    distribution: str = ""


#: By the name that the tables have.
WAYS: Final[dict[str, Way]] = {
    "handler": Way(workers.handler, logbus.LOGBUS),
    "fast": Way(workers.fast, logbus.LOGBUS),
    f"handler{IN_PYTHON}": Way(workers.handler_in_python, logbus.IN_PYTHON),
    f"fast{IN_PYTHON}": Way(workers.fast_in_python, logbus.IN_PYTHON),
    "multiprocessing.Queue": Way(workers.queue_handler, QUEUE_LISTENER, 16_000),
    "SocketHandler": Way(workers.socket_handler, SOCKET_SERVER, 12_000),
    "SysLogHandler, rsyslog": Way(workers.syslog_handler, RSYSLOG_LOCAL, 20_000),
    "fluent-logger, Fluent Bit": Way(workers.fluent, FLUENT_BIT["Fluent Bit forward"], 20_000, "fluent-logger"),
    "loguru enqueue": Way(workers.loguru, LOGURU, 8_000, "loguru"),
}


def measure(variant: str, directory: Path, records: int, form: str = "", collector_form: str = "") -> Sample:
    """Starts collector and workers, has these log, and ends them.

    ``form`` is that of logbus's log calls in the workers, ``collector_form`` that of its collector. Raises RuntimeError
    when one of them fails or has another form, or the file is not what is said of the collector.
    """
    way = WAYS[variant]
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(way.daemon.start(directory))
        expect(collector_form, "collectors", receiver.form)
        lines = Lines(receiver.file)
        each = records // WORKERS
        warm = min(each, WARM_UP)
        arguments = (way.attach, receiver.destination, warm, each)
        pipes = [stack.enter_context(spawned(work, *arguments))[1] for _ in range(WORKERS)]
        forms = {answer(pipe) for pipe in pipes}
        if forms != {form}:
            raise RuntimeError(f"expected workers whose log calls are {form or 'not logbus'}, found {sorted(forms)}")
        lines.wait(WORKERS * warm)
        floors = floor()
        before, begun = receiver.cpu_seconds(), time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        worked = sum(answer(pipe) for pipe in pipes)
        if receiver.settle is not None:
            receiver.settle()
        else:
            lines.wait(WORKERS * warm + records)
        wall, received = time.monotonic() - begun, receiver.cpu_seconds() - before
        floors += floor()
    judge(way.daemon, variant, lines)
    worker, collector = worked / records * 1e6, received / records * 1e6
    return Sample(
        FAMILY,
        variant,
        {
            "process_us": worker + collector,
            "workers_us": worker,
            "receiver_us": collector,
            "records_per_s": records / wall,
        },
        {"process_us": statistics.median(floors) * 1e6},
        records,
        lines.lost(WORKERS * warm + records),
        form if form == collector_form else f"log calls {form}, collector {collector_form}",
    )
