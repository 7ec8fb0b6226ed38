"""``python -m benchmarks.pipeline``: what each stage of a sink costs the collector, as part of ``make bench``.

Usage: ``python -m benchmarks.pipeline [--tiny] [--seed N] [--output FILE]``. Prints a table, writes
``benchmarks/results/pipeline.json``, and exits 0 whether the bound held or not: it is quoted, not enforced, since
the machine may be busy. ``--tiny`` only proves that it all works; its figures mean nothing.

Each variant is a collector of its own, all of them there from the beginning to the end, and each gets the same frames.
A run of a variant has one of the plain collector beside it, now before and now after it, and between the two the
floor is taken: ratios are those of such pairs. A cost is the CPU time of the whole process, its writers and the thread
that compresses included, until the last line is in its file and the last rotated file is compressed. At the end every
ledger must account for every record.

The plain collector and those that only rotate or rename leave records in their frame where the collector's part is
compiled; a condition, a sample, another format or a user's pattern needs the records, and then the Python decodes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq

from benchmarks.command import asked
from benchmarks.compiled import form_of
from benchmarks.feed import END, Feeder, payloads
from benchmarks.machine import machine
from benchmarks.record import floor_seconds
from benchmarks.service import PATIENCE_S, ROOT, Service
from benchmarks.spread import spread

RESULTS: Final = ROOT / "benchmarks" / "results" / "pipeline.json"
#: What is promised of the plain collector: its CPU per record, by that of a log call with a null handler (4.5 µs where
#: that takes 5.9).
BOUND: Final = 0.76
#: Collectors that start at a time.
_STARTERS: Final = 4
#: Seconds between looks at whether a run is over.
_LOOK_S: Final = 0.005
#: Bytes at the end of a file in which the last record of a run is looked for.
_TAIL_BYTES: Final = 4096
#: Seconds for which tail sampling holds a request here, and for which its end is waited for.
_WINDOW: Final = "100 ms"
_WINDOW_S: Final = 0.15

_SINK: Final = '[[sinks]]\ntype = "file"\npath = "{path}"\n{keys}\n'
_USERS_PATTERNS: Final = (
    "acct-[0-9]{8}", r"\\bsession=([0-9a-f]{32})", "[A-Z]{2}[0-9]{2}(?: [0-9]{4}){4}", "(?i)iban [a-z0-9]+",
    "card [0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{4}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """A collector: the keys of each of its sinks, and what else its configuration says."""

    name: str
    sinks: tuple[str, ...]
    rest: str = ""
    #: Seconds between the records of a run and the one that ends it.
    pause: float = 0.0

    @property
    def configuration(self) -> str:
        """Its logbus.toml."""
        sinks = [_SINK.format(path=path, keys=keys) for path, keys in zip(self.paths, self.sinks, strict=True)]
        return "\n".join([*sinks, self.rest])

    @property
    def paths(self) -> list[str]:
        """The file of each sink."""
        return [f"{number}.log" for number in range(len(self.sinks))]


PLAIN: Final = Variant("one JSON file, default redaction", ("",))
VARIANTS: Final = (
    Variant("the same in another collector", ("",)),  # how far two equals lie apart here
    Variant("where: two fields, all pass", ('where = { strategy = ["round_robin"], proxy_url = { exists = true } }',)),
    Variant("where: one field, a tenth passes", ('where = { operation = "connect" }',)),
    Variant("where: a pattern, a tenth passes", ('where = { message = { matches = "[0-9] of [0-9]+ are|end" } }',)),
    Variant("sample: a tenth", ("sample = { rate = 0.1 }",)),
    Variant("sample: a tenth, by key", ('sample = { rate = 0.1, key = "request_id" }',)),
    Variant(
        "sample: a tenth, by key, tail",
        (f'sample = {{ rate = 0.1, key = "request_id", tail = true, window = "{_WINDOW}" }}',),
        pause=_WINDOW_S,
    ),
    Variant("format: logfmt", ('format = "logfmt"',)),
    Variant("format: text", ('format = "text"',)),
    Variant(
        "two fields renamed, one added",
        ('rename_fields = { timestamp = "@timestamp", level = "severity" }\nstatic_fields = { env = "prod" }',),
    ),
    Variant("a context field renamed", ('rename_fields = { request_id = "rid" }',)),
    Variant("rotation: 1 MB", ('rotation = "1 MB"\nretention = "2 files"',)),
    Variant("rotation: 1 MB, gz", ('rotation = "1 MB"\nretention = "2 files"\ncompression = "gz"',)),
    Variant("five patterns of the user's", ("",), f"[redaction]\npatterns = {json.dumps(_USERS_PATTERNS)}"),
    Variant("two sinks, one format", ("", "")),
    Variant("two sinks, JSON and logfmt", ("", 'format = "logfmt"')),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: runs of each variant, records of a run, and which variants."""

    rounds: int
    records: int
    variants: tuple[Variant, ...] = VARIANTS


