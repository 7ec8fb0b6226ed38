"""Celery tasks whose records carry the request that they belong to, whichever process runs them.

By itself, in a folder of its own that goes with it::

    python celery_worker.py --demo

Or in three terminals, in this directory::

    logbus collector start --sink file:shop.jsonl
    celery -A celery_worker worker --concurrency 2
    python celery_worker.py                          # places three orders

Each order is one request: its id is on the record of the process that placed it, on those of the tasks that it caused
(a retry and a task called by a task included), and on what celery itself says about them::

    logbus tail --where request_id=order-2
"""

# Celery is not typed, and this is a program for people.
# mypy: disable-error-code="untyped-decorator, override"

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from celery import Celery, chain
from kombu.transport import filesystem

import logbus
import logbus.integrations.celery

# A broker that needs no server: files in a folder. Yours is Redis or RabbitMQ, and nothing of this is needed.
FILES = Path(os.environ.get("SHOP_FILES", "shop-files")).absolute()
FOLDERS = {name: str(FILES / name) for name in ("data_folder_in", "data_folder_out", "control_folder")}


class WholeFiles(filesystem.Channel):
    """Kombu's folder, in which a message is whole from the moment that it is there."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        file = Path(FOLDERS["data_folder_in"], f"{time.monotonic_ns():020d}-{uuid.uuid4()}.{queue}.msg")
        new = file.with_suffix(".new")
        new.write_text(json.dumps(payload))
        new.rename(file)


filesystem.Transport.Channel = WholeFiles
app = Celery("celery_worker", broker="filesystem://", backend=f"file://{FILES}/results")
app.conf.broker_transport_options = {**FOLDERS, "polling_interval": 0.1}


@app.on_after_configure.connect
def make_folders(**_: Any) -> None:
    """Makes them before anybody uses them."""
    for name in ("results", *FOLDERS):
        (FILES / name).mkdir(parents=True, exist_ok=True)


# All that celery needs to know of logbus. The settings are those of logbus.configure().
logbus.integrations.celery.install(app, app_name="shop")

log = logging.getLogger("shop.orders")


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0, max_retries=3, bind=True)
def charge(self: Any, number: int) -> int:
    """Charges a card; the bank does not answer the first call about the second order."""
    if number == 2 and self.request.retries == 0:
        log.warning("the bank does not answer", extra={"order": number})
        raise ConnectionError("bank.example: connection refused")
    log.info("charged", extra={"order": number})
    return number


@app.task
def ship(number: int) -> None:
    """Sends a parcel, and a mail about it."""
    log.info("shipped", extra={"order": number})
    mail.delay(f"order {number} is on its way")


@app.task
def mail(text: str) -> None:
    """What a task prints is a record of its own, of the logger "celery.redirected"."""
    print(f"mail: {text}")


def place_orders() -> None:
    """The other side: a process that asks for tasks. A web application has its requests from the middleware."""
    logbus.configure(app_name="shop")
    placed = []
    for number in (1, 2, 3):
        with logbus.request_scope(f"order-{number}", operation="checkout"):
            log.info("placed", extra={"order": number})
            placed.append(chain(charge.s(number), ship.s()).delay())
    for result in placed:
        list(result.collect(timeout=60))  # waits for the tasks that it has caused, too


def demo() -> None:
    """Runs the three commands, and shows what became of every record, and the story of one order."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        environment = {
            **os.environ,
            "SHOP_FILES": f"{folder}/files",
            "LOGBUS_RUNTIME_DIR": f"{folder}/run",
            "LOGBUS_STATE_DIR": f"{folder}/state",
        }

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, *command], cwd=here, env=environment)
            running.callback(process.wait)
            running.callback(process.terminate)
            return process

        records = Path(folder, "shop.jsonl")
        collector = start("-m", "logbus", "collector", "start", "--sink", f"file:{records}")
        worker = start("-m", "celery", "-A", "celery_worker", "worker", "--concurrency", "2", "--loglevel", "ERROR")
        subprocess.run([sys.executable, __file__], env=environment, check=True)
        worker.terminate()
        worker.wait()
        print("\nThe ledger:", flush=True)
        subprocess.run([sys.executable, "-m", "logbus", "status"], env=environment, check=True)
        collector.terminate()
        collector.wait()  # now the last record is in the file
        print("\n\nThe story of order 2, as several processes tell it:")
        lines = [json.loads(line) for line in records.read_text().splitlines()]
        for line in sorted(lines, key=lambda line: str(line["timestamp"])):
            if line.get("request_id") == "order-2":
                print(f"{line['timestamp'][11:23]} {line['worker']} {line['operation']:>20}: {line['message']}")


if __name__ == "__main__":
    demo() if "--demo" in sys.argv else place_orders()
