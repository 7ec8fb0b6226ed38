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
from tests.forms import FORMS, needs_compiled, needs_lines

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


def run(names: list[str], directory: Path, *, pure: bool = False, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Runs these workloads in one process, which does without the compiled parts if it is ``pure``.

    ``fault`` is what it does before.
    """
    settings = environment() | {PURE_PYTHON: "1" if pure else ""}
    command = [sys.executable, "-c", fault + _PROGRAM, json.dumps(names)]
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


@pytest.mark.parametrize("form", ["python", pytest.param("compiled", marks=needs_lines)])
def test_every_record_comes_through_the_workloads_of_a_collector(form: str, tmp_path: Path) -> None:
    """One that lost records would raise; compiled is what needs a record's line alone, where there is something."""
    pure = form == "python"
    workloads = [one for one in WORKLOADS if one.module != PRODUCING and (pure or not one.pure)]
    done = run([one.name for one in workloads], tmp_path, pure=pure)
    assert done.returncode == 0, done.stderr
    assert {name: one["compiled"] for name, one in json.loads(done.stdout).items()} == {
        one.name: one.part is not None and not pure for one in workloads
    }


#: What is wrong with a collector: each workload that it concerns has to notice.
_FAULTS = {
    "records leave their frame": """
from benchmarks.guard import collecting
from logbus.collectors import receiver
collecting.unpack = receiver.unpack = lambda *_: None
""",
    "nothing is redacted": """
from logbus.collectors.redaction.redact import Redactor
Redactor.redact = lambda *_: None
""",
    "lines are lost": """
from logbus.collectors.format.json import JsonFormat
whole = JsonFormat.encode
JsonFormat.encode = lambda self, batch: whole(self, batch).partition(b"\\n")[2]
""",
}


@needs_lines
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for name in ("decode", "redact", "redact.new", "redact.fresh", "encode", "turn")
        for fault in _FAULTS
        if (name, fault) != ("decode", "nothing is redacted")
    ],
)
def test_a_workload_of_a_collector_notices_what_is_wrong(name: str, fault: str, tmp_path: Path) -> None:
    """Where its records leave their frame, keep their passwords, or a line is missing, there is no figure."""
    done = run([f"collector.{name}"], tmp_path, fault=_FAULTS[fault])
    assert done.returncode == 1
    assert f"collector.{name}: expected 3200 records to come through, found -1" in done.stderr


@pytest.mark.parametrize("name", ["handler", "fast"])
def test_a_record_in_the_buffer_of_python_is_an_object_more(name: str, tmp_path: Path) -> None:
    """What the garbage collector has to watch is counted: each record that waits there is at least a dictionary."""
    found = json.loads(run([name], tmp_path, pure=True).stdout)
    assert found[name]["watched"] > 0.5


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param("fast.drained.python", "producers", marks=needs_compiled),
        pytest.param("collector.encode.python", "collectors", marks=needs_lines),
    ],
)
def test_what_is_to_be_in_python_is_refused_where_it_is_compiled(name: str, part: str, tmp_path: Path) -> None:
    """A figure of the other form would be worth nothing: there is none."""
    done = run([name], tmp_path)
    assert done.returncode == 1
    assert f"expected it in Python, found the compiled part of {part} loaded" in done.stderr