QUICK: Final = Size(rounds=7, records=4000)
#: Those that end in a way of their own: tail sampling, compression and two sinks are among them.
TINY: Final = Size(rounds=1, records=200, variants=VARIANTS[6::3])


class Fed:
    """A variant's collector and its producer."""

    def __init__(self, variant: Variant, service: Service, feeder: Feeder, directory: Path) -> None:
        self.variant = variant
        self.feeder = feeder
        self._service = service
        self._files = [directory / path for path in variant.paths]
        self._directory = directory
        self._runs = 0

    def run(self, frames: list[tuple[int, bytes]]) -> float:
        """CPU seconds of the collector for these records. Raises RuntimeError when they don't come out in time."""
        self._runs += 1
        before = self._service.cpu_seconds()
        self.feeder.send(frames)
        time.sleep(self.variant.pause)
        self.feeder.end(self._runs)
        deadline = time.monotonic() + PATIENCE_S
        while not self._over():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.variant.name}: run {self._runs} did not end within {PATIENCE_S:g} s")
            time.sleep(_LOOK_S)
        cost = self._service.cpu_seconds() - before
        for file in self._files:
            os.truncate(file, 0)  # as logrotate's copytruncate does; the sinks notice
        return cost

    def lost(self) -> int:
        """Records that its ledger can't account for, or that were dropped; for the end, after the goodbye."""
        self.feeder.close()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = self._service.status()
            [row] = [row for row in status["workers"] if row["worker"] == "feeder"]
            if row["emitted"] or time.monotonic() > deadline:  # the goodbye has come
                break
        dropped = sum(sum(sink["dropped"].values()) for sink in status["sinks"])
        return abs(self.feeder.sent - int(row["collected"])) + int(dropped) + int(not status["balanced"])

    def _over(self) -> bool:
        mark = (END % self._runs).encode()
        if not all(mark in _tail(file) for file in self._files):
            return False
        return 'compression = "gz"' not in self.variant.configuration or not any(self._directory.glob("0.*Z.log"))


def measure(size: Size, seed: int) -> dict[str, Any]:
    """Runs everything, each round in an order of its own."""
    order = random.Random(seed)
    frames = payloads(size.records)
    total = sum(count for count, _ in frames) + 1
    costs: dict[str, list[float]] = {variant.name: [] for variant in size.variants}
    ratios: dict[str, list[float]] = {variant.name: [] for variant in size.variants}
    plain: list[float] = []
    floors: list[float] = []
    with contextlib.ExitStack() as stack:
        fed = _start(stack, (PLAIN, *size.variants))
        base, others = fed[0], fed[1:]
        for one in fed:
            one.run(frames)  # warms up
        for _ in range(size.rounds):
            for one in order.sample(others, len(others)):
                cost = {}
                first, second = order.sample([base, one], 2)
                cost[first] = first.run(frames) / total
                floors.append(floor_seconds())
                cost[second] = second.run(frames) / total
                plain.append(cost[base])
                costs[one.variant.name].append(cost[one])
                ratios[one.variant.name].append(cost[one] / cost[base])
        with ThreadPoolExecutor(_STARTERS) as pool:
            found = zip(fed, pool.map(Fed.lost, fed), strict=True)
            void = [f"{one.variant.name}: {lost} records lost" for one, lost in found if lost]
    return {
        "plain": {
            "cost": spread([value * 1e6 for value in plain]),
            "floor": spread([value * 1e6 for value in floors]),
            "in_floors": spread([cost / floor for cost, floor in zip(plain, floors, strict=True)]),
        },
        "variants": {
            name: {"cost": spread([value * 1e6 for value in found]), "ratio": spread(ratios[name])}
            for name, found in costs.items()
        },
        "void": void,
    }


