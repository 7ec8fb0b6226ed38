"""``python -m benchmarks.scale.endurance``: hours at one rate, to see that memory and cost stay where they are.

Usage: ``python -m benchmarks.scale.endurance [--minutes N] [--rate R] [--output FILE] [--directory DIR] [--resume]``.
Four workers log the reference records, together ``R`` a second, into a collector whose file rotates, so that the disk
stays small. Each ten seconds gives a sample: resident sets, CPU per record of that interval beside the floor that the
workers took in it, what waits. The file of results is written anew with each sample, so that a run that is cut short
(SIGINT, SIGTERM) is a shorter run.

``--resume`` adds a piece to the series: another start of collector and workers on the same state directory, so that
the ledger goes on, and judges all pieces together. The first ten minutes of a piece are in the series and not in its
slopes: caches fill and allocators find their size. So a piece has to be longer than that. Memory that a backlog took
stays taken, as allocators are, until a larger one needs more: where another program has kept the machine busy for a
moment there is a step. Growth with time, or with records, is what happens between the steps: so a line has a height of
its own after each backlog, and all have one slope.

CPU is judged by its ratio to the floor: what else the machine does meanwhile meets both. Exits 1 when the ledger does
not balance or a record was dropped; the slopes are quoted, not enforced.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.machine import machine
from benchmarks.scale.collector import Collector
from benchmarks.scale.crew import Crew, Worked
from benchmarks.scale.slope import flatness
from benchmarks.scale.work import Flow, Task
from benchmarks.service import ROOT

RESULTS: Final = ROOT / "benchmarks" / "results" / "endurance.json"
WORKERS: Final = 4
#: Seconds of one interval.
INTERVAL_S: Final = 10.0
#: Seconds at the beginning of a piece that are in no slope: memory grows to what the largest backlog so far took.
SETTLE_S: Final = 600.0
#: Records in all buffers from which on they are a backlog: a fifth of a second at the usual rate.
BACKLOG: Final = 2000
#: Seconds between looks at whether the run was asked to end.
_LOOK_S: Final = 0.5
#: What the collector does: rotation is on, or an hour would take 16 GB.
_CONFIGURATION: Final = (
    '[[sinks]]\nname = "file"\ntype = "file"\npath = "endurance.jsonl"\nrotation = "50 MB"\nretention = "3 files"\n'
)
#: The series that are judged; one name, one unit.
_JUDGED: Final = (
    "collector_rss_mib",
    "worker_rss_mib",
    "collector_us",
    "collector_floors",
    "worker_us",
    "worker_floors",
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One interval of ``piece``; it ended ``at_s`` seconds after the piece began.

    ``worker_*`` is the mean of the workers. ``*_us`` is CPU per record in microseconds, ``*_floors`` the same by that
    of a log call with a null handler in the same interval. ``buffered`` is what the workers' buffers held
    and ``backlog`` the most that they did in the interval; ``in_flight`` and ``queued`` are what the ledger called so.
    """

    piece: int
    at_s: float
    records: int
    collector_rss_mib: float
    collector_pss_mib: float
    worker_rss_mib: float
    collector_us: float
    collector_floors: float
    worker_us: float
    worker_floors: float
    floor_us: float
    buffered: int
    backlog: int
    in_flight: int
    queued: int
    dropped: int
    balanced: bool
    load: float


class Stretch:
    """One piece of the series: a collector and its workers, from their start to their end."""

    def __init__(self, number: int, collector: Collector, crew: Crew) -> None:
        self._number = number
        self._collector = collector
        self._crew = crew
        self._begun = time.monotonic()
        self._before = self._look()

    def point(self) -> Point:
        """What has happened since the last one."""
        collector_s, worked, status = self._look()
        collector_was, worked_was, status_was = self._before
        self._before = collector_s, worked, status
        records = status["total"]["collected"] - status_was["total"]["collected"]
        collector_us = (collector_s - collector_was) / max(records, 1) * 1e6
        _, worker_us, floor_us = worked.since(worked_was).costs()
        memory, rss = self._collector.memory(), self._crew.rss()
        return Point(
            self._number,
            round(time.monotonic() - self._begun, 3),
            records,
            round(memory.rss, 3),
            round(memory.pss, 3),
            round(sum(rss) / len(rss), 3),
            round(collector_us, 4),
            round(collector_us / floor_us, 4),
            round(worker_us, 4),
            round(worker_us / floor_us, 4),
            round(floor_us, 4),
            worked.buffered,
            worked.backlog,
            status["total"]["in_flight"],
            sum(sink["queued"] for sink in status["sinks"]),
            sum(status["total"]["dropped"].values()),
            status["balanced"],
            round(os.getloadavg()[0], 2),
        )

    def _look(self) -> tuple[float, Worked, Mapping[str, Any]]:
        return self._collector.cpu_seconds(), self._crew.report(), self._collector.status()


def judge(points: Sequence[Mapping[str, Any]]) -> Document:
    """The slope of every series within the stretches between backlogs, without the beginning of each piece.

    The smallest and the largest value are of all that comes after these beginnings, backlogs too.
    """
    settled = [point for point in points if point["at_s"] > SETTLE_S]
    stretches = _stretches(settled)
    judged: Document = {}
    for name in _JUDGED:
        found = flatness([[(point["at_s"], point[name]) for point in one] for one in stretches])
        values = [point[name] for point in settled]
        judged[name] = None if found is None else {**found, "min": min(values), "max": max(values)}
    return judged


