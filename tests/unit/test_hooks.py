"""Hooks: what is wrapped, what is refused and why, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from logbus.integrations import hooks
from logbus.integrations.hooks import Hook


class Base:
    """A class with an attribute that its subclass inherits."""

    def inherited(self, word: str) -> str:
        """Says a word."""
        return f"inherited {word}"


class Shop(Base):
    """What is hooked in these tests; made anew for each."""

    def sell(self, what: str, many: int = 1) -> str:
        """Sells something."""
        return f"{many} {what}"

    async def send(self, what: str) -> str:
        """Sends something."""
        return what

    def ship(self, *, what: str) -> str:
        """Sends something that has to be named."""
        return what

    @staticmethod
    def price(what: str) -> int:
        """What it costs."""
        return len(what)

    @classmethod
    def found(cls, where: str) -> str:
        """Says where."""
        return f"{cls.__name__} in {where}"

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return True


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with a class and a function, which only this test has; nothing of ours may be left in it."""
    town: Any = ModuleType("town")
    town.Shop = type("Shop", (Base,), dict(vars(Shop)))
    town.walk = lambda far: f"walked {far}"
    monkeypatch.setitem(sys.modules, "town", town)
    before, whole = dict(vars(town.Shop)), dict(vars(town))
    shop = town.Shop
    yield town
    assert hooks._LAYERS == []
    assert dict(vars(shop)) == before
    assert dict(vars(town)) == whole


def louder(original: Callable[..., Any]) -> Callable[..., Any]:
    """A replacement that shouts."""

    def loud(*args: Any, **kwargs: Any) -> Any:
        return f"{original(*args, **kwargs)}!"

    return loud


def louder_async(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a coroutine function."""

    async def loud(*args: Any, **kwargs: Any) -> Any:
        return f"{await original(*args, **kwargs)}!"

    return loud


def test_a_method_is_wrapped_and_given_back(town: Any) -> None:
    """Instances made before see the replacement, which looks like the original, and later the original itself."""
    shop, original = town.Shop(), town.Shop.sell
    hook = Hook("sell", "town:Shop.sell", louder, parameters=("self", "what"))
    assert hook.apply()
    assert (hook.applied, hook.problem) == (True, None)
    assert shop.sell("egg", many=2) == "2 egg!"
    assert inspect.signature(town.Shop.sell) == inspect.signature(original)
    assert town.Shop.sell.__doc__ == "Sells something."
    hook.revert()
    assert not hook.applied
    assert town.Shop.sell is original


def test_apply_and_revert_are_idempotent(town: Any) -> None:
    """Applied twice the target is wrapped once, and reverted twice it is what it was."""
    hook = Hook("sell", "town:Shop.sell", louder)
    hook.revert()
    assert hook.apply()
    assert hook.apply()
    assert town.Shop().sell("egg") == "1 egg!"
    hook.revert()
    hook.revert()
    assert town.Shop().sell("egg") == "1 egg"
    assert hook.apply()
    assert town.Shop().sell("egg") == "1 egg!"
    hook.revert()


def test_a_coroutine_function_stays_one(town: Any) -> None:
    """What is awaited is the replacement, and ``inspect`` still sees a coroutine function."""
    hook = Hook("send", "town:Shop.send", louder_async, asynchronous=True)
    assert hook.apply()
    assert inspect.iscoroutinefunction(town.Shop.send)
    assert asyncio.run(town.Shop().send("egg")) == "egg!"
    hook.revert()
    assert asyncio.run(town.Shop().send("egg")) == "egg"


def test_an_inherited_attribute_is_deleted_again(town: Any) -> None:
    """A class that only inherits the attribute has none of its own afterwards, and the base is never touched."""
    hook = Hook("inherited", "town:Shop.inherited", louder)
    assert hook.apply()
    assert town.Shop().inherited("word") == "inherited word!"
    assert Base().inherited("word") == "inherited word"
    hook.revert()
    assert "inherited" not in vars(town.Shop)


@pytest.mark.parametrize(
    ("name", "argument", "loud", "quiet"),
    [("price", "egg", "3!", 3), ("found", "town", "Shop in town!", "Shop in town")],
)
def test_static_and_class_methods_stay_what_they_are(
    name: str, argument: str, loud: str, quiet: object, town: Any
) -> None:
    """The maker gets the function inside, and the class a method of the same kind."""
    kind = type(vars(town.Shop)[name])
    hook = Hook(name, f"town:Shop.{name}", louder)
    assert hook.apply()
    assert type(vars(town.Shop)[name]) is kind
    assert getattr(town.Shop, name)(argument) == getattr(town.Shop(), name)(argument) == loud
    hook.revert()
    assert getattr(town.Shop(), name)(argument) == quiet


def test_a_function_of_a_module_is_wrapped(town: Any) -> None:
    """The target may be a module's own function."""
    hook = Hook("walk", "town:walk", louder)
    assert hook.apply()
    assert town.walk("far") == "walked far!"
    hook.revert()
    assert town.walk("far") == "walked far"


def test_a_descriptor_replaces_a_descriptor(town: Any) -> None:
    """What is no function is put in place as it is."""
    hook = Hook("open", "town:Shop.open", lambda original: property(lambda self: not original.fget(self)))
    assert hook.apply()
    assert town.Shop().open is False
    hook.revert()
    assert town.Shop().open is True


def test_a_descriptor_stands_before_what_instances_have(town: Any) -> None:
    """An absent attribute gets a data descriptor, and an instance's own value is there again without it."""
    shop = town.Shop()
    shop.sign = "open"
    hook = Hook("sign", "town:Shop.sign", lambda _: property(lambda self: vars(self)["sign"].upper()), absent=True)
    assert hook.apply()
    assert shop.sign == "OPEN"
    hook.revert()
    assert shop.sign == "open"


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        ("village:Shop.sell", {}, "village is not loaded"),
        ("town:Mill.sell", {}, "expected a class Mill in town, found nothing"),
        ("town:walk.sell", {}, "expected a class walk in town, found a function"),
        ("town:Shop.rent", {}, "expected it to exist, found nothing"),
        ("town:Shop.sell", {"absent": True}, "expected no attribute sell in the class, found a function"),
        ("town:Shop.sell", {"asynchronous": True}, "expected a coroutine function, found none"),
        ("town:Shop.send", {}, "expected no coroutine function, found a coroutine function"),
        ("town:Shop.sell", {"parameters": ("self", "where")}, "expected (self, where, …), found (self, what, many)"),
        (
            "town:Shop.sell",
            {"parameters": ("self", "what", "many", "now")},
            "expected (self, what, many, now, …), found (self, what, many)",
        ),
        ("town:Shop.ship", {"parameters": ("self", "what")}, "expected (self, what, …), found (self, *, what)"),
        ("town:Shop.open", {"parameters": ("self",)}, "expected a function, found a property"),
    ],
)
def test_what_does_not_fit_is_not_hooked(target: str, options: dict[str, Any], problem: str, town: Any) -> None:
    """A target that is missing or another than expected stays as it is, and the problem says what was found."""
    hook = Hook("misfit", target, louder, **options)
    assert hook.apply() is False
    assert (hook.applied, hook.problem) == (False, problem)
    hook.revert()


