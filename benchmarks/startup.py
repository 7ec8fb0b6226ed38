"""What making a process a worker costs at its start: ``import logbus`` and ``configure()`` against what they stand on.

Milliseconds of wall time in a fresh interpreter, with the collector running. The best of several is quoted: a start
is made of file reads and page faults, which other processes can only lengthen.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.service import environment

#: What is imported, by variant; ``{endpoint}`` is the collector's.
STARTS: Final = {
    "libraries": "import zmq, msgpack",
    "import": "import logbus; logbus.configure",
    "configure": "import logbus; logbus.configure(endpoint={endpoint!r})",
}


def milliseconds(variant: str, endpoint: str, directory: Path) -> float:
    """How long the variant takes in a new process."""
    statement = STARTS[variant].format(endpoint=endpoint)
    program = (
        f"from time import perf_counter; begun = perf_counter()\n{statement}\nprint((perf_counter() - begun) * 1000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(done.stdout)
