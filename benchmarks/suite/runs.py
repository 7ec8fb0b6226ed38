"""From samples to figures: the median of the rounds with its spread, and ratios only of what ran beside one another.

A ratio to the floor is of one process, a ratio of two variants of one round; both are then summed up over the rounds.
Where two variants have the floor beside them, their ratio is that of their costs in floors: the clock of a shared
machine changes within a round as well. A void run is in no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from benchmarks.spread import ratios, spread
from benchmarks.suite.sample import Sample

#: By family the variants of logbus with which every other is compared, and the figures in which it is.
OURS: Final[Mapping[str, tuple[str, ...]]] = {
    "producer": ("handler", "lean", "fast"),
    "collector": ("logbus", "logbus_bare"),
    "end_to_end": ("handler", "fast"),
}
COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "producer": ("thread_us", "process_us", "paced_thread_us", "paced_process_us"),
    "collector": ("process_us",),
    "end_to_end": ("process_us",),
}

Spread = Mapping[str, Any]


class Runs:
    """The samples of all rounds, by family and variant in the order in which they came to be known."""

    def __init__(self, taken: Iterable[tuple[int, Sample]]) -> None:
        self.taken = list(taken)
        self._found: dict[str, dict[str, dict[int, Sample]]] = {}
        for number, sample in self.taken:
            self._found.setdefault(sample.family, {}).setdefault(sample.variant, {})[number] = sample

    def families(self) -> list[str]:
        """The families that have samples."""
        return list(self._found)

    def variants(self, family: str) -> list[str]:
        """The variants of a family that have samples, void ones too."""
        return list(self._found.get(family, {}))

    def samples(self, family: str, variant: str) -> dict[int, Sample]:
        """The samples of a variant by round, void ones too."""
        return self._found.get(family, {}).get(variant, {})

    def figures(self, family: str, variant: str, figure: str) -> dict[int, float]:
        """A figure by round, of the runs that lost nothing."""
        return {
            number: sample.figures[figure]
            for number, sample in self.samples(family, variant).items()
            if not sample.void and figure in sample.figures
        }

    def floors(self, family: str, variant: str, figure: str) -> dict[int, float]:
        """The same in floors, as far as there was a floor beside it."""
        return {
            number: sample.ratios[figure]
            for number, sample in self.samples(family, variant).items()
            if not sample.void and figure in sample.ratios
        }

    def compared(self, family: str, variant: str, base: str, figure: str) -> list[float]:
        """A variant's figure by that of another, of each round in which both have it."""
        in_floors = self.floors(family, variant, figure), self.floors(family, base, figure)
        if all(in_floors):
            return ratios(*in_floors)
        return ratios(self.figures(family, variant, figure), self.figures(family, base, figure))

    def void(self) -> list[str]:
        """A sentence for each run that lost records."""
        return [
            f"{sample.family}: {sample.variant}, round {number + 1}: {sample.lost:,} of {sample.records:,} records lost"
            for number, sample in self.taken
            if sample.void
        ]

    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Of each variant: runs, void ones, records, losses, every figure and every ratio, with its spread."""
        return {
            family: {variant: self._variant(family, variant) for variant in self.variants(family)}
            for family in self._found
        }

    def _variant(self, family: str, variant: str) -> dict[str, Any]:
        samples = list(self.samples(family, variant).values())
        names = dict.fromkeys(name for sample in samples for name in sample.figures)
        in_floors = dict.fromkeys(name for sample in samples for name in sample.ratios)
        return {
            "runs": len(samples),
            "void": sum(sample.void for sample in samples),
            "records": sum(sample.records for sample in samples),
            "lost": sum(sample.lost for sample in samples),
            "notes": list(dict.fromkeys(sample.notes for sample in samples if sample.notes)),
            "figures": {name: spread(list(self.figures(family, variant, name).values())) for name in names},
            "floors": {name: spread(list(self.floors(family, variant, name).values())) for name in in_floors},
            "by": {
                base: {
                    figure: found
                    for figure in COMPARED[family]
                    if (found := spread(self.compared(family, variant, base, figure))) is not None
                }
                for base in OURS.get(family, ())
                if base != variant and self.samples(family, base)
            },
        }
