"""The jobs of the family ``producer``: each variant in a new process, in each round."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.compiled import Form
from benchmarks.peers.measure import Task
from benchmarks.peers.variants import NEWER, VARIANTS, Variant
from benchmarks.service import ROOT, Service, environment
from benchmarks.suite.job import Bench, Job, Mode
from benchmarks.suite.sample import Sample

FAMILY: Final = "producer"
#: The interpreter of the variants for the newer Python, where it is.
NEWER_PYTHON: Final = ROOT / ".venvs" / "bench-3.13" / "bin" / "python"
#: By mode: records of a burst flat out, seconds of these, paced pairs, records of each burst, single calls.
_SIZES: Final[dict[Mode, tuple[int, float, int, int, int]]] = {
    "full": (4000, 0.5, 4, 500, 4000),
    "quick": (4000, 0.3, 3, 300, 2000),
    "tiny": (200, 0.0, 1, 100, 100),
}
#: Seconds that a variant may take.
_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class _Here:
    """What an interpreter has: the versions of the peers, by distribution, and the form of logbus's log calls."""

    versions: dict[str, str]
    form: Form


def jobs(bench: Bench) -> list[Job]:
    """A job for each variant whose peer is installed."""
    there = _there(bench)
    return [
        _job(bench, name, variant, there[_python(bench, name)])
        for name, variant in _wanted(bench).items()
        if _missing(bench, name, variant, there) is None
    ]


def skipped(bench: Bench) -> dict[str, str]:
    """The others, and what they lack."""
    there = _there(bench)
    found = {name: _missing(bench, name, variant, there) for name, variant in _wanted(bench).items()}
    return {f"{FAMILY}/{name}": reason for name, reason in found.items() if reason is not None}


def _wanted(bench: Bench) -> dict[str, Variant]:
    return {name: variant for name, variant in VARIANTS.items() if variant.quick or not bench.quick}


def _python(bench: Bench, name: str) -> Path:
    return NEWER_PYTHON if name.endswith(NEWER) else bench.python


def _there(bench: Bench) -> dict[Path, _Here]:
    """What each interpreter that is there has."""
    names = sorted({variant.distribution for variant in VARIANTS.values() if variant.distribution})
    pythons = (bench.python, NEWER_PYTHON)
    return {python: _Here(**_ask(python, bench.directory, names)) for python in pythons if python.exists()}


def _missing(bench: Bench, name: str, variant: Variant, there: dict[Path, _Here]) -> str | None:
    """Why a variant can't be measured here; None where it can."""
    python = _python(bench, name)
    if python not in there:
        return f"there is no {python.relative_to(ROOT)}"
    if variant.distribution and variant.distribution not in there[python].versions:
        return f"{variant.distribution} is not installed in {python.parent.parent.name}"
    if variant.pure and there[python].form == "in Python":
        return f"nothing is compiled for {python.parent.parent.name}: all of logbus is in Python"
    return None


def _job(bench: Bench, name: str, variant: Variant, here: _Here) -> Job:
    service = bench.service(FAMILY)
    directory = bench.place(FAMILY)
    form = "" if not variant.is_logbus else "in Python" if variant.pure else here.form
    task = Task(name, form, str(directory), service.endpoint, *_SIZES[bench.mode])
    python = _python(bench, name)

    def run(number: int) -> Sample:
        service.wait_lines(0)  # reads what a run that failed may have left
        before = service.lines
        found = _ask(python, directory, asdict(task), pure=variant.pure)
        return Sample(FAMILY, name, **_checked(service, before, variant, found))

    return Job(FAMILY, name, run, variant.does, here.versions.get(variant.distribution, ""))


def _checked(service: Service, before: int, variant: Variant, found: dict[str, Any]) -> dict[str, Any]:
    """What a process found, once the collector's file agrees where it is the collector that has the records."""
    if variant.is_logbus and not service.wait_lines(before + found["records"]):
        found["lost"] += abs(before + found["records"] - service.lines)
    return found


def _ask(python: Path, directory: Path, question: Any, *, pure: bool = False) -> Any:
    """What a new process of this package answers. Raises RuntimeError with its stderr when it fails."""
    command = [str(python), "-m", "benchmarks.peers", json.dumps(question)]
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(directory, pure=pure),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{question} failed: {done.stderr}")
    return json.loads(done.stdout)
