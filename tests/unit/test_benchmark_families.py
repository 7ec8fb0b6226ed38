"""Which jobs the benchmarks' families offer: all, or those asked for; nothing is left out in silence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.suite.families import FAMILIES, collect
from benchmarks.suite.job import Bench, Job

PACKAGES = {"made_up.calls": ("producer",), "made_up.ways": ("collector", "end_to_end")}


def job(family: str, variant: str) -> Job:
    """One that measures nothing."""
    return Job(family, variant, lambda number: [])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Two packages with four jobs, one of which can't be done here."""
    calls = SimpleNamespace(
        jobs=lambda bench: [job("producer", "null"), job("producer", "fast")],
        skipped=lambda bench: {"producer/logxide": "there is no Python 3.13"},
    )
    ways = SimpleNamespace(
        jobs=lambda bench: [job("collector", "logbus"), job("end_to_end", "fast")], skipped=lambda bench: {}
    )
    monkeypatch.setitem(sys.modules, "made_up.calls", calls)
    monkeypatch.setitem(sys.modules, "made_up.ways", ways)
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path, Path(sys.executable), "tiny", stack)


def names(jobs: list[Job]) -> list[str]:
    """The jobs' full names."""
    return [f"{one.family}/{one.variant}" for one in jobs]


def test_all_jobs_of_all_families(bench: Bench) -> None:
    """Without a choice everything is measured, and what can't be says why."""
    jobs, skipped = collect(bench, packages=PACKAGES)
    assert names(jobs) == ["producer/null", "producer/fast", "collector/logbus", "end_to_end/fast"]
    assert skipped == {"producer/logxide": "there is no Python 3.13"}


@pytest.mark.parametrize(
    ("only", "found", "left"),
    [
        (["producer"], ["producer/null", "producer/fast"], ["producer/logxide"]),
        (["producer/fast"], ["producer/fast"], []),
        (["end_to_end", "producer/null"], ["producer/null", "end_to_end/fast"], []),
        (["producer/logxide"], [], ["producer/logxide"]),
    ],
)
def test_a_choice_of_families_and_variants(bench: Bench, only: list[str], found: list[str], left: list[str]) -> None:
    """A family stands for all its variants; what was not asked for is not named as left out."""
    jobs, skipped = collect(bench, only, PACKAGES)
    assert (names(jobs), list(skipped)) == (found, left)


def test_packages_that_nobody_asked_for_are_not_imported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one family starts or needs is nothing to those who measure another."""
    monkeypatch.setitem(sys.modules, "made_up.ways", None)
    assert names(collect(bench, ["producer/null"], PACKAGES)[0]) == ["producer/null"]


def test_a_package_that_is_not_there_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that can't be imported does not look like one that has nothing to measure."""
    monkeypatch.setitem(sys.modules, "made_up.ways", None)
    with pytest.raises(ImportError, match="made_up"):
        collect(bench, packages=PACKAGES)


def test_a_choice_of_what_there_is_not_is_refused(bench: Bench) -> None:
    """The message names it."""
    with pytest.raises(ValueError, match=r"found producer/slow, telepathy"):
        collect(bench, ["producer/slow", "telepathy", "collector"], PACKAGES)


def test_the_families_are_known() -> None:
    """Every family of the promises' table can be asked for by name."""
    assert {"producer", "collector", "end_to_end", "stalls", "startup"} <= set(FAMILIES)
