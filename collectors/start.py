"""From settings to a running collector: what ``logbus collector start`` does."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
from collections import deque
from types import FrameType
from typing import TYPE_CHECKING, Final

from logbus.bus import check_name, control_endpoint, records_endpoint, state_directory
from logbus.collectors import notify
from logbus.collectors.allowed import Allowed
from logbus.collectors.claim import raise_descriptor_limit
from logbus.collectors.collector import Collector
from logbus.collectors.destinations import destinations
from logbus.collectors.redaction.redact import Redactor

if TYPE_CHECKING:
    from logbus.collectors.configuration.read import Configuration

_STDERR: Final = 2
#: Containers that come to be, less those that went, until the garbage collector looks for cycles among them: more than
#: a turn of the loop has in hand.
_GC_THRESHOLD: Final = 50_000


def run(configuration: Configuration, *, name: str) -> int:
    """Runs a collector in the foreground until SIGTERM, SIGINT or the stop command; returns the exit code.

    Raises what :class:`logbus.collectors.collector.Collector` raises.
    """
    settings = configuration.settings
    check_name(name)
    _occupy_standard_streams()
    raise_descriptor_limit()
    endpoint = records_endpoint(settings.bus.endpoint, name=name)
    control = control_endpoint(settings.bus.control, records=endpoint, name=name)
    state = state_directory() / name
    # What goes wrong with rotated files, from their own threads: the collector's loop says it.
    complaints: deque[str] = deque()
    collector = Collector(
        name,
        endpoint=endpoint,
        control=control,
        state=state,
        destinations=destinations(settings, state, complaints.append, origins=configuration.origins),
        redactor=Redactor(settings.redaction.fields, settings.redaction.patterns),
        tell=_tell,
        allowed=Allowed.of(settings.bus.allow),
        configuration=configuration,
        levels=settings.levels,
        metrics=settings.metrics.address,
        complaints=complaints,
    )
    wake, write = os.pipe()
    for fd in (wake, write):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def end(number: int, frame: FrameType | None) -> None:
        collector.stop()

    def hang_up(number: int, frame: FrameType | None) -> None:
        collector.hang_up()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGHUP, hang_up)
    _tell(f"collector {name} ready: records {endpoint.url}, control {control.url}")
    notify.ready(f"records {endpoint.url}, control {control.url}")
    _spare_garbage_collections()
    try:
        collector.serve(wake)
    finally:
        notify.stopping()
        collector.close()
    return 0


def _spare_garbage_collections() -> None:
    """Takes what the start has made out of every later search for cycles, and has these made less often.

    Records come and go by reference counts, thousands in a turn; with the default threshold of 700, searches that find
    nothing are a twentieth of the cost of a record. Cycles come from errors, and these are rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _occupy_standard_streams() -> None:
    """Sees to it that descriptors 0 to 2 are nothing else: where one is closed, the next file opened gets its number,
    and the console sink would write into that. Opened for reading, so that each write fails and is counted.
    """
    while (fd := os.open(os.devnull, os.O_RDONLY)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def _tell(text: str) -> None:
    """A line for people on stderr, if it takes one: a pipe that nobody reads, or that is broken, ends nothing."""
    with contextlib.suppress(OSError):
        # A pipe that is ready takes this many bytes without waiting.
        if select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, f"{text}\n".encode("utf-8", "backslashreplace")[-select.PIPE_BUF :])
