"""Where the compiled part of a producer is used, and where the Python beside it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgpack._cmsgpack
import pytest

from logbus.producers.compiled import NATIVE
from scripts import native
from tests.collector_command import ROOT, child_environment
from tests.forms import needs_compiled

#: Seconds that a process may take which imports little.
PATIENCE = 60.0
#: Says what a process has: "compiled" or "python".
SAYS = """
import os
from logbus.producers.compiled import NATIVE
os.write(1, b"python\\n" if NATIVE is None else b"compiled\\n")
"""
#: Runs a text in an interpreter of the same process: one that shares the GIL with the main one, and one that doesn't.
OTHERS = """
try:
    import _interpreters as interpreters
    others = [interpreters.create("legacy"), interpreters.create("isolated")]
except ImportError:
    import _xxsubinterpreters as interpreters
    others = [interpreters.create(isolated=False), interpreters.create(isolated=True)]
for other in others:
    assert interpreters.run_string(other, SAYS) is None
    interpreters.destroy(other)
"""


def forms(program: str, **environment: str) -> list[str]:
    """What a program in a process of its own says."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(**environment), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture(autouse=True)
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said about it in the environment, whatever these tests run with."""
    monkeypatch.delenv("LOGBUS_PURE_PYTHON", raising=False)


def test_it_is_there_wherever_it_can_be_built() -> None:
    """With a compiler and Python's headers the extension is built and loads, and it is of the C that is here."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    program = "from logbus.producers.compiled import NATIVE; print(NATIVE and NATIVE.SOURCES)"

    found = forms(program)

    assert found == [native.digest()], f"make install builds it; {native.why()} says why it fails"


@needs_compiled
@pytest.mark.parametrize("value", [None, "", "0"])
def test_it_is_used_unless_the_environment_says_otherwise(value: str | None) -> None:
    """``LOGBUS_PURE_PYTHON`` unset, empty or 0 leaves the compiled part in use."""
    assert forms(SAYS, **({} if value is None else {"LOGBUS_PURE_PYTHON": value})) == ["compiled"]


@pytest.mark.parametrize("value", ["1", "yes", "00"])
def test_the_environment_turns_it_off(value: str) -> None:
    """``LOGBUS_PURE_PYTHON`` with any other text has the Python do everything, and the extension isn't even loaded."""
    program = f"{SAYS}\nimport sys; assert 'logbus.producers._native' not in sys.modules"

    assert forms(program, LOGBUS_PURE_PYTHON=value) == ["python"]


@pytest.mark.parametrize("broken", ["garbage", "empty", "another's"])
def test_python_stands_in_for_a_broken_one(broken: str, tmp_path: Path) -> None:
    """An extension that can't be loaded (cut off, of another machine, no module of this name) stops nobody."""
    extension = tmp_path / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    if broken == "another's":
        shutil.copy(msgpack._cmsgpack.__file__, extension)
    else:
        extension.write_bytes(b"" if broken == "empty" else b"\x7fELF and so on")
    first = f"import logbus.producers; logbus.producers.__path__.insert(0, {str(tmp_path)!r})\n"

    assert forms(first + SAYS) == ["python"]


@needs_compiled
@pytest.mark.parametrize("earlier", ["", SAYS])
def test_it_serves_the_main_interpreter_only(earlier: str) -> None:
    """Other interpreters of a process use the Python, whether or not the main one has loaded the extension before."""
    found = forms(f"{earlier}\nSAYS = {SAYS!r}\n{OTHERS}\n{SAYS}")

    assert found == [*["compiled"] * bool(earlier), "python", "python", "compiled"]


@needs_compiled
def test_a_process_loads_it_once() -> None:
    """The module that :mod:`logbus.producers.compiled` has is the one that an import finds."""
    from logbus.producers import _native

    assert _native is NATIVE
