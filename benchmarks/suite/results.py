"""What a run has given so far, as the document that is written after each round.

``benchmarks/results/suite.json``: where and on what, every sample as it came, the figures made of them, what was lost,
what failed, what was skipped and why, and how the promises of :mod:`benchmarks.suite.goals` came out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.service import ROOT
from benchmarks.suite import goals
from benchmarks.suite.job import Job, Mode
from benchmarks.suite.runs import Runs
from benchmarks.suite.sample import Sample

#: Where results go, and where the page looks for them.
DIRECTORY: Final = ROOT / "benchmarks" / "results"


def default_output(whole: str, mode: Mode, *, part: bool, prefix: str = "") -> Path:
    """Where a run's results go unless somebody says so: ``whole`` is for one of everything, in full size.

    One of a part, or of another size, has a file of its own, so that it never takes the place of that.
    """
    name = "only" if part else mode
    return DIRECTORY / (f"{whole}.json" if name == "full" else f"{prefix}{name}.json")


class Results:
    """The samples, failures and surroundings of a run. ``head`` is what is known before the first round."""

    def __init__(self, head: Mapping[str, Any], jobs: Sequence[Job], skipped: Mapping[str, str]) -> None:
        self.failed: list[str] = []
        self.rounds = 0
        self._head = head
        self.jobs = jobs
        self._skipped = skipped
        self._taken: list[tuple[int, Sample]] = []
        self._ledgers: dict[str, Any] = {}
        self._begun = time.monotonic()

    def take(self, number: int, sample: Sample) -> None:
        """Keeps a sample of that round."""
        self._taken.append((number, sample))

    def fail(self, number: int, job: Job, error: Exception) -> None:
        """Keeps what a job raised."""
        self.failed.append(f"{job.family}: {job.variant}, round {number + 1}: {type(error).__name__}: {error}")

    def audit(self, name: str, status: Mapping[str, Any]) -> None:
        """Keeps what a collector's ledger says at the end."""
        kept = {key: status["total"][key] for key in ("emitted", "collected", "dropped")}
        self._ledgers[name] = {
            **kept,
            "balanced": status["balanced"],
            "bad_frames": status["collector"]["bad_frames"],
        }

    def document(self) -> dict[str, Any]:
        """All of it."""
        runs = Runs(self._taken)
        return {
            **self._head,
            "rounds": self.rounds,
            "seconds": round(time.monotonic() - self._begun),
            "load_average_after": list(os.getloadavg()),
            "jobs": {f"{job.family}/{job.variant}": {"does": job.does, "version": job.version} for job in self.jobs},
            "figures": runs.summary(),
            "goals": [verdict.document() for verdict in goals.judge(runs)],
            "void": runs.void(),
            "failed": self.failed,
            "skipped": dict(self._skipped),
            "ledgers": self._ledgers,
            "samples": [{"round": number, **sample.document()} for number, sample in self._taken],
        }

    def write(self, path: Path) -> None:
        """Writes the document. Whoever reads meanwhile finds the one before or this one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps(self.document(), indent=1) + "\n")
        fresh.replace(path)


def runs_of(document: Mapping[str, Any]) -> Runs:
    """The samples of a document that was written."""
    return Runs(
        (entry["round"], Sample.read({key: value for key, value in entry.items() if key != "round"}))
        for entry in document["samples"]
    )
