"""What ``make install`` ends with: both compiled parts are in use, or are built, or one line says why they are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from scripts import native
from tests.collector_command import ROOT

#: Under which name an extension lies in a checkout, and in which folders there is one.
NAME = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
FOLDERS = ("producers", "collectors")
#: Bytes that an extension must have for the loader to believe that it is whole, and that are not enough.
HALF = 16384
#: Seconds for a build and some processes.
PATIENCE = 100
needs_compiler = pytest.mark.skipif(native.missing() is not None, reason=f"Python only: {native.missing()}")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own, in which nothing is built."""
    for name in ("logbus", *FOLDERS, "native", "scripts"):
        skipped = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def said(checkout: Path, **changes: str) -> str:
    """What is said to somebody who has it installed there."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC")} | changes
    command = [sys.executable, "-m", "scripts.native"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


@needs_compiler
def test_what_could_be_built_is_built(checkout: Path) -> None:
    """A compiler that came after the installation is used by the next ``make``, and the one after finds all well.

    Half of an extension, whose load ends a process by a signal, is built anew.
    """
    assert said(checkout) == ""
    built = [checkout / folder / NAME for folder in FOLDERS]
    first = [path.stat() for path in built]
    assert said(checkout, LOGBUS_PURE_PYTHON="1", CC="/bin/false") == ""
    now = [path.stat() for path in built]
    assert [(one.st_ino, one.st_mtime_ns) for one in now] == [(one.st_ino, one.st_mtime_ns) for one in first]
    for path in built:
        os.truncate(path, HALF)
        assert said(checkout) == ""
        assert path.stat().st_size > HALF
        assert sorted(each.name for each in path.parent.glob("*_native*")) == sorted([NAME, "_native.pyi"])
    assert not (checkout / "build").exists()


@needs_compiler
def test_a_build_that_fails_is_told_of(checkout: Path) -> None:
    """One line names the command that says more, and nothing is left that was of other sources."""
    for folder in FOLDERS:
        (checkout / folder / NAME).write_text("of other sources")
    assert said(checkout, CC="/bin/false").startswith("a compiled part of logbus did not build: see ")
    assert [folder for folder in FOLDERS if (checkout / folder / NAME).exists()] == []


@pytest.mark.parametrize(
    ("compiler", "named"),
    [("/no/such -O", "(/no/such)"), (" ", "(' ')"), ("'gcc", '("\'gcc")')],
    ids="path blank open".split(),
)
def test_what_is_missing_is_named(compiler: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in ``CC``: it is no compiler, and that is what is said."""
    monkeypatch.setenv("CC", compiler)
    reason = native.missing()
    assert reason is not None
    assert reason.startswith("it is for ") or reason == f"there is no C compiler {named}"
