"""The process behind a ``multiprocessing.Queue``: a ``QueueListener`` with a JSON file. It is spawned."""

from __future__ import annotations

import logging
import logging.handlers
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from typing import Any

from benchmarks.record import JsonLine


def listen(pipe: Connection, waiting: Queue[Any], path: str) -> None:
    """Writes what comes, from its word "ready" until it is told to stop; then it says when all is written."""
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())
    listener = logging.handlers.QueueListener(waiting, file)
    listener.start()
    pipe.send("ready")
    pipe.recv()
    listener.stop()
    pipe.send("done")
    pipe.recv()
