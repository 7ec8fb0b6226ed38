"""Pools of processes that log, under any start method: plain multiprocessing, and concurrent.futures.

In two terminals::

    logbus collector start --sink console
    python multiprocessing_pool.py --start-method spawn       # or fork, or forkserver

What a child has to do is the initializer's, one line: ``logbus.configure()``. A forked child would log without it, and
with ``logbus run -- python multiprocessing_pool.py`` neither child nor parent needs any: every process that a program
starts is a worker then.

Fields are another matter. A context variable does not cross the border to another process, so the function that goes
there carries them: ``logbus.carry(work)`` for one function, ``logbus.carrying(executor)`` for all that is submitted.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import logbus

log = logging.getLogger("pool.squares")

#: How every process becomes a worker; with spawn and forkserver it travels to the children by pickle.
configure = partial(logbus.configure, app_name="pool")


def square(number: int) -> int:
    """What the children do."""
    log.info("squaring %d", number)
    return number * number


def with_pool(start_method: str, numbers: range) -> list[int]:
    """A multiprocessing.Pool."""
    context = multiprocessing.get_context(start_method)
    with context.Pool(2, initializer=configure, maxtasksperchild=5) as pool:
        squares = pool.map(logbus.carry(square), numbers, chunksize=1)
        # The end of the block would terminate the children: let them come to theirs, which is when they drain.
        pool.close()
        pool.join()
    return squares


def with_executor(start_method: str, numbers: range) -> list[int]:
    """A ProcessPoolExecutor, whose submit() and map() carry the context of whoever calls them."""
    context = multiprocessing.get_context(start_method)
    with logbus.carrying(ProcessPoolExecutor(2, mp_context=context, initializer=configure)) as executor:
        return list(executor.map(square, numbers))


def main() -> None:
    """Squares some numbers, twice: two requests, of which every record of every process carries its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods(), default="spawn")
    method = parser.parse_args().start_method
    configure()
    for run in (with_pool, with_executor):
        with logbus.request_scope(operation=run.__name__):
            log.info("begins, %s", method)
            squares = run(method, range(10))
            log.info("sum %d", sum(squares))


# Children of spawn and forkserver import this file: what starts processes must not run there.
if __name__ == "__main__":
    main()