def render(document: Mapping[str, Any]) -> str:
    """The table for people."""
    plain = document["plain"]
    before, after = document["machine"]["load_average_before"][0], document["load_average_after"][0]
    form = f"; collectors are {document['collectors']}" if "collectors" in document else ""
    lines = [
        f"{document['mode']} run; median (smallest-largest); load average {before:.1f} before, {after:.1f} after{form}",
        "",
        "A collector's CPU µs per record, and the ratio to the plain one beside it",
        f"{PLAIN.name:40}{_shown(plain['cost'], 2):>24}",
        *(
            f"{name:40}{_shown(found['cost'], 2):>24}{_shown(found['ratio'], 2):>24}"
            for name, found in document["variants"].items()
        ),
        "",
        f"a log call with a null handler, µs: {_shown(plain['floor'], 2)}",
    ]
    lines += [
        f"{'held  ' if bound['held'] else 'MISSED'} {bound['what']}: {bound['value']:.2f} x (<= {bound['bound']:g})"
        for bound in document["bounds"]
    ]
    lines += [f"VOID: {what}" for what in document["void"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    chosen = asked("benchmarks.pipeline", "What the stages cost.", RESULTS, arguments)
    where = machine()
    figures = measure(TINY if chosen.tiny else QUICK, chosen.seed)
    value = figures["plain"]["in_floors"]["median"]
    what = "collector with default redaction, to the floor"
    document = {
        "mode": "tiny" if chosen.tiny else "quick",
        "seed": chosen.seed,
        "machine": where,
        "collectors": form_of(Path(sys.executable), Path.cwd(), "collectors"),
        "load_average_after": list(os.getloadavg()),
        **figures,
        "bounds": [{"what": what, "value": value, "bound": BOUND, "held": value <= BOUND}],
    }
    chosen.write(document)
    print(render(document))
    print(f"written to {chosen.output}")
    return 0


def _start(stack: contextlib.ExitStack, every: Sequence[Variant]) -> list[Fed]:
    """Each collector with its producer; they end with the stack."""
    # Short: a socket's path has 107 bytes at most.
    base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp")))
    places = [base / str(number) for number in range(len(every))]
    for place in places:
        place.mkdir()
    with ThreadPoolExecutor(_STARTERS) as pool:
        starting = [pool.submit(Service, place, one.configuration) for one, place in zip(every, places, strict=True)]
        services = [stack.enter_context(future.result()) for future in starting]
    context = stack.enter_context(zmq.Context())
    feeders = [
        stack.enter_context(Feeder(context, service.endpoint, number)) for number, service in enumerate(services)
    ]
    return [Fed(*one) for one in zip(every, services, feeders, places, strict=True)]


def _tail(file: Path) -> bytes:
    """The end of a file; nothing while it is being rotated."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return opened.read()
    except FileNotFoundError:
        return b""


def _shown(of: Mapping[str, Any], digits: int) -> str:
    return f"{of['median']:.{digits}f} ({of['min']:.{digits}f}-{of['max']:.{digits}f})"


if __name__ == "__main__":
    raise SystemExit(main())
