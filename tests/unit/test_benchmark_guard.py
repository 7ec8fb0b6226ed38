"""The guard over instruction counts: what it makes of figures, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.guard import __main__ as command, callgrind, meter as meters
from benchmarks.guard.catalogue import FLOOR, TOLERANCE, WORKLOADS, Workload, chosen
from benchmarks.guard.compare import OTHER_BUILD, Baseline, Figure, compare
from benchmarks.guard.meter import LAYOUTS, Measured, Meter, measure, perf_count, version_of

A, B = (Workload(name, "nowhere", "nothing", 10) for name in ("a", "b"))


def verdicts(now: Mapping[str, Figure], before: Mapping[str, Figure], **options: Any) -> dict[str, str]:
    """What is said of two workloads."""
    return {row.name: row.verdict for row in compare([A, B], now, {}, before, **options)}


def test_dearer_and_cheaper_begin_beyond_the_tolerance() -> None:
    """A change as large as the tolerance is none; one that is larger is said, up or down, and only up fails."""
    before = {"a": Figure(1000, 1.0), "b": Figure(1000, 1.0)}
    within = {"a": Figure(1000, 1 + 0.99 * TOLERANCE), "b": Figure(1000, 1 - 0.99 * TOLERANCE)}
    beyond = {"a": Figure(1000, 1 + 1.01 * TOLERANCE), "b": Figure(1000, 1 - 1.01 * TOLERANCE)}
    assert verdicts(within, before) == {"a": "same", "b": "same"}
    assert verdicts(beyond, before) == {"a": "dearer", "b": "cheaper"}
    assert [row.fails for row in compare([A, B], beyond, {}, before)] == [True, False]
    assert verdicts(beyond, before, tolerance=0.1) == {"a": "same", "b": "same"}


def test_floors_are_compared_and_not_instructions() -> None:
    """Another build of Python executes more for everything: that is no change."""
    [row] = compare([A], {"a": Figure(2000, 0.5)}, {}, {"a": Figure(1000, 0.5)})
    assert (row.verdict, row.change) == ("same", 0.0)


def test_the_floor_itself_never_fails() -> None:
    """The floor is the standard library's: its change is shown, and is nobody's fault."""
    [row] = compare([chosen(FLOOR)[0]], {FLOOR: Figure(1200, 1.0)}, {}, {FLOOR: Figure(1000, 1.0)})
    assert row.verdict == "same"
    assert row.change == pytest.approx(0.2)


def test_what_is_left_for_the_garbage_collector_counts() -> None:
    """An object more for each record fails, though nobody collects while instructions are counted; a few a run pass."""
    before = {"a": Figure(1000, 1.0, 2.0), "b": Figure(1000, 1.0, 2.0)}
    now = {"a": Figure(1000, 1.0, 3.0), "b": Figure(1000, 1.0, 2.01)}
    assert verdicts(now, before) == {"a": "dearer", "b": "same"}


def test_more_wake_ups_fail() -> None:
    """One that wakes its reader for each record fails at the same count of instructions; fewer do not, and where the
    baseline has no such count none is missed.
    """
    before = {"a": Figure(1000, 1.0, 2.0, 0.005), "b": Figure(1000, 1.0, 2.0, 0.005)}
    now = {"a": Figure(1000, 1.0, 2.0, 1.0), "b": Figure(1000, 1.0, 2.0, 0.0)}
    rows = compare([A, B], now, {}, before)
    assert [(row.verdict, row.fails) for row in rows] == [("dearer", True), ("same", False)]
    assert "wake-ups more a record" in rows[0].note
    assert verdicts(now, {name: Figure(1000, 1.0, 2.0) for name in before}) == {"a": "same", "b": "same"}


@pytest.mark.parametrize("compiled", [False, True])
def test_compiled_and_python_are_not_compared(compiled: bool) -> None:
    """However cheap it is: a figure of one form says nothing of the other, and the guard fails with both names."""
    now, before = {"a": Figure(10, 0.1, compiled=compiled)}, {"a": Figure(1000, 1.0, compiled=not compiled)}
    [row] = compare([A], now, {}, before)
    assert (row.verdict, row.fails, row.change) == ("refused", True, None)
    forms = ("in Python", "compiled") if compiled else ("compiled", "in Python")
    assert row.note == "the baseline is {}, and what is measured here is {}".format(*forms)


def test_what_has_a_twin_in_python_shares_its_function() -> None:
    """The two differ in their form alone, and stand beside one another: the way of a record from the call to the frame,
    the sender's work in it, and from the frame to the file.
    """
    twins = {one.name: one for one in WORKLOADS if one.pure}
    collecting = ("decode", "redact", "redact.new", "redact.fresh", "encode", "turn")
    both = ["handler.drained", "lean.drained", "fast.drained", *(f"collector.{name}" for name in collecting)]
    assert list(twins) == [f"{name}.python" for name in both]
    for name, twin in twins.items():
        other = next(one for one in WORKLOADS if one.name == name.removesuffix(".python"))
        assert not other.pure
        shared = other.function, other.module, other.records, other.part
        assert (twin.function, twin.module, twin.records, twin.part) == shared
        assert WORKLOADS.index(twin) == WORKLOADS.index(other) + 1


def test_a_workload_that_has_gone_fails_and_a_new_one_does_not() -> None:
    """What the baseline has must be measured; what it does not have yet is only told."""
    rows = compare([A, B], {"a": Figure(1000, 1.0)}, {"b": "loguru is not installed"}, {"b": Figure(1000, 1.0)})
    assert [(row.verdict, row.fails, row.note) for row in rows] == [
        ("new", False, ""),
        ("absent", True, "loguru is not installed"),
    ]
    [row] = compare([B], {}, {}, {})
    assert (row.verdict, row.fails) == ("absent", False)


def test_a_baseline_keeps_what_was_not_measured(tmp_path: Path) -> None:
    """An update of one workload leaves the others, other Pythons and other ways alone; what is no workload goes."""
    path = tmp_path / "baseline.json"
    baseline = Baseline.read(path)
    baseline.put("callgrind", "3.11", "3.11.7", {"a": Figure(10, 1.0), "b": Figure(20, 2.0), "gone": Figure(1, 1.0)})
    baseline.put("callgrind", "3.13", "3.13.0", {"a": Figure(11, 1.0)})
    baseline.put("clock", "3.11", "3.11.7", {"a": Figure(None, 1.0)})
    baseline.put("callgrind", "3.11", "3.11.9", {"a": Figure(15.04, 1.5, compiled=True)})
    baseline.keep("callgrind", "3.11", ["a", "b"])
    baseline.write(path)
    found = Baseline.read(path)
    assert found.figures("callgrind", "3.11") == {"a": Figure(15.0, 1.5, compiled=True), "b": Figure(20, 2.0)}
    assert found.figures("callgrind", "3.13") == {"a": Figure(11, 1.0)}
    assert found.figures("clock", "3.11") == {"a": Figure(None, 1.0)}
    assert found.figures("callgrind", "3.12") == {}
    assert found.pythons("callgrind") == ["3.11", "3.13"]


def test_names_choose_workloads_and_all_below_them() -> None:
    """A name stands for itself and for what goes on with a dot, the floor is always there, and a wrong name is said."""
    assert [one.name for one in chosen("handler, format.json")] == [
        FLOOR,
        "handler",
        "handler.drained",
        "handler.drained.python",
        "handler.context",
        "format.json",
    ]
    assert chosen("") == list(WORKLOADS)
    with pytest.raises(ValueError, match="'handl'"):
        chosen("handl")


def test_perf_s_report_is_read_or_refused() -> None:
    """The count stands in the first field; a machine without counters says so there."""
    assert perf_count("# started on\n\n61234,,instructions:u,1001,100.00,,\n") == 61234
    with pytest.raises(ValueError, match="not supported"):
        perf_count("<not supported>,,instructions:u,0,100.00,,\n")


def test_floors_are_by_the_floor_of_the_same_run(tmp_path: Path) -> None:
    """Each workload's instructions are divided by the floor's, and those that can't be measured are told apart."""
    counts = {FLOOR: 1000.0, "handler": 1500.0}

    def count(python: str, wanted: Workload, directory: Path, layout: int) -> Figure | str:
        found = counts.get(wanted.name)
        return "not here" if found is None else Figure(found, 1.0, 0.0)

    fake = Meter("fake", "nothing", 0.0, True, count)
    measured = measure(fake, "python", chosen("handler"), tmp_path, lambda name: None)
    assert measured.found == {FLOOR: Figure(1000, 1.0, 0.0), "handler": Figure(1500, 1.5, 0.0)}
    assert measured.absent == dict.fromkeys(
        ["handler.drained", "handler.drained.python", "handler.context"], "not here"
    )


