"""``python -m benchmarks.delivery``: what it costs to bring records to a server, as part of ``make bench``.

Usage: ``python -m benchmarks.delivery [--tiny] [--seed N] [--output FILE]``. Prints two tables, writes
``benchmarks/results/delivery.json``, and exits 0 whether the bounds held or not: they are quoted, not enforced, since
the machine may be busy. ``--tiny`` only proves that it all works; its figures mean nothing.

The first table is of sinks: each is a collector of its own, gets the same frames as one that writes a file, and is
compared with a run of that beside it, now before and now after it. The second is of handlers that send by themselves
(:mod:`benchmarks.shippers`): the CPU time of the process that logs, the log call and everything in the background
included. For logbus that is the worker's process *and* the collector's. All of one round run within seconds of one
another, in an order of its own, and ratios are those of one round.

All send to one server (:mod:`benchmarks.endpoint`), whose CPU is in no figure, and nothing is over before it has
counted the last record. A run in which one is missing is void and in no figure.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq

from benchmarks.command import asked
from benchmarks.endpoint import MARK, TCP, UDP, UNIX, Endpoint
from benchmarks.feed import Feeder, payloads
from benchmarks.machine import machine
from benchmarks.service import PATIENCE_S, ROOT, Service
from benchmarks.shippers import SHIPPERS
from benchmarks.shipping import begin, compared, slot_of
from benchmarks.spread import spread

RESULTS: Final = ROOT / "benchmarks" / "results" / "delivery.json"
#: Records a second that go to a local server, uncompressed, at least.
SUSTAINED: Final = 50_000
#: Records of a request, which are in hand and don't go into the spool; and bytes that a line has at least.
BATCH: Final = 500
LINE_BYTES: Final = 350
#: Programs that start at a time.
_STARTERS: Final = 4
#: Seconds between looks at whether a run is over, and between frames for what loses them when they come flat out.
_LOOK_S: Final = 0.002
_GAP_S: Final = 0.005

_FILE: Final = '[[sinks]]\ntype = "file"\npath = "out.jsonl"\n'
_SYSLOG: Final = '[[sinks]]\ntype = "syslog"\nname = "remote"\naddress = "{address}"\n'
_HTTP: Final = """[[sinks]]
type = "http"
name = "remote"
url = "http://127.0.0.1:{port}/{slot}/200/x"
batch = {{ max_delay = "50 ms" }}
{keys}
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """A collector with one sink: ``sink`` makes its table. ``slot`` is where its records are counted, None: its file.

    ``away``: nobody listens until all of a run is in the spool. ``paced``: frames come a little apart.
    """

    name: str
    sink: Callable[[Endpoint, int], str]
    slot: int | None = None
    away: bool = False
    paced: bool = False


def _http(keys: str = "") -> Callable[[Endpoint, int], str]:
    return lambda endpoint, slot: _HTTP.format(port=endpoint.http, slot=slot, keys=keys)


def _spooled(endpoint: Endpoint, slot: int) -> str:
    retry = 'spool = "64 MiB"\nretry = { initial = "10 ms", max_interval = "50 ms" }'
    return _HTTP.format(port=endpoint.away, slot=slot, keys=retry)


