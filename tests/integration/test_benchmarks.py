"""The benchmark's command, as small as it gets: that every figure is there and nothing was lost, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gates import GATES
from benchmarks.producers import FIGURES, VARIANTS
from tests.collector_command import ROOT, child_environment


def test_the_quick_benchmark_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Every variant has its figures, each bound a verdict, and no run has lost a record."""
    output = tmp_path / "quick.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.quick", "--tiny", "--seed", "7", "--output", str(output)],
        cwd=ROOT,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(output.read_text())
    assert document["void"] == []
    assert (document["ledger"]["balanced"], document["ledger"]["dropped"]) == (True, {})
    assert document["ledger"]["bad_frames"] == {}
    assert set(document["producers"]) == set(VARIANTS)
    for row in document["producers"].values():
        for what in FIGURES:
            assert row[what]["median"] > 0
            assert row[f"{what}_ratio"]["median"] > 0
    for variant in ("logbus", "mp_queue"):
        for what in ("receiver", "receiver_in_floors", "workers_and_receiver", "records_per_second"):
            assert document["collectors"][variant][what]["median"] > 0
    assert document["steady"]["records"] == 4000
    assert len(document["bounds"]) == 5
    for bound in document["bounds"]:
        assert bound["value"] is not None, bound
        assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in done.stdout


def test_the_benchmark_of_levels_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each gate has its figures, each size of a crowd has confirmed, each bound has a verdict."""
    output = tmp_path / "levels.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.levels", "--tiny", "--output", str(output)],
        cwd=ROOT,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(output.read_text())
    assert set(document["figures"]) == {*GATES, "confirmed"}
    for name, figures in document["figures"].items():
        least = 0 if name == "idle" else 1e-6  # so short a while may pass without a look
        assert figures
        assert all(figure["median"] >= least for figure in figures.values()), (name, figures)
    assert set(document["figures"]["confirmed"]) == {"1", "3"}
    assert len(document["bounds"]) == 3
    for bound in document["bounds"]:
        assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in done.stdout
