"""The call at an import: when it is whole, once for each, whoever imports it and however; nothing is disturbed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from logbus.producers import imports
from logbus.producers.imports import when_imported

TILL = """
class Till:
    def sell(self):
        return 'sold'

SEEN = __spec__.loader
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``lb_shop`` with modules ``till`` and ``cellar.wine`` on the path, and no trace of it afterwards."""
    package = tmp_path / "lb_shop"
    (package / "cellar").mkdir(parents=True)
    (package / "__init__.py").write_text("NAME = 'shop'\n")
    (package / "till.py").write_text(TILL)
    (package / "cellar" / "__init__.py").write_text("from lb_shop.cellar import wine\n")
    (package / "cellar" / "wine.py").write_text("YEAR = 1982\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before, finders = set(sys.modules), list(sys.meta_path)
    yield package
    for name in set(sys.modules) - before:
        if name.startswith("lb_"):
            del sys.modules[name]
    imports._WISHES.clear()
    sys.meta_path[:] = finders
    importlib.invalidate_caches()


@pytest.fixture
def called() -> list[ModuleType]:
    """The modules that a call was made with."""
    return []


@pytest.mark.parametrize(
    "statement",
    [
        "import lb_shop.till",
        "from lb_shop.till import Till",
        "from lb_shop import till",
        "import importlib; importlib.import_module('lb_shop.till')",
        "import importlib; importlib.import_module('.till', 'lb_shop')",
        "__import__('lb_shop.till')",
    ],
)
def test_it_is_called_however_the_module_is_imported(called: list[ModuleType], statement: str) -> None:
    """Every form of import counts, the second one no more."""
    when_imported("lb_shop.till", called.append)
    assert called == []
    exec(statement, {})
    exec(statement, {})
    assert called == [sys.modules["lb_shop.till"]]


def test_it_is_called_at_once_where_the_module_is_loaded(called: list[ModuleType]) -> None:
    """An integration may come after the program that it serves."""
    module = importlib.import_module("lb_shop.till")
    when_imported("lb_shop.till", called.append)
    assert called == [module]


def test_nobody_sees_the_module_before(shop: Path) -> None:
    """What the call changes is there for the statement that imports: a class is instrumented before its first use."""

    def wrap(module: ModuleType) -> None:
        module.Till.sell = lambda self: "instrumented"

    when_imported("lb_shop.till", wrap)
    from lb_shop.till import Till  # type: ignore[import-not-found]

    assert Till().sell() == "instrumented"


def test_the_module_is_whole_when_it_is_called(called: list[ModuleType]) -> None:
    """Its last line has run."""
    whole: list[bool] = []
    when_imported("lb_shop.till", lambda module: whole.append(hasattr(module, "SEEN")))
    importlib.import_module("lb_shop.till")
    assert whole == [True]


def test_packages_and_modules_within_them(called: list[ModuleType]) -> None:
    """A package that imports its own module is whole later than the module."""
    for name in ("lb_shop.cellar", "lb_shop.cellar.wine"):
        when_imported(name, called.append)
    importlib.import_module("lb_shop.cellar")
    assert [module.__name__ for module in called] == ["lb_shop.cellar.wine", "lb_shop.cellar"]


def test_several_calls_are_made_in_their_order(called: list[ModuleType]) -> None:
    """The second does not depend on the first."""
    order: list[str] = []

    def fail(module: ModuleType) -> None:
        order.append("first")
        raise ValueError("no such class")

    when_imported("lb_shop.till", fail)
    when_imported("lb_shop.till", lambda module: order.append("second"))
    with pytest.warns(RuntimeWarning, match=r"lb_shop\.till is imported, but is not instrumented: ValueError: no such"):
        importlib.import_module("lb_shop.till")
    assert order == ["first", "second"]


def test_where_warnings_are_errors_the_import_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The program that is instrumented never pays for a mistake of ours; it is told on stderr."""
    when_imported("lb_shop.till", lambda module: 1 / 0)
    importlib.import_module("lb_shop.till")
    assert "lb_shop.till is imported, but is not instrumented: ZeroDivisionError" in capsys.readouterr().err


