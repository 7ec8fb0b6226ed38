"""How long a crowd of workers takes to confirm a level, from publication to the last MARK, by the collector's clock.

The workers are forks of one process and log nothing: what is measured is the way of the order and of its answer. The
program is ``python -m benchmarks.crowd N``; it prints a line when all are there and ends them when its stdin is closed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.service import PATIENCE_S, environment

#: How many workers there are, each time.
SIZES: Final = (1, 10, 50)

_LEVELS: Final = (10, 20)


def confirmations(control: str, directory: Path, workers: int, times: int) -> list[float]:
    """Milliseconds of each of so many changes. Raises RuntimeError when a worker does not confirm one."""
    from logbus.bus import control_endpoint
    from logbus.cli.client import request

    crowd = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", str(workers)],
        cwd=directory,
        env=environment(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    taken = []
    try:
        if crowd.stdout is None or not crowd.stdout.readline():
            raise RuntimeError(f"a crowd of {workers} workers did not start")
        for number in range(times + 1):
            command: dict[str, Any] = {"command": "set_level", "selector": "rotator", "level": _LEVELS[number % 2]}
            command |= {"force": True, "wait_seconds": PATIENCE_S}
            answer = request(command, control=control_endpoint(control), timeout=2 * PATIENCE_S)
            if (answer["confirmed"], answer["workers"]) != (workers, workers):
                raise RuntimeError(f"expected {workers} workers that confirm, found {answer}")
            taken.append(float(answer["milliseconds"]))
    finally:
        crowd.communicate(timeout=PATIENCE_S)  # closes its stdin
    return taken[1:]  # the first one only warms up


def main(workers: int) -> None:
    """The crowd."""
    import logbus

    ready, say_ready = os.pipe()
    stay, end = os.pipe()
    children = []
    for number in range(workers):
        child = os.fork()
        if not child:
            os.close(end)
            logbus.configure(worker=f"crowd-{number}")
            os.write(say_ready, b".")
            os.read(stay, 1)  # until the parent has closed its end
            logbus.shutdown()
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready, 1)
    print("ready", flush=True)
    sys.stdin.buffer.read()
    os.close(end)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
