"""``python -m benchmarks.daemons '{"family": …}'``: one sample, printed as JSON, in a process of its own.

The processes that it spawns import this module too: nothing is imported before it runs as the program.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def _main(family: str, variant: str, directory: str, records: int, form: str, collector_form: str) -> None:
    from benchmarks.daemons import collector, end_to_end

    if family == collector.FAMILY:
        sample = collector.measure(variant, Path(directory), records, collector_form)
    else:
        sample = end_to_end.measure(variant, Path(directory), records, form, collector_form)
    print(json.dumps(sample.document()))


if __name__ == "__main__":
    _main(**json.loads(sys.argv[1]))
