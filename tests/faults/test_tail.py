"""A tail that reads nothing: the collector neither waits for it nor keeps what it misses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import settled, sink_of
from tests.tail_command import tail_command

#: MiB that the collector may grow beyond what it needs for the same records without a tail: a queue of 32 messages
#: of 64 KiB and what the kernel holds, for each of two followers, and some air.
MORE_MIB = 16

WORKER = """
import sys
number, base = int(sys.argv[1]), int(sys.argv[2])
logbus.configure(capacity=2 * number, capacity_bytes=1 << 28)
for at in range(base, base + number):
    log.warning("record %d of a worker that has a lot to say about many things", at)
say(ok=logbus.flush(60))
"""


def resident(pid: int) -> float:
    """MiB of a process in memory, at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


@pytest.mark.soak
def test_a_stopped_tail_costs_nothing(
    start_collector: StartCollector,
    start_worker: Callable[..., object],
    tmp_path: Path,
    scale: Callable[[int, int], int],
    unmeasured: None,
) -> None:
    """One is stopped, one writes to a full pipe: every record is in the file, memory stays; then they go on and say
    how much they have missed.
    """
    count = scale(200_000, 50_000)
    collector = start_collector("--sink", "file:out.jsonl")

    def work(base: int) -> None:
        worker = start_worker(WORKER, str(count), str(base), LOGBUS_ENDPOINT=collector.endpoint)
        assert worker.finish() == {"ok": True}  # type: ignore[attr-defined]
        settled(collector, lambda status: sink_of(status, "file")["delivered"] >= base + count)

    work(0)
    without = resident(collector.process.pid)
    with (
        tail_command(tmp_path) as stopped,
        tail_command(tmp_path, stdout=subprocess.PIPE, number=1) as blocked,
    ):
        os.kill(stopped.process.pid, signal.SIGSTOP)
        work(count)
        grown = resident(collector.process.pid) - without
        print(f"the collector grew by {grown:.1f} MiB, from {without:.1f}")
        assert grown < MORE_MIB
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        found = [int(line["message"].split()[1]) for line in lines if line["worker"] != "logbus"]
        assert found == list(range(2 * count))

        os.kill(stopped.process.pid, signal.SIGCONT)
        eventually(lambda: "records skipped" in stopped.stderr or "asking again" in stopped.stderr)
        assert stopped.end() == 0
        shown = [int(re.search(r"record (\d+)", line)[1]) for line in stopped.lines]  # type: ignore[index]
        assert shown == sorted(set(shown)) != []

        pipe = blocked.process.stdout
        assert pipe is not None
        with (tmp_path / "read").open("wb") as read:
            reading = subprocess.Popen(["cat"], stdin=pipe, stdout=read)
        eventually(lambda: "records skipped" in blocked.stderr)
        # What was skipped is told in the order of its messages: the last number stands when the queue is empty.
        eventually(lambda: len((tmp_path / "read").read_bytes().splitlines()) + skipped(blocked.stderr) == count)
        assert blocked.end() == 0
        assert reading.wait(10) == 0


def skipped(stderr: str) -> int:
    """How many records a tail says that were skipped, in all."""
    return sum(int(found.replace(",", "")) for found in re.findall(r"… ([\d,]+) records skipped", stderr))
