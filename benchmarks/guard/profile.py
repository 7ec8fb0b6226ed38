"""What the instructions of a workload are spent on, by function.

Callgrind sees functions in C: the interpreter's, with ``_PyEval_EvalFrameDefault`` for all bytecode, and those of its
libraries. Since Python 3.12 an interpreter that is started with ``-X perf`` enters each function of Python by a few
instructions of its own, at an address of its own, and lists their names: so these have counts, too, each with all that
it calls. Calls then cost more than they do else.
"""

from __future__ import annotations

import re
import site
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.guard import callgrind
from benchmarks.guard.catalogue import workload
from benchmarks.guard.child import FUNCTIONS
from benchmarks.guard.meter import child, counts_of
from benchmarks.service import ROOT

#: Functions that are shown of each kind, and the least part of a record's instructions.
_SHOWN: Final = 40
_LEAST: Final = 0.005

_ADDRESS: Final = re.compile("0x[0-9a-f]+")
_HEAD: Final = "{:>10} {:>7} {:>8}  {}"
_LINE: Final = "{:10,.0f} {:7.1%} {:8.2f}  {}"


def profile(python: str, name: str, directory: Path) -> str:
    """Two tables: functions of Python with what they call, where this Python can tell, and functions in C.

    Raises RuntimeError when the workload fails or can't be measured here.
    """
    wanted = workload(name)
    counts = counts_of(wanted)
    traced = _has_trampolines(python)
    command = [python, *(("-X", "perf") if traced else ()), *child(wanted, counts)]
    counted = callgrind.count(command, len(counts), directory)
    if "absent" in counted.answer:
        raise RuntimeError(f"{name}: {counted.answer['absent']}")
    with counted.dump.open() as lines:
        found = callgrind.functions(lines)
    total, records = sum(found.own.values()), counts[-1]
    out = [f"{name}: {total / records:,.0f} instructions a record"]
    if traced:
        whole, calls = by_function(found, (directory / FUNCTIONS).read_text().splitlines())
        out += ["", *_table("with what it calls", whole, calls, total, records)]
    else:
        out += ["functions of Python can't be told apart before Python 3.12: see --python"]
    called = {function: found.calls[function] for function in found.own}
    return "\n".join([*out, "", *_table("alone", found.own, Counter(called), total, records)])


def by_function(found: callgrind.Functions, names: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Instructions and calls by function of Python. ``names`` are the lines that the interpreter has written: address
    and size, both hexadecimal, and ``py::QUALNAME:FILE``.
    """
    places = {}
    for line in names:
        address, _, name = line.split(" ", 2)
        places[int(address, 16)] = _shortened(name.removeprefix("py::"))
    whole: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for function, cost in found.whole.items():
        # Of a function that calls itself the outermost calls have all; "'2" stands behind the addresses of the others.
        place = places.get(int(function, 16)) if _ADDRESS.fullmatch(function) else None
        if place is not None:
            whole[place] += cost
            calls[place] += found.calls[function]
    return whole, calls


def _table(title: str, costs: Counter[str], calls: Counter[str], total: int, records: int) -> Sequence[str]:
    rows = [
        _LINE.format(cost / records, cost / total, calls[function] / records, function)
        for function, cost in costs.most_common(_SHOWN)
        if cost >= _LEAST * total and calls[function]
    ]
    return [_HEAD.format("Ir/record", "share", "calls", f"function, {title}"), *rows]


def _shortened(name: str) -> str:
    """``QUALNAME:FILE`` with the file as short as it can be told."""
    for place in (f"{ROOT}/", *(f"{path}/" for path in site.getsitepackages())):
        name = name.replace(place, "")
    return name


def _has_trampolines(python: str) -> bool:
    program = "import sys; sys.exit(not hasattr(sys, 'is_stack_trampoline_active'))"
    return subprocess.run([python, "-c", program], check=False).returncode == 0