def test_a_maker_that_fails_changes_nothing(town: Any) -> None:
    """Whatever a maker raises is the problem, and the target stays as it is; so does a class that allows no change."""

    def broken(original: object) -> None:
        raise ZeroDivisionError("made nothing")

    hook = Hook("broken", "town:Shop.sell", broken)
    assert not hook.apply()
    assert hook.problem == "ZeroDivisionError: made nothing"
    fixed = Hook("fixed", "builtins:int.bit_length", louder)
    assert not fixed.apply()
    assert str(fixed.problem).startswith("TypeError: ")


def test_a_problem_is_forgotten_once_it_is_mended(town: Any) -> None:
    """A hook that could not be applied can be later."""
    hook = Hook("rent", "town:Shop.rent", louder)
    assert not hook.apply()
    town.Shop.rent = lambda self: "rent"
    assert hook.apply()
    assert hook.problem is None
    assert town.Shop().rent() == "rent!"
    hook.revert()
    del town.Shop.rent


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_hooks_on_one_target_go_in_any_order(order: tuple[int, int], town: Any) -> None:
    """Each is out of force as soon as it is reverted, and with the last one the class is what it was."""
    twice = [Hook("first", "town:Shop.sell", louder), Hook("second", "town:Shop.sell", louder)]
    assert [hook.apply() for hook in twice] == [True, True]
    assert town.Shop().sell("egg") == "1 egg!!"
    twice[order[0]].revert()
    assert town.Shop().sell("egg") == "1 egg!"
    twice[order[1]].revert()
    assert town.Shop().sell("egg") == "1 egg"


def test_a_foreign_wrapper_on_top_stays_and_ours_does_nothing(town: Any) -> None:
    """Reverted below somebody else's wrapper, the hook is out of force there, and gone when they have taken it off."""
    shop, original = town.Shop(), vars(town.Shop)["sell"]
    hook = Hook("sell", "town:Shop.sell", louder)
    assert hook.apply()
    ours = town.Shop.sell

    @functools.wraps(ours)
    def foreign(self: Any, *args: Any) -> str:
        return f"({ours(self, *args)})"

    town.Shop.sell = foreign
    assert shop.sell("egg") == "(1 egg!)"
    hook.revert()
    assert vars(town.Shop)["sell"] is foreign
    assert shop.sell("egg") == "(1 egg)"
    assert hook.apply()  # on top of it
    assert shop.sell("egg") == "(1 egg)!"
    hook.revert()
    town.Shop.sell = ours
    hook.revert()
    assert vars(town.Shop)["sell"] is original


