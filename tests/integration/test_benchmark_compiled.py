"""The compiled part as benchmarks get it for an interpreter: built where it lacks, and never a broken one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compiled
from logbus.producers import compiled as loaded
from tests.forms import needs_compiled

HERE = Path(sys.executable)


class Builder:
    """Stands in for the compiler: puts ``made`` where setup.py is told to build, or fails with nothing made."""

    def __init__(self, made: bytes | None) -> None:
        self.made = made
        self.built = 0
        self._run = compiled._run

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs everything else."""
        if "setup.py" not in command:
            return self._run(command, **options)
        self.built += 1
        if self.made is not None:
            place = Path(command[command.index("--build-lib") + 1], "logbus", "producers")
            place.mkdir(parents=True)
            (place / Path(NATIVE_FILE).name).write_bytes(self.made)
        return subprocess.CompletedProcess(command, 0, "", "warning: command '/bin/false' failed\n")


def native_file() -> str:
    """Where this process's extension lies; an empty text where it has none."""
    from logbus.producers.compiled import NATIVE

    return "" if NATIVE is None else str(NATIVE.__file__)


NATIVE_FILE = native_file()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a build goes: not into the checkout, of whose sources no extension is now."""
    monkeypatch.setattr(compiled, "_PLACE", tmp_path)
    monkeypatch.setattr(loaded, "digest", lambda: "of other sources")
    return tmp_path


@needs_compiled
def test_what_is_of_these_sources_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of a benchmark asks, and almost none has to compile."""
    from logbus.producers.compiled import NATIVE

    builder = Builder(None)
    monkeypatch.setattr(loaded, "digest", lambda: NATIVE.SOURCES)
    monkeypatch.setattr(compiled, "_run", builder)
    assert (compiled.build(HERE), builder.built) == ("", 0)


@needs_compiled
def test_what_is_of_other_sources_is_built_and_put_in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies there whole, under the name that this interpreter looks for, and nothing else is left."""
    monkeypatch.setattr(compiled, "_run", Builder(Path(NATIVE_FILE).read_bytes()))
    assert compiled.build(HERE) == ""
    assert [path.name for path in place.iterdir()] == [Path(NATIVE_FILE).name]
    assert (place / Path(NATIVE_FILE).name).read_bytes() == Path(NATIVE_FILE).read_bytes()


@needs_compiled
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (None, "it could not be built: warning: command '/bin/false' failed"),
        (b"no extension", "it was built and can't be loaded: ImportError: "),
    ],
)
def test_a_build_that_fails_takes_nothing_away(
    made: bytes | None, reason: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler, or with one whose extension can't be loaded, what was there stays, and the reason is said."""
    before = place / Path(NATIVE_FILE).name
    before.write_text("what was there")
    monkeypatch.setattr(compiled, "_run", Builder(made))
    assert compiled.build(HERE).startswith(reason)
    assert [path.read_text() for path in place.iterdir()] == ["what was there"]


def test_whoever_runs_a_benchmark_is_told_what_is_in_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each interpreter that can't have it is named with its reason; one that is not there is nobody's concern."""
    monkeypatch.setattr(compiled, "build", lambda python: "there is no compiler")
    compiled.build_for((HERE, tmp_path / "none"))
    assert capsys.readouterr().err == f"{HERE}: log calls of logbus are measured in Python: there is no compiler\n"


def test_the_form_of_an_interpreter_is_what_it_loads(tmp_path: Path) -> None:
    """It is asked, and not guessed from a file; a process that wants another than it has is told so."""
    there = importlib.util.find_spec("logbus.producers._native") is not None
    assert compiled.form_of(HERE, tmp_path) == ("compiled" if there else "in Python")
    found = compiled.form()
    compiled.expect(found)
    other = "compiled" if found == "in Python" else "in Python"
    with pytest.raises(RuntimeError, match=f"expected log calls that are {other}, found that they are {found}"):
        compiled.expect(other)
