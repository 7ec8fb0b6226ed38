"""What users install: the wheel holds what the tree holds, and works beside an application's own package names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from scripts import native
from tests.collector_command import ROOT

#: Folders of the tree and the import names under which they are installed.
MAPPING = {"logbus": "logbus", "producers": "logbus/producers", "collectors": "logbus/collectors"}
#: What is copied for a build: what git has of the project, but for what no build looks at.
BUILT_FROM = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "native", *MAPPING)
#: What a wheel holds beside them: the compiled parts for this Python, where they can be built. Where the C of each is.
NAME = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
EXTENSIONS = {f"logbus/{folder}/{NAME}" for folder in ("producers", "collectors")}
C = {"producers": "native", "collectors": "native/collector"}
BUILDS = native.missing() is None
#: Seconds for any one of the commands; a build takes about three.
TIMEOUT = 100
#: Says what an installed logbus has, of a producer and of a collector: "compiled" or "python".
SAYS = """
from logbus.collectors.compiled import NATIVE as collector
from logbus.producers.compiled import NATIVE as producer
print(*("python" if each is None else "compiled" for each in (producer, collector)))
"""
#: Logs in a process that has its own collector, and says what came.
LOGS = """
import json
import logging
import logbus
from logbus.testing import MemoryCollector

with MemoryCollector() as collector:
    logbus.configure(endpoint=collector.endpoint, control=collector.control)
    for number in (1, 2):
        logging.getLogger("shop").warning("hello %d", number)
    print(json.dumps([record["message"] for record in collector.wait(2)]))
"""

#: An application that has always had packages of these names. It runs from its own folder.
APPLICATION = {
    "producers/__init__.py": "OWNER = 'application'\n",
    "collectors/__init__.py": "OWNER = 'application'\n",
    "main.py": """
import collectors, producers
import logbus, logbus.collectors, logbus.producers
assert producers.OWNER == collectors.OWNER == "application"
print(logbus.__file__)
print(logbus.producers.__file__)
print(logbus.collectors.__file__)
""",
}


def run(*command: str | Path, cwd: Path, **changes: str) -> str:
    """The output of a command that must succeed, in an environment that knows nothing of this checkout.

    ``changes`` add to that environment.
    """
    foreign = ("PYTHON", "COVERAGE_", "LOGBUS_", "PIP_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | changes
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_tree(to: Path, *, links: bool) -> Path:
    """The sources as git checks them out, or as a checkout or snapshot that lost its symbolic links."""
    to.mkdir()
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, to / name, symlinks=True, ignore=skipped)
        else:
            shutil.copy(source, to / name)
    if not links:
        for name in MAPPING:
            link = to / "logbus" / name
            if link.is_symlink():
                target = os.readlink(link)
                link.unlink()
                link.write_text(target)  # what git writes where it can't make links
    return to


def build(tree: Path, to: Path) -> tuple[Path, Path]:
    """The sdist of a tree and the wheel built from that sdist, with the build backend that is installed here."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, tree, cwd=tree.parent)
    (sdist,) = to.glob("*.tar.gz")
    (wheel,) = to.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel of this tree."""
    base = tmp_path_factory.mktemp("built")
    return build(copy_tree(base / "tree", links=True), base / "dist")


def sources() -> dict[str, bytes]:
    """Every module, stub and type marker of the tree by the path under which it must be installed."""
    found = {}
    for folder, installed in MAPPING.items():
        for directory, _, names in os.walk(ROOT / folder):  # doesn't follow the links
            for name in names:
                path = Path(directory, name)
                if path.suffix in (".py", ".pyi") or name == "py.typed":
                    inside = path.relative_to(ROOT / folder).as_posix()
                    found[f"{installed}/{inside}"] = path.read_bytes()
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs into site-packages, its metadata and the compiled parts aside."""
    with zipfile.ZipFile(wheel) as archive:
        kept = [name for name in archive.namelist() if ".dist-info/" not in name and name not in EXTENSIONS]
        return {name: archive.read(name) for name in kept}


def compiled(wheel: Path) -> bool:
    """Whether a wheel has the compiled parts for this Python: both, as it should be, or none."""
    with zipfile.ZipFile(wheel) as archive:
        found = EXTENSIONS.intersection(archive.namelist())
    assert found in (set(), EXTENSIONS)
    return bool(found)


def test_the_wheel_holds_what_the_tree_holds(built: tuple[Path, Path]) -> None:
    """Every module of the three folders is in the wheel, byte for byte under its import name, and nothing else is.

    But for the compiled parts: they are of this Python, and what others have built into the tree stays there.
    """
    expected = sources()
    found = contents(built[1])

    assert compiled(built[1]) is BUILDS
    assert sorted(found) == sorted(expected)
    assert [name for name, text in expected.items() if found[name] != text] == []
    assert "logbus/py.typed" in found


