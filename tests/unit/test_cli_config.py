"""``logbus config validate`` and ``logbus record-schema``: what can be known without a collector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logbus.cli import program
from logbus.collectors.schema import record_schema


def invoke(*arguments: str) -> Result:
    """What ``logbus ARGUMENTS`` did."""
    return CliRunner().invoke(program, [*arguments], prog_name="logbus")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A file without a mistake."""
    path = tmp_path / "good.toml"
    path.write_text('[[sinks]]\ntype = "file"\npath = "x.jsonl"\n')
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A file with two mistakes."""
    path = tmp_path / "bad.json"
    path.write_text('{"sinks": [{"type": "file", "rotation": "1 MB"}]}')
    return path


def test_a_good_file_is_ok(good: Path) -> None:
    """A file without problems ends with 0 and says so."""
    result = invoke("config", "validate", str(good))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{good}: ok\n", "")


def test_every_problem_of_a_bad_file_is_a_line(bad: Path) -> None:
    """All problems come at once on stderr, each with the file, and the exit code is 2."""
    result = invoke("config", "validate", str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f'logbus: error: {bad}: sinks[0].path: missing; expected the path of a file, like "logs/app.jsonl"',
        f"logbus: error: {bad}: sinks[0].rotation: not available yet",
    ]


def test_the_result_can_be_had_as_json(good: Path, bad: Path) -> None:
    """With --json the problems are a list in one document, with the same exit codes."""
    result = invoke("config", "validate", str(good), "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"file": str(good), "ok": True, "problems": []})
    result = invoke("config", "validate", str(bad), "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, document["ok"]) == (2, "", False)
    assert [problem.partition(":")[0] for problem in document["problems"]] == ["sinks[0].path", "sinks[0].rotation"]


def test_only_the_file_is_judged(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the environment is not a mistake of the file."""
    monkeypatch.setenv("LOGBUS_ENDPOINT", "nonsense")
    monkeypatch.setenv("LOGBUS_CONFIG", "/nowhere")
    assert invoke("config", "validate", str(good)).exit_code == 0


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    """A missing file is wrong usage, with its name."""
    result = invoke("config", "validate", str(tmp_path / "gone.toml"))
    assert result.exit_code == 2
    assert "gone.toml: can't be read: No such file or directory" in result.stderr


def test_the_schema_of_a_record_is_printed() -> None:
    """``record-schema`` prints the schema as one JSON document."""
    result = invoke("record-schema")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == record_schema()
    assert json.loads(result.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
