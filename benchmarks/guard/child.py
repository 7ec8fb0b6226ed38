"""The process that is measured: ``python -m benchmarks.guard.child LAYOUT NAME COUNT …`` runs one workload so often.

First it runs once unmeasured: caches are filled, and the interpreter has adapted its bytecode. Then nothing collects
garbage, and around each count stands a call of ``getppid``, which nobody else makes: callgrind takes it for the mark.
It prints one line of JSON: how many objects that the garbage collector has to watch are left for each record, how often
each wakes another thread, whether a compiled part of logbus is in it; or why the workload can't be measured here.

With ``--clock`` it is measured by time instead: each count is run in turns with the floor, and the line has the ratios.

The interpreter's cache of methods goes by addresses, those of names among them: where two that are in use meet in one
place, one of them is looked up anew each time, which is up to 1 % of a record. Whoever wants to know whether a figure
has such bad luck asks for another LAYOUT, a number: by it everything lies elsewhere in memory.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.guard.catalogue import FLOOR, Workload, workload
from benchmarks.guard.prepared import NotHereError, Prepared
from benchmarks.service import PURE_PYTHON

#: Where the parent finds the names of Python's functions, in the directory where the process was started.
FUNCTIONS: Final = "functions.map"
#: By so many objects of each size the next layout differs, and the size up to which objects share pages.
_SHIFTED: Final = 37
_SMALL_BYTES: Final = 512


def prepare(wanted: Workload, directory: Path) -> Prepared:
    """The program of a workload. Raises NotHereError when it can't be had here, RuntimeError for one that is to be in
    Python where the compiled part that it would go through is loaded.
    """
    module = importlib.import_module(wanted.module)
    make: Callable[[Path], Prepared] = getattr(module, wanted.function)
    if wanted.pure and _compiled(wanted):
        raise RuntimeError(f"{wanted.name}: expected it in Python, found the compiled part of {wanted.part} loaded")
    return make(directory)


def counted(wanted: Workload, counts: Sequence[int], directory: Path) -> dict[str, Any]:
    """Runs the workload, marked. Raises RuntimeError when not every record has come through."""
    prepared = prepare(wanted, directory)
    prepared.run(wanted.records)
    _still()
    watched, woken = [gc.get_count()[0]], _woken(prepared)
    for count in counts:
        os.getppid()
        prepared.run(count)
        watched.append(gc.get_count()[0])
    os.getppid()
    _check(wanted, prepared, wanted.records + sum(counts))
    return {
        "watched": (watched[-1] - watched[-2]) / counts[-1],
        "woken": (_woken(prepared) - woken) / sum(counts),
        "compiled": _compiled(wanted),
    }


def clocked(wanted: Workload, counts: Sequence[int], directory: Path) -> dict[str, Any]:
    """CPU time of the workload by that of the floor, for each count, the two in turns."""
    both = [prepare(workload(FLOOR), directory), prepare(wanted, directory)]
    for prepared in both:
        prepared.run(wanted.records)
    _still()
    ratios, woken = [], _woken(both[1])
    for number, count in enumerate(counts):
        taken = [0.0, 0.0]
        for side in (0, 1) if number % 2 else (1, 0):
            begun = time.thread_time()
            both[side].run(count)
            taken[side] = time.thread_time() - begun
        ratios.append(taken[1] / taken[0])
    _check(wanted, both[1], wanted.records + sum(counts))
    return {"ratios": ratios, "woken": (_woken(both[1]) - woken) / sum(counts), "compiled": _compiled(wanted)}


def _compiled(wanted: Workload) -> bool:
    """Whether the workload goes through something compiled in this process."""
    return wanted.part is not None and importlib.import_module(f"logbus.{wanted.part}.compiled").NATIVE is not None


def _woken(prepared: Prepared) -> int:
    return 0 if prepared.woken is None else prepared.woken()


def _still() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()


def _check(wanted: Workload, prepared: Prepared, expected: int) -> None:
    if prepared.done is not None and (found := prepared.done()) != expected:
        raise RuntimeError(f"{wanted.name}: expected {expected} records to come through, found {found}")


def main(arguments: Sequence[str]) -> int:
    """Measures as it is told to."""
    run = clocked if arguments[0] == "--clock" else counted
    layout, name, *counts = arguments[run is clocked :]
    # Before anything of logbus is loaded; and what goes through nothing compiled finds its memory elsewhere where an
    # extension is beside it, which alone was 4 % of format.json.
    if workload(name).pure or workload(name).part is None:
        os.environ[PURE_PYTHON] = "1"
    elsewhere = [bytes(size) for size in range(1, _SMALL_BYTES, 16) for _ in range(_SHIFTED * int(layout))]
    with tempfile.TemporaryDirectory(prefix="guard-") as directory:
        try:
            answer = run(workload(name), [*map(int, counts)], Path(directory))
        except NotHereError as error:
            answer = {"absent": str(error)}
    del elsewhere
    _keep_functions()
    print(json.dumps(answer))
    return 0


def _keep_functions() -> None:
    """Below ``python -X perf`` each function of Python is entered by code of its own, of which the interpreter writes a
    list into /tmp; it is nobody's but the parent's.
    """
    active: Callable[[], bool] | None = getattr(sys, "is_stack_trampoline_active", None)
    if active is not None and active():
        shutil.move(f"/tmp/perf-{os.getpid()}.map", FUNCTIONS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
