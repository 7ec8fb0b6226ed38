"""The end of a process group: of a server under test and of all that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any

#: Seconds within which a killed process must be gone.
PATIENCE = 20.0


def end_group(process: subprocess.Popen[Any]) -> None:
    """Kills the group of a process that was started in a session of its own; nothing happens to one that has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
