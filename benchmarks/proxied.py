"""``python -m benchmarks.proxied``: what logging adds to a proxied request, part of ``make bench``.

Usage: ``python -m benchmarks.proxied [--short] [--tiny] [--seed N] [--output FILE]``. Prints a table, writes
``benchmarks/results/proxied.json``, and exits 0 whether the bounds held or not: they are quoted, not enforced, since
the machine may be busy. ``--tiny`` only proves that it all works; its figures mean nothing.

Three figures: on bare loopback, where a request takes as little as it can; through proxies that take 20 ms, as near
ones do; and against what proxywhirl's users have who set nothing up. The real proxywhirl, synchronous and asynchronous,
a real collector; see :mod:`benchmarks.rotators` for the method. Each figure is the difference to the same requests
without any handler, in the same process; processes are repeated, and their median is quoted with the smallest and the
largest. On two cores a collector takes time from the proxies that a request waits for; beside it stands a reader that
does nothing with what it is sent (:mod:`benchmarks.reader`).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import ways
from benchmarks.command import asked
from benchmarks.loopback import Loopback
from benchmarks.machine import machine
from benchmarks.reader import Reader
from benchmarks.service import ROOT, Service
from benchmarks.spread import spread
from benchmarks.ways import WAYS, Cost, Task

RESULTS: Final = ROOT / "benchmarks" / "results" / "proxied.json"
#: Seconds that the slow proxies take.
SLOW_S: Final = 0.02
#: Percent that logging may add on bare loopback and through slow proxies.
BARE_PERCENT: Final = 5.0
SLOW_PERCENT: Final = 0.5

KINDS: Final = ("sync", "async")
#: The parts of a run: where the requests go, and to whom logbus's records.
PARTS: Final = {
    "bare": "bare loopback, a collector beside it",
    "slow": f"proxies that take {SLOW_S * 1000:g} ms",
    "reader": "bare loopback, a reader in the collector's place",
}
_SLOW_WAYS: Final = ("none", "upstream", "direct", "context")
_READER_WAYS: Final = ("none", "own", "direct", "context")

Figures = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: processes of each kind, rounds of each, requests of a block, fast and slow."""

    processes: int
    rounds: int
    requests: int
    slow_requests: int


FULL: Final = Size(processes=5, rounds=12, requests=150, slow_requests=10)
SHORT: Final = Size(processes=1, rounds=5, requests=80, slow_requests=6)
TINY: Final = Size(processes=1, rounds=1, requests=10, slow_requests=2)


def measure(size: Size, seed: int) -> dict[str, dict[str, Figures]]:
    """Every figure with its spread, by part, kind and way."""
    found: dict[str, dict[str, list[dict[str, Cost]]]] = {part: {kind: [] for kind in KINDS} for part in PARTS}
    order = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as name,  # short: a socket's path has 107 bytes at most
        Service(directory := Path(name)) as service,
        Reader(directory) as reader,
        Loopback(directory, "target") as target,
        Loopback(directory, "proxy", 0, 0, SLOW_S, SLOW_S) as proxies,
    ):
        task = Task("", target.ports[0], proxies.ports[:2], service.endpoint, list(WAYS), size.rounds, size.requests, 0)
        slow = replace(task, proxies=proxies.ports[2:], ways=list(_SLOW_WAYS), requests=size.slow_requests)
        read = replace(task, ways=list(_READER_WAYS), endpoint=reader.endpoint)
        for _ in range(size.processes):
            jobs = [(part, kind) for part in PARTS for kind in KINDS]
            for part, kind in order.sample(jobs, len(jobs)):
                job = replace(
                    {"bare": task, "slow": slow, "reader": read}[part], kind=kind, seed=order.randrange(1 << 30)
                )
                found[part][kind].append(ways.run(job, directory))
    return {part: {kind: _figures(runs) for kind, runs in kinds.items()} for part, kinds in found.items()}


