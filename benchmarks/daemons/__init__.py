"""Collectors: what each takes to bring records into one file of lines, and the whole way from a call to that file.

Two families, whose figures are CPU time (user and system, all threads) per record:

- ``collector``: one process is measured (:mod:`benchmarks.daemons.collector`). It is fed with reference records that
  were serialised beforehand, over four connections where it has any, so that it and nobody else is the limit.
  ``process_us`` is its CPU, ``records_per_s`` what it took, ``rss_mib`` its largest resident set.
- ``end_to_end``: four real workers log through a handler (:mod:`benchmarks.daemons.end_to_end`). ``process_us`` is the
  CPU of all processes together, ``workers_us`` and ``receiver_us`` its parts, ``records_per_s`` the whole's.

A file for each collector: how it is configured and started, what is sent to it, what it does with a record. It lives
for one sample, in a directory of its own, as the current user. All runs of it happen in a process of their own
(``python -m benchmarks.daemons TASK``), which ends it, and whose process group is ended with the job in any case.

A sample counts the records in the file when all is over. Where a collector is said to redact, no password of the
reference records may be there, and where it is said not to, they must be, or the job fails. It fails as well where
logbus's collector, or workers of its, are of another form than the row says: compiled, or in Python.

Nothing heavy is imported here: the peers' own processes import this package too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.suite.job import Bench, Job


def jobs(bench: Bench) -> list[Job]:
    """A job for each collector that is here, of both families."""
    from benchmarks.daemons.offer import offered

    return offered(bench)


def skipped(bench: Bench) -> dict[str, str]:
    """Why the others can't be measured here, by ``FAMILY/VARIANT``."""
    from benchmarks.daemons.offer import absent

    return absent(bench)
