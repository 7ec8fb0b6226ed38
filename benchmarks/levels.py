"""``python -m benchmarks.levels``: what levels cost that the operator sets, as part of ``make bench``.

Usage: ``python -m benchmarks.levels [--tiny] [--output FILE]``. Prints a table, writes
``benchmarks/results/levels.json``, and exits 0 whether the bounds held or not: they are quoted, not enforced, since
the machine may be busy. ``--tiny`` only proves that it all works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import crowd, gates
from benchmarks.command import forget_settings
from benchmarks.machine import machine
from benchmarks.service import ROOT, Service
from benchmarks.spread import spread

RESULTS: Final = ROOT / "benchmarks" / "results" / "levels.json"

Figures = dict[str, dict[str, Any]]

#: The rows of the table: gate, call, and what it is compared with.
_CALLS: Final = (
    ("stdlib", "suppressed", "suppressed by set-level; by Logger.setLevel"),
    ("stdlib", "suppressed_in_a_later_logger", "the same, in a logger made later"),
    ("stdlib", "no_condition_holds", "with a --where that does not hold; as above"),
    ("loguru", "suppressed", "suppressed by set-level; by its handler's level"),
    ("loguru", "no_condition_holds", "with a --where that does not hold; as above"),
    ("loguru", "passed", "passes to logbus; to a handler that writes nothing"),
)
#: What is promised: a ratio to the library's own call, at most.
_BOUNDS: Final = (
    ("stdlib, suppressed by set-level", "stdlib", "suppressed", 1.2),
    ("stdlib, the same in a logger made later", "stdlib", "suppressed_in_a_later_logger", 1.2),
    ("loguru in proxywhirl, suppressed by set-level", "loguru", "suppressed", 1.2),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: turns, the share of the calls in each, seconds idle, changes that a crowd confirms."""

    turns: int
    share: int
    seconds: float
    changes: int
    crowds: tuple[int, ...]


QUICK: Final = Size(turns=25, share=1, seconds=3.0, changes=10, crowds=crowd.SIZES)
TINY: Final = Size(turns=1, share=100, seconds=0.1, changes=1, crowds=(1, 3))


def measure(size: Size) -> Figures:
    """Runs everything once, beside one collector."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as name:  # short: a socket's path has 107 bytes at most
        directory = Path(name)
        with Service(directory) as service:
            for gate in gates.GATES:
                task = gates.Task(gate, service.control, size.turns, size.share, size.seconds)
                found = gates.run(task, directory)
                figures[gate] = {name: spread(values) for name, values in found.items()}
            figures["confirmed"] = {
                str(workers): spread(crowd.confirmations(service.control, directory, workers, size.changes))
                for workers in size.crowds
            }
    return figures


def bounds(figures: Figures) -> list[dict[str, Any]]:
    """Each promise, and whether it held."""
    listed = [(what, figures[gate][f"{call}_ratio"]["median"], bound) for what, gate, call, bound in _BOUNDS]
    return [{"what": what, "value": value, "bound": bound, "held": value <= bound} for what, value, bound in listed]


def render(document: Mapping[str, Any]) -> str:
    """The table for people."""
    figures: Figures = document["figures"]
    lines = [
        f"{document['mode']} run; median (smallest-largest); load average "
        f"{document['machine']['load_average_before'][0]:.1f} before, {document['load_average_after'][0]:.1f} after",
        "",
        "One call, CPU ns in the calling thread; the library's own beside it, and the ratio",
        f"{'':60}{'logbus':>20}{'its own':>22}{'ratio':>20}",
    ]
    for gate, call, name in _CALLS:
        ours, own, ratio = (figures[gate][f"{call}_{side}"] for side in ("ours", "own", "ratio"))
        lines.append(f"{f'{gate}: {name}':60}{_shown(ours, 0):>20}{_shown(own, 0):>22}{_shown(ratio, 2):>20}")
    idle = figures["idle"]
    lines += [
        "",
        f"An idle worker's sender thread, CPU ms per second: {idle['no_logger']['median']:.2f};"
        f" with {gates.LOGGERS} loggers {idle['no_rule']['median']:.2f}, and a rule {idle['one_rule']['median']:.2f}",
        "Confirmed by silent workers, ms: "
        + "; ".join(f"{workers}: {_shown(found, 1)}" for workers, found in figures["confirmed"].items()),
        "",
    ]
    lines += [
        f"{'held  ' if bound['held'] else 'MISSED'} {bound['what']}: {bound['value']:.2f} x (<= {bound['bound']:g})"
        for bound in document["bounds"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels", description="What set levels cost.")
    parser.add_argument("--tiny", action="store_true", help="as small as can be: proves that it works, no figures")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go, as JSON")
    chosen = parser.parse_args(arguments)
    forget_settings()
    where = machine()
    figures = measure(TINY if chosen.tiny else QUICK)
    document = {
        "mode": "tiny" if chosen.tiny else "quick",
        "machine": where,
        "load_average_after": list(os.getloadavg()),
        "figures": figures,
        "bounds": bounds(figures),
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(document, indent=1) + "\n")
    print(render(document))
    print(f"written to {chosen.output}")
    return 0


def _shown(of: Mapping[str, Any], digits: int) -> str:
    return f"{of['median']:.{digits}f} ({of['min']:.{digits}f}-{of['max']:.{digits}f})"


if __name__ == "__main__":
    raise SystemExit(main())
