"""A program under test that logs from processes of every kind which the standard library starts.

Usage: ``python -m tests.programs.pools '{"kinds": ["pool"], "method": "fork", "children": 4, "records": 100}'``. Every
child logs through the witness, to the last line before its end. With ``configured`` each process calls
logbus.configure(), else it configures nothing: what it logs reaches logbus by the way in which it was started.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Semaphore
from typing import Any

from tests.programs.witness import LANE

#: Processes at a time.
ABREAST = 3

log = logging.getLogger("shop.till")


def begin(configured: bool) -> None:
    """The initializer of a process."""
    if configured:
        import logbus

        logbus.configure()


def work(records: int) -> int:
    """Logs so many records; the process that has done it."""
    for _ in range(records):
        LANE.log(log)
    return os.getpid()


def child(records: int, configured: bool) -> None:
    """A process that logs to its last line."""
    begin(configured)
    work(records)


def restless(records: int, configured: bool, done: Semaphore) -> None:
    """A process that tells when it has logged so many records, and goes on until somebody ends it."""
    begin(configured)
    work(records)
    done.release()
    while True:
        work(1)


def leaving(records: int, configured: bool) -> None:
    """A process that ends past everything that Python does at an end."""
    begin(configured)
    work(records)
    os._exit(0)


def flushing(records: int, configured: bool) -> None:
    """The same, once what it has logged has arrived."""
    import logbus

    begin(configured)
    work(records)
    assert logbus.flush(30)
    os._exit(0)


@dataclass(frozen=True, slots=True)
class Pools:
    """What the program does: each of ``kinds`` with so many children (or tasks), each logging so many records."""

    kinds: list[str]
    method: str
    children: int
    records: int
    configured: bool = False

    def run(self) -> None:
        """Runs them, one after the other; this process logs as well."""
        begin(self.configured)
        context = multiprocessing.get_context(self.method)
        for kind in self.kinds:
            LANE.log(log)
            getattr(self, kind)(context)
        LANE.log(log)

    def pool(self, context: BaseContext) -> None:
        """A Pool whose processes are replaced after two tasks; its end is a SIGTERM for those that are left."""
        tasks = [self.records] * self.children
        with context.Pool(ABREAST, initializer=begin, initargs=(self.configured,), maxtasksperchild=2) as pool:
            assert len(set(pool.imap_unordered(work, tasks))) > ABREAST or self.children <= ABREAST

    def executor(self, context: BaseContext) -> None:
        """ProcessPoolExecutors whose processes end after a task, where the start method lets them.

        One for each few tasks: what has more tasks than such processes waits forever at times (CPython's issue 115634).
        """
        more: dict[str, Any] = {"max_tasks_per_child": 1} if self.method != "fork" else {}
        for _ in range(0, self.children, ABREAST):
            with ProcessPoolExecutor(ABREAST, context, begin, (self.configured,), **more) as executor:
                list(executor.map(work, [self.records] * ABREAST))

    def process(self, context: BaseContext) -> None:
        """Processes that end by themselves."""
        self._abreast(context, child)

    def leaving(self, context: BaseContext) -> None:
        """Processes that end by os._exit."""
        self._abreast(context, leaving)

    def flushing(self, context: BaseContext) -> None:
        """Processes that flush and end by os._exit."""
        self._abreast(context, flushing)

    def terminated(self, context: BaseContext) -> None:
        """Processes that are ended by SIGTERM while they log."""
        done = context.Semaphore(0)
        for _ in range(0, self.children, ABREAST):
            arguments = (self.records, self.configured, done)
            processes = [context.Process(target=restless, args=arguments) for _ in range(ABREAST)]  # type: ignore[attr-defined]
            for process in processes:
                process.start()
            for _ in processes:
                done.acquire()
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()

    def _abreast(self, context: BaseContext, target: Callable[[int, bool], None]) -> None:
        for _ in range(0, self.children, ABREAST):
            arguments = (self.records, self.configured)
            processes = [context.Process(target=target, args=arguments) for _ in range(ABREAST)]  # type: ignore[attr-defined]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
                assert process.exitcode == 0, process.exitcode


if __name__ == "__main__":
    Pools(**json.loads(sys.argv[1])).run()
