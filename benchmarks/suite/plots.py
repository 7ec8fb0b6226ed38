"""The plots of the page, as SVG: small, text as text, and the same bytes for the same results.

The program is ``python -m benchmarks.suite.plots ENDURANCE DIRECTORY``, run with the interpreter that has matplotlib
and given the results on stdin. It writes what they have something for, and prints the names. On a logarithmic axis a
bar has no honest length, so medians are points, with a whisker from the smallest to the largest round.
"""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.suite import growth, tables

Document = Mapping[str, Any]
Spread = Mapping[str, Any]

#: Colours that differ for the colour-blind too: of our names and of the others', of their points, and of each series.
_OURS: Final = "#0b5cad"
_PEER: Final = "#222222"
_PEERS: Final = "#8a8a8a"
_COLOURS: Final = ("#0b5cad", "#d1701f", "#3a8f5a", "#8c4fa0", "#8a8a8a")
_MARKERS: Final = ("o", "D", "s", "^", "v")
#: Inches: the width of a plot, the height of a row, and what title and axis take.
_WIDTH: Final = 8.0
_ROW: Final = 0.24
_FRAME: Final = 1.2

#: Where an SVG has coordinates: two digits behind the point are more than any eye sees.
_NUMBERS: Final = re.compile(r'\b(?:d|x|y|transform)="[^"]*"')
#: Points of a curve that is drawn: more than these can't be told apart.
_POINTS: Final = 120

#: Text stays text, ids don't change from run to run, and no font is looked for on the machine.
_SETTINGS: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "logbus",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind: what the legend calls them, and the spread of each row that has one."""

    label: str
    values: Sequence[Spread | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: what the legend calls it, and its points."""

    label: str
    points: Sequence[tuple[float, float]]


def producers(document: Document) -> Figure | None:
    """What a call costs in floors: calling thread and process."""
    return _costs(document, "producer", "process_us", ("thread_us", "process_us"), ("calling thread", "whole process"))


def paced(document: Document) -> Figure | None:
    """The process's cost in floors, flat out and paced."""
    return _costs(document, "producer", "process_us", ("process_us", "paced_process_us"), ("flat out", "paced"))


def latency(document: Document) -> Figure | None:
    """How long a call takes."""
    figures = ("call_p50_us", "call_p99_us", "call_p999_us")
    return _costs(document, "producer", "call_p999_us", figures, ("p50", "p99", "p99.9"), in_floors=False)


def collectors(document: Document) -> Figure | None:
    """What a collector costs."""
    return _costs(document, "collector", "process_us", ("process_us",), ("CPU of the collector",))


def whole_way(document: Document) -> Figure | None:
    """What a record costs from the call to the file."""
    return _costs(document, "end_to_end", "process_us", ("process_us",), ("CPU of all processes",))


def _costs(
    document: Document,
    family: str,
    order: str,
    figures: Sequence[str],
    labels: Sequence[str],
    *,
    in_floors: bool = True,
) -> Figure | None:
    """A row for each variant of a family that has these figures, the cheapest on top."""
    rows = document["figures"].get(family, {})
    kind = "floors" if in_floors else "figures"
    shown = [
        variant for variant in tables.by_cost(rows, order, kind) if any(rows[variant][kind].get(f) for f in figures)
    ]
    if not shown:
        return None
    series = [
        Series(label, [rows[variant][kind].get(figure) for variant in shown])
        for label, figure in zip(labels, figures, strict=True)
    ]
    names = [(tables.name_of(family, variant), tables.is_ours(family, variant)) for variant in shown]
    return dots(names, series, "floors (1 = the same call with a NullHandler)" if in_floors else "µs")


def workers(document: Document) -> Figure | None:
    """Cost and memory by the number of workers."""
    rows = growth.PARTS[0].rows(document)
    costs = {
        "workers": "paced_process_us",
        "workers, beyond idle": "beyond_idle_process_us",
        "collector": "paced_collector_us",
        "collector, beyond idle": "beyond_idle_collector_us",
    }
    memory = {"collector": "collector_rss_mib", "one worker, above a bare process": "above_bare_rss_mib"}
    return _grown(rows, costs, memory, ("CPU per record, floors", "RSS, MiB"), "workers, together 10,000 records/s")


def sizes(document: Document) -> Figure | None:
    """Cost by the size of a record: per record and per MiB."""
    rows = {name: row for name, row in document["figures"].get("sizes", {}).items() if name.endswith(", message")}
    costs = {"worker": "paced_process_us", "collector": "paced_collector_us"}
    each = {"worker": "process_ms_per_mib", "collector": "collector_ms_per_mib"}
    ordered = {name: rows[name] for name in sorted(rows, key=growth.order)}
    return _grown(ordered, costs, each, ("CPU per record, floors", "CPU, ms per MiB"), "bytes of the message")


def stalls(document: Document) -> Figure | None:
    """How long a call takes by the state of the collector."""
    figures = ("call_p50_us", "call_p99_us", "call_p999_us")
    rows = document["figures"].get("stalls", {})
    shown = sorted(rows, key=growth.by_state)
    if not shown:
        return None
    series = [
        Series(label, [rows[variant]["figures"].get(figure) for variant in shown])
        for label, figure in zip(("p50", "p99", "p99.9"), figures, strict=True)
    ]
    return dots([(variant, False) for variant in shown], series, "µs")


