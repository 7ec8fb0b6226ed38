"""``python -m benchmarks.guard``: whether a record has become dearer since the baseline, by counted instructions.

Usage: ``python -m benchmarks.guard [--only NAMES] [--update] [--json] [--profile NAME] [--python PYTHON]``. Prints a
row for each workload, and exits 1 when one is dearer than its tolerance allows, or is compiled where the baseline is in
Python, or the other way round, so that they can't be compared; 0 when nobody has measured this Python
before, since then nothing can be; 2 when a workload fails, 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.guard.catalogue import FLOOR, WORKLOADS, chosen
from benchmarks.guard.compare import OTHER_BUILD, Baseline, Row, compare
from benchmarks.guard.meter import LAYOUTS, METERS, Meter, measure, meter, version_of
from benchmarks.guard.profile import profile

BASELINE: Final = Path(__file__).with_name("baseline.json")

#: What to do where a workload is of another form than its baseline: in Python, or compiled.
_BUILD: Final = "`make install` builds the compiled part, where there is a compiler"
_UPDATE: Final = "--update makes that the baseline"

_COLUMNS: Final = "{:<30} {:>12} {:>8} {:>9} {:>8}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for; the exit status."""
    try:
        return _guard(arguments)
    except KeyboardInterrupt:
        print("interrupted: no baseline was changed", file=sys.stderr)
        return 130


def _guard(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="these workloads, or all whose names begin so: handler,collector")
    parser.add_argument("--update", action="store_true", help="make what is found the baseline")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.add_argument(
        "--profile",
        metavar="NAME",
        choices=[one.name for one in WORKLOADS],
        help="what the instructions of one workload are spent on (by callgrind; by function of Python from 3.12 on)",
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is measured")
    parser.add_argument("--meter", choices=[one.name for one in METERS], help="the way to measure (default: the best)")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the file with the figures to compare with")
    asked = parser.parse_args(arguments)
    python = os.path.abspath(shutil.which(asked.python) or asked.python)  # not resolved: a venv is known by its link
    try:
        workloads = chosen(asked.only)
        by = meter(asked.meter or ("callgrind" if asked.profile else ""))
    except ValueError as error:
        parser.error(str(error))
    version, build = version_of(python)
    baseline = Baseline.read(asked.baseline)
    before = baseline.figures(by.name, version)
    other = baseline.build(by.name, version) not in (None, build)
    tolerance = max(by.tolerance, OTHER_BUILD if other else 0.0)
    try:
        with tempfile.TemporaryDirectory(prefix="guard-") as directory:
            if asked.profile:
                print(profile(python, asked.profile, Path(directory)))
                return 0
            place = Path(directory)
            measured = measure(by, python, workloads, place, _tell, LAYOUTS if asked.update else LAYOUTS[:1])
            rows = compare(workloads, measured.found, measured.absent, before, tolerance)
            suspects = {row.name for row in rows if row.verdict == "dearer"}
            if suspects and not asked.update:  # or it is bad luck in memory
                again = measure(
                    by, python, [one for one in workloads if one.name in {FLOOR, *suspects}], place, _tell, LAYOUTS
                )
                measured.found |= again.found
                rows = compare(workloads, measured.found, measured.absent, before, tolerance)
    except RuntimeError as error:  # a workload that does not do what it should is a finding, not a figure
        print(error, file=sys.stderr)
        return 2
    finally:
        _tell("")
    said = verdict(rows, by, version, baseline)
    if other:
        said.insert(
            1, f"the baseline is of another build ({baseline.build(by.name, version)}; here {build}): it is rough"
        )
    if asked.update:
        baseline = Baseline.read(asked.baseline)  # this took minutes: another way or Python may have been put there
        baseline.put(by.name, version, build, measured.found)
        baseline.keep(by.name, version, [one.name for one in WORKLOADS])
        baseline.write(asked.baseline)
        said.append(f"what was found is the baseline from now on: {asked.baseline}")
    if asked.json:
        document = {"meter": by.name, "python": build, "rows": [{**asdict(row), "fails": row.fails} for row in rows]}
        print(json.dumps(document, indent=1))
    else:
        print("\n".join([*table(rows), "", *said]))
    return 1 if any(row.fails for row in rows) and not asked.update else 0


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines."""
    lines = [_COLUMNS.format("workload", "instructions", "floors", "baseline", "change", "verdict")]
    for row in rows:
        instructions = f"{row.found.instructions:,.0f}" if row.found and row.found.instructions is not None else "-"
        floors = f"{row.found.floors:.4f}" if row.found else "-"
        before = f"{row.before.floors:.4f}" if row.before else "-"
        change = f"{row.change:+.2%}" if row.change is not None else "-"
        word = f"{row.verdict}: {row.note}" if row.note else row.verdict
        lines.append(_COLUMNS.format(row.name, instructions, floors, before, change, word))
    return lines


def verdict(rows: Sequence[Row], by: Meter, python: str, baseline: Baseline) -> list[str]:
    """What to make of the rows, in sentences."""
    lines = [f"per record: {by.of}; floors: by a log call that a null handler sees"]
    for row in rows:
        if row.verdict == "dearer" and row.change is not None:
            more = row.note or f"{row.change:+.1%}, allowed {row.tolerance:.1%}"
            lines.append(f"DEARER {row.name}: {more}; see python -m benchmarks.guard --profile {row.name}")
        elif row.verdict == "refused":
            other = row.before is not None and row.before.compiled
            lines.append(f"REFUSED {row.name}: {row.note}; {_BUILD if other else _UPDATE}")
        elif row.fails:
            lines.append(f"ABSENT {row.name}: the baseline has it, and here it {row.note}")
    if cheaper := ",".join([row.name for row in rows if row.verdict == "cheaper"]):
        lines.append(f"cheaper; so that it stays so: python -m benchmarks.guard --update --only {cheaper}")
    if not any(row.before is not None for row in rows):
        known = ", ".join(baseline.pythons(by.name)) or "none"
        lines.append(f"no baseline for {python} by {by.name} (there are: {known}): --update writes one")
    elif not any(row.fails for row in rows):
        lines.append("nothing is dearer than allowed")
    return lines


def _tell(name: str) -> None:
    """Who waits sees that it goes on."""
    if sys.stderr.isatty():
        print(f"\r{name:<40}\r", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
