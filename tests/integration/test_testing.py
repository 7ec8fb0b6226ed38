"""logbus.testing as its users use it: a collector in memory, and a fixture, in tests of applications."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import logbus
from logbus.testing import MemoryCollector
from tests.collector_command import ROOT, child_environment

USER_TEST = """
import logging
import multiprocessing
import os

import logbus

pytest_plugins = ["logbus.testing"]


def work():
    logbus.configure()
    logging.getLogger("shop").info("from the child %d", os.getpid())


def test_own_process(logbus_collector):
    logbus.configure(worker="me")
    with logbus.context(request_id="4711"):
        logging.getLogger("shop.orders").warning("paid with %s", "http://bob:hunter2@bank", extra={"token": "t0p"})
    [record] = logbus_collector.wait(1)
    assert record["message"] == "paid with http://bob:***@bank"
    assert (record["worker"], record["request_id"], record["extra"]) == ("me", "4711", {"token": "***"})


def test_children(logbus_collector):
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
    [record] = logbus_collector.wait(1)
    assert record["message"] == f"from the child {child.pid}"


def test_nothing_remains(logbus_collector):
    logging.getLogger("shop").error("to nobody")
    assert logbus_collector.records == []
"""


def test_records_arrive_whole_and_the_ledger_balances() -> None:
    """What this process logs comes out as JSON lines, and the last status accounts for all of it."""
    log = logging.getLogger("app")
    log.setLevel(logging.INFO)
    with MemoryCollector() as collector:
        handler = logbus.LogbusHandler(collector.endpoint, worker="w")
        log.addHandler(handler)
        for number in range(1000):
            log.info("record %d", number)
        records = collector.wait(1000)
        log.removeHandler(handler)

    assert [record["message"] for record in records] == [f"record {number}" for number in range(1000)]
    assert collector.status["balanced"]
    assert collector.status["total"]["collected"] == 1000
    assert [row["worker"] for row in collector.status["workers"]] == ["w"]


def test_waiting_for_too_many_fails_with_what_is_there() -> None:
    """The error of a wait names the records that did come."""
    with MemoryCollector() as collector:
        log = logging.getLogger("app")
        handler = logbus.LogbusHandler(collector.endpoint)
        log.addHandler(handler)
        log.warning("the only one")
        collector.wait(1)

        with pytest.raises(AssertionError, match=r"expected 2 records within 0.05 s, found 1.*the only one"):
            collector.wait(2, timeout=0.05)

        collector.clear()
        assert collector.records == []
        log.removeHandler(handler)


def test_fixture_in_the_tests_of_an_application(tmp_path: Path) -> None:
    """A stranger's test file gets records of its own process and of spawned children, and nothing from elsewhere."""
    (tmp_path / "test_shop.py").write_text(USER_TEST)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env=child_environment(PYTHONPATH=f"{ROOT}:{tmp_path}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
