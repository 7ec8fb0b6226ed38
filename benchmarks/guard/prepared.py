"""What a workload's function gives: a program that is ready to run, and the proof that it did what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prepared:
    """``run`` does so many records; ``done`` is how many have come out in all. None: of these nothing comes out.

    ``woken`` is how often another thread would have been woken up. None: there is nobody to wake.
    """

    run: Callable[[int], None]
    done: Callable[[], int] | None
    woken: Callable[[], int] | None = None


class NotHereError(Exception):
    """What a workload measures is not installed."""
