"""The one run of all benchmarks, as small as it gets, and the page of it: never how fast anything is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.suite import render
from benchmarks.suite.peers import interpreter
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually
from tests.measured import document


def run_suite(*options: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.suite", *options],
        cwd=ROOT,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_a_tiny_run_gives_figures_ratios_and_verdicts(unmeasured: None, tmp_path: Path) -> None:
    """What was asked for is measured in a shuffled order, nothing is lost, and everything is in file and tables."""
    wanted = ["startup", "producer/null", "producer/handler", "producer/json_file"]
    output = tmp_path / "suite.json"
    done = run_suite("--tiny", "--seed", "7", "--only", *wanted, "--output", str(output))
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert (found["mode"], found["seed"], found["rounds"]) == ("tiny", 7, 1)
    assert (found["void"], found["failed"]) == ([], [])
    assert set(found["figures"]["producer"]) == {"null", "handler", "json_file"}
    assert set(found["figures"]["startup"]) == {"libraries", "import", "configure"}
    for row in found["figures"]["producer"].values():
        assert row["floors"]["process_us"]["median"] > 0
    assert found["figures"]["producer"]["json_file"]["by"]["handler"]["thread_us"]["median"] > 0
    for ledger in found["ledgers"].values():
        assert (ledger["balanced"], ledger["dropped"], ledger["bad_frames"]) == (True, {}, {})
    assert {"python", "pgo", "packages"} <= set(found["machine"]["peers"])
    verdicts = {goal["what"]: goal["verdict"] for goal in found["goals"]}
    assert verdicts["stdlib logger and LogbusHandler: calling thread"] in ("goal", "must", "missed")
    assert verdicts["FastLogger, fast: calling thread"] == "none"
    assert "stdlib logger and LogbusHandler: calling thread" in done.stdout
    assert len(re.findall(r"round 1, \d of 6: ", done.stderr)) == 6


def test_a_run_that_is_ended_keeps_what_it_has(unmeasured: None, tmp_path: Path) -> None:
    """Asked to end, it writes the rounds so far, ends its collector, and says by its status that it is not whole."""
    output = tmp_path / "suite.json"
    command = [sys.executable, "-m", "benchmarks.suite", "--tiny", "--rounds", "1000", "--only", "startup/libraries"]
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(output.exists, 60)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.terminate()
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    found = json.loads(output.read_text())
    assert found["figures"]["startup"]["libraries"]["runs"] == len(found["samples"]) > 0
    assert found["failed"] == []
    assert children
    eventually(lambda: not [child for child in children if Path(f"/proc/{child}").exists()])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--only", "telepathy"], "telepathy"),
        (["--rounds", "0"], "a number from 1 on"),
        (["--tiny", "--quick"], "not allowed"),
    ],
)
def test_a_wrong_choice_is_refused(options: Sequence[str], complaint: str) -> None:
    """Families that there are not, no rounds, two sizes at once: the message says what is wrong, nothing runs."""
    done = run_suite(*options)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_rendering_needs_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without results of the suite nothing is written, and the message says what makes them."""
    assert render.main(["--results", str(tmp_path), "--output", str(tmp_path / "page.md")]) == 1
    assert "python -m benchmarks.suite makes them" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_only_the_whole_run_is_rendered_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results of a quick run make no page by themselves, and make one when they are asked for by name."""
    monkeypatch.setattr(render, "draw", lambda *_: [])
    (tmp_path / "quick.json").write_text(json.dumps(document()))
    options = ["--results", str(tmp_path), "--output", str(tmp_path / "page.md")]
    assert render.main(options) == 1
    assert render.main([*options, "--run", "only"]) == 1
    assert "benchmarks.suite --only makes them" in capsys.readouterr().err
    assert render.main([*options, "--run", "quick"]) == 0
    assert "This page is of 3 rounds;" in (tmp_path / "page.md").read_text()


def test_page_and_plots_are_the_same_each_time(unmeasured: None, tmp_path: Path) -> None:
    """Rendered twice from the same results, page and plots agree byte by byte; plots are small and have their text."""
    done = subprocess.run([str(interpreter()), "-c", "import matplotlib"], capture_output=True)
    if done.returncode:
        pytest.skip("matplotlib is not installed (make bench-peers)")
    (tmp_path / "suite.json").write_text(json.dumps(document()))
    found = []
    for name in ("first", "second"):
        place = tmp_path / name
        place.mkdir()
        assert render.main(["--results", str(tmp_path), "--output", str(place / "performance.md")]) == 0
        found.append({path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()})
    first, second = found
    assert first == second
    assert {str(path) for path in first} == {
        *("performance.md", "performance/producers.svg", "performance/paced.svg", "performance/latency.svg"),
        "performance/whole_way.svg",
    }
    producers = first[Path("performance/producers.svg")].decode()
    assert ">loguru file</text>" in producers
    assert all(len(content) < 60_000 for content in first.values())
    assert "(performance/producers.svg)" in first[Path("performance.md")].decode()
