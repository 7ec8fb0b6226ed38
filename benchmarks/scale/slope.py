"""Whether a series is flat: the slope of a least-squares line through it, and how sure that slope is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Point = tuple[float, float]


def slope(pieces: Sequence[Sequence[Point]]) -> tuple[float, float] | None:
    """The common slope of several pieces (points of x and y), and its standard error; None for too few points.

    Each piece has a line of its own height: after a restart memory begins anew, and a step between two pieces is no
    growth. The error takes the points for independent, which samples of one process are not quite: two of them may
    share a wave. A slope below twice its error is none.
    """
    centred: list[Point] = []
    count = 0
    for piece in pieces:
        if len(piece) < 2:
            continue
        mean_x = math.fsum(x for x, _ in piece) / len(piece)
        mean_y = math.fsum(y for _, y in piece) / len(piece)
        centred += [(x - mean_x, y - mean_y) for x, y in piece]
        count += 1
    free = len(centred) - count - 1  # a height for each piece, and the slope
    squares = math.fsum(x * x for x, _ in centred)
    if free < 1 or not squares:
        return None
    products = math.fsum(x * y for x, y in centred)
    found = products / squares
    rest = math.fsum((y - found * x) ** 2 for x, y in centred)
    return found, math.sqrt(rest / free / squares)


def flatness(pieces: Sequence[Sequence[Point]]) -> Mapping[str, Any] | None:
    """What a series over seconds does in an hour: by how many units, and by how many percent of its mean."""
    found = slope(pieces)
    values = [y for piece in pieces for _, y in piece]
    if found is None:
        return None
    mean = math.fsum(values) / len(values)
    per_hour, error = found[0] * 3600, found[1] * 3600
    document = {"mean": mean, "min": min(values), "max": max(values), "per_hour": per_hour, "error": error}
    if mean:
        document |= {"percent_per_hour": per_hour / mean * 100, "percent_error": error / mean * 100}
    return {name: round(value, 4) for name, value in document.items()}
