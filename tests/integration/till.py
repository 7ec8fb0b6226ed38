"""A worker that logs when a test tells it to, and what of it has arrived somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from tests.worker import Worker

SCRIPT = """
logbus.configure(component="shop")
log = logging.getLogger("shop.till")
number = 0
for line in sys.stdin:
    count, size = map(int, line.split())
    for number in range(number, number + count):
        log.info("paid %d.%s", number, "x" * size)
    number += 1
logbus.shutdown(10)
"""

_NUMBER = re.compile(r"\bpaid (\d+)\.")


class Till:
    """The worker; ``count`` is how many records it was told to log so far. They are numbered from 0."""

    def __init__(self, start_worker: Callable[..., Worker]) -> None:
        self._worker = start_worker(SCRIPT, stdin=True)
        self.count = 0

    def log(self, count: int, size: int = 0) -> None:
        """Has it log so many more records, each with ``size`` more bytes in its message."""
        assert self._worker.process.stdin is not None
        self._worker.process.stdin.write(f"{count} {size}\n")
        self._worker.process.stdin.flush()
        self.count += count

    def end(self) -> None:
        """Ends it; all that it logged has left it."""
        self._worker.close_stdin()
        self._worker.wait()
        assert self._worker.process.returncode == 0, self._worker.stderr


def numbers(texts: Iterable[str]) -> Counter[int]:
    """How often each number has arrived."""
    found = map(_NUMBER.search, texts)
    return Counter(int(match[1]) for match in found if match)
