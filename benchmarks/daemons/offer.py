"""The jobs of both families, and the process in which each sample is taken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.compiled import PARTS, Form, Part, form_of
from benchmarks.daemons import collector, end_to_end
from benchmarks.daemons.receiver import Daemon
from benchmarks.service import environment
from benchmarks.suite.job import Bench, Job
from benchmarks.suite.sample import Sample

#: Seconds that a sample may take.
_TIMEOUT_S: Final = 180.0
#: What is measured when there is a minute for everything.
_QUICK: Final = (
    "collector/logbus",
    "collector/logbus_bare",
    "collector/multiprocessing.Queue + QueueListener",
    "end_to_end/handler",
    "end_to_end/fast",
    "end_to_end/multiprocessing.Queue",
)
#: Records of a run that only shows that it works.
_TINY: Final = 400
#: What the interpreter of the peers is asked: the versions of the distributions that it has.
_ASK: Final = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class _Here:
    """What the interpreter of what is measured has: versions by distribution, and the forms of logbus's parts."""

    versions: dict[str, str]
    forms: dict[Part, Form]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One that is to be measured in this mode; ``distribution`` is what its workers need besides."""

    family: str
    variant: str
    daemon: Daemon
    records: int
    distribution: str = ""

    @property
    def name(self) -> str:
        return f"{self.family}/{self.variant}"

    @property
    def _parts(self) -> tuple[Part, ...]:
        """What of logbus takes part."""
        if not self.daemon.ours:
            return ()
        return PARTS if self.family == end_to_end.FAMILY else ("collectors",)

    def lacks(self, here: _Here) -> str:
        """Why it can't be measured here; empty where it can."""
        if self.distribution and self.distribution not in here.versions:
            return f"{self.distribution} is not installed"
        if self.daemon.pure and all(here.forms[part] == "in Python" for part in self._parts):
            return "nothing is compiled here: all of logbus is in Python"
        return self.daemon.absent()

    def forms(self, here: _Here) -> dict[Part, str]:
        """What its parts must be, each where it is logbus's."""
        return {part: "in Python" if self.daemon.pure else here.forms[part] for part in self._parts}

    def version(self, here: _Here) -> str:
        """Whose versions count."""
        own = f"{self.distribution} {here.versions[self.distribution]}" if self.distribution else ""
        return ", ".join(filter(None, (own, self.daemon.version())))


def offered(bench: Bench) -> list[Job]:
    """A job for each that can be measured here."""
    here = _here(bench)
    return [
        Job(each.family, each.variant, _run(bench, each, each.forms(here)), each.daemon.does, each.version(here))
        for each in _wanted(bench)
        if not each.lacks(here)
    ]


def absent(bench: Bench) -> dict[str, str]:
    """Why the others can't be."""
    here = _here(bench)
    return {each.name: reason for each in _wanted(bench) if (reason := each.lacks(here))}


def _wanted(bench: Bench) -> list[_Wanted]:
    found = [
        _Wanted(collector.FAMILY, variant, daemon, daemon.records) for variant, daemon in collector.DAEMONS.items()
    ]
    found += [
        _Wanted(end_to_end.FAMILY, variant, way.daemon, way.records, way.distribution)
        for variant, way in end_to_end.WAYS.items()
    ]
    if bench.quick:
        return [each for each in found if each.name in _QUICK]
    return [replace(each, records=_TINY) for each in found] if bench.tiny else found


def _here(bench: Bench) -> _Here:
    names = [way.distribution for way in end_to_end.WAYS.values() if way.distribution]
    done = subprocess.run([str(bench.python), "-c", _ASK, *names], capture_output=True, text=True, check=True)
    return _Here(json.loads(done.stdout), {part: form_of(bench.python, bench.directory, part) for part in PARTS})


def _run(bench: Bench, wanted: _Wanted, forms: Mapping[Part, str]) -> Callable[[int], Sample]:
    def run(number: int) -> Sample:
        with tempfile.TemporaryDirectory(prefix="d", dir=bench.directory) as directory:
            return _sample(str(bench.python), wanted, Path(directory), forms)

    return run


def _sample(python: str, wanted: _Wanted, directory: Path, forms: Mapping[Part, str]) -> Sample:
    """One sample, from a process of its own that leads a group: what it starts is ended with it, however it ends.

    Raises RuntimeError with what it said when it fails or takes too long.
    """
    task = {
        "family": wanted.family,
        "variant": wanted.variant,
        "directory": str(directory),
        "records": wanted.records,
        "form": forms.get("producers", ""),
        "collector_form": forms.get("collectors", ""),
    }
    command = [python, "-m", "benchmarks.daemons", json.dumps(task)]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, errors = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{wanted.name} took more than {_TIMEOUT_S:g} s") from None
        finally:
            if process.returncode != 0:  # it has ended nothing, or not all
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise RuntimeError(f"{wanted.name} failed: {errors}")
    return Sample.read(json.loads(said))
