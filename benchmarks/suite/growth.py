"""The tables of what grows: workers, sinks, records, floods, hours; and of a call while the collector is away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.scale.stalls import STATES
from benchmarks.suite.table import shown, table, titled

Document = Mapping[str, Any]
Row = Mapping[str, Any]

#: What the variants of workers that log as fast as they can end with.
FLAT_OUT: Final = ", flat out"
#: The most workers that are measured.
CROWD: Final = "200"


@dataclass(frozen=True, slots=True)
class Part:
    """A table: of which family, which of its variants, what is said above it, and its columns.

    A column in ``floors`` is the figure in floors, one in ``figures`` as it is.
    """

    family: str
    said: str
    floors: Sequence[str] = ()
    figures: Sequence[str] = ()
    takes: Callable[[str], bool] = lambda variant: True

    def rows(self, document: Document) -> dict[str, Row]:
        """The variants that it shows, in the order of their numbers."""
        found: Mapping[str, Row] = document["figures"].get(self.family, {})
        return {variant: found[variant] for variant in sorted(found, key=order) if self.takes(variant)}

    def table(self, document: Document) -> str:
        """The table."""
        head = [self.family, *(f"{titled(name).partition(',')[0]}, floors" for name in self.floors)]
        head += [titled(name) for name in self.figures]
        body = [
            [
                f"{variant} (lost records)" if row["void"] else variant,
                *(shown(row["floors"].get(name), 2) for name in self.floors),
                *(shown(row["figures"].get(name), 0 if titled(name).endswith("/s") else 1) for name in self.figures),
            ]
            for variant, row in self.rows(document).items()
        ]
        return table(head, body)


#: The columns of workers that log at one rate.
_PACED: Final = ("paced_thread_us", "paced_process_us", "paced_collector_us")
_BEYOND: Final = ("beyond_idle_process_us", "beyond_idle_collector_us")
_MEMORY: Final = ("collector_rss_mib", "worker_rss_mib", "above_bare_rss_mib", "above_bare_private_mib")
#: The tables of the part "Growth".
PARTS: Final = (
    Part(
        "workers",
        "**Workers** that together log 10,000 records a second in bursts of 50. Beyond idle: without what as many"
        " silent workers, and their collector, take in the same time.",
        (*_PACED, *_BEYOND),
        (*_PACED[1:], *_MEMORY, "welcomed_ms", "confirm_ms"),
        str.isdigit,
    ),
    Part(
        "workers",
        "**Workers that log seldom**: each as many records a second as one of 200 does above, 50. What a record costs"
        " one of 200 beyond what it costs one of four is what the other workers cost it. The collector's part is not"
        " here: it gets 50 times as much from 200 of them as from four.",
        _PACED[:2],
        _PACED[:2],
        lambda variant: ", as slow as " in variant or variant == CROWD,
    ),
    Part(
        "memory",
        "**A worker's memory**, of a process that is started and not forked: its resident set with the standard"
        " library's logging alone (bare), and what lies above that after `import logbus`, `configure()`, the first"
        " record, thousands more with the buffer empty again (and what of that no other process shares), and"
        " `logbus.stats()`. Above it is more than in the table of workers: what logbus needs of the standard library"
        " (json, pickle, random, datetime) is in it, where the bare worker of that table has loaded this for itself.",
        figures=(
            *("bare_rss_mib", "import_rss_mib", "configure_rss_mib", "first_record_rss_mib", "records_rss_mib"),
            *("records_private_mib", "stats_rss_mib"),
        ),
    ),
    Part(
        "workers",
        "**Workers** at the same rate in small bursts. These make small frames, and what is paid for each frame is paid"
        " for fewer records.",
        (*_PACED, *_BEYOND),
        _PACED[1:],
        lambda variant: ", bursts of " in variant,
    ),
    Part(
        "workers",
        "**Workers** as fast as they can:",
        ("thread_us", "process_us", "collector_us"),
        ("process_us", "collector_us", "records_per_s"),
        lambda variant: variant.endswith(FLAT_OUT),
    ),
    Part(
        "idle",
        "**Silent workers**: what they take while nothing is logged.",
        figures=(
            "worker_ms_per_s",
            "workers_ms_per_s",
            "collector_ms_per_s",
            "collector_rss_mib",
            "worker_private_mib",
        ),
    ),
    Part("sinks", "**Sinks** of one collector:", ("collector_us",), ("collector_us", "collector_peak_mib")),
    Part(
        "sizes",
        "**Sizes of a record**, whose text is the message or one field:",
        ("paced_thread_us", "paced_process_us", "paced_collector_us"),
        ("process_ms_per_mib", "collector_ms_per_mib", "bytes_per_record", "collector_peak_mib", "worker_rss_mib"),
    ),
    Part(
        "flood",
        "**A flood**: workers flat out until their buffers overflow. What was dropped was counted.",
        figures=(
            *("collector_quiet_mib", "collector_peak_mib", "collector_after_mib", "worker_peak_mib"),
            *("collector_us", "emitted_per_s", "records_per_s", "dropped_percent"),
        ),
    ),
)
#: Bytes in the units that the names of sizes have.
_UNITS: Final[Mapping[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def order(variant: str) -> tuple[str, float]:
    """What sorts variants whose names begin with a number, and maybe a unit: by what comes behind it, by its size."""
    size, _, rest = variant.partition(", ")
    number, _, unit = size.partition(" ")
    return rest, float(number) * _UNITS.get(unit, 1) if number.isdigit() else 0.0


def by_state(variant: str) -> tuple[bool, str, int]:
    """What sorts the variants of stalls: the handler first, and each from serving to the worst."""
    kind, _, state = variant.partition(": ")
    return kind != "handler", kind, list(STATES).index(state) if state in STATES else len(STATES)


def growth(document: Document) -> str:
    """A table for each part that was measured; nothing when none was."""
    return "\n\n".join(
        f"{part.said}{_rounds(rows)}\n\n{part.table(document)}" for part in PARTS if (rows := part.rows(document))
    )


def _rounds(rows: Mapping[str, Row]) -> str:
    """Where no figure has brackets, that this is not because they agree."""
    return " (One round.)" if all(row["runs"] == 1 for row in rows.values()) else ""


def stalls(document: Document) -> str:
    """A call's latency by the state of the collector, and that of a null handler's call at the same moments."""
    rows = document["figures"]["stalls"]
    figures = ("call_p50_us", "call_p99_us", "call_p999_us", "above_serving_us")
    calm = ("calm_p999_us", "calm_above_serving_us")
    heads = ("above serving, µs", "NullHandler, p99.9, µs")
    return table(
        (
            *("the collector", *map(titled, figures[:3]), *heads),
            *("calm: p99.9, µs", *(f"calm: {head}" for head in heads), "state"),
        ),
        (
            (
                variant,
                *(shown(row["figures"].get(name)) for name in figures),
                _beside(row, figures[2]),
                *(shown(row["figures"].get(name)) for name in calm),
                _beside(row, calm[0]),
                STATES.get(variant.partition(": ")[2], ""),
            )
            for variant, row in ((variant, rows[variant]) for variant in sorted(rows, key=by_state))
        ),
    )


def endurance(document: Document) -> str:
    """How flat memory and cost have stayed over hours, and what the ledger said at the end."""
    points = document["points"]
    records = sum(point["records"] for point in points)
    hours = sum(
        max((point["at_s"] for point in points if point["piece"] == number), default=0.0)
        for number in range(len(document["pieces"]))
    )
    rows = [
        (
            titled(name),
            *(f"{found[key]:.2f}" for key in ("mean", "min", "max")),
            f"{found['per_hour']:+.3f} ± {found['error']:.3f}",
            f"{found.get('percent_per_hour', 0.0):+.2f} ± {found.get('percent_error', 0.0):.2f}",
        )
        for name, found in document["flatness"].items()
        if found is not None
    ]
    ends = [
        "cut off before its end"
        if "ledger" not in piece
        else f"{piece['ledger']['emitted']:,} emitted, {piece['ledger']['collected']:,} collected, dropped"
        f" {piece['ledger']['dropped'] or 'none'}, {'balanced' if piece['balanced'] else '**not balanced**'}"
        for piece in document["pieces"]
    ]
    pieces = "one piece" if len(ends) == 1 else f"{len(ends)} pieces"
    return "\n\n".join(
        (
            f"{records:,} records in {hours / 3600:.2f} hours, in {pieces}.",
            table(("", "mean", "min", "max", "per hour", "% per hour"), rows),
            "\n".join(f"- ledger after piece {number + 1}: {end}" for number, end in enumerate(ends)),
        )
    )


def _beside(row: Row, figure: str) -> str:
    """The floor's figure itself: what the machine does to a call that does nothing."""
    own, ratio = row["figures"].get(figure), row["floors"].get(figure)
    return f"{own['median'] / ratio['median']:,.1f}" if own and ratio else "-"
