"""What was counted beside what was counted before: what has become dearer, by how much, and what cheaper.

Compared is the cost in floors. A workload that is dearer than before by more than its tolerance fails the guard; so
does one that leaves more behind for the garbage collector, since nobody collects garbage while instructions are
counted; one that wakes another thread more often, which is few instructions and much of the kernel's time; and one that
the baseline has and that can't be measured any more. So does one that has no baseline of its kind: what is compiled and
what is in Python are not compared with one another. One that has become cheaper passes, and
wants the baseline to follow: what was gained could be lost again unseen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.guard.catalogue import FLOOR, Workload

Verdict = Literal["same", "dearer", "cheaper", "new", "absent", "refused"]

#: What is allowed beside a baseline of another build of the same Python: Debian's had ratios that were up to 9 % higher
#: than those of one without profile-guided optimization.
OTHER_BUILD: Final = 0.12
#: Objects a record, more than before, that the garbage collector has to watch: what happens once in a run is less.
WATCHED_TOLERANCE: Final = 0.1
#: Wake-ups of another thread a record, more than before. One takes 8 µs, so that this is 1.5 % of the floor.
WOKEN_TOLERANCE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Figure:
    """What a record of a workload costs.

    ``instructions`` are None where time was measured, ``floors`` is by the floor of the same run, ``watched`` is how
    many objects a record leaves that the garbage collector has to watch, ``woken`` how often it wakes another thread
    (None where nobody counted). ``compiled``: whether it goes through a compiled part of logbus.
    """

    instructions: float | None
    floors: float
    watched: float | None = None
    woken: float | None = None
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A workload, what it cost and costs, and what to think of that. ``change`` is a share; ``note`` a reason."""

    name: str
    found: Figure | None
    before: Figure | None
    tolerance: float
    verdict: Verdict
    change: float | None = None
    note: str = ""

    @property
    def fails(self) -> bool:
        """Whether the guard does."""
        return self.verdict in ("dearer", "refused") or (self.verdict == "absent" and self.before is not None)


def compare(
    workloads: Sequence[Workload],
    found: Mapping[str, Figure],
    absent: Mapping[str, str],
    before: Mapping[str, Figure],
    tolerance: float = 0.0,
) -> list[Row]:
    """A row for each workload. ``absent`` has the reasons why some have no figure; ``before`` is the baseline.

    ``tolerance`` is what the way of measuring needs, where that is more than a workload's own.
    """
    return [_row(one, found.get(one.name), before.get(one.name), absent, tolerance) for one in workloads]


def _row(one: Workload, now: Figure | None, before: Figure | None, absent: Mapping[str, str], tolerance: float) -> Row:
    allowed = max(one.tolerance, tolerance)
    if now is None:
        return Row(one.name, None, before, allowed, "absent", note=absent.get(one.name, "was not measured"))
    if before is None:
        return Row(one.name, now, None, allowed, "new")
    change = now.floors / before.floors - 1
    if one.name == FLOOR:  # in floors it is one; another build of Python shows here
        change = (now.instructions / before.instructions - 1) if now.instructions and before.instructions else 0.0
        return Row(one.name, now, before, allowed, "same", change)
    if now.compiled != before.compiled:
        note = f"the baseline is {_form(before)}, and what is measured here is {_form(now)}"
        return Row(one.name, now, before, allowed, "refused", note=note)
    notes = []
    if (more := _more(now.watched, before.watched)) > WATCHED_TOLERANCE:
        notes.append(f"{more:.1f} objects more a record for the garbage collector")
    if (more := _more(now.woken, before.woken)) > WOKEN_TOLERANCE:
        notes.append(f"{more:.2f} wake-ups more a record of another thread")
    if notes:
        return Row(one.name, now, before, allowed, "dearer", change, ", ".join(notes))
    verdict: Verdict = "dearer" if change > allowed else "cheaper" if change < -allowed else "same"
    return Row(one.name, now, before, allowed, verdict, change)


def _form(figure: Figure) -> str:
    return "compiled" if figure.compiled else "in Python"


def _more(now: float | None, before: float | None) -> float:
    """How much more there is than before; nothing where nobody counted."""
    return 0.0 if now is None or before is None else now - before


@dataclass(slots=True)
class Baseline:
    """The figures in the repository: by way of measuring, Python's minor version and workload."""

    document: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Those in a file; none where there is none. Raises ValueError when it is no baseline."""
        if not path.exists():
            return cls({})
        document = json.loads(path.read_text())
        if not isinstance(document, dict):
            raise ValueError(f"{path}: expected an object with the figures by way of measuring, found {document!r:.80}")
        return cls(document)

    def pythons(self, way: str) -> list[str]:
        """The versions that were measured in a way."""
        return sorted(self.document.get(way, {}))

    def build(self, way: str, python: str) -> str | None:
        """The build of a Python that was measured; None where none was."""
        found: str | None = self.document.get(way, {}).get(python, {}).get("python")
        return found

    def figures(self, way: str, python: str) -> dict[str, Figure]:
        """Those of a Python, by workload; empty where nobody has measured it."""
        found = self.document.get(way, {}).get(python, {}).get("workloads", {})
        return {name: Figure(**figure) for name, figure in found.items()}

    def put(self, way: str, python: str, build: str, figures: Mapping[str, Figure]) -> None:
        """Takes figures in, in place of those of the same workloads."""
        place = self.document.setdefault(way, {}).setdefault(python, {"workloads": {}})
        place["python"] = build
        place["workloads"].update({name: asdict(_rounded(figure)) for name, figure in figures.items()})

    def keep(self, way: str, python: str, names: Sequence[str]) -> None:
        """Lets the figures of all other workloads go: there are none of these names any more."""
        place = self.document[way][python]["workloads"]
        self.document[way][python]["workloads"] = {name: place[name] for name in names if name in place}

    def write(self, path: Path) -> None:
        """Writes the file."""
        path.write_text(json.dumps(self.document, indent=1, sort_keys=True) + "\n")


def _rounded(figure: Figure) -> Figure:
    instructions = None if figure.instructions is None else round(figure.instructions, 1)
    watched = None if figure.watched is None else round(figure.watched, 2) + 0.0
    woken = None if figure.woken is None else round(figure.woken, 3)
    return Figure(instructions, round(figure.floors, 5), watched, woken, figure.compiled)
