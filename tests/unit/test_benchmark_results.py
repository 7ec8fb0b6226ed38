"""What a run of the benchmarks leaves behind after each round, and what can be read from it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.suite.job import Mode
from benchmarks.suite.results import default_output, runs_of
from benchmarks.suite.runs import Runs
from tests.measured import results, three_rounds


def test_a_document_holds_every_sample_as_it_came(tmp_path: Path) -> None:
    """What is read from the file gives the same figures as what was measured."""
    results().write(tmp_path / "results" / "suite.json")
    document = json.loads((tmp_path / "results" / "suite.json").read_text())
    assert runs_of(document).summary() == Runs(three_rounds()).summary()
    assert [entry["round"] for entry in document["samples"][:9]] == [0] * 8 + [1]


def test_a_run_that_is_cut_short_has_what_it_measured(tmp_path: Path) -> None:
    """Each write replaces the one before as a whole: two rounds have the figures of two."""
    path = tmp_path / "suite.json"
    for rounds in (1, 2):
        results(rounds).write(path)
    document = json.loads(path.read_text())
    assert (document["rounds"], document["figures"]["producer"]["handler"]["runs"]) == (2, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_document_says_what_happened() -> None:
    """Losses, failures, what was left out, ledgers, and what each promise came to."""
    made = results()
    made.fail(1, made.jobs[1], OSError("no such program"))
    total = {"emitted": 5, "collected": 5, "dropped": {}, "in_flight": 0}
    made.audit("json", {"total": total, "balanced": True, "collector": {"bad_frames": {}}})
    document = made.document()
    assert document["failed"] == ["end_to_end: SysLogHandler, rsyslog, round 2: OSError: no such program"]
    assert document["void"] == [f"producer: leaky, round {number}: 7 of 1,000 records lost" for number in (2, 3)]
    assert document["skipped"] == {"producer/logxide": "there is no Python 3.13"}
    assert document["ledgers"] == {
        "json": {"emitted": 5, "collected": 5, "dropped": {}, "balanced": True, "bad_frames": {}}
    }
    held = {goal["what"]: goal["verdict"] for goal in document["goals"]}
    assert held["stdlib logger and LogbusHandler: whole process"] == "must"


@pytest.mark.parametrize(
    ("mode", "part", "suite", "scale"),
    [
        ("full", False, "suite.json", "scale.json"),
        ("quick", False, "quick.json", "scale-quick.json"),
        ("tiny", False, "tiny.json", "scale-tiny.json"),
        ("full", True, "only.json", "scale-only.json"),
        ("tiny", True, "only.json", "scale-only.json"),
    ],
)
def test_a_part_or_another_size_has_a_file_of_its_own(mode: Mode, part: bool, suite: str, scale: str) -> None:
    """What the page is made of is replaced by a whole run in full size alone, unless somebody names the file."""
    assert default_output("suite", mode, part=part).name == suite
    assert default_output("scale", mode, part=part, prefix="scale-").name == scale
