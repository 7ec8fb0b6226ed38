"""Loguru with ``enqueue=True``: the process with the sink writes in a thread, what other processes log comes to it.

Here that process is the one that measures: its CPU time is the thread's, since it waits for all of the rest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.daemons.receiver import Daemon, Receiver
from benchmarks.daemons.spawned import CONTEXT


@contextlib.contextmanager
def _enqueued(directory: Path) -> Iterator[Receiver]:
    from loguru import logger

    path = directory / "out.jsonl"
    logger.remove()
    logger.add(path, serialize=True, enqueue=True, context=CONTEXT)
    try:
        yield Receiver(path, time.process_time, lambda: 0.0, None, logger, logger.complete)
    finally:
        logger.remove()


LOGURU: Final = Daemon(
    _enqueued,
    "json.dumps and a pickle for each record in the worker; a queue with one lock; no redaction",
)
