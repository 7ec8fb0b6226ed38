"""Figures from repeated runs: the median, and how far the runs lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, smallest, largest and the values themselves; None when every run was void."""
    if not values:
        return None
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "values": [round(value, 4) for value in values],
    }


def ratios(values: dict[int, float], base: dict[int, float]) -> list[float]:
    """Value by base of each round that has both: what a noisy minute does to one it does to the other."""
    return [value / base[number] for number, value in sorted(values.items()) if base.get(number)]
