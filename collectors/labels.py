"""Counts per worker under a bounded number of labels, none of which ever counts down.

Prometheus keeps a series for every label it has once seen, so that workers that come and go by the thousand must not
each bring their own. The first :data:`NAMED` workers that are seen alive get their name; when all places are taken
the next one gets that of a name of which nobody lives any more, and what had that name counts under ``(other)``, like
everybody without a place, from then on. A producer that was counted there stays there, and what the ledger folds
into one row keeps its label: no label gives up what it has counted, and together they are the ledger's total.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from logbus.collectors.rows import OLDER

#: Workers with a label of their own.
NAMED: Final = 100
#: The label of all the rest.
OTHER: Final = "(other)"

#: Counts in a fixed order: one for each stage.
Counts = tuple[int, ...]


@dataclass(slots=True)
class _Name:
    """What counts under one name: producers in the ledger, as last seen, and those that it has folded since."""

    producers: dict[str, Counts] = field(default_factory=dict)
    folded: Counts = ()
    living: bool = False


class Labels:
    """The counts ``stages`` of the ledger's workers by label. Used by one thread."""

    def __init__(self, stages: Sequence[str], *, named: int = NAMED) -> None:
        self._stages = tuple(stages)
        self._most = named
        self._names: dict[str, _Name] = {}
        self._seen: frozenset[str] = frozenset()

    def counts(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Counts]:
        """The counts by label, out of the workers' rows of a status document."""
        now = {row["producer"]: row for row in rows}
        counts = {producer: tuple(row[stage] for stage in self._stages) for producer, row in now.items()}
        for name in self._names.values():
            name.living = False
            for producer in list(name.producers):
                if producer in now:
                    name.producers[producer] = counts[producer]
                    name.living = name.living or now[producer]["state"] == "live"
                else:
                    name.folded = self._sum([name.folded, name.producers.pop(producer)])
        fresh = [producer for producer in now if producer not in self._seen and producer != OLDER.hex()]
        # The living first: they bring the names, under which those of them that have gone already count too.
        for producer in sorted(fresh, key=lambda producer: now[producer]["state"] != "live"):
            found = self._place(now[producer]["worker"], alive=now[producer]["state"] == "live")
            if found is not None:
                found.producers[producer] = counts[producer]
        self._seen = frozenset(now)
        shown = {label: self._sum([name.folded, *name.producers.values()]) for label, name in self._names.items()}
        total, named = self._sum(counts.values()), self._sum(shown.values())
        shown[OTHER] = tuple(whole - part for whole, part in zip(total, named, strict=True))
        return shown

    def _place(self, label: str, *, alive: bool) -> _Name | None:
        """Where a producer of this name counts; None where all the rest does."""
        name = self._names.get(label)
        if name is None:
            if not alive or label == OTHER:
                return None
            if len(self._names) >= self._most:
                free = next((label for label, name in self._names.items() if not name.living), None)
                if free is None:
                    return None
                del self._names[free]
            name = self._names[label] = _Name()
        name.living = name.living or alive
        return name

    def _sum(self, rows: Iterable[Counts]) -> Counts:
        total = [0] * len(self._stages)
        for row in rows:
            for at, count in enumerate(row):
                total[at] += count
        return tuple(total)
