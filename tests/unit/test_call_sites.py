"""Places that log: found from a frame as logging finds them, remembered, and forgotten where there are too many."""

from __future__ import annotations

import logging
import sys
import weakref
from typing import Any

import pytest

from logbus.producers import call_sites
from logbus.producers.call_sites import outside, remember_keys, site_from


@pytest.fixture(autouse=True)
def _of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """No places of others."""
    monkeypatch.setattr(call_sites, "SITES", {})
    monkeypatch.setattr(call_sites, "_ALL", {})


def here() -> Any:
    """The frame of the caller."""
    return sys._getframe(1)


@pytest.mark.parametrize("stacklevel", [1, 2, 3])
def test_the_caller_is_the_one_that_logging_finds(stacklevel: int) -> None:
    """With stacklevel as without."""

    def inner() -> tuple[Any, Any]:
        filename, _, name, _ = logging.getLogger().findCaller(False, stacklevel)
        frame = outside(here(), stacklevel)
        assert frame is not None
        return (filename, name), (frame.f_code.co_filename, frame.f_code.co_name)

    def outer() -> tuple[Any, Any]:
        return inner()

    theirs, ours = outer()
    assert theirs == ours


def test_a_stack_that_is_not_deep_enough_has_no_such_caller() -> None:
    """Then logging has a frame of its own choice."""
    assert outside(here(), 10_000) is None
    assert outside(None, 1) is None


def test_a_place_is_remembered_with_its_logger_and_level() -> None:
    """The same site for the same call, another for another logger or level; the place has that of its last call."""

    def log(name: str, level: int) -> Any:
        return site_from(name, level, here())

    first, again, other, louder = (log(*call) for call in (("a", 20), ("a", 20), ("b", 20), ("b", 30)))
    line = log.__code__.co_firstlineno + 1
    assert first[3] == ("a", 20, "INFO", "test_call_sites", "log", line)
    assert first is again
    assert (other[3][0], louder[3][1:3]) == ("b", (30, "WARNING"))
    assert [*call_sites.SITES.values()] == [louder]
    assert [log(*call) for call in (("a", 20), ("b", 20), ("a", 20))] == [first, other, first]
    assert log("a", 20) is first
    assert [*call_sites.SITES.values()] == [first]


def test_code_that_is_gone_takes_its_places_with_it() -> None:
    """Code that a program makes at run time, with the data in it, lives no longer than it would without us."""
    code = compile("for name in 'ab': site_from(name, 20, here())", "/srv/rule.py", "exec")
    ended = weakref.ref(code)
    exec(code, {"site_from": site_from, "here": here})
    site_from("a", 20, here())
    assert len(call_sites.SITES) == 2
    del code
    assert ended() is None
    assert [site[3][3] for site in call_sites.SITES.values()] == ["test_call_sites"]
    assert len(call_sites._ALL) == 1


def test_a_site_that_no_frame_could_hold_has_none() -> None:
    """A logger whose name is no text is one for records."""
    site = site_from(3, 20, here())
    assert site is not None
    assert site[3] is None
    assert site[5]["name"] == 3


def test_names_of_fields_are_remembered_where_they_may_be_fields() -> None:
    """Not the name of an attribute of records, and only text."""
    site: Any = site_from("a", 20, here())
    assert remember_keys(site, {"a": 1, "b": 2})
    assert site[4] == ["a", "b"]
    assert not remember_keys(site, {"name": 1})
    assert not remember_keys(site, {"message": 1})
    assert not remember_keys(site, {1: 1})
    assert site[4] == ["a", "b"]


def test_many_places_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that makes code at run time does not make the process grow; each place is right all the same."""
    monkeypatch.setattr(call_sites, "KEPT", 3)
    names, made = [], []
    for number in range(10):
        space: dict[str, Any] = {"site_from": site_from, "here": here}
        exec(compile(f"def f{number}():\n    return site_from('a', 20, here())", f"/srv/m{number}.py", "exec"), space)
        made.append(space[f"f{number}"])
        names += [made[-1]()[3][3:5] for _ in range(2)]
        assert len(call_sites.SITES) <= 3
    for number in range(10):
        site_from(str(number), 20, here())
        assert len(call_sites._ALL) <= 3
    assert names == [(f"m{number // 2}", f"f{number // 2}") for number in range(20)]


def test_frames_of_logging_are_never_remembered() -> None:
    """A call that comes through logging is of the place that has called logging."""
    found: list[Any] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((site_from("a", 20, sys._getframe(1)), record))

    log = logging.Logger("a", 20)
    log.addHandler(Asking())
    log.info("sold")
    site, record = found[0]
    assert site[3] == ("a", 20, "INFO", record.module, record.funcName, record.lineno)
    assert [kept[-1]().co_name for kept in call_sites.SITES.values()] == [record.funcName]
