"""Callgrind's dumps, and the names that Python gives to its functions."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.guard import callgrind
from benchmarks.guard.profile import by_function

DUMP = """\
# callgrind format
version: 1
positions: line
events: Ir
summary: 290

ob=(1) /usr/bin/python3
fl=(1) ceval.c
fn=(1) _PyEval_EvalFrameDefault
10 50
+3 20
cob=(2) /usr/lib/libz.so
cfi=(2) crc32.c
cfn=(2) crc32_z
calls=4 7
* 100
-2 10
cfn=(3) 0x0000000004a0
calls=2 0
+1 60

fn=(2)
7 100

fn=(3)
0 4
cfn=(1)
calls=2 10
0 56

fn=(1)
40 6

totals: 290
"""
NAMES = """\
400 b py::shop.sell:/srv/shop.py
4a0 b py::Till.take.<locals>.ring:/srv/till.py
"""
#: A process that marks three parts, of which the second and the third do three times as much as the first.
MARKED = """
import os
def work(count):
    for _ in range(count):
        [].append(0)
work(1000)
for count in 1000, 3000, 3000:
    os.getppid()
    work(count)
os.getppid()
print('{"watched": 0}')
"""


def test_a_dump_says_what_it_counted() -> None:
    """The total is that of instructions, in whichever column they stand; what counts none of them is refused."""
    assert callgrind.total(DUMP) == 290
    assert callgrind.total("events: Dr Ir\ntotals: 7 8\n") == 8
    for text in ("", "events: Dr\ntotals: 7\n", "events: Ir\n"):
        with pytest.raises(ValueError, match="expected a dump"):
            callgrind.total(text)


def test_functions_have_their_own_cost_and_that_of_what_they_call() -> None:
    """The line behind a call belongs to the called; a name stands once, and for its number from then on."""
    found = callgrind.functions(DUMP.splitlines())
    assert found.own == {"_PyEval_EvalFrameDefault": 86, "crc32_z": 100, "0x0000000004a0": 4}
    assert found.whole == {"crc32_z": 100, "0x0000000004a0": 60, "_PyEval_EvalFrameDefault": 56}
    assert found.calls == {"crc32_z": 4, "0x0000000004a0": 2, "_PyEval_EvalFrameDefault": 2}


def test_functions_of_python_are_named_by_their_addresses() -> None:
    """The address at which a function of Python is entered gives its name, its calls and what they cost."""
    whole, calls = by_function(callgrind.functions(DUMP.splitlines()), NAMES.splitlines())
    assert whole == {"Till.take.<locals>.ring:/srv/till.py": 60}
    assert calls == {"Till.take.<locals>.ring:/srv/till.py": 2}


def test_a_process_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    """What the process wrote to stderr is in the error; so is a process that says nothing."""
    with pytest.raises(RuntimeError, match="no such workload"):
        callgrind.run([sys.executable, "-c", "raise SystemExit('no such workload')"], tmp_path)
    with pytest.raises(RuntimeError, match="failed"):
        callgrind.run([sys.executable, "-c", "pass"], tmp_path)


def test_settings_of_the_caller_are_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured process has no LOGBUS_ variable, a fixed hash seed, and its libraries."""
    monkeypatch.setenv("LOGBUS_LEVEL", "DEBUG")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/srv/lib")
    found = callgrind.environment()
    assert (found["PYTHONHASHSEED"], found["LD_LIBRARY_PATH"]) == ("0", "/srv/lib")
    assert not [name for name in found if name.startswith("LOGBUS_")]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_parts_of_one_process_are_counted_each(tmp_path: Path) -> None:
    """Three times the work is three times the instructions, start-up is in neither, and again they are the same."""
    counted = callgrind.count([sys.executable, "-I", "-S", "-c", MARKED], 3, tmp_path)
    less, more, again = counted.instructions
    assert more == pytest.approx(3 * less, rel=0.05)
    assert again == pytest.approx(more, rel=0.01)
    assert sum(callgrind.functions(counted.dump.read_text().splitlines()).own.values()) == again
