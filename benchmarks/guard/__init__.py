"""A guard against records becoming dearer, whatever the machine: it counts instructions instead of seconds.

``python -m benchmarks.guard`` (``make bench-check``) runs each workload of :mod:`benchmarks.guard.catalogue` in a
process of its own under ``valgrind --tool=callgrind``, with hashing, garbage collection and addresses fixed. It counts
what so many records execute and what three times as many do: the difference of the two, by that of the records, is what
a record costs. A start, and whatever happens once, falls out. Two runs of the same code differ by a few instructions in
ten thousand, however busy the machine is.

What is compared with ``baseline.json`` is the cost in *floors*: that of a log call which only a null handler sees, in
the same interpreter. Another build of Python changes counts more than it changes ratios. Each minor version of Python
has figures of its own.

Log calls, and a collector's way from a frame to lines of JSON, are counted in the form that the interpreter has,
compiled or in Python, and the baseline says which it was: one is never compared with the other. Workloads whose names
end in ``.python`` are in Python whatever is built; with ``LOGBUS_PURE_PYTHON=1`` all are.

Instructions are not time. What they can't see is in docs/decisions/0015.
"""