FILE: Final = Variant("a JSON file", lambda endpoint, slot: _FILE)
VARIANTS: Final = (
    Variant("HTTP, lines of JSON", _http(), 0),
    Variant("HTTP, a JSON array", _http('body = "json"'), 1),
    Variant("HTTP, Loki", _http('body = "loki"\nlabels = { job = "bench", level = "{level}" }'), 2),
    Variant("HTTP, OTLP", _http('body = "otlp"'), 3),
    Variant("HTTP, lines of JSON, gzip", _http('compression = "gzip"'), 4),
    Variant("HTTP, lines of JSON, zstd", _http('compression = "zstd"'), 5),
    Variant("HTTP, all of it by way of the spool", _spooled, 6, away=True),
    Variant("syslog, TCP", lambda end, slot: _SYSLOG.format(address=f"tcp://127.0.0.1:{end.tcp}"), TCP),
    Variant("syslog, UDP", lambda end, slot: _SYSLOG.format(address=f"udp://127.0.0.1:{end.udp}"), UDP, paced=True),
    Variant("syslog, Unix datagrams", lambda end, slot: _SYSLOG.format(address=f"unix://{end.unix}"), UNIX),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: rounds of the sinks and of the shippers, records of a run, of the sustained one."""

    rounds: int
    shipped: int
    records: int
    sustained: int
    variants: tuple[Variant, ...] = VARIANTS
    shippers: tuple[str, ...] = tuple(SHIPPERS)
    #: The part of a shipper's records that it logs: one of so many.
    part: int = 1


QUICK: Final = Size(rounds=3, shipped=2, records=4000, sustained=40_000)
#: The ways of their own: an array, the spool, datagrams; and of the shippers those that need no installation.
TINY: Final = Size(
    rounds=1,
    shipped=1,
    records=160,
    sustained=320,
    variants=(VARIANTS[0], VARIANTS[6], VARIANTS[8]),
    shippers=("NullHandler", "logbus", "logging.handlers.HTTPHandler"),
    part=20,
)


class Sent:
    """A variant's collector and its producer."""

    def __init__(self, variant: Variant, service: Service, feeder: Feeder, endpoint: Endpoint, directory: Path) -> None:
        self.variant = variant
        self.feeder = feeder
        self.lost = 0
        self._service = service
        self._endpoint = endpoint
        self._file = directory / "out.jsonl"

    def run(self, frames: list[tuple[int, bytes]], *, paced: bool = False) -> tuple[float, float] | None:
        """CPU seconds of the collector for these records, and seconds until the last was there; None if one was lost.

        Raises RuntimeError when they don't go into the spool.
        """
        total = sum(count for count, _ in frames)
        slot = self.variant.slot
        came = 0 if slot is None else self._endpoint.count(slot)
        spooled = self._service.written_bytes() + max(0, total - BATCH) * LINE_BYTES
        if self.variant.away:
            self._endpoint.listen(away=True)
        before, begun = self._service.cpu_seconds(), time.monotonic()
        if paced:
            for frame in frames:
                self.feeder.send([frame])
                time.sleep(_GAP_S)
        else:
            self.feeder.send(frames)
        if self.variant.away:
            self._wait_spooled(spooled)
            self._endpoint.listen(away=False)
        missing = self._written(total) if slot is None else self._endpoint.wait(slot, came + total)
        found = self._service.cpu_seconds() - before, time.monotonic() - begun
        self.lost += abs(missing)
        return None if missing else found

    def _written(self, total: int) -> int:
        """Waits for the lines in the file, and empties it; how many are missing."""
        deadline = time.monotonic() + PATIENCE_S
        while (lines := self._file.read_bytes().count(MARK)) < total and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        os.truncate(self._file, 0)  # as logrotate's copytruncate does; the sink notices
        return total - lines

    def _wait_spooled(self, wanted: int) -> None:
        """Waits until the collector has written so many bytes to files in all."""
        deadline = time.monotonic() + PATIENCE_S
        while self._service.written_bytes() < wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.variant.name}: not in the spool within {PATIENCE_S:g} s")
            time.sleep(_LOOK_S)


def measure(size: Size, seed: int) -> dict[str, Any]:
    """Runs everything, each round in an order of its own."""
    order = random.Random(seed)
    void: list[str] = []
    with contextlib.ExitStack() as stack:
        # Short: a socket's path has 107 bytes at most.
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp")))
        endpoint = stack.enter_context(Endpoint(base / "end"))
        sinks = _sinks(size, _start(stack, size, base, endpoint), order, void)
        collector = _collector(stack, base, endpoint)
        shipping = [stack.enter_context(one) for one in begin(size.shippers, base, endpoint, collector)]
        shipped = compared(shipping, size.shippers, order, rounds=size.shipped, part=size.part, void=void)
    return {**sinks, "shippers": shipped, "void": void}


