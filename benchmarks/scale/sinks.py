"""One sink, or four: what each more costs the collector, where all write one format and where each has its own.

The records come as frames made beforehand, so that only the collector works. Sinks of one format share one encoding;
each has a thread, a filter, a queue and a write of its own.
"""

from __future__ import annotations

from typing import Final

import zmq

from benchmarks.feed import Feeder, payloads
from benchmarks.record import floor_seconds
from benchmarks.scale.place import Place
from benchmarks.suite.sample import Sample

#: What each further sink has beside the path, where they differ.
_FORMATS: Final = (
    'format = "json"',
    'format = "logfmt"',
    'format = "text"',
    'static_fields = { env = "prod" }',
)
#: Producers that send.
_FEEDERS: Final = 4
#: The variants: how many sinks, and whether they differ.
VARIANTS: Final = ((1, False), (2, False), (3, False), (4, False), (2, True), (3, True), (4, True))


def variant(count: int, differ: bool) -> str:
    """The name of a variant."""
    return f"{count}, different formats" if differ else str(count)


def sinks(place: Place, count: int, records: int, *, differ: bool) -> Sample:
    """So many files, and what a record costs the collector until it is in all of them."""
    frames = payloads(records // _FEEDERS)
    sent = sum(number for number, _ in frames) * _FEEDERS
    with place.collector(_configuration(count, differ)) as collector, zmq.Context() as context:
        feeders = [Feeder(context, collector.endpoint, number) for number in range(_FEEDERS)]
        floor = floor_seconds()
        before = collector.cpu_seconds()
        for at in range(len(frames)):
            for feeder in feeders:
                feeder.send(frames[at : at + 1])
        for feeder in feeders:
            feeder.close()
        status = collector.wait_collected(sent)
        spent = collector.cpu_seconds() - before
        floor = (floor + floor_seconds()) / 2 * 1e6
        peak = collector.peak_mib()
        for feeder in feeders:
            feeder.__exit__(None, None, None)
    lost = max(place.lost(status, sent), *(abs(sink["delivered"] - sent) for sink in status["sinks"]))
    figures = {"collector_us": spent / sent * 1e6, "collector_peak_mib": peak}
    return Sample("sinks", variant(count, differ), figures, {"collector_us": floor}, sent, lost)


def _configuration(count: int, differ: bool) -> str:
    """JSON files are called ``.jsonl``: their lines are counted."""
    tables = []
    for number in range(count):
        keys = _FORMATS[number] if differ else ""
        suffix = "log" if "logfmt" in keys or "text" in keys else "jsonl"
        tables.append(f'[[sinks]]\nname = "s{number}"\ntype = "file"\npath = "{number}.{suffix}"\n{keys}\n')
    return "\n".join(tables)
