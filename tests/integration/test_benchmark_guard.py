"""The workloads of the guard: every one runs, in the form that it names, and every record comes through it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.guard.callgrind import environment
from benchmarks.guard.catalogue import FLOOR, WORKLOADS
from benchmarks.service import PURE_PYTHON
from tests.forms import FORMS, needs_compiled

PRODUCING = "benchmarks.guard.producing"

#: What the guard's child does, for these workloads in one process.
_PROGRAM = """
import json, pathlib, sys
from benchmarks.guard.catalogue import workload
from benchmarks.guard.child import counted
found = {}
for name in json.loads(sys.argv[1]):
    one = workload(name)
    directory = pathlib.Path(one.name)
    directory.mkdir()
    found[one.name] = counted(one, [one.records], directory)
print(json.dumps(found))
"""


def run(names: list[str], directory: Path, *, pure: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs these workloads in one process, which does without the compiled part if it is ``pure``."""
    settings = environment() | {PURE_PYTHON: "1" if pure else ""}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(names)]
    return subprocess.run(command, cwd=directory, env=settings, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("form", FORMS)
def test_every_record_comes_through_the_workloads_of_a_worker(form: str, tmp_path: Path) -> None:
    """One that lost records, or that is not what it says it is (a suppressed call that passes), would raise."""
    pure = form == "python"
    names = [one.name for one in WORKLOADS if one.module == PRODUCING and (pure or not one.pure)]
    done = run(names, tmp_path, pure=pure)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == names
    assert {name: one["compiled"] for name, one in found.items()} == dict.fromkeys(names, not pure)
    # The floor leaves nothing behind.
    assert abs(found[FLOOR]["watched"]) < 0.1
    # A sender that has looked is woken by the next record, and by no other until it looks again.
    assert found["handler"]["woken"] == found["fast"]["woken"] == 0
    assert found["handler.drained"]["woken"] == found["fast.drained"]["woken"] == 1 / 200


def test_every_record_comes_through_the_workloads_of_a_collector(tmp_path: Path) -> None:
    """One that lost records would raise; and nothing compiled has a part in any."""
    names = [one.name for one in WORKLOADS if one.module != PRODUCING]
    done = run(names, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {name: one["compiled"] for name, one in json.loads(done.stdout).items()} == dict.fromkeys(names, False)


@pytest.mark.parametrize("name", ["handler", "fast"])
def test_a_record_in_the_buffer_of_python_is_an_object_more(name: str, tmp_path: Path) -> None:
    """What the garbage collector has to watch is counted: each record that waits there is at least a dictionary."""
    found = json.loads(run([name], tmp_path, pure=True).stdout)
    assert found[name]["watched"] > 0.5


@needs_compiled
def test_what_is_to_be_in_python_is_refused_where_it_is_compiled(tmp_path: Path) -> None:
    """A figure of the other form would be worth nothing: there is none."""
    done = run(["fast.drained.python"], tmp_path)
    assert done.returncode == 1
    assert "expected log calls in Python, found the compiled part of logbus loaded" in done.stderr
