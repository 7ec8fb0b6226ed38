"""The workloads by name: what each does, and how many records it is measured by.

A workload is a small program that does the same in every run: records of :mod:`benchmarks.record`, one thread, nobody
to wait for. Its function, in :mod:`benchmarks.guard.producing` or :mod:`benchmarks.guard.collecting`, is loaded in the
process that is measured, so that this one needs nothing of logbus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.compiled import Part

#: The workload by which the others are measured.
FLOOR: Final = "floor"
#: What the name of a workload ends with that is in Python, whatever is built.
_PYTHON: Final = ".python"
#: By how much a workload may become dearer before the guard fails, as a share. Two runs of the same code differ by a
#: hundredth of it. After a change elsewhere objects lie elsewhere in memory, which costs or saves up to a third of it.
TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Workload:
    """``module`` has its function, named as the workload with ``_`` for ``.``; ``does`` says what a record goes
    through. ``records`` are those of the shorter of the two measured runs. ``part`` is the compiled part that it
    goes through where there is one; None: it is in Python in any case.
    ``pure``: it is in Python, whatever is built here.
    """

    name: str
    module: str
    does: str
    records: int
    part: Part | None = None
    tolerance: float = TOLERANCE
    pure: bool = False

    @property
    def function(self) -> str:
        """The name of its function, which it shares with the one that differs in nothing but ``pure``."""
        return self.name.removesuffix(_PYTHON).replace(".", "_")

    @property
    def in_python(self) -> Workload:
        """The same in Python."""
        return replace(self, name=self.name + _PYTHON, does="the same, in Python", pure=True)


def _all(module: str, records: int, part: Part | None, *workloads: tuple[str, str]) -> tuple[Workload, ...]:
    return tuple(Workload(name, f"benchmarks.guard.{module}", does, records, part) for name, does in workloads)


_COMPILED: Final = (
    *_all(
        "producing",
        1000,
        "producers",
        (FLOOR, "a log call of the standard library that a null handler sees"),
        ("handler", "LogbusHandler, into a buffer that nobody drains"),
        ("handler.drained", "the same, and the sender's work: taken, packed and framed"),
        ("handler.context", "as handler, inside a scope of the context with two fields"),
        ("lean", "a FastLogger beside whose LogbusHandler another handler has to get a record; nobody drains"),
        ("lean.drained", "the same, and the sender's work"),
        ("fast", "a FastLogger whose records only logbus would see; nobody drains"),
        ("fast.drained", "the same, and the sender's work"),
        ("loguru.direct", "a call of loguru's, the direct way"),
        ("structlog", "an event of structlog's, through our processor and no renderer"),
    ),
    *_all(
        "producing",
        5000,
        "producers",
        ("suppressed", "a call that the level of its logger, set by a rule, suppresses"),
        ("loguru.suppressed", "the same with loguru, the direct way"),
    ),
    *_all(
        "collecting",
        1600,
        "collectors",
        ("collector.decode", "a frame checked and decoded, as for a sink of JSON lines"),
        ("collector.redact", "the same, and redacted by the default rules"),
        ("collector.redact.new", "the same, each message for the first time"),
        ("collector.redact.fresh", "the same, and each URL with credentials that were never there before"),
        ("collector.encode", "the same, routed to one sink and encoded as JSON"),
        ("collector.turn", "all that a record costs the collector: from the frame to the file, ledger included"),
    ),
    *_all(
        "collecting",
        1600,
        None,  # what is asked for here is a record's own values: see logbus.collectors.packed
        ("collector.filtered", "as collector.encode, for a sink whose condition a tenth of the records meets"),
        ("format.json", "encoding alone: JSON"),
        ("format.logfmt", "encoding alone: logfmt"),
        ("format.text", "encoding alone: text"),
        ("format.syslog", "encoding alone: syslog of RFC 5424, JSON in the message"),
    ),
)
#: Workloads of which there is one in Python too: what an installation without a compiler executes.
_BOTH: Final = (
    *("handler.drained", "lean.drained", "fast.drained"),
    *("collector.decode", "collector.redact", "collector.redact.new", "collector.redact.fresh"),
    *("collector.encode", "collector.turn"),
)
WORKLOADS: Final = tuple(each for one in _COMPILED for each in ((one, one.in_python) if one.name in _BOTH else (one,)))


def workload(name: str) -> Workload:
    """The workload of this name. Raises KeyError."""
    return {one.name: one for one in WORKLOADS}[name]


def chosen(only: str) -> list[Workload]:
    """The workloads that a comma-separated list names, and the floor: each by its name, or all whose names go on with
    a dot and more. Empty: all. Raises ValueError for a name that nothing has.
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    for name in wanted:
        if not any(_is(one, name) for one in WORKLOADS):
            raise ValueError(f"expected workloads ({', '.join(one.name for one in WORKLOADS)}), found {name!r}")
    return [one for one in WORKLOADS if not wanted or one.name == FLOOR or any(_is(one, name) for name in wanted)]


def _is(one: Workload, name: str) -> bool:
    return one.name == name or one.name.startswith(f"{name}.")