def test_a_bare_replacement_stands_without_the_switch(town: Any) -> None:
    """It is what the class holds, and asks its layer itself whether it is in force, below a foreign wrapper too."""
    made: list[Any] = []

    def bare(original: Any, layer: Any) -> Any:
        @functools.wraps(original)
        def loud(*args: Any) -> str:
            return f"{original(*args)}!" if layer.live else original(*args)

        made.append(loud)
        return loud

    hook = Hook("sell", "town:Shop.sell", bare, bare=True)
    assert hook.apply()
    ours = vars(town.Shop)["sell"]
    assert ours is made[0]
    town.Shop.sell = lambda *args: f"({ours(*args)})"
    assert town.Shop().sell("egg") == "(1 egg!)"
    hook.revert()
    assert town.Shop().sell("egg") == "(1 egg)"
    town.Shop.sell = ours
    hook.revert()
    assert town.Shop().sell("egg") == "1 egg"


def test_a_coroutine_that_runs_as_its_hook_is_reverted_ends_as_it_began(town: Any) -> None:
    """A call under way is not disturbed, and the next one is the original's."""
    hook = Hook("send", "town:Shop.send", louder_async, asynchronous=True)

    async def late() -> tuple[str, str]:
        hook.apply()
        bound = town.Shop().send
        running = asyncio.ensure_future(bound("egg"))
        await asyncio.sleep(0)
        hook.revert()
        return await running, await bound("ham")

    assert asyncio.run(late()) == ("egg!", "ham")


def test_a_module_that_is_loaded_anew_is_hooked_anew(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of the module that is there now is wrapped, and the one of before is given back."""
    hook = Hook("sell", "town:Shop.sell", louder)
    assert hook.apply()
    again: Any = ModuleType("town")
    again.Shop = type("Shop", (), {"sell": lambda self, what: f"new {what}"})
    monkeypatch.setitem(sys.modules, "town", again)
    assert hook.apply()
    assert again.Shop().sell("egg") == "new egg!"
    assert town.Shop().sell("egg") == "1 egg"
    hook.revert()
    assert again.Shop().sell("egg") == "new egg"


def test_threads_apply_and_revert_at_once(town: Any) -> None:
    """Whatever the order in which threads come, calls work meanwhile and the class is whole in the end."""
    several = [Hook(f"sell-{number}", "town:Shop.sell", louder) for number in range(4)]
    wrong: list[str] = []

    def work(hook: Hook) -> None:
        for _ in range(50):
            hook.apply()
            if not (said := town.Shop().sell("egg")).startswith("1 egg!"):
                wrong.append(said)
            hook.revert()

    threads = [threading.Thread(target=work, args=(hook,)) for hook in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_hook_tells_its_state() -> None:
    """Its repr says what it is on, and why it is not."""
    hook = Hook("sell", "nowhere:Shop.sell", louder, True, gives="sales")
    assert (hook.module, hook.private, hook.gives) == ("nowhere", True, "sales")
    assert repr(hook) == "<Hook sell on nowhere:Shop.sell, not applied>"
    hook.apply()
    assert repr(hook) == "<Hook sell on nowhere:Shop.sell, not applied: nowhere is not loaded>"


@pytest.mark.parametrize("bare", [False, True])
def test_a_wrapper_of_others_below_takes_what_it_takes(town: Any, bare: bool) -> None:
    """One that hands everything on says nothing of parameters, and is hooked; what lies below is called as before."""
    sell = town.Shop.sell

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return f"theirs {sell(*args, **kwargs)}"

    town.Shop.sell = theirs
    make = (lambda original, layer: louder(original)) if bare else louder
    hook = Hook("sell", "town:Shop.sell", make, parameters=("self", "what"), bare=bare)
    assert hook.apply(), hook.problem
    assert town.Shop().sell("tea", many=2) == "theirs 2 tea!"
    hook.revert()
    assert town.Shop.sell is theirs
    town.Shop.sell = sell


class Bound:
    """A wrapper of others that is no function: bound to an object it knows which."""

    def __init__(self, function: Any, whose: Any = None) -> None:
        self.__wrapped__, self.whose = function, whose

    def __get__(self, whose: Any, owner: Any = None) -> Any:
        return self if whose is None else type(self)(self.__wrapped__, whose)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Needs to be bound."""
        return self.__wrapped__(self.whose, *args, **kwargs)


class Free:
    """A stand-in that Python binds to nothing, as a mock."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What it was given."""
        return args, kwargs


def test_what_others_put_in_place_of_a_method_is_called_as_python_would(town: Any) -> None:
    """A descriptor is bound to the object, and what is none gets no ``self``."""
    sell = town.Shop.sell
    hooked = [
        Hook("sell", "town:Shop.sell", louder, parameters=("self", "what")),
        Hook("found", "town:Shop.found", louder, parameters=("self", "where")),
    ]
    found = vars(town.Shop)["found"]
    town.Shop.sell, town.Shop.found = Bound(sell), Free()
    for hook in hooked:
        assert hook.apply(), hook.problem
    assert town.Shop().sell("tea", many=3) == "3 tea!"
    assert town.Shop().found("town") == "(('town',), {})!"
    for hook in hooked:
        hook.revert()
    assert (type(vars(town.Shop)["sell"]), type(vars(town.Shop)["found"])) == (Bound, Free)
    town.Shop.sell, town.Shop.found = sell, found