def test_of_several_layouts_the_least_counts(tmp_path: Path) -> None:
    """A workload is measured in the layouts that are asked for, the floor in all, and neither's bad luck counts."""
    counts = {FLOOR: [1010.0, 1000.0, 1020.0], "suppressed": [30.0, 20.0, 10.0]}

    def count(python: str, wanted: Workload, directory: Path, layout: int) -> Figure | str:
        return Figure(counts[wanted.name][layout], 1.0)

    fake = Meter("fake", "nothing", 0.0, True, count)
    for layouts, least in (((0,), 30.0), ((0, 1), 20.0), (LAYOUTS, 10.0)):
        measured = measure(fake, "python", chosen("suppressed"), tmp_path, lambda name: None, layouts)
        assert measured.found == {FLOOR: Figure(1000, 1.0), "suppressed": Figure(least, least / 1000)}


class Machine:
    """A machine on which one workload costs what the test says, by the layouts in which it is measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.floors = {1: 1.5, len(LAYOUTS): 1.5}
        fake = Meter("fake", "nothing", 0.0, False, lambda *_: "unused")
        monkeypatch.setattr(command, "meter", lambda name: fake)
        monkeypatch.setattr(command, "measure", self._measure)
        self.build = "3.99.1, test"
        self.compiled = False
        monkeypatch.setattr(command, "version_of", lambda python: ("3.99", self.build))

    def guard(self, *arguments: str) -> int:
        """Runs the command for that workload."""
        return command.main(["--only", "suppressed", "--baseline", str(self.path), *arguments])

    def cost(self, floors: float, *, again: float | None = None) -> None:
        """What it costs from now on, and what that is when it is measured in all layouts."""
        self.floors = {1: floors, len(LAYOUTS): floors if again is None else again}

    def _measure(
        self,
        by: Meter,
        python: str,
        workloads: Sequence[Workload],
        directory: Path,
        tell: Any,
        layouts: Sequence[int],
    ) -> Measured:
        floors = {one.name: 1.0 if one.name == FLOOR else self.floors[len(layouts)] for one in workloads}
        figures = {name: Figure(1000 * each, each, 0.0, None, self.compiled) for name, each in floors.items()}
        return Measured(figures, {})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine that nobody has measured."""
    return Machine(monkeypatch, tmp_path / "baseline.json")


