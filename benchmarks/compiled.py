"""Which form of logbus's log calls is measured, compiled or in Python; and the compiled form, built where it lacks.

A row says which form it is of, so each process that is measured looks at what it has loaded (:func:`expect`): a run
that is not of the form that its row names has no figure. ``python -m benchmarks.compiled`` prints the form that an
interpreter has here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from benchmarks.service import PURE_PYTHON, ROOT, answer

#: Log calls by the extension ``logbus.producers._native``, or by the Python that stands beside it.
Form = Literal["compiled", "in Python"]

#: Where the extension goes.
_PLACE: Final = ROOT / "producers"
#: Seconds for a compiler.
_TIMEOUT_S: Final = 300.0
#: What an interpreter is asked: how its extensions are called, whether it has a GIL, and of which C its extension is.
_ASK: Final = """
import sysconfig
from logbus.producers.compiled import NATIVE
print(sysconfig.get_config_var("EXT_SUFFIX"), int(not sysconfig.get_config_var("Py_GIL_DISABLED")))
print(getattr(NATIVE, "SOURCES", None))
"""
#: Loads an extension from where it was built: one that can't be loaded is not put in its place.
_LOAD: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("logbus.producers._native", sys.argv[1])
spec.loader.exec_module(module_from_spec(spec))
"""


def form() -> Form:
    """That of this process."""
    from logbus.producers.compiled import NATIVE

    return "in Python" if NATIVE is None else "compiled"


def expect(wanted: str) -> None:
    """Raises RuntimeError when this process has not that form."""
    if (found := form()) != wanted:
        raise RuntimeError(f"expected log calls that are {wanted}, found that they are {found}: the run is void")


def form_of(python: Path, directory: Path) -> Form:
    """That of a worker which this interpreter runs from this checkout. Raises RuntimeError when it can't be run."""
    return "compiled" if answer(python, "benchmarks.compiled", directory).strip() == "compiled" else "in Python"


def build(python: Path) -> str:
    """Builds the extension for an interpreter, where it is missing or of other sources, and puts it in place.

    Returns why it can't be had, in a sentence; nothing where it is there. Whoever loads it meanwhile gets the one
    before or this one. Raises RuntimeError when the interpreter can't be run.
    """
    from logbus.producers.compiled import digest

    asked = _run([str(python), "-c", _ASK])
    if asked.returncode:
        raise RuntimeError(f"{python} can't load logbus: {asked.stderr}")
    suffix, has_gil, sources = asked.stdout.split()
    place = _PLACE / f"_native{suffix}"
    if has_gil == "0":
        return "this Python has no GIL, and the compiled part needs it"
    if sources == digest():
        return ""
    with tempfile.TemporaryDirectory(prefix="native-") as name:
        made = Path(name, "lib", "logbus", "producers", place.name)
        command = [str(python), "setup.py", "-q", "build_ext", "--build-lib", f"{name}/lib", "--build-temp", name]
        built = _run(command, path=_tools(Path(name, "tools")))
        if built.returncode or not made.exists():
            return f"it could not be built: {_last(built.stderr)}"
        loaded = _run([str(python), "-c", _LOAD, str(made)])
        if loaded.returncode:
            return f"it was built and can't be loaded: {_last(loaded.stderr)}"
        beside = place.with_name(f"{place.stem}.{os.getpid()}.so")
        beside.write_bytes(made.read_bytes())
        beside.replace(place)
    return ""


def build_for(pythons: Iterable[Path]) -> None:
    """The same for those of these interpreters that are here; says on stderr for whom it can't be had, and why."""
    for python in pythons:
        if python.exists() and (reason := build(python)):
            print(f"{python}: log calls of logbus are measured in Python: {reason}", file=sys.stderr)


def _tools(directory: Path) -> str:
    """A directory with this interpreter's setuptools alone: the peers' venvs have an old one, or from 3.12 on none."""
    found = importlib.util.find_spec("setuptools")
    if found is None or found.origin is None:
        return ""
    directory.mkdir()
    package = Path(found.origin).parent
    for path in (package, *package.parent.glob("setuptools-*.dist-info"), package.parent / "_distutils_hack"):
        (directory / path.name).symlink_to(path)
    return str(directory)


def _run(command: list[str], path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, PURE_PYTHON: ""},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else "nothing was said"


if __name__ == "__main__":
    sys.stdout.write(f"{form()}\n")
