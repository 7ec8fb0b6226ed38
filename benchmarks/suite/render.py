"""``python -m benchmarks.suite render``: ``docs/performance.md`` and its plots, made of ``benchmarks/results/*.json``.

Usage: ``python -m benchmarks.suite render [--run NAME] [--results DIRECTORY] [--output FILE]``. The run is the whole
one, ``suite.json``, unless another is named: ``--run quick``. The plots go to a directory of the page's name beside it.
Exits 1, and writes nothing, when there are no results of that run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.service import ROOT, environment
from benchmarks.suite.page import OTHERS, page
from benchmarks.suite.peers import interpreter
from benchmarks.suite.results import DIRECTORY

PAGE: Final = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite render", description="docs/performance.md and its plots, of the results."
    )
    runs = ("suite", "quick", "tiny", "only")
    parser.add_argument(
        "--run", choices=runs, default="suite", help="which results of the suite (default: %(default)s)"
    )
    parser.add_argument("--results", type=Path, default=DIRECTORY, help="the directory of these and the others")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page")
    chosen = parser.parse_args(arguments)
    suite = chosen.results / f"{chosen.run}.json"
    if not suite.exists():
        option = "" if chosen.run == "suite" else f" --{chosen.run}"
        print(
            f"expected results in {suite}, found none: python -m benchmarks.suite{option} makes them", file=sys.stderr
        )
        return 1
    others = {name: found for name in OTHERS if (found := _read(chosen.results / f"{name}.json")) is not None}
    hour = chosen.results / "endurance.json"
    document = merged(json.loads(suite.read_text()), _read(chosen.results / "scale.json"))
    drawn = draw(document, hour, chosen.output.with_suffix(""))
    chosen.output.write_text(page(document, others, _read(hour), drawn))
    print(f"written: {chosen.output}, {len(drawn)} plots")
    return 0


def merged(suite: Mapping[str, Any], scale: Mapping[str, Any] | None) -> dict[str, Any]:
    """The suite's results; a family that ``python -m benchmarks.scale`` has measured, at length, comes from that."""
    if scale is None:
        return dict(suite)
    longer = set(scale["figures"])
    short = [sample for sample in suite["samples"] if sample["family"] not in longer]
    said = {
        what: [line for line in suite[what] if line.partition(":")[0] not in longer] + scale[what]
        for what in ("void", "failed")
    }
    skipped = {name: why for name, why in suite["skipped"].items() if name.partition("/")[0] not in longer}
    return {
        **suite,
        **said,
        "jobs": {**suite["jobs"], **scale["jobs"]},
        "figures": {**suite["figures"], **scale["figures"]},
        "samples": [*short, *scale["samples"]],
        "skipped": {**skipped, **scale["skipped"]},
        "longer": {name: scale[name] for name in ("mode", "rounds", "seconds", "seed")},
    }


def draw(document: Mapping[str, Any], endurance: Path, directory: Path) -> list[str]:
    """Draws the plots into a directory, from which those of before are gone; their names.

    Raises RuntimeError, with what was said, when the interpreter of the peers has no matplotlib.
    """
    for old in directory.glob("*.svg"):
        old.unlink()
    done = subprocess.run(
        [str(interpreter()), "-m", "benchmarks.suite.plots", *map(str, (endurance, directory))],
        cwd=ROOT,
        env=environment(directory),
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the plots could not be drawn (`make bench-peers` installs matplotlib): {done.stderr}")
    return done.stdout.split()


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
