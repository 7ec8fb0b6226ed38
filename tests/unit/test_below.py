"""Whether another process runs below ``logbus run`` is read from its environment."""

from __future__ import annotations

import os
import subprocess
import sys

from logbus.producers.below import VARIABLE, is_below


def test_the_environment_at_the_start_says_it() -> None:
    """A process that has the variable is one, another is none, and so is one that is not there."""
    for value, expected in (("on", True), (None, False)):
        environment = {**os.environ, **({VARIABLE: value} if value else {}), f"NOT_{VARIABLE}": "on"}
        code = "import sys; print(1, flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert is_below(process.pid) is expected
            process.communicate()
            assert not is_below(process.pid)
