"""From runs to figures, from figures to a table, and whether the bounds held."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.collectors import Carried
from benchmarks.producers import FIGURES, VARIANTS, Cost
from benchmarks.spread import ratios, spread
from logbus import __version__

Document = Mapping[str, Any]

_NAMES: Final = {
    "null": "NullHandler (the floor)",
    "logbus": "LogbusHandler",
    "queue_listener": "QueueHandler + QueueListener",
    "json_file": "JSON FileHandler",
    "libraries": "import zmq, msgpack",
    "import": "import logbus",
    "configure": "the same, and configure()",
}


def machine() -> dict[str, Any]:
    """Where and on what this runs."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "logbus": __version__,
        "libraries": {name: version(name) for name in ("pyzmq", "msgpack", "msgspec")},
        "load_average_before": list(os.getloadavg()),
    }


def summary(
    producers: Mapping[str, Mapping[int, Cost]],
    carried: Mapping[str, Mapping[int, Carried]],
    startup: Mapping[str, Mapping[int, float]],
    steady: Carried | None,
) -> dict[str, Any]:
    """Every figure with its spread, and the bounds. A figure is None when all its runs were void."""
    rows: dict[str, Any] = {}
    for variant, costs in producers.items():
        row = rows[variant] = {"records": sum(cost.records for cost in costs.values())}
        for what in FIGURES:
            row[what] = spread([cost.costs[what] for cost in costs.values()])
            row[f"{what}_ratio"] = spread([cost.ratios[what] for cost in costs.values()])
    receivers = {
        variant: {number: run.receiver / run.records * 1e6 for number, run in runs.items()}
        for variant, runs in carried.items()
    }
    whole = {
        variant: {number: (run.receiver + run.workers) / run.records * 1e6 for number, run in runs.items()}
        for variant, runs in carried.items()
    }
    carriers: dict[str, Any] = {
        variant: {
            "records": sum(run.records for run in runs.values()),
            "receiver": spread(list(receivers[variant].values())),
            "receiver_in_floors": spread([run.receiver / run.records / run.floor for run in runs.values()]),
            "workers_and_receiver": spread(list(whole[variant].values())),
            "records_per_second": spread([run.records / run.wall for run in runs.values()]),
        }
        for variant, runs in carried.items()
    }
    cheaper = {
        "receiver": spread(ratios(receivers["mp_queue"], receivers["logbus"])),
        "workers_and_receiver": spread(ratios(whole["mp_queue"], whole["logbus"])),
    }
    starts = {
        variant: {"best": min(times.values()), **(spread(list(times.values())) or {})}
        for variant, times in startup.items()
    }
    extra = {variant: starts[variant]["best"] - starts["libraries"]["best"] for variant in ("import", "configure")}
    figures: dict[str, Any] = {
        "producers": rows,
        "collectors": {**carriers, "cheaper": cheaper},
        "startup": {**starts, "extra": extra},
        "steady": None
        if steady is None
        else {"share": steady.share, "seconds": steady.wall, "records": steady.records, "lost": steady.lost},
    }
    return {**figures, "bounds": _bounds(figures)}


def _bounds(figures: Document) -> list[dict[str, Any]]:
    def median(of: Document | None) -> float | None:
        return None if of is None else of["median"]

    carried, steady, start = figures["collectors"], figures["steady"], figures["startup"]["extra"]["configure"]
    listed = (
        ("calling thread, to the floor", median(figures["producers"]["logbus"]["flat_thread_ratio"]), "<=", 1.6, "x"),
        ("collector, per record", median(carried["logbus"]["receiver"]), "<=", 4.5, "µs"),
        ("collector, cheaper than an mp.Queue listener", median(carried["cheaper"]["receiver"]), ">=", 5.0, "x"),
        ("import logbus and configure(), beyond the libraries", start, "<=", 60, "ms"),
        ("collector at 10,000 records/s, of one core", steady and steady["share"] * 100, "<=", 20.0, "%"),
    )  # fmt: skip
    return [
        {
            "what": what,
            "value": value,
            "bound": f"{sign} {limit:g}",
            "unit": unit,
            "held": value is not None and (value <= limit if sign == "<=" else value >= limit),
        }
        for what, value, sign, limit, unit in listed
    ]


def render(document: Document) -> str:
    """The table for people."""
    where = document["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    loads = f"{where['load_average_before'][0]:.1f} before, {document['load_average_after'][0]:.1f} after"
    lines = [
        f"{where['cpu']}, {where['cores']} cores; {where['system']}; load average {loads}",
        f"Python {where['python']}, logbus {where['logbus']}, {libraries}",
        f"{document['mode']} run, {document['rounds']} rounds, seed {document['seed']}; median (smallest-largest)",
        "",
        "One log.info(…) in the process that logs, CPU µs per record; below it the ratio to the floor beside it",
        f"{'':30}{'flat out: thread':>20}{'process':>20}{'10,000/s: thread':>20}{'process':>20}",
    ]
    for variant in VARIANTS:
        row = document["producers"][variant]
        lines.append(f"{_NAMES[variant]:30}" + "".join(f"{_shown(row[what]):>20}" for what in FIGURES))
        if variant != "null":
            lines.append(f"{'':30}" + "".join(f"{_shown(row[f'{what}_ratio'], 2, 'x'):>20}" for what in FIGURES))
    carried = document["collectors"]
    lines += [
        "",
        "From four workers into one JSON file, CPU µs per record",
        f"{'':30}{'receiving process':>20}{'the same in floors':>20}{'with the workers':>20}{'records/s':>24}",
    ]
    lines += [
        f"{name:30}{_shown(carried[variant]['receiver']):>20}{_shown(carried[variant]['receiver_in_floors'], 2):>20}"
        f"{_shown(carried[variant]['workers_and_receiver']):>20}"
        f"{_shown(carried[variant]['records_per_second'], 0):>24}"
        for variant, name in (("logbus", "logbus, redacting"), ("mp_queue", "mp.Queue + QueueListener"))
    ]
    cheaper = carried["cheaper"]
    lines.append(
        f"{'logbus is cheaper by':30}{_shown(cheaper['receiver'], 1, 'x'):>20}{'':20}"
        f"{_shown(cheaper['workers_and_receiver'], 1, 'x'):>20}"
    )
    lines += ["", "Start of a worker, ms of wall time, best (smallest-largest)"]
    lines += [
        f"{_NAMES[variant]:30}{document['startup'][variant]['best']:>8.1f}"
        f" ({document['startup'][variant]['min']:.1f}-{document['startup'][variant]['max']:.1f})"
        for variant in ("libraries", "import", "configure")
    ]
    lines += ["", *(_verdict(bound) for bound in document["bounds"])]
    ledger = document["ledger"]
    lines.append(
        f"ledger: {ledger['emitted']} emitted, {ledger['collected']} collected, dropped {ledger['dropped'] or 'none'},"
        f" {'balanced' if ledger['balanced'] else 'NOT BALANCED'}"
    )
    lines += [f"VOID: {run}" for run in document["void"]]
    return "\n".join(lines)


def _shown(of: Document | None, digits: int = 1, unit: str = "") -> str:
    if of is None:
        return "void"
    return f"{of['median']:.{digits}f}{unit} ({of['min']:.{digits}f}-{of['max']:.{digits}f})"


def _verdict(bound: Document) -> str:
    value = "no figure: every run was void" if bound["value"] is None else f"{bound['value']:.2f} {bound['unit']}"
    return f"{'held  ' if bound['held'] else 'MISSED'} {bound['what']}: {value} ({bound['bound']})"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