def test_a_cancelled_one_is_not_called(called: list[ModuleType]) -> None:
    """Cancelling twice is no error, and with the last one the finder goes."""
    other: list[ModuleType] = []
    cancel = when_imported("lb_shop.till", called.append)
    last = when_imported("lb_shop.till", other.append)
    cancel()
    cancel()
    importlib.import_module("lb_shop.till")
    assert (called, len(other)) == ([], 1)
    last()
    assert not any(type(finder) is imports._Finder for finder in sys.meta_path)


def test_a_failed_import_is_none(shop: Path, called: list[ModuleType]) -> None:
    """The next try, which succeeds, is one."""
    (shop / "till.py").write_text("raise OSError('not now')\n")
    when_imported("lb_shop.till", called.append)
    with pytest.raises(OSError, match="not now"):
        importlib.import_module("lb_shop.till")
    assert called == []
    (shop / "till.py").write_text("OPEN = True  # and longer than before\n")
    importlib.invalidate_caches()
    module = importlib.import_module("lb_shop.till")
    assert called == [module]


def test_a_module_that_does_not_exist_is_not_found() -> None:
    """The error is that of every missing module."""
    when_imported("lb_shop.nothing", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'lb_shop\.nothing'"):
        importlib.import_module("lb_shop.nothing")


def test_a_module_that_is_loaded_anew_is_another_one(called: list[ModuleType]) -> None:
    """After a reload, and after it was thrown away, its classes are new."""
    when_imported("lb_shop.till", called.append)
    module = importlib.import_module("lb_shop.till")
    importlib.reload(module)
    assert called == [module, module]
    del sys.modules["lb_shop.till"]
    again = importlib.import_module("lb_shop.till")
    assert called == [module, module, again]
    assert again is not module


def test_one_that_was_loaded_before_is_noticed_when_it_is_reloaded(called: list[ModuleType]) -> None:
    """The call at once was not the last."""
    module = importlib.import_module("lb_shop.till")
    when_imported("lb_shop.till", called.append)
    importlib.reload(module)
    assert called == [module, module]


def test_threads_that_import_at_once_make_one_call(shop: Path, called: list[ModuleType]) -> None:
    """And those that ask for it while another thread imports wait for its end."""
    (shop / "till.py").write_text("import time\ntime.sleep(0.05)\nDONE = True\n")
    start = threading.Barrier(9)
    late: list[bool] = []

    def work() -> None:
        start.wait()
        importlib.import_module("lb_shop.till")

    def ask() -> None:
        start.wait()
        when_imported("lb_shop.till", lambda module: late.append(hasattr(module, "DONE")))

    when_imported("lb_shop.till", called.append)
    threads = [threading.Thread(target=work) for _ in range(5)] + [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    start.wait()
    for thread in threads:
        thread.join()
    assert (len(called), late) == (1, [True] * 3)


def test_a_module_that_replaces_itself(shop: Path, called: list[ModuleType]) -> None:
    """The call gets what everybody gets who imports it."""
    (shop / "lazy.py").write_text("import sys, types\nsys.modules[__name__] = types.SimpleNamespace(real=True)\n")
    when_imported("lb_shop.lazy", called.append)
    module = importlib.import_module("lb_shop.lazy")
    assert called == [module]
    assert module.real


def test_a_namespace_package(shop: Path, called: list[ModuleType]) -> None:
    """A folder without a file: it is what it would be without us."""
    (shop.parent / "lb_space").mkdir()
    (shop.parent / "lb_space" / "one.py").write_text("")
    plain = importlib.import_module("lb_space")
    expected = (plain.__name__, plain.__file__, list(plain.__path__), type(plain.__loader__))
    del sys.modules["lb_space"]
    when_imported("lb_space", called.append)
    module = importlib.import_module("lb_space")
    assert called == [module]
    assert module.__spec__ is not None
    assert type(module.__spec__.loader) is type(plain.__loader__)
    assert (module.__name__, module.__file__, list(module.__path__), type(module.__loader__)) == expected
    importlib.import_module("lb_space.one")


def test_a_module_in_an_archive(shop: Path, called: list[ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loader serves all modules of the archive: those that nobody waits for make no call."""
    with zipfile.ZipFile(shop.parent / "archive.zip", "w") as archive:
        archive.writestr("lb_zipped.py", "VALUE = 1\n")
        archive.writestr("lb_other.py", "VALUE = 2\n")
    monkeypatch.syspath_prepend(str(shop.parent / "archive.zip"))
    when_imported("lb_zipped", called.append)
    module = importlib.import_module("lb_zipped")
    importlib.import_module("lb_other")
    assert called == [module]
    assert inspect.getsource(module) == "VALUE = 1\n"


def test_builtin_and_compiled_modules(called: list[ModuleType]) -> None:
    """Whatever loads it."""
    for name in ("_queue", "_lsprof", "_xxtestfuzz", "xxsubtype"):
        if importlib.util.find_spec(name) is not None and name not in sys.modules:
            when_imported(name, called.append)
            module = importlib.import_module(name)
            assert called.pop() is module
            del sys.modules[name]


def test_what_looks_for_the_module_finds_what_it_would(shop: Path, called: list[ModuleType]) -> None:
    """``find_spec`` makes no call, and the spec's loader does and is what the real one does and is."""
    without = importlib.util.find_spec("lb_shop.till")
    when_imported("lb_shop.till", called.append)
    found = importlib.util.find_spec("lb_shop.till")
    assert isinstance(without, ModuleSpec)
    assert isinstance(found, ModuleSpec)
    assert isinstance(without.loader, SourceFileLoader)
    loader = found.loader
    assert isinstance(loader, SourceFileLoader)
    assert found == without
    assert (found.origin, found.cached, found.has_location) == (without.origin, without.cached, without.has_location)
    assert loader.get_source("lb_shop.till") == without.loader.get_source("lb_shop.till")
    assert loader.get_data(str(shop / "till.py")) == (shop / "till.py").read_bytes()
    assert loader.is_package("lb_shop.till") is False
    assert type(pickle.loads(pickle.dumps(loader))) is SourceFileLoader
    assert hash(loader) == hash(without.loader)
    assert called == []


def test_the_module_has_its_real_loader(called: list[ModuleType]) -> None:
    """From its first line on; source and files are found as ever."""
    when_imported("lb_shop.till", called.append)
    module = importlib.import_module("lb_shop.till")
    assert module.__spec__ is not None
    assert type(module.SEEN) is type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader
    assert "class Till" in inspect.getsource(module)
    assert inspect.getsource(module.Till).startswith("class Till")


def test_a_spec_that_is_run_by_hand_counts(called: list[ModuleType]) -> None:
    """``module_from_spec`` and ``exec_module``, as plug-in loaders do it, and the lazy loader at its first use."""
    when_imported("lb_shop.till", called.append)
    spec = importlib.util.find_spec("lb_shop.till")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert called == [module]

    spec = importlib.util.find_spec("lb_shop.cellar.wine")
    when_imported("lb_shop.cellar.wine", called.append)
    del sys.modules["lb_shop.cellar.wine"]
    called.clear()
    spec = importlib.util.find_spec("lb_shop.cellar.wine")
    assert spec is not None
    assert spec.loader is not None
    lazy = importlib.util.LazyLoader(spec.loader)
    spec.loader = lazy
    module = importlib.util.module_from_spec(spec)
    sys.modules["lb_shop.cellar.wine"] = module
    lazy.exec_module(module)
    assert called == []
    assert module.YEAR == 1982
    assert called == [module]


def test_finders_of_others_that_ask_again_make_one_call(called: list[ModuleType]) -> None:
    """Other instrumentation has a finder like ours, which asks the whole path again: before us and behind us."""

    class Other:
        busy = False

        def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            if self.busy or not name.startswith("lb_shop"):
                return None
            self.busy = True
            try:
                return importlib.util.find_spec(name)
            finally:
                self.busy = False

    sys.meta_path.insert(0, Other())
    when_imported("lb_shop.till", called.append)
    sys.meta_path.insert(0, Other())
    module = importlib.import_module("lb_shop.till")
    assert called == [module]


def test_a_module_under_way_in_this_thread_counts_as_loaded(shop: Path) -> None:
    """Asked for in the middle of its own import: nobody waits for himself."""
    (shop / "self.py").write_text(
        "from logbus.producers.imports import when_imported\nFOUND = []\nwhen_imported(__name__, FOUND.append)\n"
    )
    module = importlib.import_module("lb_shop.self")
    (found,) = module.FOUND
    assert found is module


def test_a_module_that_is_barred_is_not_loaded(called: list[ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """``sys.modules[name] = None`` is how an import is forbidden."""
    monkeypatch.setitem(sys.modules, "lb_barred", None)
    when_imported("lb_barred", called.append)
    assert called == []
