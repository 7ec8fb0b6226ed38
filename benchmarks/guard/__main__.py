"""``python -m benchmarks.guard``: whether a record has become dearer since the baseline, by counted instructions.

Usage: ``python -m benchmarks.guard [--only NAMES] [--update] [--json] [--profile NAME] [--python PYTHON]``. Prints a
row for each workload, and exits 1 when one is dearer than its tolerance allows, 2 when there is nothing to compare
with.
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

from benchmarks.guard.catalogue import WORKLOADS, chosen
from benchmarks.guard.compare import Baseline, Row, compare
from benchmarks.guard.meter import METERS, Meter, measure, meter, version_of
from benchmarks.guard.profile import profile

BASELINE: Final = Path(__file__).with_name("baseline.json")

_COLUMNS: Final = "{:<22} {:>12} {:>8} {:>9} {:>8}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for; the exit status."""
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
    except ValueError as error:
        parser.error(str(error))
    by = meter(asked.meter or ("callgrind" if asked.profile else ""))
    try:
        with tempfile.TemporaryDirectory(prefix="guard-") as directory:
            if asked.profile:
                print(profile(python, asked.profile, Path(directory)))
                return 0
            found, absent = measure(by, python, workloads, Path(directory), _tell)
    except RuntimeError as error:  # a workload that does not do what it should is a finding, not a figure
        print(error, file=sys.stderr)
        return 2
    finally:
        _tell("")
    version, build = version_of(python)
    baseline = Baseline.read(asked.baseline)
    rows = compare(workloads, found, absent, baseline.figures(by.name, version), by.tolerance)
    said = verdict(rows, by, version, baseline)
    if asked.update:
        baseline.put(by.name, version, build, found)
        baseline.keep(by.name, version, [one.name for one in WORKLOADS])
        baseline.write(asked.baseline)
        said.append(f"what was found is the baseline from now on: {asked.baseline}")
    if asked.json:
        document = {"meter": by.name, "python": build, "rows": [{**asdict(row), "fails": row.fails} for row in rows]}
        print(json.dumps(document, indent=1))
    else:
        print("\n".join([*table(rows), "", *said]))
    if asked.update:
        return 0
    if not any(row.before is not None for row in rows):
        return 2
    return 1 if any(row.fails for row in rows) else 0


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
        elif row.fails:
            lines.append(f"ABSENT {row.name}: the baseline has it, and here it {row.note}")
    if cheaper := ",".join([row.name for row in rows if row.verdict == "cheaper"]):
        lines.append(f"cheaper; so that it stays so: python -m benchmarks.guard --update --only {cheaper}")
    if not any(row.before is not None for row in rows):
        known = ", ".join(baseline.pythons(by.name)) or "none"
        lines.append(f"nothing to compare with: no baseline by {by.name} for Python {python} (there are: {known})")
        lines.append("--update makes one")
    elif not any(row.fails for row in rows):
        lines.append("nothing is dearer than allowed")
    return lines


def _tell(name: str) -> None:
    """Who waits sees that it goes on."""
    if sys.stderr.isatty():
        print(f"\r{name:<40}\r", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
