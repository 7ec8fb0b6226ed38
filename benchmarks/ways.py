"""The ways to log that :mod:`benchmarks.rotators` compares, its tasks and its figures, without what it imports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.service import environment

#: The ways, by name, and what each is; the first is what the others are compared with.
WAYS: Final = {
    "none": "no handler anywhere",
    "upstream": "loguru's default handler, to /dev/null",
    "upstream_json": "proxywhirl's configure_logging, JSON",
    "warning": "logbus at WARNING",
    "own": "logbus, direct gate, httpx silent",
    "direct": "logbus, direct gate",
    "context": "logbus, direct gate, install()",
    "handler": "logbus, loguru's handler, install()",
}


@dataclass(frozen=True, slots=True)
class Task:
    """What one child does: ``rounds`` of a block of ``requests`` in each of the ``ways``, in orders by ``seed``.

    ``kind`` is "sync" or "async". The ``proxies`` are ports, ``target`` is one too; ``endpoint`` is the collector's.
    """

    kind: str
    target: int
    proxies: list[int]
    endpoint: str
    ways: list[str]
    rounds: int
    requests: int
    seed: int


@dataclass(frozen=True, slots=True)
class Cost:
    """One way's figures per request, microseconds: of wall time the tenth percentile, the median and the mean, of CPU
    time the medians over the blocks. ``records`` is how many went to logbus.
    """

    tenth: float
    median: float
    mean: float
    thread: float
    process: float
    records: float


def run(task: Task, directory: Path) -> dict[str, Cost]:
    """Runs a task in a new process; its figures by way. Raises RuntimeError with its stderr when it fails."""
    command = [sys.executable, "-m", "benchmarks.rotators", json.dumps(asdict(task))]
    done = subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{task.kind} failed: {done.stderr}")
    return {way: Cost(**found) for way, found in json.loads(done.stdout).items()}
