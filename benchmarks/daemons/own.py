"""``python -m benchmarks.daemons.own``: the program ``logbus``, which says first which form its collector has.

Nothing of the benchmarks is loaded here that the program would not load: memory is the collector's own.
"""

from __future__ import annotations

import sys

from logbus.cli import main
from logbus.collectors.compiled import NATIVE


def run() -> None:
    """Says what this process has really loaded, and runs the command."""
    print("collector:", "in Python" if NATIVE is None else "compiled", file=sys.stderr, flush=True)
    main()


if __name__ == "__main__":
    run()
