"""``python -m benchmarks.peers '{"variant": …}'``: measures one variant here and prints what it found, as JSON.

With a list of distributions instead it prints the versions of those that this interpreter has, and the form of logbus's
log calls.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks.compiled import form
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
    if isinstance(asked, list):
        print(json.dumps({"versions": versions(asked), "form": form()}))
    else:
        print(json.dumps(measure(Task(**asked))))
