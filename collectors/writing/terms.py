"""How lines are handed to a sink: the size of a batch, how much waits, what happens beyond that, and how it is retried.

The terms of a sink are a part of its destination (:mod:`logbus.collectors.route`). Its queue
(:mod:`logbus.collectors.writing.backlog`), its retries (:mod:`logbus.collectors.writing.retry`), its breaker
(:mod:`logbus.collectors.writing.breaker`) and its writer go by them. A sink itself does not know them. The defaults are
those of a file: written as it comes, tried again each half second for ever, and the receiver waits while it is slow.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Final, Literal, get_args

#: What happens to records for which a sink's queue has no room. ``block`` has the receiver wait, ``drop_newest`` drops
#: what comes, ``drop_oldest`` what has waited longest, ``shed_lowest`` the lowest level and of that the oldest, and
#: ``spool`` moves what waits to disk.
Policy = Literal["block", "drop_newest", "drop_oldest", "shed_lowest", "spool"]

#: Seconds for which a sink is left alone at most because the other side asks for it (a Retry-After). A server that says
#: a week, or that has its clock wrong, would else silence a sink that works.
RETRY_AFTER_S: Final = 3600.0

#: Policies that choose among what waits already, or tell of what they have chosen by level.
_BY_LEVEL: Final = frozenset({"drop_oldest", "shed_lowest", "spool"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a writer keeps to with one sink. Raises ValueError for terms under which it would never write, or never end.

    A batch is taken when it has ``max_records`` records or ``max_bytes`` bytes, or when its oldest line has waited for
    ``max_delay_s`` seconds; a single line may be longer. ``queue_bytes`` is what waits in memory at most, what is in
    hand included; ``on_full`` says what happens then.

    After a failure the next attempt comes ``initial_s`` seconds later, after each further one twice as late, and
    ``max_interval_s`` at most; with ``jitter`` at a random moment up to that. A batch that has been tried for longer
    than ``max_elapsed_s`` is given up. After ``breaker_failures`` failures in a row only single records are tried;
    0 is never.

    ``spool_bytes`` is the bound of the spool on disk, 0 for none. ``dialect`` names the form of the lines: those of
    another dialect, from before a change of the configuration, are not sent.
    """

    max_records: int = sys.maxsize
    max_bytes: int = 1024 * 1024
    max_delay_s: float = 0.0
    queue_bytes: int = 8 * 1024 * 1024
    on_full: Policy = "block"
    initial_s: float = 0.5
    max_interval_s: float = 0.5
    max_elapsed_s: float = inf
    jitter: bool = False
    breaker_failures: int = 0
    spool_bytes: int = 0
    dialect: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"{name} {value!r}: expected 1 or more"
            for name, value in (
                ("max_records", self.max_records),
                ("max_bytes", self.max_bytes),
                ("queue_bytes", self.queue_bytes),
            )
            if value < 1
        ]
        problems += [
            f"{name} {value!r}: expected 0 or more"
            for name, value in (("breaker_failures", self.breaker_failures), ("spool_bytes", self.spool_bytes))
            if value < 0
        ]
        if not (isfinite(self.max_delay_s) and self.max_delay_s >= 0):
            problems.append(f"max_delay_s {self.max_delay_s!r}: expected 0 or more seconds")
        if not (isfinite(self.initial_s) and self.initial_s > 0):
            problems.append(f"initial_s {self.initial_s!r}: expected more than 0 seconds")
        if not (isfinite(self.max_interval_s) and self.max_interval_s >= self.initial_s):
            problems.append(
                f"max_interval_s {self.max_interval_s!r}: expected no less than initial_s {self.initial_s!r}"
            )
        if isnan(self.max_elapsed_s) or self.max_elapsed_s <= 0:
            problems.append(f"max_elapsed_s {self.max_elapsed_s!r}: expected more than 0 seconds")
        if self.on_full not in get_args(Policy):
            problems.append(f"on_full {self.on_full!r}: expected one of {', '.join(get_args(Policy))}")
        elif (self.on_full == "spool") != (self.spool_bytes > 0):
            problems.append(
                f"on_full {self.on_full!r}: expected 'spool' with spool_bytes, which is {self.spool_bytes!r}"
            )
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def by_level(self) -> bool:
        """Whether lines are handed over with the level of each: what has no room is chosen or counted by it."""
        return self.on_full in _BY_LEVEL
