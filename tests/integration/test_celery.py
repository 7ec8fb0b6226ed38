"""Real workers of celery's, in every pool: each task's records carry its ids, and none is lost at any end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.counters import read_page
from tests.collector_command import ROOT, CollectorCommand, child_environment
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.group import end_group
from tests.integration.watch import lines_of, settled

#: Seconds for a worker to start, to work through its tasks, or to end, on a machine that does other things.
PATIENCE = 60.0
TRACE = "00-" + "4b" * 16 + "-" + "0f" * 8 + "-01"

Record = dict[str, Any]


class Shop:
    """One worker of ``tests.programs.shop`` with its queue, and the collector that it logs to."""

    def __init__(self, collector: CollectorCommand, directory: Path, *options: str, **environment: str) -> None:
        self.collector = collector
        self.log = directory / "shop.jsonl"
        self.pages = Path(os.environ["LOGBUS_RUNTIME_DIR"], "default", "records.pages")
        self.environment = child_environment(SHOP=str(directory), PYTHONWARNINGS="ignore", **environment)
        self.errors = directory / "worker.err"
        command = ["-m", "celery", "-A", "tests.programs.shop", "worker", "--without-mingle", "--without-gossip"]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *command, *options],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        self.wait(lambda records: any(record["message"].endswith(" ready.") for record in records))

    def publish(self, request: str | None, *wanted: list[Any]) -> None:
        """Has another process publish tasks inside a request, or outside of any."""
        self.publish_all([[request, wanted]])

    def publish_all(self, batches: list[list[Any]]) -> None:
        """Has one process publish the tasks of many requests."""
        done = subprocess.run(
            [sys.executable, "-c", "from tests.programs.shop import main; main()", json.dumps(batches), TRACE],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr

    @property
    def records(self) -> list[Record]:
        """What the collector has written so far; the fields of ``extra`` beside the others."""
        lines = lines_of(self.log) if self.log.exists() else []
        return [{**line.get("extra", {}), **line} for line in lines]

    def wait(self, look: Callable[[list[Record]], object]) -> list[Record]:
        """The records, once ``look`` is true of them."""

        def seen() -> list[Record] | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the worker ended with {self.process.returncode}: {self.errors.read_text()}")
            records = self.records
            assert look(records), (records[-20:], self.errors.read_text()[-2000:])
            return records

        found = eventually(seen, PATIENCE, what="what the worker logs")
        assert found is not None
        return found

    def wait_for(self, **counts: int) -> list[Record]:
        """The records, once so many tasks of each name have ended, whatever way."""

        def ended(records: list[Record]) -> bool:
            texts = [text(record) for record in records if record["logger"] == "celery.app.trace"]
            return all(sum(f".{name}[" in line for line in texts) >= count for name, count in counts.items())

        return self.wait(ended)

    def stop(self, number: int = signal.SIGTERM) -> list[Record]:
        """All records, after a signal to the main process and its end without a fault; the ledger balances."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.errors.read_text()

        def over(status: dict[str, Any]) -> bool:
            # Who has closed its book is "live" for a while yet: its page says how much of it has to be there.
            with contextlib.suppress(FileNotFoundError):  # read, and removed meanwhile
                pages = {page.meta.pid: page for page in map(read_page, self.pages.glob("*.page"))}
                self.workers = [row for row in status["workers"] if row["worker"] != "logbus"]
                return status["total"]["in_flight"] == 0 and all(
                    row["state"] != "live"
                    or ((page := pages[row["pid"]]).said_bye and page.totals.emitted == row["emitted"])
                    for row in self.workers
                )
            return False

        status = settled(self.collector, over)
        assert status["balanced"]
        assert status["total"]["unknown"] == 0
        self.dropped = status["total"]["dropped"]
        return self.records

    def end(self) -> None:
        """Ends what is left of it."""
        end_group(self.process)


