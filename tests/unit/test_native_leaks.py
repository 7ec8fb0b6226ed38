"""Memory and references that log calls leave in a process with the compiled part: none.

``tests/programs/counted.py`` makes the calls: usual and unusual ones, that raise, that are dropped and that evict, on
each way of a record. What a wrong use of memory does besides, ``make sanitize`` looks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.collector_command import ROOT, child_environment
from tests.forms import needs_compiled

pytestmark = needs_compiled

#: Seconds that the calls may take; they take about three.
PATIENCE = 100.0


def counted(directory: Path, *options: str) -> dict[str, Any]:
    """What the program found."""
    command = [sys.executable, "-m", "tests.programs.counted", str(directory), *options]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_log_calls_leave_nothing(unmeasured: None, directories: Path) -> None:
    """Whatever is logged on whichever way, and whatever becomes of it, memory and references come back."""
    found = counted(directories)

    assert (found["bytes"], found["references"]) == ({}, {})
    assert found["kinds"] > 200
    assert set(found["kept"].values()) == {16}


def test_the_look_can_fail(unmeasured: None, directories: Path) -> None:
    """An object that each call leaves is found by its bytes, and a reference to one that was there by its count."""
    found = counted(directories, "--planted")

    assert [*found["bytes"]] == ["planted object"]
    assert [name[:9] for name in found["references"]] == ["str 'xxxx"]
