"""Every test, in three runs, two of them at a time: those that start processes, and the others, which measure coverage.

The first wait half of their time for somebody else, the second never do; together they take little longer than the
longer of the two. Processes that measured themselves would take twice as long to start (`make coverage` has them do
so). Once one has ended, the third begins: the tests of :data:`PURE` again, in which logbus is Python only, as on a
machine without a compiler. One output follows the other, and a closing line sums them up. Exit 0 when all have passed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Folders of tests that start processes and wait for them.
WITH_PROCESSES: Final = ("integration", "faults")
#: What proves the Python beside the compiled part from one end to the other: real processes that log, fork, exit, die
#: and count, and the units of a log call that no test takes in both forms. About a minute.
PURE: Final = (
    "faults/test_delivery.py",
    "integration/test_fast_loggers.py",
    "integration/test_fork.py",
    "integration/test_greenlets.py",
    "integration/test_leave.py",
    "integration/test_pipeline.py",
    "integration/test_run_processes.py",
    "integration/test_sender.py",
    "unit/test_compiled.py",
    "unit/test_fast_logger.py",
    "unit/test_fast_tree.py",
    "unit/test_handler.py",
    "unit/test_producer.py",
    "unit/test_producer_interrupted.py",
    "unit/test_sender.py",
    "unit/test_shortcut.py",
    "unit/test_straight.py",
    "unit/test_take.py",
    "unit/test_template.py",
)
#: Runs at a time: more would make the waits of the first kind's tests longer than their deadlines.
SIDE_BY_SIDE: Final = 2

_CLOSING = re.compile(rb"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [0-9.]+s", re.MULTILINE)


class Run:
    """A process of this Python with such arguments; ``status`` and ``text`` (what it printed) once it has ended."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.status = 1
        self.text = b""
        self._command = [sys.executable, *arguments]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._stopped = False

    def through(self) -> None:
        """Runs it to its end."""
        with tempfile.TemporaryFile() as output:
            with self._starting:
                if self._stopped:
                    return
                self._process = subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            self.status = self._process.wait()
            output.seek(0)
            self.text = output.read()

    def stop(self) -> None:
        """Ends it early, or has it never begin."""
        with self._starting:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()


def main() -> int:
    """Runs them all, and gives the exit status."""
    begun = time.monotonic()
    folders = sorted(path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py")))
    others = [name for name in folders if name not in WITH_PROCESSES]
    runs = [
        Run("-m", "pytest", *_paths(WITH_PROCESSES)),
        Run("-m", "coverage", "run", "-m", "pytest", "-m", "not uncovered", *_paths(others)),
        Run("-m", "pytest", *_paths(PURE), LOGBUS_PURE_PYTHON="1"),
    ]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            for ended in [pool.submit(run.through) for run in runs]:
                ended.result()
        finally:
            for run in runs:
                run.stop()
    for run in runs:
        sys.stdout.buffer.write(run.text + b"\n")
    print(f"all: {summed([run.text for run in runs])} in {time.monotonic() - begun:.2f}s", flush=True)
    return max(abs(run.status) for run in runs)


def summed(outputs: list[bytes]) -> str:
    """What the closing lines of several runs of pytest say together.

    >>> summed([b"== 3 passed, 1 skipped in 1.00s ==", b"1 failed, 2 passed in 2.00s"])
    '5 passed, 1 failed, 1 skipped'
    """
    counts: Counter[str] = Counter()
    for output in outputs:
        closing = _CLOSING.findall(output)
        if not closing:
            counts["errors"] += 1  # it did not come so far
            continue
        for part in closing[-1].decode().split(", "):
            number, _, what = part.partition(" ")
            counts["errors" if what == "error" else what] += int(number)
    order = sorted(counts, key=lambda what: (what != "passed", what))
    return ", ".join(f"{counts[what]} {what}" for what in order)


def _paths(names: Sequence[str]) -> list[str]:
    return [f"tests/{name}" for name in names]


if __name__ == "__main__":
    sys.exit(main())
