"""``QueueHandler``, a ``multiprocessing.Queue`` and a process with a ``QueueListener``, with a JSON file behind it."""

from __future__ import annotations

import contextlib
import itertools
import logging.handlers
import pickle
import platform
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Final

from benchmarks.daemons.forms import log_record_objects
from benchmarks.daemons.listener import listen
from benchmarks.daemons.receiver import Daemon, Receiver, Send
from benchmarks.daemons.spawned import CONTEXT, answer, spawned
from benchmarks.scale.memory import peak_mib
from benchmarks.service import cpu_seconds


@contextlib.contextmanager
def _listener(directory: Path) -> Iterator[Receiver]:
    path = directory / "out.jsonl"
    waiting: Queue[Any] = CONTEXT.Queue()

    def prepare(count: int) -> Send:
        """What a queue's own thread does with a record, without the pickling, which is the feeder's cost."""
        handler = logging.handlers.QueueHandler(waiting)
        made = [pickle.dumps(handler.prepare(record)) for record in log_record_objects()]
        inner: Any = waiting

        def send() -> None:
            acquire, write = inner._sem.acquire, inner._writer.send_bytes
            for data in itertools.islice(itertools.cycle(made), count):
                acquire()
                write(data)

        return send

    with spawned(listen, waiting, str(path)) as (process, pipe):
        pid = process.pid or 0
        answer(pipe)
        yield Receiver(path, lambda: cpu_seconds(pid), lambda: peak_mib(pid), prepare, waiting)
        waiting.close()
        waiting.join_thread()
        pipe.send("stop")
        answer(pipe)


QUEUE_LISTENER: Final = Daemon(
    _listener,
    "a pickle for each record, json.dumps; no redaction",
    records=20_000,
    version=lambda: f"Python {platform.python_version()}",
)