def test_a_python_without_a_baseline_has_nothing_to_fail(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """With nothing to compare with the guard exits 0, shows what it found and says so; an update keeps it."""
    assert machine.guard() == 0
    out = capsys.readouterr().out
    assert "no baseline for 3.99 by fake (there are: none): --update writes one" in out
    assert "suppressed" in out
    assert "nothing is dearer" not in out
    assert not machine.path.exists()
    assert machine.guard("--update") == 0
    assert machine.guard() == 0
    assert "nothing is dearer than allowed" in capsys.readouterr().out


def test_five_percent_more_fail_and_less_is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A workload that is dearer exits 1 with its share and the command for its profile; a cheaper one passes."""
    machine.guard("--update")
    machine.cost(1.5 * 1.05)
    assert machine.guard() == 1
    out = capsys.readouterr().out
    assert "DEARER suppressed: +5.0%, allowed 2.0%; see python -m benchmarks.guard --profile suppressed" in out
    machine.cost(1.5 * 0.95)
    assert machine.guard() == 0
    assert "--update --only suppressed" in capsys.readouterr().out


def test_what_seems_dearer_is_looked_at_again(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """What is dearer in one layout of memory only is not."""
    machine.guard("--update")
    machine.cost(1.5 * 1.05, again=1.5)
    assert machine.guard() == 0
    assert "DEARER" not in capsys.readouterr().out


def test_another_form_is_refused_until_it_is_the_baseline(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a baseline of the other form nothing is judged: it exits 1 and says what to do about it."""
    machine.guard("--update")
    machine.compiled = True
    machine.cost(0.1)
    assert machine.guard() == 1
    out = capsys.readouterr().out
    assert (
        "REFUSED suppressed: the baseline is in Python, and what is measured here is compiled;"
        " --update makes that the baseline" in out
    )
    assert "nothing is dearer" not in out
    machine.guard("--update")
    assert machine.guard() == 0
    machine.compiled = False
    assert machine.guard() == 1
    assert "what is measured here is in Python; `make install` builds the compiled part" in capsys.readouterr().out


def test_another_build_is_compared_roughly(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the baseline of another build of the same Python much more is allowed, which is said."""
    machine.guard("--update")
    machine.build = "3.99.1, test, optimized"
    machine.cost(1.5 * 1.05)
    assert machine.guard() == 0
    assert "another build (3.99.1, test; here 3.99.1, test, optimized)" in capsys.readouterr().out
    machine.cost(1.5 * (1.01 + OTHER_BUILD))
    assert machine.guard() == 1


def test_the_result_can_be_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads each row with its verdict, and by what was measured."""
    machine.guard("--update")
    capsys.readouterr()
    assert machine.guard("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["meter"], document["python"]) == ("fake", "3.99.1, test")
    assert [(row["name"], row["verdict"], row["fails"]) for row in document["rows"]] == [
        (FLOOR, "same", False),
        ("suppressed", "same", False),
    ]


def test_a_workload_that_fails_is_no_figure(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When records did not come through the guard exits 2 with what the process said, and touches no baseline."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("expected 10 records to come through, found 9")

    monkeypatch.setattr(command, "measure", fail)
    assert machine.guard("--update") == 2
    assert "found 9" in capsys.readouterr().err
    assert not machine.path.exists()


def test_an_interrupted_guard_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends it by a status of its own and a line, and touches no baseline."""

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", interrupt)
    assert machine.guard("--update") == 130
    assert capsys.readouterr().err.strip() == "interrupted: no baseline was changed"
    assert not machine.path.exists()


def test_the_best_way_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callgrind, then perf where the machine has counters, then the clock; unless one is named."""
    monkeypatch.setattr(callgrind, "available", lambda: True)
    monkeypatch.setattr(meters, "_perf_available", lambda: True)
    assert meters.meter().name == "callgrind"
    monkeypatch.setattr(callgrind, "available", lambda: False)
    assert meters.meter().name == "perf"
    monkeypatch.setattr(meters, "_perf_available", lambda: False)
    assert meters.meter().name == "clock"
    assert meters.meter("clock").name == "clock"
    with pytest.raises(ValueError, match="expected callgrind, which is not here"):
        meters.meter("callgrind")


def test_an_interpreter_says_its_version() -> None:
    """The minor version is the key of the baseline, the build is kept beside it."""
    import platform
    import sys

    minor, build = version_of(sys.executable)
    assert minor == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert build.startswith(platform.python_version())


def test_the_baseline_in_the_repository_has_every_workload() -> None:
    """Each Python measured there has a figure for each workload: compiled, but for what is in Python in any case."""
    baseline = Baseline.read(command.BASELINE)
    forms = {one.name: one.part is not None and not one.pure for one in WORKLOADS}
    assert not any(forms[name] for name in forms if name.startswith("format.") or name == "collector.filtered")
    assert baseline.pythons("callgrind") == ["3.11", "3.13"]
    for way in ("callgrind", "clock"):
        for python in baseline.pythons(way):
            assert {name: found.compiled for name, found in baseline.figures(way, python).items()} == forms
