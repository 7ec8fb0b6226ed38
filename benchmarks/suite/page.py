"""``docs/performance.md``: a frame written by hand (``performance.md.in``) and the tables that the results give.

A part that was not measured says so and with which command it is: the page of a part of the suite is whole as well.
The same results give the same page, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from string import Template
from typing import Any, Final

from benchmarks import delivery, levels, pipeline, proxied
from benchmarks.peers.calls import CALLS, FUNCTIONS
from benchmarks.spread import spread
from benchmarks.suite import goals, growth, tables
from benchmarks.suite.results import runs_of
from benchmarks.suite.table import shown

Document = Mapping[str, Any]

TEMPLATE: Final = Path(__file__).with_name("performance.md.in")
#: The other benchmarks: what each says of its results.
OTHERS: Final[Mapping[str, Callable[[Document], str]]] = {
    "pipeline": pipeline.render,
    "levels": levels.render,
    "delivery": delivery.render,
    "proxied": proxied.render,
}
#: The plots, and what somebody reads who can't see them.
PLOTS: Final[Mapping[str, str]] = {
    "producers": "CPU of a log call in floors, calling thread and whole process",
    "paced": "CPU of a log call in floors, flat out and paced",
    "latency": "p50, p99 and p99.9 of a log call",
    "collectors": "CPU per record of collectors",
    "whole_way": "CPU per record from the call to the file",
    "workers": "CPU per record and memory by the number of workers",
    "sizes": "CPU per record and per MiB by the size of a record",
    "stalls": "latency of a log call by the state of the collector",
    "endurance": "memory and CPU per record over an hour",
}
#: The suite's parts of the page, and the family without which one is not there.
_PARTS: Final[Mapping[str, tuple[str, Callable[[Document], str]]]] = {
    "producers": ("producer", tables.producers),
    "calls": ("producer", tables.calls),
    "collectors": ("collector", tables.receivers),
    "whole_way": ("end_to_end", tables.whole_way),
    "stalls": ("stalls", growth.stalls),
    "startup": ("startup", tables.starts),
}


def page(
    suite: Document, others: Mapping[str, Document], endurance: Document | None, drawn: Collection[str] = ()
) -> str:
    """The page of the suite's results, those of the other benchmarks by name, and those of the hour if there are any.

    ``drawn`` are the names of the plots that lie in the directory ``performance`` beside it.
    """
    parts = {
        name: make(suite) if family in suite["figures"] else _missing(f"suite --only {family}")
        for name, (family, make) in _PARTS.items()
    }
    parts |= {
        name: f"```text\n{render(others[name])}\n```" if name in others else _missing(name)
        for name, render in OTHERS.items()
    }
    template = Template(TEMPLATE.read_text())
    plots = {
        f"plot_{name}": f"![{what}](performance/{name}.svg)" if name in drawn else "" for name, what in PLOTS.items()
    }
    text = template.substitute(
        parts | plots,
        promises=tables.promises([verdict.document() for verdict in goals.judge(runs_of(suite), endurance)]),
        growth=growth.growth(suite) or _missing("scale --full"),
        endurance=growth.endurance(endurance) if endurance is not None else _missing("scale.endurance"),
        machine=tables.machine(suite),
        losses=tables.losses(suite),
        sites=str(FUNCTIONS * CALLS),
        floor_us=f"{goals.FLOOR_US:g}",
        rounds=_rounds(suite),
        stall_us=f"{goals.STALL_US:g}",
        equal_us=f"{goals.EQUAL_US:g}",
        flat_x=f"{goals.FLAT_X:g}",
        one_rate=_at_one_rate_of_all(suite),
        flat_percent=f"{goals.FLAT_PERCENT_PER_HOUR:g}",
        flat_mib=f"{goals.FLAT_MIB_PER_HOUR:g}",
    )
    return re.sub(r"\n{3,}", "\n\n", text)  # where a plot is not there


def _rounds(suite: Document) -> str:
    count = suite["rounds"]
    return "This page is of one round" if count == 1 else f"This page is of {count} rounds"


def _at_one_rate_of_all(suite: Document) -> str:
    found = spread(goals.at_one_rate_of_all(runs_of(suite)))
    return "not measured in this run" if found is None else shown(found, 2, " times as much")


def _missing(command: str) -> str:
    return f"Not measured in this run (`python -m benchmarks.{command}`)."