def _figures(runs: Sequence[Mapping[str, Cost]]) -> Figures:
    """Of each way its own figures, and what it adds to the first way's of the same process."""
    figures: Figures = {}
    for way in runs[0]:
        own = {name: spread([asdict(run[way])[name] for run in runs]) for name in asdict(runs[0][way])}
        pairs = [(run[way], run["none"]) for run in runs]
        added = {
            "added": spread([cost.tenth - none.tenth for cost, none in pairs]),
            "percent": spread([(cost.tenth / none.tenth - 1) * 100 for cost, none in pairs]),
            "added_median": spread([cost.median - none.median for cost, none in pairs]),
            "added_thread": spread([cost.thread - none.thread for cost, none in pairs]),
            "added_process": spread([cost.process - none.process for cost, none in pairs]),
            "of_upstream": spread(
                [
                    (run[way].tenth - run["none"].tenth) / (run["upstream"].tenth - run["none"].tenth)
                    for run in runs
                    if "upstream" in run
                ]
            ),
        }
        figures[way] = own | (added if way != "none" else {})
    return figures


def bounds(figures: Mapping[str, Mapping[str, Figures]]) -> list[dict[str, Any]]:
    """Each promise, and whether it held."""
    listed = []
    for kind in KINDS:
        bare, slow = figures["bare"][kind], figures["slow"][kind]
        listed += [
            (f"{kind}, bare loopback, {WAYS['own']}", bare["own"]["percent"], BARE_PERCENT, "%"),
            (f"{kind}, bare loopback, {WAYS['direct']}", bare["direct"]["percent"], BARE_PERCENT, "%"),
            (f"{kind}, bare loopback, {WAYS['context']}", bare["context"]["percent"], BARE_PERCENT, "%"),
            (f"{kind}, 20 ms proxies, {WAYS['context']}", slow["context"]["percent"], SLOW_PERCENT, "%"),
            (f"{kind}, {WAYS['context']}, of proxywhirl's own default", bare["context"]["of_upstream"], 1.0, "x"),
        ]
    return [
        {"what": what, "value": found["median"], "bound": bound, "unit": unit, "held": found["median"] < bound}
        for what, found, bound, unit in listed
    ]


def render(document: Mapping[str, Any]) -> str:
    """The table for people."""
    where = document["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    lines = [
        f"{where['cpu']}, {where['cores']} cores; {where['system']}; load average "
        f"{where['load_average_before'][0]:.1f} before, {document['load_average_after'][0]:.1f} after",
        f"Python {where['python']}, logbus {where['logbus']}, {libraries}",
        f"{document['mode']} run, {document['processes']} processes each, seed {document['seed']};"
        " median (smallest-largest)",
    ]
    for part, title in PARTS.items():
        for kind in KINDS:
            found = document["figures"][part][kind]
            lines += [
                "",
                f"{kind}, {title}: {_shown(found['none']['tenth'], 0)} µs a request without any handler"
                f" (CPU {_shown(found['none']['thread'], 0)}); added to it:",
                f"{'':40}{'µs':>20}{'%':>22}{'CPU µs, thread':>22}{'CPU µs, process':>22}{'records':>9}",
            ]
            lines += [
                f"{WAYS[way]:40}{_shown(row['added']):>20}{_shown(row['percent'], 2):>22}"
                f"{_shown(row['added_thread']):>22}{_shown(row['added_process']):>22}{row['records']['median']:>9.1f}"
                for way, row in found.items()
                if way != "none"
            ]
    lines += [
        "",
        *(
            f"{'held  ' if bound['held'] else 'MISSED'} {bound['what']}: {bound['value']:.2f} {bound['unit']}"
            f" (< {bound['bound']:g})"
            for bound in document["bounds"]
        ),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    chosen = asked("benchmarks.proxied", "What logging adds to a proxied request.", RESULTS, arguments, short=True)
    mode, size = ("tiny", TINY) if chosen.tiny else ("short", SHORT) if chosen.short else ("full", FULL)
    where = machine()
    where["libraries"] |= {name: version(name) for name in ("proxywhirl", "httpx", "loguru")}
    figures = measure(size, chosen.seed)
    document = {
        "mode": mode,
        "processes": size.processes,
        "seed": chosen.seed,
        "machine": where,
        "load_average_after": list(os.getloadavg()),
        "figures": figures,
        "bounds": bounds(figures),
    }
    chosen.write(document)
    print(render(document))
    print(f"written to {chosen.output}")
    return 0


def _shown(of: Mapping[str, Any], digits: int = 1) -> str:
    return f"{of['median']:.{digits}f} ({of['min']:.{digits}f}-{of['max']:.{digits}f})"


if __name__ == "__main__":
    raise SystemExit(main())