def _sinks(size: Size, sent: Sequence[Sent], order: random.Random, void: list[str]) -> dict[str, Any]:
    frames = payloads(size.records)
    costs: dict[str, list[float]] = {one.variant.name: [] for one in sent}
    ratios: dict[str, list[float]] = {one.variant.name: [] for one in sent[1:]}
    base, others = sent[0], sent[1:]
    for one in sent:
        one.run(frames[:2], paced=True)  # warms up
    for number in range(size.rounds):
        for one in order.sample(others, len(others)):
            cost = {}
            for turn in order.sample([base, one], 2):
                found = turn.run(frames, paced=one.variant.paced)
                if found is None:
                    void.append(f"{turn.variant.name}, round {number + 1}: {turn.lost} records lost")
                else:
                    cost[turn] = found[0] / size.records
                    costs[turn.variant.name].append(cost[turn] * 1e6)
            if len(cost) == 2:
                ratios[one.variant.name].append(cost[one] / cost[base])
    rates = []
    many = frames * (size.sustained // size.records)
    for _ in range(size.rounds):
        found = others[0].run(many)
        if found is None:
            void.append(f"sustained: {others[0].lost} records lost")
        else:
            rates.append(size.sustained / found[1])
    return {
        "file": {"cost": spread(costs.pop(FILE.name))},
        "sinks": {name: {"cost": spread(found), "ratio": spread(ratios[name])} for name, found in costs.items()},
        "sustained": spread(rates),
    }


def render(document: Mapping[str, Any]) -> str:
    """The tables for people."""
    lines = [
        f"{document['mode']} run; median (smallest-largest); load average "
        f"{document['machine']['load_average_before'][0]:.1f} before, {document['load_average_after'][0]:.1f} after",
        "",
        "A collector's CPU µs per record, redacting, and the ratio to the file's beside it",
        f"{FILE.name:40}{_shown(document['file']['cost'], 2):>24}",
        *(
            f"{name:40}{_shown(found['cost'], 2):>24}{_shown(found['ratio'], 2):>24}"
            for name, found in document["sinks"].items()
        ),
        "",
        "From the log call to the HTTP server, CPU µs per record in all processes of ours, and by how much that is more"
        " than logbus needs",
    ]
    for name, found in document["shippers"].items():
        name = f"{name} {found['version']}" if found["version"] else name
        if found["cost"] is None:
            lines.append(f"{name:40}{'not installed, or void':>24}")
        else:
            lines.append(f"{name:40}{_shown(found['cost'], 1):>24}{_shown(found['by_logbus'], 1):>24}  {found['does']}")
    lines += ["", *(_verdict(bound) for bound in document["bounds"])]
    return "\n".join([*lines, *(f"VOID: {what}" for what in document["void"])])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    chosen = asked("benchmarks.delivery", "What it costs to bring records to a server.", RESULTS, arguments)
    where = machine()
    figures = measure(TINY if chosen.tiny else QUICK, chosen.seed)
    document = {
        "mode": "tiny" if chosen.tiny else "quick",
        "seed": chosen.seed,
        "machine": where,
        "load_average_after": list(os.getloadavg()),
        **figures,
        "bounds": _bounds(figures),
    }
    chosen.write(document)
    print(render(document))
    print(f"written to {chosen.output}")
    return 0


def _bounds(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    peers = {
        name: found["by_logbus"]["min"]
        for name, found in figures["shippers"].items()
        if name not in ("logbus", "NullHandler") and found["by_logbus"] is not None
    }
    cheapest = min(peers, key=peers.__getitem__, default="a peer")
    rate = figures["sustained"]["median"] if figures["sustained"] is not None else None
    return [
        {
            "what": "records a second to a local server over HTTP, uncompressed",
            "value": rate,
            "bound": f">= {SUSTAINED}",
            "held": rate is not None and rate >= SUSTAINED,
        },
        {
            "what": f"the cheapest peer's CPU ({cheapest}, of {len(peers)}) to that of worker and collector",
            "value": peers.get(cheapest),
            "bound": "> 1",
            "held": bool(peers) and peers[cheapest] > 1,
        },
    ]


def _start(stack: contextlib.ExitStack, size: Size, base: Path, endpoint: Endpoint) -> list[Sent]:
    """A collector for each variant, the file's first, each with its producer; they end with the stack."""
    variants = (FILE, *size.variants)
    places = [base / str(number) for number in range(len(variants))]
    for place in places:
        place.mkdir()
    tables = [variant.sink(endpoint, variant.slot or 0) for variant in variants]
    with ThreadPoolExecutor(_STARTERS) as pool:
        services = [stack.enter_context(service) for service in pool.map(Service, places, tables)]
    context = stack.enter_context(zmq.Context())
    feeders = [
        stack.enter_context(Feeder(context, service.endpoint, number)) for number, service in enumerate(services)
    ]
    return [
        Sent(variant, service, feeder, endpoint, place)
        for variant, service, feeder, place in zip(variants, services, feeders, places, strict=True)
    ]


def _collector(stack: contextlib.ExitStack, base: Path, endpoint: Endpoint) -> Service:
    """The collector to which a shipper of ours logs; it ends with the stack."""
    place = base / "collector"
    place.mkdir()
    return stack.enter_context(Service(place, _http()(endpoint, slot_of("logbus"))))


def _shown(of: Mapping[str, Any] | None, digits: int) -> str:
    return "void" if of is None else f"{of['median']:.{digits}f} ({of['min']:.{digits}f}-{of['max']:.{digits}f})"


def _verdict(bound: Mapping[str, Any]) -> str:
    value = "no figure" if bound["value"] is None else f"{bound['value']:,.1f}"
    return f"{'held  ' if bound['held'] else 'MISSED'} {bound['what']}: {value} ({bound['bound']})"


if __name__ == "__main__":
    raise SystemExit(main())
