"""An application of celery's, as its users write them; its queue and its results are files in ``$SHOP``.

:func:`main` is the process that publishes. It is no worker of logbus.
"""

# Celery is not typed.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord
from celery.utils.log import get_task_logger

import logbus
import logbus.integrations.celery
from tests.programs.mailbox import mailbox

SHOP = Path(os.environ["SHOP"])
RESULTS = SHOP / "results"
RESULTS.mkdir(exist_ok=True)

app = Celery("shop", backend=f"file://{RESULTS}")
mailbox(app, SHOP / "mailbox")
app.conf.update(
    worker_lost_wait=float(os.environ.get("LOST_WAIT", "10")),
    worker_prefetch_multiplier=1,
)
logbus.integrations.celery.install(app, app_name="shop")

log = get_task_logger(__name__)
plain = logging.getLogger("till")
warnings.simplefilter("ignore")  # celery's about uid 0 is none of the application's


@app.task
def pay(number: int, password: str = "") -> int:
    """One record by each kind of logger."""
    log.info("pay %d", number)
    plain.info("till %d", number)
    return number


@app.task
def order(number: int) -> None:
    """A task that asks for another one."""
    log.info("order %d", number)
    pay.delay(number)


@app.task
def total(numbers: list[int]) -> None:
    """The body of a chord."""
    log.info("total %d", sum(numbers))


@app.task(bind=True, max_retries=2, acks_late=True)
def insist(self: Any) -> None:
    """Succeeds at its second attempt."""
    log.info("attempt %d", self.request.retries)
    if self.request.retries == 0:
        raise self.retry(exc=ConnectionError("the bank is closed"), countdown=0)


@app.task
def fail() -> None:
    """Fails."""
    raise ValueError("sold out")


@app.task
def greet() -> None:
    """Prints."""
    print("hello from a task")
    sys.stderr.write("and from its stderr\n")


@app.task(bind=True)
def crash(self: Any, burst: int = 0) -> None:
    """Dies, as at the hands of the OOM killer."""
    log.info("about to die")
    logbus.flush(10)
    for number in range(burst):
        log.info("burst %d", number)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(time_limit=1)
def hang() -> None:
    """Runs beyond its hard time limit."""
    log.info("hanging")
    time.sleep(60)


@app.task(soft_time_limit=1)
def dawdle() -> None:
    """Runs beyond its soft time limit."""
    log.info("dawdling")
    time.sleep(60)


@app.task
def inner() -> None:
    """Called by another task, in its own process."""
    log.info("inner")


@app.task
def outer() -> None:
    """Calls another task as an eager one."""
    log.info("before")
    inner.apply()
    log.info("after")


def publish(wanted: list[list[Any]]) -> None:
    """Sends what is wanted: names of tasks with their arguments."""
    for name, *arguments in wanted:
        if name == "chain":
            chain(pay.s(1), order.s()).delay()
        elif name == "chord":
            chord([pay.s(1), pay.s(2)], total.s()).delay()
        else:
            app.tasks[f"tests.programs.shop.{name}"].delay(*arguments)


def main() -> None:
    """Publishes what the arguments say: pairs of a request (or null) and what is wanted in it, and a traceparent."""
    for request, wanted in json.loads(sys.argv[1]):
        if request is None:
            publish(wanted)
        else:
            with logbus.request_scope(request, traceparent=sys.argv[2], operation="checkout"):
                publish(wanted)
