"""Where the compiled parts of a producer and of a collector are used, and where the Python beside each is."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgpack._cmsgpack
import pytest

from logbus.collectors import compiled as collector
from logbus.counters import Counters, Meta
from logbus.producers import compiled as producer
from logbus.producers.compiled import NATIVE
from scripts import native
from tests.collector_command import ROOT, child_environment
from tests.forms import needs_compiled, needs_lines

#: Seconds that a process may take which imports little.
PATIENCE = 60.0
#: Both parts, by the packages that have them; and tests of each.
PARTS = {"producers": producer, "collectors": collector}
each = pytest.mark.parametrize("part", PARTS)
each_built = pytest.mark.parametrize(
    "part", [pytest.param("producers", marks=needs_compiled), pytest.param("collectors", marks=needs_lines)]
)
#: Says what a process has of one: "compiled" or "python".
SAYS = """
import os
from logbus.PART.compiled import NATIVE
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


def says(part: str) -> str:
    """A program that says what a process has of a part."""
    return SAYS.replace("PART", part)


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


@each
def test_it_is_there_wherever_it_can_be_built(part: str) -> None:
    """With a compiler and Python's headers the extension is built and loads, and it is of the C that is here."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    program = f"from logbus.{part}.compiled import NATIVE; print(NATIVE and NATIVE.SOURCES)"

    found = forms(program)

    assert found == [PARTS[part].digest()], f"make install builds it; {native.why()} says why it fails"


@each_built
@pytest.mark.parametrize("value", [None, "", "0"])
def test_it_is_used_unless_the_environment_says_otherwise(part: str, value: str | None) -> None:
    """``LOGBUS_PURE_PYTHON`` unset, empty or 0 leaves the compiled part in use."""
    assert forms(says(part), **({} if value is None else {"LOGBUS_PURE_PYTHON": value})) == ["compiled"]


@each
@pytest.mark.parametrize("value", ["1", "yes", "00"])
def test_the_environment_turns_it_off(part: str, value: str) -> None:
    """``LOGBUS_PURE_PYTHON`` with any other text has the Python do everything, and the extension isn't even loaded."""
    program = f"{says(part)}\nimport sys; assert 'logbus.{part}._native' not in sys.modules"

    assert forms(program, LOGBUS_PURE_PYTHON=value) == ["python"]


@each
@pytest.mark.parametrize("broken", ["garbage", "empty", "another's"])
def test_python_stands_in_for_a_broken_one(part: str, broken: str, tmp_path: Path) -> None:
    """An extension that can't be loaded (cut off, of another machine, no module of this name) stops nobody."""
    extension = tmp_path / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    if broken == "another's":
        shutil.copy(msgpack._cmsgpack.__file__, extension)
    else:
        extension.write_bytes(b"" if broken == "empty" else b"\x7fELF and so on")
    first = f"import logbus.{part}; logbus.{part}.__path__.insert(0, {str(tmp_path)!r})\n"
    wrong = f"\nfrom logbus.{part}.compiled import WRONG; assert WRONG"

    assert forms(first + says(part) + wrong) == ["python"]


@each_built
@pytest.mark.parametrize(
    ("change", "form"),
    [
        ("none", "compiled"),
        ("other C", "python"),
        ("other C of the other", "compiled"),
        ("one more file", "python"),
        ("no C", "compiled"),
    ],
)
def test_one_of_other_c_is_not_used(part: str, change: str, form: str, tmp_path: Path) -> None:
    """A checkout whose C has changed since the build is Python until the next; an installation has no C beside it."""
    for name in ("logbus", "producers", "collectors", "native"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (other,) = PARTS.keys() - {part}
    place = tmp_path / PARTS[other if change == "other C of the other" else part].FOLDER
    if change.startswith("other C"):
        with (place / "module.c").open("a") as source:
            source.write("\n")
    elif change == "one more file":
        (place / "more.h").write_text("/* one more */")
    elif change == "no C":
        shutil.rmtree(place)
    where = "import logbus; print(logbus.__file__)"

    assert forms_in(tmp_path, f"{says(part)}\n{where}") == [form, str(tmp_path / "logbus" / "__init__.py")]


@each_built
def test_c_of_others_beside_an_installation_is_not_ours(part: str, tmp_path: Path) -> None:
    """An installation uses what it came with, whatever else is installed beside it and has a folder of that name."""
    shutil.copytree(ROOT / "logbus", tmp_path / "logbus", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / PARTS[part].FOLDER).mkdir(parents=True)
    (tmp_path / PARTS[part].FOLDER / "theirs.c").write_text("/* no C of ours */")
    where = f"import logbus.{part}; print(logbus.{part}.__file__)"

    assert forms_in(tmp_path, f"{says(part)}\n{where}") == ["compiled", str(tmp_path / "logbus" / part / "__init__.py")]


@each_built
@pytest.mark.parametrize("earlier", [False, True])
def test_it_serves_the_main_interpreter_only(part: str, earlier: bool) -> None:
    """Other interpreters of a process use the Python, whether or not the main one has loaded the extension before."""
    program = says(part)
    found = forms(f"{program if earlier else ''}\nSAYS = {program!r}\n{OTHERS}\n{program}")

    assert found == [*["compiled"] * earlier, "python", "python", "compiled"]


@each_built
def test_a_process_loads_it_once(part: str) -> None:
    """The module that ``compiled`` has is the one that an import finds."""
    assert importlib.import_module(f"logbus.{part}._native") is PARTS[part].NATIVE


def test_a_worker_never_loads_the_collectors() -> None:
    """Whichever of the public names it uses: all that a worker has of a package for collectors is its name."""
    program = """
import logging, os, sys
import logbus
for name in logbus.__all__:
    getattr(logbus, name)
logbus.configure(fast_loggers=True)
logging.getLogger("shop").warning("sold %d", 7)
own = sorted(name for name in sys.modules if name.startswith("logbus.producers.compiled"))
os.write(1, " ".join([*own, *(name for name in sys.modules if name.startswith("logbus.collectors"))]).encode())
os._exit(0)  # there is no collector to wait for
"""
    assert forms(program) == ["logbus.producers.compiled"]


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
