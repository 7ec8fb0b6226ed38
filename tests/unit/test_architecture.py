"""The rules of the house that a program can check: import direction, light producers, file names and docstrings."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import subprocess
import symtable
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collector_command import ROOT, child_environment

#: Low to high. A module imports from strictly lower layers; inside the two packages from their own as well.
#: `logbus` itself is the facade: it names what lies above it, lazily, and nothing below the top imports it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("logbus.errors",),
    ("logbus.levels",),
    ("logbus.traceparent",),
    ("logbus.rules",),
    ("logbus.durations",),
    ("logbus.sizes",),
    ("logbus.compiled",),
    ("logbus.record",),
    ("logbus.wire",),
    ("logbus.control",),
    ("logbus.os_threads",),
    ("logbus.counters",),
    ("logbus.folded",),
    ("logbus.bus",),
    ("logbus.producers", "logbus.collectors"),
    ("logbus",),
    ("logbus.testing", "logbus.integrations"),
    ("logbus.cli",),
    ("logbus.__main__",),
)
#: Packages whose modules import one another; a cycle inside one is a failure all the same.
PACKAGES = ("logbus.producers", "logbus.collectors", "logbus.cli", "logbus.integrations")
#: What a worker never loads: it doubles the start of every process that logs.
HEAVY = frozenset({"pydantic", "pydantic_settings", "click", "tenacity", "msgspec", "rich", "re2"})
#: Names that say nothing about what is inside.
EMPTY_NAMES = frozenset({"util", "utils", "common", "helper", "helpers", "manager", "misc", "tools", "base_utils"})
#: Lines of a file, beyond which it holds more than one thing.
MAX_LINES = 500


@dataclass(frozen=True)
class Import:
    """One module named by an import statement; ``on_load`` if it runs when the importing module is imported."""

    target: str
    line: int
    on_load: bool


def code_files() -> dict[str, Path]:
    """Every file of the package by its import name, read from the three folders and not through the links."""
    found = {}
    for folder, name in (("logbus", "logbus"), ("producers", "logbus.producers"), ("collectors", "logbus.collectors")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            # pathlib follows links on some versions; what is behind one is listed under its own folder.
            if folder == "logbus" and inside.parts[0] in ("producers", "collectors"):
                continue
            parts = [name, *inside.with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def c_files() -> list[Path]:
    """Every file of the compiled parts."""
    return sorted((ROOT / "native").rglob("*.[ch]"))


def files_of_tests() -> list[Path]:
    """Every file that holds tests."""
    return sorted((ROOT / "tests").rglob("test_*.py"))


def imports_of(source: str, modules: frozenset[str]) -> list[Import]:
    """Every import in a module's source but those under ``if TYPE_CHECKING``.

    ``from logbus.bus import Endpoint`` names ``logbus.bus``, and ``from logbus import bus`` does too, given that
    ``modules`` has it.
    """
    return list(_walk(ast.parse(source), modules, on_load=True))


def _walk(node: ast.AST, modules: frozenset[str], *, on_load: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, on_load)
    elif isinstance(node, ast.ImportFrom):
        assert node.module is not None, "relative imports are banned by ruff (TID252)"
        for alias in node.names:
            longer = f"{node.module}.{alias.name}"
            # The version is bound as soon as the facade is there, and that is there before any module below it.
            whole = longer in modules or longer == "logbus.__version__"
            yield Import(longer if whole else node.module, node.lineno, on_load)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from _walk(statement, modules, on_load=on_load)
    else:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, modules, on_load=on_load and not inside)


def layer_of(module: str) -> int | None:
    """The index of a module's layer: that of the longest name in LAYERS that covers it; None without a place."""
    if "." not in module:
        return next((rank for rank, layer in enumerate(LAYERS) if module in layer), None)
    for rank, layer in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in layer if name != "logbus"):
            return rank
    return None


def upward(module: str, imports: list[Import]) -> list[str]:
    """One line for each import that runs against the layers."""
    mine = layer_of(module)
    if mine is None:
        return [f"{module} has no place in LAYERS"]
    package = next((name for name in PACKAGES if module == name or module.startswith(f"{name}.")), None)
    wrong = []
    for found in imports:
        if found.target.split(".")[0] != "logbus" or found.target == "logbus.__version__":
            continue
        inside = package is not None and (found.target == package or found.target.startswith(f"{package}."))
        # The facade names what is above it inside functions only: that is what makes it lazy.
        lazy = module == "logbus" and not found.on_load
        theirs = layer_of(found.target)
        if not inside and not lazy and (theirs is None or theirs >= mine):
            wrong.append(f"{module}:{found.line} imports {found.target}")
    return wrong


def first_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """The modules of one import cycle, or None."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return None


MODULES = code_files()
IMPORTS = {name: imports_of(path.read_text(), frozenset(MODULES)) for name, path in MODULES.items()}


def test_imports_run_one_way() -> None:
    """The core knows nobody, producers and collectors don't know each other, and only the top knows the commands."""
    assert [line for module, imports in IMPORTS.items() for line in upward(module, imports)] == []


def test_no_cycle_at_import_time() -> None:
    """Module by module, what loads when a module is imported never leads back to it."""
    graph = {
        module: {found.target for found in imports if found.on_load and found.target in MODULES}
        for module, imports in IMPORTS.items()
    }

    assert first_cycle(graph) is None


def test_producers_and_core_import_nothing_heavy() -> None:
    """Neither at import time nor later does a worker load what only the collector and the commands need."""
    light = {name: found for name, found in IMPORTS.items() if (layer_of(name) or 0) <= (layer_of("logbus") or 0)}
    heavy = [
        f"{module}:{found.line} imports {found.target}"
        for module, imports in light.items()
        if not module.startswith("logbus.collectors")
        for found in imports
        if found.target.split(".")[0] in HEAVY
    ]

    assert heavy == []


