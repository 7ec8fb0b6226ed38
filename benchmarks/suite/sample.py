"""What one run of one variant gave: figures whose names carry their units, and what the floor gave beside them.

Families and the variants that other modules look for by name (:mod:`benchmarks.suite.goals` judges these):

- ``producer``: one log call in the process that makes it. ``null`` is the floor; ``handler``, ``lean`` and ``fast`` are
  logbus's, and the same with :data:`IN_PYTHON`; every peer has a name of its own.
- ``collector``: pre-serialised records to one file. ``logbus`` redacts by default rules, and the same with
  :data:`IN_PYTHON`; ``logbus_fresh`` what never repeats, ``logbus_bare`` not at all.
- ``end_to_end``: from the calls of four real workers to one file, all processes. ``handler`` and ``fast`` are logbus's,
  and the same with :data:`IN_PYTHON`, workers and collector.
- ``memory``: one worker's, part by part. ``worker`` is the one that is judged, and the same with :data:`IN_PYTHON`.
- ``workers``, ``sinks``, ``sizes``, ``flood``, ``idle``: growth; a variant is the number (``"64"``, ``"64 KiB"``).
- ``stalls``: a call's latency by the collector's state (``handler: serving``, ``handler: stopped``, …).
- ``startup``: milliseconds until a process is a worker.

Units are the last part of a name. Those that more than one family has: ``thread_us`` and ``process_us`` (CPU
microseconds per record, flat out), ``paced_thread_us`` and ``paced_process_us`` (at 10,000 records a second in bursts
of 50), ``wall_us`` (per record), ``call_p50_us``, ``call_p99_us``, ``call_p999_us`` (one call, wall), ``drain_ms``,
``rss_mib``, ``bytes_per_record``, ``records_per_s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

#: What the name of a variant of logbus ends with of which nothing is compiled.
IN_PYTHON: Final = ", in Python"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a variant; JSON can hold it (:meth:`document`, :meth:`read`).

    ``floor`` has the floor's figure for each figure that has one: figure by floor is the ratio. Where the floor was
    taken in pairs within one process, it is the figure divided by the median ratio of the pairs, so that the division
    gives that ratio back. ``lost`` of ``records`` should have arrived and did not: such a run has no cost that could be
    compared. (What a policy dropped and counted, in a run that is made to overflow, is a figure and not a loss.)
    ``notes``: what the reader of the table must know of this run, if anything.
    """

    family: str
    variant: str
    figures: dict[str, float]
    floor: dict[str, float] | None
    records: int
    lost: int
    notes: str = ""

    @property
    def void(self) -> bool:
        """Whether records were lost, so that the costs are of fewer records than it seems."""
        return self.lost != 0

    @property
    def ratios(self) -> dict[str, float]:
        """Each figure by the floor's beside it, as far as there is one."""
        return {name: self.figures[name] / value for name, value in (self.floor or {}).items() if value > 0}

    def document(self) -> dict[str, Any]:
        """What JSON is to hold."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The sample from what JSON held."""
        return cls(**document)