def _stretches(points: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The points between one backlog, or one start, and the next."""
    found: list[list[Mapping[str, Any]]] = []
    piece, backlog = None, True
    for point in points:
        if point["piece"] != piece or backlog:
            found.append([])
        piece, backlog = point["piece"], point["backlog"] > BACKLOG
        if not backlog:
            found[-1].append(point)
    return [one for one in found if one]


def run(document: Document, seconds: float, rate: float, output: Path) -> bool:
    """Adds a piece to the document, written with each point; whether every record was accounted for and none lost."""
    directory = Path(document["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    piece: Document = {"machine": machine(), "at": time.time(), "rate": rate}
    number = len(document["pieces"])
    document["pieces"].append(piece)
    with Collector(directory, _CONFIGURATION) as collector:
        collector.start()
        emitted_before = collector.status()["total"]["emitted"]
        with Crew(Task(WORKERS, {"app_name": "endurance"}), directory) as crew:
            crew.begin(Flow(None, rate / WORKERS, backlog=True))
            stretch = Stretch(number, collector, crew)
            until = time.monotonic() + seconds
            while _wait(min(until, time.monotonic() + INTERVAL_S)):
                document["points"].append(asdict(stretch.point()))
                document["flatness"] = judge(document["points"])
                write(document, output)
                if time.monotonic() >= until:
                    break
            logged = crew.halt().emitted
        status = collector.wait_collected(emitted_before + logged)
        piece["peak_rss_mib"] = round(collector.peak_mib(), 3)
        piece["logged"] = logged
        piece["ledger"] = {key: status["total"][key] for key in ("emitted", "collected", "dropped", "unknown")}
        piece["sinks"] = [{key: s[key] for key in ("offered", "delivered", "dropped")} for s in status["sinks"]]
        piece["balanced"] = status["balanced"]
        collector.stop()
    total = piece["ledger"]
    piece["whole"] = (
        total["emitted"] == emitted_before + logged == total["collected"]
        and status["balanced"] is True
        and not total["dropped"]
        and all(sink["offered"] == sink["delivered"] for sink in piece["sinks"])
    )
    document["flatness"] = judge(document["points"])
    write(document, output)
    return bool(piece["whole"])


def write(document: Mapping[str, Any], output: Path) -> None:
    """Replaces the file in one step: a reader, or the next piece, never finds half of it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    new = output.with_suffix(".new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(output)


def render(document: Mapping[str, Any]) -> str:
    """The table for people."""
    points = document["points"]
    records = sum(point["records"] for point in points)
    lines = [
        f"{len(document['pieces'])} pieces, {len(points)} intervals of {INTERVAL_S:g} s, {records:,} records",
        f"{'':22}{'mean':>10}{'min':>10}{'max':>10}{'per hour':>12}{'error':>10}{'% per hour':>12}{'error':>8}",
    ]
    for name, found in document["flatness"].items():
        if found is None:
            lines.append(f"{name:22}too few points past the first {SETTLE_S:g} s of a piece")
            continue
        cells = [f"{found[key]:.3f}" for key in ("mean", "min", "max", "per_hour", "error")]
        cells += [f"{found.get(key, 0):.2f}" for key in ("percent_per_hour", "percent_error")]
        widths = (10, 10, 10, 12, 10, 12, 8)
        lines.append(f"{name:22}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    for number, piece in enumerate(document["pieces"]):
        if "ledger" not in piece:
            lines.append(f"piece {number}: cut off before its end")
            continue
        verdict = "whole" if piece["whole"] else "NOT WHOLE"
        lines.append(f"piece {number}: {verdict}; ledger {piece['ledger']}, sinks {piece['sinks']}")
    return "\n".join(lines)


_asked_to_end: list[int] = []


def _end(number: int, frame: FrameType | None) -> None:
    _asked_to_end.append(number)


def _wait(until: float) -> bool:
    """Waits for that moment of the monotonic clock; False when the run was asked to end before it."""
    while not _asked_to_end and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_S))
    return not _asked_to_end


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.endurance", description="Hours at one rate.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--rate", type=float, default=10_000.0, help="records a second, of all workers together")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go, as JSON")
    parser.add_argument("--directory", type=Path, default=None, help="of sockets, ledger and files; short, and kept")
    parser.add_argument("--resume", action="store_true", help="go on with the series and the directory in --output")
    chosen = parser.parse_args(arguments)
    for name in [name for name in os.environ if name.startswith("LOGBUS_")]:
        del os.environ[name]  # a setting of the caller's would be measured too
    if chosen.resume:
        document = json.loads(chosen.output.read_text())
    else:
        directory = chosen.directory or Path(tempfile.mkdtemp(prefix="lb-endurance-", dir="/tmp"))
        document = {"directory": str(directory), "pieces": [], "points": [], "flatness": {}}
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        whole = run(document, chosen.minutes * 60, chosen.rate, chosen.output)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    print(render(document))
    print(f"written to {chosen.output}; sockets, ledger and files are in {document['directory']}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
