"""The compiled parts as benchmarks get them for an interpreter: built where they lack, and never a broken one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compiled
from benchmarks.compiled import PARTS, Part
from benchmarks.service import PURE_PYTHON, ROOT
from logbus.collectors import compiled as collector
from logbus.producers import compiled as producer
from tests.forms import needs_compiled, needs_lines

HERE = Path(sys.executable)
LOADED: dict[Part, Any] = {"producers": producer, "collectors": collector}
#: A test of each part, that is built.
each_built = pytest.mark.parametrize(
    "part", [pytest.param("producers", marks=needs_compiled), pytest.param("collectors", marks=needs_lines)]
)


class Builder:
    """Stands in for the compiler: puts what is ``made`` of each part where setup.py is told to build it."""

    def __init__(self, made: Mapping[Part, bytes]) -> None:
        self.made = made
        self.built = 0
        self._run = compiled._run

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs everything else."""
        if "setup.py" not in command:
            return self._run(command, **options)
        self.built += 1
        for part, made in self.made.items():
            place = Path(command[command.index("--build-lib") + 1], "logbus", part)
            place.mkdir(parents=True)
            (place / native_file(part).name).write_bytes(made)
        return subprocess.CompletedProcess(command, 0, "", "warning: command '/bin/false' failed\n")


def native_file(part: Part) -> Path:
    """Where this process's extension of a part lies."""
    return Path(LOADED[part].NATIVE.__file__)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a build goes: not into the checkout, of whose sources the extensions are."""
    monkeypatch.setattr(compiled, "_PLACE", tmp_path)
    for part, loaded in LOADED.items():
        (tmp_path / part).mkdir()
        monkeypatch.setattr(loaded, "digest", lambda loaded=loaded: getattr(loaded.NATIVE, "SOURCES", "None"))
    return tmp_path


def of_other_sources(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has changed the C of a part."""
    monkeypatch.setattr(LOADED[part], "digest", lambda: "of other sources")


@needs_compiled
@needs_lines
def test_what_is_of_these_sources_is_not_built_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of a benchmark asks, and almost none has to compile."""
    builder = Builder({})
    monkeypatch.setattr(compiled, "_run", builder)
    assert (compiled.build(HERE), builder.built) == ({}, 0)


@each_built
def test_what_is_of_other_sources_is_built_and_put_in_place(
    part: Part, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies there whole, under the name that this interpreter looks for, and nothing else has changed."""
    of_other_sources(part, monkeypatch)
    monkeypatch.setattr(compiled, "_run", Builder({part: native_file(part).read_bytes()}))
    assert compiled.build(HERE) == {}
    assert [path for path in place.rglob("*") if path.is_file()] == [place / part / native_file(part).name]
    assert (place / part / native_file(part).name).read_bytes() == native_file(part).read_bytes()


@needs_compiled
@needs_lines
def test_one_that_fails_leaves_the_other(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are built where both lack, and of the one that can't be the reason is said."""
    for part in PARTS:
        of_other_sources(part, monkeypatch)
    builder = Builder({"collectors": native_file("collectors").read_bytes()})
    monkeypatch.setattr(compiled, "_run", builder)
    assert compiled.build(HERE) == {"producers": "it could not be built: warning: command '/bin/false' failed"}
    assert builder.built == 1
    assert [path.parent.name for path in place.rglob("*") if path.is_file()] == ["collectors"]


@each_built
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (None, "it could not be built: warning: command '/bin/false' failed"),
        (b"no extension", "it was built and can't be loaded: ImportError: "),
    ],
)
def test_a_build_that_fails_takes_nothing_away(
    part: Part, made: bytes | None, reason: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler, or with one whose extension can't be loaded, what was there stays, and the reason is said."""
    of_other_sources(part, monkeypatch)
    before = place / part / native_file(part).name
    before.write_text("what was there")
    monkeypatch.setattr(compiled, "_run", Builder({} if made is None else {part: made}))
    [(failed, said)] = compiled.build(HERE).items()
    assert failed == part
    assert said.startswith(reason)
    assert [path.read_text() for path in place.rglob("*") if path.is_file()] == ["what was there"]


def test_whoever_runs_a_benchmark_is_told_what_is_in_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each interpreter that lacks a part is named with its reason; one that is not there is nobody's concern."""
    monkeypatch.setattr(compiled, "build", lambda python: dict.fromkeys(PARTS, "there is no compiler"))
    compiled.build_for((HERE, tmp_path / "none"))
    assert capsys.readouterr().err == (
        f"{HERE}: log calls of logbus are measured in Python: there is no compiler\n"
        f"{HERE}: a collector of logbus is measured in Python: there is no compiler\n"
    )


@pytest.mark.parametrize("part", PARTS)
def test_the_form_of_an_interpreter_is_what_it_loads(part: Part, tmp_path: Path) -> None:
    """It is asked, and not guessed from a file; a process that wants another than it has is told so."""
    there = importlib.util.find_spec(f"logbus.{part}._native") is not None
    assert compiled.form_of(HERE, tmp_path, part) == ("compiled" if there else "in Python")
    found = compiled.form(part)
    compiled.expect(found, part)
    other = "compiled" if found == "in Python" else "in Python"
    words = {
        "producers": f"expected log calls that are {other}, found that they are {found}",
        "collectors": f"expected a collector that is {other}, found that it is {found}",
    }
    with pytest.raises(RuntimeError, match=words[part]):
        compiled.expect(other, part)


def test_each_part_has_a_form_of_its_own() -> None:
    """An interpreter says it of both, each in its line, and of both that they are in Python where that is asked for."""
    command = [sys.executable, "-m", "benchmarks.compiled"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, PURE_PYTHON: "1"}, capture_output=True, text=True)
    assert done.stdout == "producers: in Python\ncollectors: in Python\n"


def test_what_a_process_has_said_of_itself_is_held_against_its_row() -> None:
    """A collector that says nothing of a form is no logbus, and is none that the row may be of."""
    compiled.expect("in Python", "collectors", "in Python")
    compiled.expect("", "collectors", "")
    with pytest.raises(RuntimeError, match="a collector that is not logbus's, found that it is compiled"):
        compiled.expect("", "collectors", "compiled")