def _served(module: str) -> set[str]:
    """The program that a module of logbus.integrations is for, which is there when it is used, and what comes along."""
    parts = module.split(".")
    if parts[:2] != ["logbus", "integrations"] or len(parts) < 3:
        return set()
    program = parts[2].partition("_")[0]
    return {"django", "asgiref"} if program == "django" else {program}


def test_dependencies_are_what_is_imported() -> None:
    """pyproject.toml lists every package that ours import, but for the optional ones, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    foreign = {
        found.target.split(".")[0]
        for module, imports in IMPORTS.items()
        for found in imports
        if found.target.split(".")[0] not in _served(module)
    }
    # The standard library's from 3.14 on.
    foreign -= {"logbus", "compression", *sys.stdlib_module_names, *project["optional-dependencies"]}

    assert {{"zmq": "pyzmq", "re2": "google-re2"}.get(name, name.replace("_", "-")) for name in foreign} == listed


def test_importing_logbus_loads_nothing_heavy(unmeasured: None, tmp_path: Path) -> None:
    """A worker that imports logbus and touches its public names has none of the heavy packages in memory."""
    program = (
        "import sys, logbus\n"
        "for name in getattr(logbus, '__all__', ()): getattr(logbus, name)\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=child_environment(), capture_output=True, text=True
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("name", ["logbus", "logbus.producers", "logbus.collectors"])
def test_public_names_exist(name: str) -> None:
    """``__all__`` of each package is sorted into what can really be imported from it, each name once."""
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", []))

    assert [missing for missing in names if not hasattr(module, missing)] == []
    assert len(names) == len(set(names))
    assert set(names) <= set(dir(module))


def test_the_facade_gives_type_checkers_what_it_promises() -> None:
    """What ``logbus.__all__`` promises is bound in its file, if only for type checkers; nothing public is left out."""
    facade = importlib.import_module("logbus")
    promised = set(getattr(facade, "__all__", ()))
    table = symtable.symtable(MODULES["logbus"].read_text(), "logbus", "exec")
    bound = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    ours = {
        name
        for name, value in vars(facade).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).startswith("logbus")
    }

    assert promised - bound == set()
    assert ours - promised == set()


def test_every_folder_is_a_package() -> None:
    """Each folder with modules has an ``__init__.py``: a namespace package is left out of wheels and type checks."""
    folders = {path.parent for path in MODULES.values()}

    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_files_are_named_for_what_they_hold_and_stay_short() -> None:
    """No file is named for nothing in particular, and none is longer than one reads at a sitting."""
    empty = [str(path) for path in MODULES.values() if path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES]
    long = {
        str(path): lines
        for path in [*MODULES.values(), *files_of_tests(), *c_files()]
        if (lines := path.read_text().count("\n")) > MAX_LINES
    }

    assert empty == []
    assert long == {}


def test_every_module_says_its_place() -> None:
    """Every module has a docstring, and every file in C begins with a comment."""
    assert [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))] == []
    assert [path.name for path in c_files() if not path.read_text().startswith("/* ")] == []


@pytest.mark.parametrize("package", ["logbus.producers", "logbus.collectors"])
def test_a_compiled_part_is_asked_for_in_one_place(package: str) -> None:
    """Whether it is there and wanted is decided once: every other module takes what ``compiled`` has."""
    name = f"{package}._native"
    asking = {
        module
        for module, path in MODULES.items()
        if name in {found.target for found in imports_of(path.read_text(), frozenset({*MODULES, name}))}
        or name in {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    }

    assert asking == {f"{package}.compiled"}


def test_every_test_says_what_it_proves() -> None:
    """Every test function has a docstring that ends as a sentence does."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in files_of_tests()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not (ast.get_docstring(node) or "").rstrip().endswith((".", "!", "?", "``", ")"))
    ]

    assert silent == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("logbus.errors", "from logbus.bus import Endpoint", ["logbus.errors:1 imports logbus.bus"]),
        ("logbus.bus", "def f():\n    import logbus.cli", ["logbus.bus:2 imports logbus.cli"]),
        (
            "logbus.producers.buffer",
            "from logbus.collectors import ledger",
            ["logbus.producers.buffer:1 imports logbus.collectors.ledger"],
        ),
        ("logbus.producers.buffer", "import logbus", ["logbus.producers.buffer:1 imports logbus"]),
        ("logbus", "from logbus.cli import main", ["logbus:1 imports logbus.cli"]),
        ("logbus.bus", "from logbus import __version__", []),
        ("logbus.novelty", "", ["logbus.novelty has no place in LAYERS"]),
        ("logbus.producers.buffer", "from logbus.producers import sender\nfrom logbus import wire", []),
        ("logbus.cli", "from logbus.collectors.ledger import Ledger\nimport logbus.producers.buffer", []),
        ("logbus.bus", "if TYPE_CHECKING:\n    from logbus.cli import main", []),
        ("logbus", "def __getattr__(name):\n    from logbus.producers import handler", []),
    ],
)
def test_the_direction_check_can_fail(module: str, source: str, wrong: list[str]) -> None:
    """Planted violations are found, and what is allowed is let through."""
    modules = frozenset({"logbus.collectors.ledger", "logbus.producers.sender", "logbus.wire"})

    assert upward(module, imports_of(source, modules)) == wrong


def test_the_cycle_check_can_fail() -> None:
    """A planted cycle is found."""
    assert first_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
