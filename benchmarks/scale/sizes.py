"""Records of 100 bytes to 64 KiB: the text is the message, or one field beside a short message.

One worker logs them at a rate at which all of them fit, so nothing is lost; what they cost is per record and per MiB of
text. The text is prose of a log, which the default redaction has to read to its end and in which it finds nothing.
"""

from __future__ import annotations

from typing import Final

from benchmarks.scale.place import Place
from benchmarks.scale.work import Flow, Task
from benchmarks.suite.sample import Sample

#: Bytes of the text, by name; all of it is ASCII. A message has 65,536 characters at most.
SIZES: Final = {"100 B": 100, "450 B": 450, "1 KiB": 1024, "4 KiB": 4096, "16 KiB": 16_384, "64 KiB": 65_536}
#: Each shape with the sizes that it has: a field's text is cut at 8,192 characters.
VARIANTS: Final = (*(("message", name) for name in SIZES), *(("field", name) for name in list(SIZES)[:4]))
#: Records a second at most, and MiB of text a second at most: a third of what one core carries.
_RATE: Final = 5000.0
_MIB_PER_S: Final = 16.0
_BURST: Final = 10
_MIB: Final = 1 << 20


def sized(place: Place, name: str, shape: str, seconds: float) -> Sample:
    """Records with a text of that size, for so long. ``*_ms_per_mib`` is CPU per MiB of text."""
    size = SIZES[name]
    rate = min(_RATE, _MIB_PER_S * _MIB / size)
    count = max(_BURST, int(rate * seconds) // _BURST * _BURST)
    with place.collector() as collector, place.crew(Task(1)) as crew:
        before = collector.cpu_seconds()
        crew.begin(Flow(count, rate, _BURST, shape=shape, size=size))
        worked = crew.finish()
        status = collector.wait_collected(worked.emitted)
        spent = collector.cpu_seconds() - before
        resident, worker = collector.peak_mib(), crew.memory()
    thread, process, floor = worked.costs()
    mib = count * size / _MIB
    each = (place.directory / "0.jsonl").stat().st_size / count
    figures = {
        "paced_thread_us": thread,
        "paced_process_us": process,
        "paced_collector_us": spent / count * 1e6,
        "process_ms_per_mib": process * count / 1e3 / mib,
        "collector_ms_per_mib": spent * 1e3 / mib,
        "bytes_per_record": each,
        "collector_peak_mib": resident,
        "worker_rss_mib": worker.rss,
    }
    floors = {f"paced_{part}_us": floor for part in ("thread", "process", "collector")}
    cut = f"cut: lines have {each:.0f} bytes" if each < size else ""
    return Sample("sizes", f"{name}, {shape}", figures, floors, count, place.lost(status, count), cut)
