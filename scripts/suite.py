"""Every test, in two runs side by side: those that start processes, and the others, which measure coverage.

The first wait half of their time for somebody else, the second never do; together they take little longer than the
longer of the two. Processes that measured themselves would take twice as long to start (`make coverage` has them do
so). One output follows the other, and a closing line sums both up. Exit 0 when all have passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Folders of tests that start processes and wait for them.
WITH_PROCESSES: Final = ("integration", "faults")

_CLOSING = re.compile(rb"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [0-9.]+s", re.MULTILINE)


def main() -> int:
    """Runs both, and gives the exit status."""
    begun = time.monotonic()
    folders = sorted(path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py")))
    others = [name for name in folders if name not in WITH_PROCESSES]
    with tempfile.TemporaryFile() as first_output, tempfile.TemporaryFile() as second_output:
        covered = ("coverage", "run", "-m", "pytest", "-m", "not uncovered")
        runs = [
            (_start(("pytest",), WITH_PROCESSES, first_output), first_output),
            (_start(covered, others, second_output), second_output),
        ]
        try:
            results = [(run.wait(), _text(output)) for run, output in runs]
        finally:
            for run, _ in runs:
                run.terminate()
                run.wait()
    for _, text in results:
        sys.stdout.buffer.write(text + b"\n")
    print(f"both: {summed([text for _, text in results])} in {time.monotonic() - begun:.2f}s", flush=True)
    return max(status for status, _ in results)


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


def _start(runner: Sequence[str], folders: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", *runner, *(f"tests/{name}" for name in folders)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def _text(output: IO[bytes]) -> bytes:
    output.seek(0)
    return output.read()


if __name__ == "__main__":
    sys.exit(main())
