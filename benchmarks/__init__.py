"""Benchmarks: logbus beside what a user would pick instead, on one record, in one shuffled run.

What makes a comparison of loggers unfair, and what is done about it here:

- *different records*: every variant logs the records of :mod:`benchmarks.record`, from the same call sites.
- *wall time on busy cores*: every figure is CPU time, user and system, of a thread or of whole processes; only the
  cost of a start is wall time, the best of several.
- *figures from different minutes*: each round runs every variant once, in an order of its own, and what is compared
  runs within fractions of a second, in turns. Ratios are those of such pairs; their median is quoted with the
  smallest and the largest.
- *somebody dropped*: what comes out is counted. A run in which a record is missing is void and in no figure.
- *one hot call site*: there are ten texts, at a hundred call sites where one call is measured, and beside the runs
  flat out there are paced ones, whose caches are cold.
- *one form for another*: logbus's log calls and its collector are compiled where there are extensions, and in Python
  where there are none. Every process that is measured says which it has loaded (:mod:`benchmarks.compiled`), and has
  no figure when its row names the other.
- *no redaction on one side*: logbus redacts with its default rules, the peers don't. This favours the peers, and the
  tables say who does what with a record.

:mod:`benchmarks.suite` is the one run of all (``make bench``, ``make bench-quick``): of :mod:`benchmarks.peers`, whose
log calls are measured, :mod:`benchmarks.daemons`, the collectors, and :mod:`benchmarks.scale`, growth. Beside it stand
:mod:`benchmarks.levels` for what levels cost that are set, :mod:`benchmarks.pipeline` for what each stage of a sink
costs the collector, :mod:`benchmarks.delivery` for what it costs to bring records to a server, and
:mod:`benchmarks.proxied` for what logging adds to a request. :mod:`benchmarks.guard` counts instructions, whatever the
machine. The results of all are rendered to ``docs/performance.md``.
"""
