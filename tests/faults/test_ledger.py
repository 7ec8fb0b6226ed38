"""``kill -9`` of a process that commits as fast as it can."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from logbus.collectors.ledger import Ledger
from logbus.collectors.rows import OLDER

#: Commits for ever, and says the number of each on stdout once it is committed. Every commit changes a worker's and
#: a sink's row together; every 16th adds a worker that has gone, so that the page grows; every 256th folds.
PROGRAM = """
import os, pathlib, sys
from logbus.collectors.ledger import Ledger, SinkRow, WorkerRow

ledger = Ledger.open(pathlib.Path(sys.argv[1]), name="victim", slot_bytes=4096)
row = WorkerRow(b"w" * 16, "w", "h", 1, "app", 1)
sink = SinkRow("main", "file")
number = 0
while True:
    number += 1
    with ledger.transaction() as change:
        row.collected = number
        change.worker(row)
        if number % 16 == 0:
            gone = WorkerRow(number.to_bytes(16, "little"), "gone", "h", number, "app", 1, "gone", collected=1)
            gone.mark_at = float(number)
            sink.filtered += 1
            change.worker(gone)
        sink.offered = number
        change.sink(sink)
    if number % 256 == 0:
        ledger.fold(keep=8)
    os.write(1, number.to_bytes(8, "little"))
"""


@pytest.mark.parametrize("seed", range(20))
def test_a_killed_process_leaves_its_last_commit(tmp_path: Path, seed: int) -> None:
    """What was said to be committed is there, whole: rows that change together are together, folded counts too."""
    reports = random.Random(seed).randrange(1, 4000)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read(8 * reports)
        process.kill()
        said += process.stdout.read()
    assert process.wait() == -signal.SIGKILL
    last = int.from_bytes(said[len(said) // 8 * 8 - 8 : len(said) // 8 * 8], "little")
    assert last >= reports

    with closing(Ledger.open(tmp_path, name="next")) as ledger:
        assert (ledger.quarantined, ledger.damage) == (None, None)
        number = ledger.workers[b"w" * 16].collected
        assert last <= number <= last + 1
        sink = ledger.sinks["main"]
        assert (sink.offered, sink.filtered) == (number, number // 16)
        gone = [row.collected for row in ledger.workers.values() if row.state == "gone"]
        assert sum(gone) == number // 16
        assert len(gone) <= 8 + 16 + 1
        assert (OLDER in ledger.workers) == (number > 256) or number == 256