def test_the_sdist_mirrors_the_tree(built: tuple[Path, Path]) -> None:
    """An sdist has each source once, in its own folder, with the licence and what a build needs."""
    with tarfile.open(built[0]) as archive:
        names = [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()]
    code = sorted(str(name) for name in names if name.suffix == ".py" and name.parts[0] in MAPPING)
    tree = {folder: os.walk(ROOT / folder) for folder in MAPPING}
    expected = sorted(
        Path(directory, name).relative_to(ROOT).as_posix()
        for walk in tree.values()
        for directory, _, files in walk
        for name in files
        if name.endswith(".py")
    )

    assert code == expected
    assert {PurePosixPath(name) for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py")} <= set(names)
    assert sorted(str(name) for name in names if name.parts[:1] == ("native",) and name.suffix) == sorted(
        path.relative_to(ROOT).as_posix() for path in (ROOT / "native").rglob("*") if path.is_file()
    )
    assert [str(name) for name in names if name.suffix == ".so"] == []


def test_a_tree_without_its_links_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The mapping in pyproject.toml alone is enough: zip snapshots and systems without links build the same."""
    _, wheel = build(copy_tree(tmp_path / "tree", links=False), tmp_path / "dist")

    assert contents(wheel) == contents(built[1])
    assert compiled(wheel) is BUILDS


def install(wheel: Path, venv: Path) -> Path:
    """A new venv with a wheel in it. Dependencies come from this one by path, so that nothing is downloaded.

    A path added by a ``.pth`` file doesn't have its own ``.pth`` files read: the editable logbus here stays unseen.
    """
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=venv.parent,
    )
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    ours = run(sys.executable, "-c", code, cwd=venv.parent).strip()
    theirs = Path(run(python, "-c", code, cwd=venv.parent).strip())
    (theirs / "dependencies.pth").write_text(ours + "\n")
    return venv


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new venv with the wheel in it."""
    return install(built[1], tmp_path_factory.mktemp("installed") / "venv")


def logged(python: Path, directory: Path) -> list[str]:
    """The messages that came to a collector of the logbus that this Python has installed."""
    said = run(python, "-W", "error", "-c", LOGS, cwd=directory, LOGBUS_RUNTIME_DIR=str(directory / "runtime"))
    messages: list[str] = json.loads(said)
    return messages


def test_the_compiled_parts_are_installed(installed: Path, tmp_path: Path) -> None:
    """The wheel that was built from the sdist brings both, for this Python alone, and they load."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    tags = next(installed.glob("lib/*/site-packages/logbus-*.dist-info/WHEEL")).read_text()

    assert run(installed / "bin" / "python", "-c", SAYS, cwd=tmp_path).strip() == "compiled compiled"
    assert logged(installed / "bin" / "python", tmp_path) == ["hello 1", "hello 2"]
    assert "Root-Is-Purelib: false" in tags


def test_it_installs_where_no_compiler_works(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The sdist builds and installs all the same, says so in a line for each part, and a handler sends records."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, "--log", tmp_path / "log")
    run(sys.executable, "-m", "pip", "wheel", *options, built[0], cwd=tmp_path, CC="/bin/false")
    (wheel,) = tmp_path.glob("*.whl")
    python = install(wheel, tmp_path / "venv") / "bin" / "python"

    assert contents(wheel) == contents(built[1])
    assert not compiled(wheel)
    assert (tmp_path / "log").read_text().count("installed without the compiled part of its ") == (2 if BUILDS else 0)
    assert run(python, "-c", SAYS, cwd=tmp_path).strip() == "python python"
    assert logged(python, tmp_path) == ["hello 1", "hello 2"]


def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    """The C is free of everything that this compiler would warn of."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    tree = copy_tree(tmp_path / "tree", links=True)
    said = run(sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "built", cwd=tree, CFLAGS="-Werror")

    assert said == ""
    assert [name for name in EXTENSIONS if not (tree / "built" / name).exists()] == []


def test_a_build_takes_over_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    """What an interrupted build has left in build/ is newer than the sources, and half of one ends processes."""
    if reason := native.missing():
        pytest.skip(f"Python only: {reason}")
    tree = copy_tree(tmp_path / "tree", links=True)
    for name in EXTENSIONS:
        (tree / "built" / name).parent.mkdir(parents=True)
        (tree / "built" / name).write_bytes(b"half of one")
    run(sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "built", cwd=tree)

    assert {(tree / "built" / name).read_bytes()[:4] for name in EXTENSIONS} == {b"\x7fELF"}


@pytest.mark.parametrize("broken", C)
def test_a_build_that_fails_leaves_no_earlier_one(broken: str, tmp_path: Path) -> None:
    """An extension of older sources would do something else than the Python beside it: it goes, and Python is left.

    The other part is built all the same.
    """
    tree = copy_tree(tmp_path / "tree", links=True)
    for folder in C:
        (tree / folder / NAME).write_bytes(b"of older sources")
    with (tree / C[broken] / "module.c").open("a") as source:
        source.write("this is no C\n")
    run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tree)
    left = {folder: (tree / folder / NAME).read_bytes()[:4] for folder in C if (tree / folder / NAME).exists()}

    assert left == {folder: b"\x7fELF" for folder in C if BUILDS and folder != broken}


def test_it_lives_beside_an_application_with_packages_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    """An application's own ``producers`` and ``collectors`` stay its own; ours are found under logbus, installed."""
    for name, text in APPLICATION.items():
        path = tmp_path / "application" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = run(installed / "bin" / "python", "main.py", cwd=tmp_path / "application").splitlines()

    assert len(found) == 3
    assert [path for path in found if not path.startswith(f"{installed}/")] == []


def test_every_module_can_be_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """No module needs what only the checkout has."""
    names = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in sources()
        if name.endswith(".py") and not name.endswith("__main__.py")
    )
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"

    run(installed / "bin" / "python", "-W", "error", "-c", program, *names, cwd=tmp_path)


def test_the_command_is_installed(installed: Path, tmp_path: Path) -> None:
    """``logbus --version`` and ``python -m logbus --version`` are one program and say the version of the wheel."""
    code = "import importlib.metadata; print(importlib.metadata.version('logbus'))"
    version = run(installed / "bin" / "python", "-c", code, cwd=tmp_path).strip()
    script = run(installed / "bin" / "logbus", "--version", cwd=tmp_path)
    module = run(installed / "bin" / "python", "-m", "logbus", "--version", cwd=tmp_path)

    assert version in script
    assert script == module