def endurance(document: Document) -> Figure | None:
    """Memory and cost over the hours."""
    every = document["points"]
    points = every[:: len(every) // _POINTS + 1]
    if not points:
        return None
    until = {-1: 0.0}  # pieces one behind the other
    for point in every:
        until[point["piece"]] = point["at_s"]

    def line(label: str, name: str) -> Line:
        begun = [sum(until.get(piece, 0.0) for piece in range(point["piece"])) for point in points]
        hours = [(start + point["at_s"]) / 3600 for start, point in zip(begun, points, strict=True)]
        return Line(label, [(at, point[name]) for at, point in zip(hours, points, strict=True)])

    costs = [line("workers", "worker_floors"), line("collector", "collector_floors")]
    memory = [line("collector", "collector_rss_mib"), line("a worker", "worker_rss_mib")]
    return lines(costs, memory, ("CPU per record, floors", "RSS, MiB"), "hours", log=False)


def _grown(
    rows: Mapping[str, Mapping[str, Any]],
    left: Mapping[str, str],
    right: Mapping[str, str],
    heads: tuple[str, str],
    across: str,
) -> Figure | None:
    """Curves over what a row's name begins with: on the left in floors, on the right as they are."""

    def curves(of: Mapping[str, str], kind: str) -> list[Line]:
        found = [
            Line(
                label,
                [(growth.order(name)[1], row[kind][key]["median"]) for name, row in rows.items() if row[kind].get(key)],
            )
            for label, key in of.items()
        ]
        return [curve for curve in found if len(curve.points) > 1]

    costs, others = curves(left, "floors"), curves(right, "figures")
    return lines(costs, others, heads, across) if costs and others else None


def dots(names: Sequence[tuple[str, bool]], series: Sequence[Series], unit: str) -> Figure:
    """Rows of points on a logarithmic axis; a name that is ours (True) stands out."""
    figure, axes = _figure(_FRAME + _ROW * len(names))
    colours: Sequence[str] = _COLOURS
    single = len(series) == 1
    if single:  # colour is free to say whose they are
        colours = (_OURS, _PEERS)
        series = [_of(series[0], [ours is mine for _, ours in names]) for mine in (True, False)]
    for place, found in enumerate(series):
        rows = [(at, value) for at, value in enumerate(found.values) if value is not None]
        offset = 0.0 if single else (place - (len(series) - 1) / 2) * 0.16
        at = [row + offset for row, _ in rows]
        medians = [value["median"] for _, value in rows]
        colour, marker = colours[place % len(colours)], _MARKERS[place % len(_MARKERS)]
        ends = [(value["min"], value["max"], math.nan) for _, value in rows]  # one path, broken between the rows
        heights = [height for height in at for _ in range(3)]
        axes.plot([end for three in ends for end in three], heights, color=colour, linewidth=1.0)
        axes.plot(medians, at, marker, color=colour, markersize=4, label=found.label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_said))
    axes.set_yticks(range(len(names)), [name for name, _ in names])
    for label, (_, ours) in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(_OURS if ours else _PEER)
        label.set_fontweight("bold" if ours else "normal")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(unit)
    axes.grid(axis="y", visible=False)
    axes.tick_params(left=False)
    if not single:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series))
    return figure


def _of(series: Series, kept: Sequence[bool]) -> Series:
    return Series(series.label, [value if keep else None for value, keep in zip(series.values, kept, strict=True)])


def _said(value: float, _: object) -> str:
    """A tick's number: 0.5, 20, 5k."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def lines(
    left: Sequence[Line], right: Sequence[Line], heads: tuple[str, str], across: str, *, log: bool = True
) -> Figure:
    """Two plots side by side over the same axis: costs and memory, say."""
    figure = Figure(figsize=(_WIDTH, 3.0), layout="constrained", facecolor="white")
    pair = figure.subplots(1, 2)
    for axes, curves, head in zip(pair, (left, right), heads, strict=True):
        for place, curve in enumerate(curves):
            colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)] if log else ""
            x, y = zip(*curve.points, strict=True)
            axes.plot(x, y, marker=marker, color=colour, markersize=4, linewidth=1.2, label=curve.label)
        if log:
            axes.set_xscale("log")
            ticks = sorted({x for curve in curves for x, _ in curve.points})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(across)
        axes.set_title(head, loc="left", fontsize=9)
        axes.legend()
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    return figure, figure.subplots()


def drawn(document: Document, hour: Document | None) -> Iterator[tuple[str, Figure]]:
    """Every plot for which there are figures, by name."""
    for make in _PLOTS:
        if (figure := make(document)) is not None:
            yield make.__name__, figure
    if hour is not None and (figure := endurance(hour)) is not None:
        yield endurance.__name__, figure


_PLOTS: Final[Sequence[Callable[[Document], Figure | None]]] = (
    producers, paced, latency, collectors, whole_way, workers, sizes, stalls,
)  # fmt: skip


def main(hours: Path, directory: Path) -> None:
    """Writes the plots."""
    document = json.load(sys.stdin)
    hour = json.loads(hours.read_text()) if hours.exists() else None
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc of the user's would make other plots
        mpl.rcParams.update(_SETTINGS)
        for name, figure in drawn(document, hour):
            drawing = io.StringIO()
            figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": "logbus"})
            (directory / f"{name}.svg").write_text(_NUMBERS.sub(_rounded, drawing.getvalue()))
            print(name)


def _rounded(numbers: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", numbers[0])


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
