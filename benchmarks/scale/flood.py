"""Workers flat out, until their buffers overflow: memory stays bounded, and each drop is counted.

Nothing is paced and nobody waits: the collector gets what two cores leave it. What it can't take stays in the workers'
buffers, and what has no room there is dropped and counted; so its memory must not depend on how long that lasts.
"""

from __future__ import annotations

import time
from typing import Final

from benchmarks.scale.memory import peak_mib
from benchmarks.scale.place import Place
from benchmarks.scale.work import Flow, Task
from benchmarks.suite.sample import Sample

#: By variant: the workers, and how many records the buffer of each holds. None is the default; 2000 overflow soon.
VARIANTS: Final = {
    "4, default buffers": (4, None),
    "4, small buffers": (4, 2000),
    "64, small buffers": (64, 2000),
    "200, small buffers": (200, 2000),
}


def flood(place: Place, variant: str, seconds: float) -> Sample:
    """Workers flat out for so long. ``lost`` is what neither the file nor a counter of drops has."""
    workers, capacity = VARIANTS[variant]
    settings = {} if capacity is None else {"capacity": capacity}
    with place.collector() as collector, place.crew(Task(workers, settings)) as crew:
        quiet = collector.memory().rss
        before, begun = collector.cpu_seconds(), time.monotonic()
        crew.begin(Flow(None))
        time.sleep(seconds)
        worked = crew.halt()
        status = collector.wait_collected(worked.emitted - worked.dropped)
        took, spent = time.monotonic() - begun, collector.cpu_seconds() - before
        after = collector.memory().rss
        figures = {
            "collector_quiet_mib": quiet,
            "collector_peak_mib": collector.peak_mib(),
            "collector_after_mib": after,
            "worker_peak_mib": max(peak_mib(pid) for pid in crew.pids),
            "collector_us": spent / max(worked.emitted - worked.dropped, 1) * 1e6,
            "emitted_per_s": worked.emitted / worked.wall_s,
            "records_per_s": (worked.emitted - worked.dropped) / took,
            "dropped_percent": worked.dropped / max(worked.emitted, 1) * 100,
        }
    lost = place.lost(status, worked.records, dropped=worked.dropped)
    notes = f"{worked.dropped} of {worked.emitted} dropped, and counted" if worked.dropped else ""
    return Sample("flood", variant, figures, None, worked.records, lost, notes)
