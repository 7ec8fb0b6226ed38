"""Where the compiled part of a producer is used, and where the Python beside it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgpack._cmsgpack
import pytest

from logbus.counters import Counters, Meta
from logbus.producers import compiled
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
    return forms_in(ROOT, program, **environment)


def forms_in(checkout: Path, program: str, **environment: str) -> list[str]:
    """The same of another checkout."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=checkout, env=child_environment(**environment), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture(autouse=True)
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said about it in the environment, whatever these tests run with."""
    monkeypatch.delenv("LOGBUS_PURE_PYTHON", raising=False)
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):  # its tracer is the main interpreter's, too
        monkeypatch.delenv(name, raising=False)


def test_it_is_there_wherever_it_can_be_built() -> None:
    """With a compiler and Python's headers the extension is built and loads, and it is of the C that is here."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    program = "from logbus.producers.compiled import NATIVE; print(NATIVE and NATIVE.SOURCES)"

    found = forms(program)

    assert found == [compiled.digest()], f"make install builds it; {native.why()} says why it fails"


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
@pytest.mark.parametrize(
    ("change", "form"), [("none", "compiled"), ("other C", "python"), ("one more file", "python"), ("no C", "compiled")]
)
def test_one_of_other_c_is_not_used(change: str, form: str, tmp_path: Path) -> None:
    """A checkout whose C has changed since the build is Python until the next; an installation has no C beside it."""
    for name in ("logbus", "producers", "native"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    if change == "other C":
        with (tmp_path / "native" / "module.c").open("a") as source:
            source.write("\n")
    elif change == "one more file":
        (tmp_path / "native" / "more.h").write_text("/* one more */")
    elif change == "no C":
        shutil.rmtree(tmp_path / "native")
    where = "import logbus; print(logbus.__file__)"

    assert forms_in(tmp_path, f"{SAYS}\n{where}") == [form, str(tmp_path / "logbus" / "__init__.py")]


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


@needs_compiled
def test_a_buffer_that_never_began_takes_nothing() -> None:
    """One that was made without its arguments says so, where it would have to count."""
    buffer = NATIVE.Buffer.__new__(NATIVE.Buffer)

    with pytest.raises(RuntimeError, match="never began"):
        buffer.put(1.0, ("logger", 20, "INFO", "module", "function", 1), "main", "m", None, None, None, 100)
    assert len(buffer.take(1, 1)) == 0


@needs_compiled
def test_a_row_that_is_no_bytes_is_refused() -> None:
    """A row of any other type, remembered or made, is a TypeError, and the batch can be packed all the same."""
    site = ("logger", 20, "INFO", "module", "function", 1)
    buffer = NATIVE.Buffer(1, 1000, "drop_newest", Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1)))
    buffer.put(1.0, site, "main", "m", None, None, None, 100)
    batch = buffer.take(1, 1)

    def pack(sites: object, row: object) -> list[tuple[bytes, int, int, int, list[int]]]:
        found: list[tuple[bytes, int, int, int, list[int]]] = NATIVE.pack(
            batch, b"", sites, lambda _: row, {}, lambda _: b"", None, b"", b"", 1000
        )
        return found

    for sites, row in (({site: "text"}, b""), ({site: None}, b""), ({}, bytearray())):
        with pytest.raises(TypeError, match="a row is bytes"):
            pack(sites, row)
    assert [records for _, records, *_ in pack({}, b"")] == [1]


@needs_compiled
def test_python_reads_records_of_a_kind_that_it_was_not_made_for() -> None:
    """Where LogRecord lacks an attribute before logbus is loaded, handlers are in Python, and take its records."""
    program = """
import logging
class Odd(logging.LogRecord):
    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        del self.stack_info
logging.LogRecord = Odd
from logbus.producers.handler import LogbusHandler
from logbus.producers.take import Taker
print(LogbusHandler.handle is Taker.handle)
"""
    assert forms(program) == ["True"]
