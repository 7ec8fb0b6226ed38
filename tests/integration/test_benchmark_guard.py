"""The workloads of the guard: every one runs, and every record comes through it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.guard.callgrind import environment
from benchmarks.guard.catalogue import WORKLOADS

#: What the guard's child does, for all workloads in one process.
_PROGRAM = """
import json, pathlib, sys
from benchmarks.guard.catalogue import WORKLOADS
from benchmarks.guard.child import counted
found = {}
for one in WORKLOADS:
    directory = pathlib.Path(one.name)
    directory.mkdir()
    found[one.name] = counted(one, [one.records], directory)
print(json.dumps(found))
"""


def test_every_record_comes_through_every_workload(tmp_path: Path) -> None:
    """A workload that lost records, or that is not what it says it is (a suppressed call that passes), would raise."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == [one.name for one in WORKLOADS]
    # The floor leaves nothing behind, and a record in a buffer something.
    assert abs(found["floor"]["watched"]) < 0.1
    assert found["handler"]["watched"] > 0.5
    # A sender that has looked is woken by the next record, and by no other until it looks again.
    assert found["handler"]["woken"] == found["fast"]["woken"] == 0
    assert found["handler.drained"]["woken"] == found["fast.drained"]["woken"] == 1 / 200
