"""One log call in the process that makes it: logbus's and every peer's, beside the floor.

Each variant runs in a process of its own (:mod:`benchmarks.peers.measure`), once in every round of the suite. All make
the reference record's calls, each in its library's words (:mod:`benchmarks.peers.calls`). Where a variant hands its
records to another process, that one only reads and counts (:mod:`benchmarks.peers.readers`), so what it costs to do
something with a record there is in no figure: for logbus and for peers alike.
"""

from benchmarks.peers.family import jobs, skipped

__all__ = ["jobs", "skipped"]
