"""How much looking through texts may cost: a number of steps, after which the rest is masked unseen.

A text of a quarter of a megabyte can hold ten thousand things that look like secrets, and each costs a microsecond.
So each step is counted, and where they are used up, what was not looked through is not passed on: it is masked whole.
"""

from __future__ import annotations

from typing import Final

MASK: Final = "***"

#: Steps for one batch, and for each of its records. A step is a microsecond of a slow core. A value to mask takes
#: thirteen of them, a URL four, a text by itself six: so that a lone record may hold 120 values, or 370 URLs in a text,
#: or 160 in a list, and one among others a hundred steps' worth more.
STEPS: Final = 1500
RECORD_STEPS: Final = 100


class Work:
    """Steps that are left for a batch of ``records`` records. ``overrun`` says whether there were too few."""

    __slots__ = ("left", "overrun")

    def __init__(self, records: int = 1) -> None:
        self.left = STEPS + RECORD_STEPS * records
        self.overrun = False

    def take(self, steps: int) -> bool:
        """Whether so many steps were left; they are taken."""
        self.left -= steps
        if self.left < 0:
            self.overrun = True
            return False
        return True
