"""A process that appends to a spool and says, after each append, what is in it.

Usage: ``python -m tests.programs.spooler DIRECTORY SEED LINES``. It appends for ever, ``LINES`` lines at a time on
average, and prints the number that it begins with, and that behind the last line of each append that has returned.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from logbus.collectors.spool.spool import Spool


def line(number: int) -> bytes:
    """The line with this number, of a length that its number gives."""
    return b"%d %s\n" % (number, b"x" * (number * 7919 % 900))


def run(directory: Path, seed: int, lines: int) -> None:
    """Appends until it is killed."""
    chance = random.Random(seed)
    spool = Spool("main", directory, print)
    number = spool.open(0).next_seq
    spool.configure(1 << 30, "own")
    while True:
        print(number, flush=True)
        count = chance.randint(1, 2 * lines)
        levels = bytes(chance.choices(range(6), k=count))
        gone = spool.append(number, [line(at) for at in range(number, number + count)], levels)
        assert not any(gone)
        number += count


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
