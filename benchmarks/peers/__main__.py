"""``python -m benchmarks.peers '{"variant": …}'``: measures one variant here and prints what it found, as JSON.

With a list of distributions instead it prints the versions of those that this interpreter has.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks.peers.measure import Task, measure


def versions(distributions: list[str]) -> dict[str, str]:
    """By name, of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(versions(asked) if isinstance(asked, list) else measure(Task(**asked))))
