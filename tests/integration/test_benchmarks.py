"""The benchmark's command, as small as it gets: that every figure is there and nothing was lost, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import delivery, proxied
from benchmarks.compiled import form_of
from benchmarks.gates import GATES
from benchmarks.pipeline import TINY
from benchmarks.ways import WAYS
from tests.collector_command import ROOT, child_environment


def run_benchmark(directory: Path, module: str, *options: str) -> tuple[dict[str, Any], str]:
    """What a benchmark writes to its file, and to stdout; it ends well and complains of nothing."""
    output = directory / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", module, "--tiny", *options, "--output", str(output)],
        cwd=ROOT,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(output.read_text()), done.stdout


def test_the_benchmark_of_levels_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each gate has its figures, each size of a crowd has confirmed, each bound has a verdict."""
    document, said = run_benchmark(tmp_path, "benchmarks.levels")
    assert set(document["figures"]) == {*GATES, "confirmed"}
    for name, figures in document["figures"].items():
        least = 0 if name == "idle" else 1e-6  # so short a while may pass without a look
        assert figures
        assert all(figure["median"] >= least for figure in figures.values()), (name, figures)
    assert set(document["figures"]["confirmed"]) == {"1", "3"}
    assert len(document["bounds"]) == 3
    for bound in document["bounds"]:
        assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in said


def test_the_benchmark_of_the_pipeline_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each variant has its cost and its ratio, every ledger accounts for every record, the bound has a verdict."""
    document, said = run_benchmark(tmp_path, "benchmarks.pipeline", "--seed", "7")
    assert document["void"] == []
    assert list(document["variants"]) == [variant.name for variant in TINY.variants]
    for found in (*document["variants"].values(), document["plain"]):
        assert all(figure["median"] > 0 for figure in found.values()), found
    [bound] = document["bounds"]
    assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in said
    assert f"; collectors are {form_of(Path(sys.executable), tmp_path, 'collectors')}\n" in said


def test_the_benchmark_of_delivery_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each sink and each peer has its cost and its ratio, and every record has arrived where it counts."""
    document, said = run_benchmark(tmp_path, "benchmarks.delivery", "--seed", "7")
    assert document["void"] == []
    assert list(document["sinks"]) == [variant.name for variant in delivery.TINY.variants]
    assert tuple(document["shippers"]) == delivery.TINY.shippers
    for found in (document["file"], *document["sinks"].values()):
        assert all(figure["median"] > 0 for figure in found.values()), found
    for found in document["shippers"].values():
        assert found["cost"]["median"] > 0
        assert found["by_logbus"]["median"] > 0
    assert document["sustained"]["median"] > 0
    assert len(document["bounds"]) == 2
    for bound in document["bounds"]:
        assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in said


def test_the_benchmark_of_proxied_requests_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each way has its figures in each part, logs as many records as it should, and each bound has a verdict."""
    document, said = run_benchmark(tmp_path, "benchmarks.proxied", "--seed", "7")
    figures = document["figures"]
    assert list(figures) == list(proxied.PARTS)
    for part in figures.values():
        assert tuple(part) == proxied.KINDS
        for ways in part.values():
            assert all(row["tenth"]["median"] > 0 and row["thread"]["median"] > 0 for row in ways.values()), ways
            assert all("percent" in row for way, row in ways.items() if way != "none")
    # proxywhirl's own records, httpx's, and that of the selection.
    for kind, own in (("sync", 3), ("async", 2)):
        records = {way: row["records"]["median"] for way, row in figures["bare"][kind].items()}
        logged = {"own": own, "direct": own + 1, "context": own + 2, "handler": own + 2}
        assert records == dict.fromkeys(WAYS, 0) | logged
    for bound in document["bounds"]:
        assert f"{'held' if bound['held'] else 'MISSED':6} {bound['what']}" in said
