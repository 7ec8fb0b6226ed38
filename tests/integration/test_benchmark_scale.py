"""The benchmarks of growth, as small as they get: that every figure is there and nothing was lost, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compiled import form_of
from benchmarks.scale import __main__ as scale, endurance
from benchmarks.service import PURE_PYTHON
from benchmarks.suite.peers import interpreter
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually

#: The variants of the smallest run.
VARIANTS = {
    "workers": {"2"},
    "memory": {"worker", "worker, in Python"},
    "sizes": {"64 KiB, message"},
    "sinks": {"2, different formats"},
    "flood": {"4, small buffers"},
}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands take our settings out of the environment of this process: they are back after the test."""
    monkeypatch.delenv(PURE_PYTHON, raising=False)


def test_the_benchmark_of_growth_gives_every_figure(unmeasured: None, tmp_path: Path) -> None:
    """Each variant has its figures, no record is lost, and a state of the collector has its calls beside serving."""
    output = tmp_path / "scale.json"
    assert scale.main(["--tiny", "--seed", "7", "--output", str(output)]) == 0
    document = json.loads(output.read_text())
    assert document["failed"] == []
    assert document["void"] == []
    samples: dict[str, dict[str, Any]] = {}
    for sample in document["samples"]:
        assert sample["lost"] == 0, sample
        samples.setdefault(sample["family"], {})[sample["variant"]] = sample
    if form_of(interpreter(), tmp_path) == "in Python":
        samples["memory"]["worker, in Python"] = samples["memory"]["worker"]  # the only form that is here
    assert {family: set(found) for family, found in samples.items() if family != "stalls"} == VARIANTS
    for figure in ("paced_thread_us", "paced_process_us", "paced_collector_us", "worker_private_mib", "confirm_ms"):
        assert samples["workers"]["2"]["figures"][figure] > 0
    for worker in samples["memory"].values():
        parts = worker["figures"]
        assert 0 < parts["import_rss_mib"] < parts["configure_rss_mib"] <= parts["records_rss_mib"]
        assert parts["records_rss_mib"] < parts["stats_rss_mib"]
    assert samples["sizes"]["64 KiB, message"]["figures"]["bytes_per_record"] > 65_536
    assert samples["sizes"]["64 KiB, message"]["notes"] == ""
    states = {variant.partition(": ")[2] for variant in samples["stalls"]}
    assert states == {"restarting", "full, shed_lowest"}
    for sample in samples["stalls"].values():
        assert sample["figures"]["call_p999_us"] >= sample["figures"]["call_p50_us"] > 0
        assert sample["floor"]["call_p50_us"] > 0
        assert "above_serving_us" in sample["figures"]


def test_a_run_that_is_asked_to_end_leaves_nothing(unmeasured: None, tmp_path: Path) -> None:
    """SIGTERM ends its collector and its workers too; its directory is gone, and the file has what there is."""
    output = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--full", "--only", "workers/1", "--output", str(output)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )

    def children(of: int) -> list[int]:
        return [*map(int, Path(f"/proc/{of}/task/{of}/children").read_text().split())]

    def working() -> list[int]:
        """The collector, the one from whom the workers come, and these."""
        both = children(process.pid)
        workers = children(both[1]) if len(both) > 1 else []
        return [*both, *workers] if workers else []

    try:
        both = eventually(working, 60)
        place = Path(f"/proc/{both[0]}/cwd").readlink()
        assert place.is_dir()
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in said
    eventually(lambda: not [child for child in both if Path(f"/proc/{child}").exists()])
    assert not place.exists()
    assert json.loads(output.read_text())["samples"] == []


def test_an_endurance_run_can_be_resumed(
    unmeasured: None, tmp_path: Path, directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second piece goes on with series, directory and ledger of the first, and each is accounted for to the end."""
    output, place = tmp_path / "endurance.json", directories / "e"
    # A tenth of each worker's bursts has one of the floor beside it: at this rate some of them in each piece.
    options = ["--minutes", "0.01", "--rate", "8000", "--output", str(output)]
    assert endurance.main([*options, "--directory", str(place)]) == 0
    first = json.loads(output.read_text())
    assert endurance.main([*options, "--resume"]) == 0
    document = json.loads(output.read_text())
    assert [piece["whole"] for piece in document["pieces"]] == [True, True]
    assert document["points"][: len(first["points"])] == first["points"]
    assert [point["piece"] for point in document["points"]] == [0, 1]
    logged = [piece["logged"] for piece in document["pieces"]]
    assert min(logged) > 0
    assert [piece["ledger"]["collected"] for piece in document["pieces"]] == [logged[0], sum(logged)]
    assert all(point["collector_rss_mib"] > 1 and point["records"] > 0 for point in document["points"])
    assert "piece 1: whole" in capsys.readouterr().out
