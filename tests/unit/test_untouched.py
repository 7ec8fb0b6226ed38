"""What logging does by itself: known by identity, and whatever somebody has put there before is nobody's."""

from __future__ import annotations

import functools
import logging
import traceback
from typing import Any

import pytest

from logbus.producers import untouched
from logbus.producers.untouched import CALLS, NOBODYS, STEPS, is_usual, look_like, own


@pytest.mark.parametrize("name", [*STEPS, *CALLS])
def test_loggings_own_methods_are_known(name: str) -> None:
    """Each as it stands in the class."""
    assert own(logging.Logger, name) is getattr(logging.Logger, name)


def test_all_that_is_compared_is_loggings_own() -> None:
    """No constant is NOBODYS where logging is as Python ships it: else nothing would ever be left out."""
    names = [name for name in vars(untouched) if name.isupper() and not name.startswith("_") and name != "NOBODYS"]
    assert [name for name in names if getattr(untouched, name) is NOBODYS] == []
    assert len(names) > 10


def test_a_wrapper_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """However well it is disguised."""
    step = logging.Logger.handle

    @functools.wraps(step)
    def wrapper(*args: Any) -> Any:
        return step(*args)

    function: Any = wrapper
    function.__code__ = function.__code__.replace(co_filename=logging.__file__)
    monkeypatch.setattr(logging.Logger, "handle", wrapper)
    assert own(logging.Logger, "handle") is NOBODYS
    monkeypatch.setattr(logging.Logger, "handle", 3)
    assert own(logging.Logger, "handle") is NOBODYS


def test_a_logger_with_a_method_of_its_own_is_not_usual() -> None:
    """One is enough; what is no method does not count."""
    log = logging.Logger("shop")
    log.colour = "red"  # type: ignore[attr-defined]
    assert is_usual(log)
    log.handle = log.handle  # type: ignore[method-assign]
    assert is_usual(log)  # the very same
    log.handle = lambda record: None  # type: ignore[method-assign]
    assert not is_usual(log)


def test_a_function_that_looks_like_loggings_stands_in_its_file() -> None:
    """Name, file and line are those of a method of logging: where that makes its last call."""

    def ours(fail: bool) -> int:
        numbers = list(range(10))
        if fail:
            try:
                raise KeyError("in the middle")
            except KeyError as error:
                raise ValueError("at the end") from error
        return len(numbers)

    disguised = look_like(ours, "info")
    assert disguised(False) == 10
    with pytest.raises(ValueError, match="at the end") as caught:
        disguised(True)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.name) == (logging.__file__, "info")
    assert frame.line == "self._log(INFO, msg, args, **kwargs)"
    assert (disguised.__name__, disguised.__qualname__) == ("info", "Logger.info")
