"""The module globals that are loguru's logger: which are found, when, and how they are given back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import loguru
import pytest

from logbus.producers.calls import Way
from logbus.producers.direct import Direct
from logbus.producers.places import Places
from logbus.rules import Table
from tests.kept import Kept

Make = Callable[..., Any]


@pytest.fixture
def module() -> Iterator[Make]:
    """Makes modules with these globals, gone afterwards."""
    made: list[str] = []

    def make(name: str, kind: type = ModuleType, **values: Any) -> Any:
        found = kind(name)
        vars(found).update(values)
        sys.modules[name] = found
        made.append(name)
        return found

    yield make
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def places() -> Iterator[Places]:
    """The places of loguru's logger, given back afterwards."""
    found = Places(loguru.logger)
    yield found
    found.give_back()


def way() -> Way:
    """A way to a producer without rules."""
    return Way(Kept().producer, Table(), 20)


def is_direct(found: Any) -> bool:
    """Whether this stands in the place of loguru's logger."""
    return type(found) is Direct


def test_every_global_that_is_the_logger_is_found(module: Make, places: Places) -> None:
    """By identity and under any name; what only resembles it, or holds it, is left alone."""
    bound = loguru.logger.bind(a=1)
    held = SimpleNamespace(logger=loguru.logger)
    shop = module("shop", logger=loguru.logger, log=loguru.logger, bound=bound, held=held)
    places.take(way())
    assert is_direct(shop.logger)
    assert shop.log is shop.logger
    assert shop.bound is bound
    assert not is_direct(held.logger)
    assert "shop" in set(places.names())
    assert not is_direct(sys.modules["loguru"].logger)


def test_new_modules_are_found_by_the_next_look(module: Make, places: Places) -> None:
    """One that is new, one that took the place of another, and the script, which is running still."""
    script = module("__mp_main__", logger=None)
    module("shop.old")
    places.take(way())
    del sys.modules["shop.old"]
    replaced = module("shop.new", logger=loguru.logger)
    script.logger = loguru.logger
    places.take(way())
    assert is_direct(replaced.logger)
    assert is_direct(script.logger)


def test_a_module_that_is_being_imported_is_looked_at_again(module: Make, places: Places) -> None:
    """Its logger may come with its next line."""
    spec = SimpleNamespace(_initializing=True)
    shop = module("shop", __spec__=spec)
    places.take(way())
    shop.logger = loguru.logger
    spec._initializing = False
    places.take(way())
    assert is_direct(shop.logger)


def test_a_module_that_runs_again_has_ours_again(module: Make, places: Places) -> None:
    """A reload imports loguru's logger into the same globals."""
    shop = module("shop", logger=loguru.logger)
    places.take(way())
    ours = shop.logger
    shop.logger = loguru.logger
    places.take(way())
    assert shop.logger is ours


def test_what_the_application_put_there_stays(module: Make, places: Places) -> None:
    """A global that is something else by now is neither replaced nor given back."""
    shop = module("shop", logger=loguru.logger, log=loguru.logger)
    places.take(way())
    shop.logger = "theirs"
    places.take(way())
    assert shop.logger == "theirs"
    places.give_back()
    assert shop.logger == "theirs"
    assert not is_direct(shop.log)


def test_an_imported_one_of_ours_is_given_back_too(module: Make, places: Places) -> None:
    """Whoever imported it from a module that we had been in has loguru's own in the end."""
    shop = module("shop", logger=loguru.logger)
    places.take(way())
    late = module("late", logger=shop.logger)
    places.give_back()
    assert not is_direct(shop.logger)
    assert not is_direct(late.logger)
    assert late.logger is shop.logger


def test_what_has_not_changed_costs_no_look_into_it(
    module: Make, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a thousand modules only those are gone through anew that are new, as long as the way is the same."""
    followed: list[str] = []
    follow = Direct.follow

    def note(self: Direct, to: Way) -> None:
        name = self.__dict__["_namespace"]["__name__"]
        if name in ("shop", "late"):  # and not the modules of the tests themselves
            followed.append(name)
        follow(self, to)

    monkeypatch.setattr(Direct, "follow", note)
    module("shop", logger=loguru.logger)
    first = way()
    places.take(first)
    module("late", logger=loguru.logger)
    places.take(first)
    assert followed == ["shop", "late"]
    monkeypatch.setitem(vars(loguru.logger), "info", print)
    places.take(first)
    assert followed == ["shop", "late", "shop", "late"]
    places.take(way())
    assert len(followed) == 6
    places.give_back()


def test_modules_are_read_without_running_their_code(module: Make, places: Places) -> None:
    """Lazy ones stay lazy, and what is no module, has no name or lies about itself does no harm."""

    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"read {name}")

    class Liar:
        __class__: Any = ModuleType

    class Spec:
        @property
        def _initializing(self) -> bool:
            raise OSError

    sys.modules["lazy"] = Lazy("lazy")
    sys.modules["liar"] = Liar()  # type: ignore[assignment]
    sys.modules["gone"] = None  # type: ignore[assignment]
    try:
        odd = module("odd", logger=loguru.logger, __spec__=Spec())
        nameless = module("nameless", logger=loguru.logger, __name__=None)
        places.take(way())
        assert is_direct(odd.logger)
        assert not is_direct(nameless.logger)
    finally:
        for name in ("lazy", "liar", "gone"):
            del sys.modules[name]
