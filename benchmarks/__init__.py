"""Benchmarks: logbus beside what a user would pick instead, on one record, in one shuffled run.

What makes a comparison of loggers unfair, and what is done about it here:

- *different records*: every variant logs the records of :mod:`benchmarks.record`, from the same call sites.
- *wall time on busy cores*: every figure is CPU time, user and system, of a thread or of whole processes; only the
  cost of a start is wall time, the best of several.
- *figures from different minutes*: each round runs every variant once, in an order of its own, and what is compared
  runs within fractions of a second, in turns. Ratios are those of such pairs; their median is quoted with the
  smallest and the largest.
- *somebody dropped*: what comes out is counted. A run in which a record is missing is void and in no figure.
- *one hot call site*: there are ten, and beside the runs flat out there are paced ones, whose caches are cold.
- *no redaction on one side*: logbus redacts with its default rules, the peers don't. This favours the peers. All
  write lines of the same fields; theirs are flushed one by one, as the standard library's ``FileHandler`` always does.

``make bench-quick`` is :mod:`benchmarks.quick`, :mod:`benchmarks.levels` for what levels cost that are set,
:mod:`benchmarks.pipeline` for what each stage of a sink costs the collector, and :mod:`benchmarks.delivery` for what it
costs to bring records to a server.
"""