@pytest.fixture
def open_shop(start_collector: StartCollector, tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Starts a worker, and a collector before it; ``options`` are the worker's, keywords its environment."""
    opened: list[Shop] = []

    def start(*options: str, **environment: str) -> Shop:
        collector = start_collector("--sink", f"file:{tmp_path}/shop.jsonl")
        opened.append(Shop(collector, tmp_path, *options, **environment))
        return opened[-1]

    yield start
    for shop in opened:
        shop.end()


def text(record: Record) -> str:
    """The message of a record."""
    return str(record["message"])


def of_task(records: list[Record], name: str) -> list[Record]:
    """The records of tasks of one name, in any process."""
    return [record for record in records if record.get("task_name") == f"tests.programs.shop.{name}"]


def raised(records: list[Record], name: str) -> list[str]:
    """The classes of the exceptions in the records of tasks of one name."""
    found = [record["exception"]["type"] for record in of_task(records, name) if "exception" in record]
    return [kind.rpartition(".")[2] for kind in found]


def ids(records: list[Record]) -> set[Any]:
    """The requests that records belong to."""
    return {record.get("request_id") for record in records}


def test_a_request_is_one_from_the_publisher_to_the_last_subtask(
    open_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    """Each record of a task, in a child for each of them, has its publisher's ids; a warm end loses none."""
    logs = tmp_path / "celery%I.log"
    shop = open_shop("--pool", "prefork", "-c", "2", "--max-tasks-per-child", "1", "-l", "INFO", "--logfile", str(logs))
    batches: list[list[Any]] = [[f"request-{number}", [["order", number], ["insist"]]] for number in range(3)]
    shop.publish_all([*batches, ["gathering", [["chord"]]], [None, [["order", 99], ["chain"]]]])
    shop.wait_for(order=5, pay=8, insist=6, total=1)
    records = shop.stop()

    for number in range(3):
        mine = [record for record in records if record.get("request_id") == f"request-{number}"]
        assert {text(record) for record in mine if record["logger"] in ("tests.programs.shop", "till")} == {
            f"order {number}",
            f"pay {number}",
            f"till {number}",
            "attempt 0",
            "attempt 1",
        }
        assert {(record["trace_id"], record["span_id"]) for record in mine} == {("4b" * 16, "0f" * 8)}
        [order] = [record for record in mine if text(record) == f"order {number}"]
        [pay] = [record for record in mine if text(record) == f"pay {number}"]
        assert pay["parent_id"] == order["task_id"] != pay["task_id"]
        assert "parent_id" not in order
        retries = {text(record): record["retries"] for record in mine if text(record).startswith("attempt")}
        assert retries == {"attempt 0": 0, "attempt 1": 1}
        # Received by the main process, and ended in the child: as celery says it, with the same ids.
        tasks = {record["task_id"] for record in mine}
        assert len(tasks) == 3  # a retry is the same task
        for task in tasks:
            said = " ".join(text(record) for record in mine if record["task_id"] == task)
            assert f"[{task}] received" in said
            assert f"[{task}] succeeded" in said
    assert sum(" retry: " in text(record) for record in of_task(records, "insist")) == 3

    # A chord's body is called by a task of celery's own, which carries the id along.
    assert ids([record for record in records if text(record) == "total 3"]) == {"gathering"}

    # Without a request a workflow is one: its id is that of the task that began it.
    [order] = [record for record in records if text(record) == "order 99"]
    assert order["request_id"] == order["task_id"]
    assert ids([record for record in records if text(record) in ("pay 99", "till 99")]) == {order["task_id"]}
    [chained] = [record for record in records if text(record) == "order 1" and "trace_id" not in record]
    assert chained["request_id"] == chained["parent_id"] != chained["task_id"]
    # Nothing of a task is without ids.
    of_tasks = {"tests.programs.shop", "till", "celery.app.trace", "celery.worker.strategy"}
    assert all(record["operation"] == record["task_name"] for record in records if record["logger"] in of_tasks)
    # Celery's own log files are there as ever, one for each place in the pool.
    assert " received" in (tmp_path / "celery.log").read_text()
    written = "".join((tmp_path / f"celery-{place}.log").read_text() for place in (1, 2))
    assert written.count("] succeeded in ") == sum("] succeeded in " in text(record) for record in records)
    assert shop.dropped == {}
    assert "crashed" not in {row["state"] for row in shop.workers}


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "eventlet"])
def test_pools_of_one_process(open_shop: Callable[..., Shop], pool: str) -> None:
    """Where tasks run in the worker's own process, at once or one by one, their ids don't mix, and none is lost."""
    shop = open_shop("--pool", pool, "-c", "4")
    shop.publish_all([[f"request-{number}", [["order", number], ["outer"]]] for number in range(4)])
    shop.wait_for(order=4, pay=4, outer=4)
    records = shop.stop()

    for number in range(4):
        mine = [text(record) for record in records if record.get("request_id") == f"request-{number}"]
        wanted = [f"order {number}", f"pay {number}", f"till {number}", "before", "inner", "after"]
        assert sorted(line for line in mine if line in wanted) == sorted(wanted)
    inner = [record for record in records if text(record) == "inner"]
    assert {record["operation_path"] for record in inner} == {"tests.programs.shop.outer/tests.programs.shop.inner"}
    [after, *_] = [record for record in records if text(record) == "after"]
    assert after["task_name"] == "tests.programs.shop.outer"
    assert ids([record for record in records if record["logger"].startswith("celery.worker.consumer")]) == {None}


def test_ends_of_every_kind(open_shop: Callable[..., Shop]) -> None:
    """An exception comes as data, once, what was printed as a record, and what a killed child had is counted."""
    shop = open_shop("--pool", "prefork", "-c", "2", LOST_WAIT="0.5")
    shop.publish("the-request", ["fail"], ["greet"], ["dawdle"], ["pay", 1, "hunter2"], ["crash", 500], ["hang"])
    shop.wait_for(fail=1, greet=1, dawdle=1, pay=1)
    shop.wait(lambda records: raised(records, "crash") and raised(records, "hang"))
    records = shop.stop(signal.SIGQUIT)

    assert raised(records, "fail") == ["ValueError"]
    [failed] = [record for record in of_task(records, "fail") if record["level"] == "ERROR"]
    assert "shop.py" in failed["exception"]["traceback"][-1]
    assert "Traceback" not in json.dumps({**failed, "exception": None})
    assert raised(records, "dawdle") == ["SoftTimeLimitExceeded"]
    printed = [text(record) for record in of_task(records, "greet") if record["logger"] == "celery.redirected"]
    assert printed == ["hello from a task", "and from its stderr"]
    # What the main process says of a child that is gone belongs to the request, too.
    assert raised(records, "crash") == ["WorkerLostError"]
    assert raised(records, "hang") == ["TimeLimitExceeded"]
    assert "about to die" in {text(record) for record in records}
    tasks = [record for record in records if "task_name" in record]
    assert ids(tasks) == {"the-request"}
    assert len({record["task_id"] for record in tasks}) == 6
    # One child was killed, with what it had not sent yet; cold as the end of the others was, they have lost nothing.
    arrived = sum(text(record).startswith("burst ") for record in records)
    assert "crashed" in {row["state"] for row in shop.workers}
    assert shop.dropped == ({"worker_lost": 500 - arrived} if arrived < 500 else {})
    # A password that was an argument is in no log, though celery hands arguments to its handlers.
    assert "hunter2" not in shop.log.read_text()
    # On the terminal there is what celery would show by itself, at its own level.
    shown = shop.errors.read_text()
    assert "raised unexpected: ValueError" in shown
    assert "received" not in shown
