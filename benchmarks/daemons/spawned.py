"""Processes of ``multiprocessing`` that a measurement talks to over a pipe: they are told when, and say when."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Final

from benchmarks.service import PATIENCE_S

#: Seconds for an answer: a slow variant's whole run.
_ANSWER_S: Final = 90.0

#: Workers are spawned: no state of the process that measures gets into them.
CONTEXT: Final[SpawnContext] = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def spawned(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[SpawnProcess, Connection]]:
    """A process that runs ``target(pipe, …)``, and our end of the pipe.

    It is told "end" at the end of the block, which its target waits for; it is killed if it does not end by itself.
    """
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
        ours.send("end")
        process.join(PATIENCE_S)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()
        process.close()


def answer(pipe: Connection) -> Any:
    """What the process says next. Raises RuntimeError when it says nothing, EOFError when it has died."""
    if not pipe.poll(_ANSWER_S):
        raise RuntimeError(f"a process of the benchmark did not answer within {_ANSWER_S:g} s")
    return pipe.recv()
