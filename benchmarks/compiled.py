"""Which form of logbus is measured, compiled or in Python; and the compiled form, built where it lacks.

There are two parts that are compiled: of a producer, which are its log calls, and of a collector, through which records
go to lines of JSON. A row says which form it is of, so each process that is measured looks at what it has loaded
(:func:`expect`): a run that is not of the form that its row names has no figure. ``python -m benchmarks.compiled``
prints the forms that an interpreter has here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, get_args

from benchmarks.service import PURE_PYTHON, ROOT, answer

#: By the extension ``_native`` of a part, or by the Python that stands beside it.
Form = Literal["compiled", "in Python"]
#: Whose: the package of logbus, and the folder, in which the extension is.
Part = Literal["producers", "collectors"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)

#: What has the form of a part, and how one speaks of it.
_WHAT: Final[dict[Part, tuple[str, str, str]]] = {
    "producers": ("log calls", "are", "they"),
    "collectors": ("a collector", "is", "it"),
}
#: Where the extensions go, each into the folder of its part.
_PLACE: Final = ROOT
#: Seconds for a compiler.
_TIMEOUT_S: Final = 300.0
#: What an interpreter is asked: how its extensions are called, whether it has a GIL, and of which C each extension is.
_ASK: Final = """
import sys, sysconfig
from importlib import import_module
print(sysconfig.get_config_var("EXT_SUFFIX"), int(not sysconfig.get_config_var("Py_GIL_DISABLED")))
for part in sys.argv[1:]:
    print(getattr(import_module(f"logbus.{part}.compiled").NATIVE, "SOURCES", None))
"""
#: Loads an extension from where it was built: one that can't be loaded is not put in its place.
_LOAD: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location(sys.argv[1], sys.argv[2])
spec.loader.exec_module(module_from_spec(spec))
"""


def form(part: Part = "producers") -> Form:
    """That of a part in this process."""
    return "in Python" if _loaded(part).NATIVE is None else "compiled"


def expect(wanted: str, part: Part = "producers", found: str | None = None) -> None:
    """Raises RuntimeError when a part has not that form in this process.

    ``found`` is what another process has said of itself; an empty text, as in ``wanted``: what has the part is no
    logbus.
    """
    if found is None:
        found = form(part)
    if found != wanted:
        what, are, they = _WHAT[part]
        words = [one or "not logbus's" for one in (wanted, found)]
        raise RuntimeError(
            f"expected {what} that {are} {words[0]}, found that {they} {are} {words[1]}: the run is void"
        )


def form_of(python: Path, directory: Path, part: Part = "producers") -> Form:
    """That of a worker or a collector which this interpreter runs from this checkout. Raises RuntimeError when it can't
    be run.
    """
    said = dict(line.split(": ") for line in answer(python, "benchmarks.compiled", directory).splitlines())
    return "compiled" if said[part] == "compiled" else "in Python"


def build(python: Path) -> dict[Part, str]:
    """Builds the extensions for an interpreter, where one is missing or of other sources, and puts them in place.

    Returns why parts can't be had, each in a sentence. Whoever loads one meanwhile gets the one before or this one.
    Raises RuntimeError when the interpreter can't be run.
    """
    asked = _run([str(python), "-c", _ASK, *PARTS])
    if asked.returncode:
        raise RuntimeError(f"{python} can't load logbus: {asked.stderr}")
    suffix, has_gil, *sources = asked.stdout.split()
    if has_gil == "0":
        return dict.fromkeys(PARTS, "this Python has no GIL, and the compiled part needs it")
    lacking = [part for part, found in zip(PARTS, sources, strict=True) if found != _loaded(part).digest()]
    if not lacking:
        return {}
    with tempfile.TemporaryDirectory(prefix="native-") as name:
        command = [str(python), "setup.py", "-q", "build_ext", "--build-lib", f"{name}/lib", "--build-temp", name]
        built = _run(command, path=_tools(Path(name, "tools")))
        found = {
            part: _put(python, part, Path(name, "lib/logbus", part, f"_native{suffix}"), built) for part in lacking
        }
    return {part: reason for part, reason in found.items() if reason}


def build_for(pythons: Iterable[Path]) -> None:
    """The same for those of these interpreters that are here; says on stderr what can't be had for whom, and why."""
    for python in pythons:
        for part, reason in (build(python) if python.exists() else {}).items():
            what, are, _ = _WHAT[part]
            print(f"{python}: {what} of logbus {are} measured in Python: {reason}", file=sys.stderr)


def _loaded(part: Part) -> Any:
    """The module that loads a part, and says what it found."""
    return importlib.import_module(f"logbus.{part}.compiled")


def _put(python: Path, part: Part, made: Path, built: subprocess.CompletedProcess[str]) -> str:
    """Puts what was built in its place; or says why it isn't there, or is of no use."""
    if built.returncode or not made.exists():
        return f"it could not be built: {_last(built.stderr)}"
    loaded = _run([str(python), "-c", _LOAD, f"logbus.{part}._native", str(made)])
    if loaded.returncode:
        return f"it was built and can't be loaded: {_last(loaded.stderr)}"
    place = _PLACE / part / made.name
    beside = place.with_name(f"{place.stem}.{os.getpid()}.so")
    beside.write_bytes(made.read_bytes())
    beside.replace(place)
    return ""


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
    sys.stdout.writelines(f"{part}: {form(part)}\n" for part in PARTS)
