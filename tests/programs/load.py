"""A worker under test: logs numbered records at a rate, and keeps a witness that does not trust logbus.

Usage: ``python -m tests.programs.load '{"name": …, "witness": …, "count": …, …}'``. The witness is a mmap'd file of two
64-bit words, calls begun and calls returned: it survives ``kill -9`` like the counters that it is held against.
"""

from __future__ import annotations

import json
import logging
import mmap
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import logbus

LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING, logging.ERROR)


@dataclass(frozen=True, slots=True)
class Load:
    """What a load does: ``rate`` is records per second, 0 for flat out; ``settings`` go to logbus.configure."""

    name: str
    witness: str
    count: int
    rate: int = 0
    threads: int = 1
    seed: int = 0
    fixed_level: int = logging.INFO
    stay: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Logs everything, then waits to be ended if it is to stay."""
        words = _words(Path(self.witness), self.threads)
        logbus.configure(worker=self.name, level=1, **self.settings)
        workers = [
            threading.Thread(target=self._log, args=(number, words[2 * number : 2 * number + 2]))
            for number in range(1, self.threads)
        ]
        for worker in workers:
            worker.start()
        self._log(0, words[:2])
        for worker in workers:
            worker.join()
        print("done", flush=True)
        if self.stay:
            threading.Event().wait()

    def _log(self, thread: int, words: memoryview[int]) -> None:
        log = logging.getLogger("load")
        levels = random.Random(self.seed + thread)
        started = time.monotonic()
        for number in range(self.count):
            level = self.fixed_level or levels.choice(LEVELS)
            words[0] += 1
            log.log(level, "record %d", number, extra={"lane": thread, "number": number, "password": "hunter2"})
            words[1] += 1
            if self.rate and number % 20 == 19:
                ahead = started + number / self.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)


def _words(path: Path, threads: int) -> memoryview[int]:
    path.write_bytes(bytes(16 * threads))
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 16 * threads)).cast("Q")


def witnessed(path: Path) -> tuple[int, int]:
    """Calls begun and calls returned, from a witness file."""
    words = memoryview(path.read_bytes()).cast("Q")
    return sum(words[::2].tolist()), sum(words[1::2].tolist())


if __name__ == "__main__":
    Load(**json.loads(sys.argv[1])).run()
