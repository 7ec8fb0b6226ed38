"""What users install: the wheel holds what the tree holds, and works beside an application's own package names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.collector_command import ROOT

#: Folders of the tree and the import names under which they are installed.
MAPPING = {"logbus": "logbus", "producers": "logbus/producers", "collectors": "logbus/collectors"}
#: What is copied for a build: what git has of the project, but for what no build looks at.
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", *MAPPING)
#: Seconds for any one of the commands; a build takes about three.
TIMEOUT = 100

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


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed, in an environment that knows nothing of this checkout."""
    foreign = ("PYTHON", "COVERAGE_", "LOGBUS_", "PIP_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
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
    """Every module and type marker of the tree by the path under which it must be installed."""
    found = {}
    for folder, installed in MAPPING.items():
        for directory, _, names in os.walk(ROOT / folder):  # doesn't follow the links
            for name in names:
                path = Path(directory, name)
                if path.suffix == ".py" or name == "py.typed":
                    inside = path.relative_to(ROOT / folder).as_posix()
                    found[f"{installed}/{inside}"] = path.read_bytes()
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs into site-packages, its metadata aside."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_what_the_tree_holds(built: tuple[Path, Path]) -> None:
    """Every module of the three folders is in the wheel, byte for byte under its import name, and nothing else is."""
    expected = sources()
    found = contents(built[1])

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
    assert {PurePosixPath(name) for name in ("LICENSE", "README.md", "pyproject.toml")} <= set(names)


def test_a_tree_without_its_links_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The mapping in pyproject.toml alone is enough: zip snapshots and systems without links build the same."""
    _, wheel = build(copy_tree(tmp_path / "tree", links=False), tmp_path / "dist")

    assert contents(wheel) == contents(built[1])


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new venv with the wheel in it. Dependencies come from this one by path, so that nothing is downloaded.

    A path added by a ``.pth`` file doesn't have its own ``.pth`` files read: the editable logbus here stays unseen.
    """
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", built[1]),
        cwd=venv.parent,
    )
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    ours = run(sys.executable, "-c", code, cwd=venv.parent).strip()
    theirs = Path(run(python, "-c", code, cwd=venv.parent).strip())
    (theirs / "dependencies.pth").write_text(ours + "\n")
    return venv


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
