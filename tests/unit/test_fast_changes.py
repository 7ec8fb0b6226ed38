"""What a fast logger reads may change, or be of another kind, while it reads: no call may end in what is gone."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, cast

import pytest

from logbus.producers import call_sites
from tests.twins import Tree

FAST = 1

pytestmark = pytest.mark.usefixtures("fast_form")


@pytest.mark.parametrize("name", ["time", "time_ns"])
def test_the_clock_is_the_one_that_logging_reads(
    both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A test that stops one of the two clocks stops that of a fast logger if it stops that of a plain one."""
    monkeypatch.setattr(time, name, {"time": lambda: 1234.5, "time_ns": lambda: 1234_500_000_000}[name])
    for tree in both:
        tree.get("shop").info("sold")

    [[plain], [fast]] = (tree.kept.entries for tree in both)

    assert (fast.created == 1234.5) == (plain.created == 1234.5)


class Number(int):
    """A level of somebody's: whoever compares it runs Python code."""

    def __eq__(self, other: object) -> bool:
        self.compared()
        return int(self) == other

    __hash__ = int.__hash__

    @staticmethod
    def compared() -> None:
        """What happens then."""


def _forget() -> None:
    call_sites.SITES.clear()
    call_sites._ALL.clear()


def test_a_level_whose_comparison_forgets_all_places(both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name of a level stands under somebody's number, a place may be forgotten while it is looked at."""
    monkeypatch.delitem(call_sites.LEVEL_NAMES, logging.INFO)
    monkeypatch.setitem(call_sites.LEVEL_NAMES, cast("Any", Number(logging.INFO)), "INFO")
    for _ in range(3):
        both[FAST].get("shop").info("%d sold", 3)
        monkeypatch.setattr(Number, "compared", staticmethod(_forget))

    assert [entry.site[:3] for entry in both[FAST].kept.entries] == [("shop", 20, "INFO")] * 3


def test_a_level_whose_comparison_forgets_all_answers(both: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a logger was asked about somebody's number, its answers may be forgotten while they are looked at."""
    log: Any = both[FAST].get("shop")
    assert log.isEnabledFor(Number(logging.INFO))
    monkeypatch.setattr(Number, "compared", staticmethod(lambda: setattr(log, "_cache", {})))

    log.info("sold")

    assert [entry.message for entry in both[FAST].kept.entries] == ["sold"]


@pytest.mark.parametrize("site", [[], [None] * 8, (), None])
def test_what_is_no_place_is_not_taken_for_one(both: tuple[Tree, Tree], fast_form: str, site: Any) -> None:
    """Whatever stands among the places, a compiled method does not read past its end."""
    if fast_form == "python":
        pytest.skip("Python does not read past the end of anything")
    for _ in range(3):
        with contextlib.suppress(Exception):  # Python's, who looks for itself
            both[FAST].get("shop").info("sold")
        call_sites.SITES.update(dict.fromkeys(call_sites.SITES, site))
    call_sites.SITES.clear()

    assert [entry.message for entry in both[FAST].kept.entries][:1] == ["sold"]
