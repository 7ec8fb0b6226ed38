"""Tasks under test, for ``celery -A tests.programs.jobs worker``, with a broker that is a folder (``JOBS_FOLDER``).

``python -m tests.programs.jobs TASKS RECORDS`` publishes so many tasks, each of which logs so many records through the
witness. With ``JOBS_INSTALL`` set the application has logbus.integrations.celery.install() called, else it configures
nothing: what it logs reaches logbus by the way in which the worker was started.

This broker has no event loop, so a thread of celery's replaces the pool's processes, and each of them asks the kernel
for a SIGKILL when its parent ends, by which the kernel means that thread: a warm shutdown kills them, and hangs if one
of them held the queue's lock. With ``JOBS_SPARED`` set they take that wish back, and end as they do with brokers that
have a loop.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from billiard.util import set_pdeathsig
from celery import Celery
from celery.signals import worker_process_init

from tests.programs.mailbox import mailbox
from tests.programs.witness import LANE

app = Celery("jobs", set_as_current=False)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
mailbox(app, Path(os.environ["JOBS_FOLDER"]))
if os.environ.get("JOBS_INSTALL"):
    from logbus.integrations.celery import install

    install(app)

if os.environ.get("JOBS_SPARED"):

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def outlive_the_thread(**_: object) -> None:
        """In each process of the pool, after celery has set the signal."""
        set_pdeathsig(0)


log = logging.getLogger("shop.till")


@app.task(name="jobs.work")  # type: ignore[untyped-decorator]
def work(records: int) -> None:
    """Logs so many records."""
    for _ in range(records):
        LANE.log(log)


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("jobs.work", args=(int(sys.argv[2]),))
