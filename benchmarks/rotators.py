"""Requests of the real proxywhirl, with logging set up in one way and in another: what each way adds to a request.

All ways are measured in one process, on one rotator with its connections open, in short blocks whose order is shuffled
in each round: a machine's clock changes by more within a minute than logging costs. A block begins with requests that
nobody times, since caches are cold after a change. The time of a request is wall time, of which the tenth percentile
over all blocks is compared: what other processes do to a request can only lengthen it. Beside it stands CPU time: of
the thread that makes the requests, and of the process, logbus's sender thread and what it has to bring away included.

The program is ``python -m benchmarks.rotators '{"kind": …}'`` (:func:`benchmarks.ways.run`); it prints its result
as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from typing import Any, Final

from loguru import logger
from proxywhirl import AsyncProxyWhirl, Proxy, ProxyWhirl
from proxywhirl.utils import configure_logging

import logbus
from benchmarks.service import PATIENCE_S
from benchmarks.ways import Cost, Task
from logbus.integrations import proxywhirl
from logbus.producers.loguru_front import LOGURU
from logbus.producers.loguru_import import Source

#: Requests at the beginning of a block whose time is not taken.
WARM_UP: Final = 6

#: One block: the seconds of each request.
_Block = Callable[[int], Coroutine[Any, Any, list[float]]]


class Ways:
    """Sets logging up in one way at a time."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._null = open(os.devnull, "w", buffering=1)  # noqa: SIM115 (as stderr is: a write for each line)
        #: Where upstream's JSON is printed to; the result of this program goes to the real one.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        self.leave()

    def enter(self, way: str) -> None:
        """Sets it up, where nothing is."""
        if way == "upstream":
            logger.add(self._null, level="INFO")
        elif way == "upstream_json":
            configure_logging(level="INFO", format_type="json")
        elif way != "none":
            source: Source = "handler" if way == "handler" else "direct"
            producer = logbus.configure(endpoint=self._endpoint, loguru=True, source=source)
            if way == "warning":  # past configure(), to which another level is another worker
                LOGURU.begin(producer, level=logging.WARNING, source=source)
                logging.getLogger().setLevel(logging.WARNING)
            if way == "own":
                logging.getLogger("httpx").setLevel(logging.WARNING)
            if way in ("context", "handler"):
                proxywhirl.install()

    def leave(self) -> None:
        """Takes everything away: no handler is anywhere. What logbus had to do is done."""
        proxywhirl.uninstall()
        self.drain()
        logbus.configure(endpoint=self._endpoint, loguru=False)
        logger.remove()
        root = logging.getLogger()
        root.handlers[:] = []
        root.setLevel(logging.WARNING)
        logging.getLogger("httpx").setLevel(logging.NOTSET)

    def drain(self) -> None:
        """Waits until the collector has what was logged. Raises RuntimeError where it takes too long."""
        if not logbus.flush(PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")

    def emitted(self) -> int:
        """Records that went to logbus so far. Raises RuntimeError when one was dropped."""
        stats = logbus.stats()
        if stats.dropped:
            raise RuntimeError(f"records were dropped: {stats.dropped}")
        emitted: int = stats.emitted
        return emitted


async def measure(task: Task) -> dict[str, Cost]:
    """Runs a task here."""
    block = await (_sync(task) if task.kind == "sync" else _async(task))
    ways = Ways(task.endpoint)
    order = random.Random(task.seed)
    seconds: dict[str, list[float]] = {way: [] for way in task.ways}
    threads: dict[str, list[float]] = {way: [] for way in task.ways}
    processes: dict[str, list[float]] = {way: [] for way in task.ways}
    records = dict.fromkeys(task.ways, 0)
    for _ in range(task.rounds):
        for way in order.sample(task.ways, len(task.ways)):
            ways.enter(way)
            await block(WARM_UP)
            ways.drain()
            emitted, thread, process = ways.emitted(), time.thread_time(), time.process_time()
            seconds[way] += await block(task.requests)
            threads[way].append((time.thread_time() - thread) / task.requests)
            ways.drain()
            processes[way].append((time.process_time() - process) / task.requests)
            records[way] += ways.emitted() - emitted
            ways.leave()
    return {
        way: Cost(
            tenth=_microseconds(sorted(taken)[len(taken) // 10]),
            median=_microseconds(statistics.median(taken)),
            mean=_microseconds(statistics.mean(taken)),
            thread=_microseconds(statistics.median(threads[way])),
            process=_microseconds(statistics.median(processes[way])),
            records=records[way] / len(taken),
        )
        for way, taken in seconds.items()
    }


async def _sync(task: Task) -> _Block:
    rotator, url = ProxyWhirl(bootstrap=False), _url(task)
    for proxy in _proxies(task):
        rotator.add_proxy(proxy)
    get, clock = rotator.get, time.perf_counter

    async def block(requests: int) -> list[float]:
        taken = []
        for _ in range(requests):
            begun = clock()
            get(url)
            taken.append(clock() - begun)
        return taken

    return block


async def _async(task: Task) -> _Block:
    rotator, url = AsyncProxyWhirl(bootstrap=False), _url(task)
    for proxy in _proxies(task):
        await rotator.add_proxy(proxy)
    get, clock = rotator.get, time.perf_counter

    async def block(requests: int) -> list[float]:
        taken = []
        for _ in range(requests):
            begun = clock()
            await get(url)
            taken.append(clock() - begun)
        return taken

    return block


def _url(task: Task) -> str:
    return f"http://127.0.0.1:{task.target}/items/1"


def _proxies(task: Task) -> Iterable[Any]:
    return [Proxy(url=f"http://127.0.0.1:{port}", allow_local=True) for port in task.proxies]


def _microseconds(seconds: float) -> float:
    return seconds * 1e6


if __name__ == "__main__":
    result = sys.stdout
    found = asyncio.run(measure(Task(**json.loads(sys.argv[1]))))
    print(json.dumps({way: asdict(cost) for way, cost in found.items()}), file=result)
    result.flush()
    os._exit(0)  # proxywhirl's timers and clients have nothing left to do
