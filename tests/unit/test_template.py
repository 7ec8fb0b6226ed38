"""Records out of a template: the same as logging makes them, by the rules of this version of Python."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from logbus.producers import template
from logbus.producers.template import FITS, record_of

SITE = ("shop", 20, "/srv/shop.py", 7)


def both(msg: Any = "sold", args: Any = ()) -> tuple[logging.LogRecord, logging.LogRecord]:
    """A record as logging makes it, and one out of the template of another."""
    theirs = logging.LogRecord(*SITE, msg, args, None, "sell")
    ours: logging.LogRecord = record_of(vars(logging.LogRecord(*SITE, "", (), None, "sell")), msg, args)
    return theirs, ours


def test_this_python_is_known() -> None:
    """Records have the attributes that are known, so templates are used at all."""
    assert FITS


def test_order_and_content_are_those_of_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is a LogRecord with the same attributes in the same order, the time included."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time", lambda: now / 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: now)
    theirs, ours = both("%d sold", (3,))
    assert type(ours) is logging.LogRecord
    assert list(vars(ours).items()) == list(vars(theirs).items())
    assert ours.getMessage() == "3 sold"


@pytest.mark.parametrize("fraction", [0, 1, 499_999_999, 998_999_999, 999_000_000, 999_499_999, 999_999_999])
def test_milliseconds_are_rounded_as_logging_does(fraction: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where seconds in a float round up to the next."""
    now = 1_677_903_920 * 10**9 + fraction
    monkeypatch.setattr(time, "time", lambda: now / 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: now)
    theirs, ours = both()
    found = [(record.created, record.msecs, record.relativeCreated) for record in (theirs, ours)]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"])
def test_what_an_application_has_switched_off_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switches of logging count for each record."""
    if not hasattr(logging, name):
        pytest.skip(f"this Python has no {name}")
    monkeypatch.setattr(logging, name, False)
    same(*both())


def test_a_thread_has_the_name_that_it_has_now() -> None:
    """Renaming counts from the next record on."""
    found: list[tuple[logging.LogRecord, logging.LogRecord]] = []

    def work() -> None:
        threading.current_thread().name = "renamed"
        found.append(both())

    thread = threading.Thread(target=work, name="first")
    thread.start()
    thread.join()
    same(*found[0])
    assert (found[0][1].threadName, found[0][1].thread) == ("renamed", thread.ident)


def test_a_process_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of multiprocessing where it is loaded, also while it is being loaded."""
    monkeypatch.setattr(multiprocessing.current_process(), "name", "renamed")
    same(*both())
    for module in (None, SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "multiprocessing", module)
        same(*both())
        assert both()[1].processName == "MainProcess"


def test_a_task_has_its_name() -> None:
    """Since Python 3.12 records know the task in which they are logged; outside of one there is none."""

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("renamed")
        same(*both())
        assert getattr(both()[1], "taskName", "renamed") == "renamed"

    asyncio.run(work())
    same(*both())
    assert getattr(both()[1], "taskName", None) is None


def test_asyncio_that_is_being_loaded_knows_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without its functions is nobody's failure."""
    monkeypatch.setitem(sys.modules, "asyncio", SimpleNamespace())
    same(*both())


@pytest.mark.parametrize("fork", [os.fork, lambda: multiprocessing.get_context("fork").Process])
def test_a_forked_child_has_its_own_id(fork: Callable[[], Any]) -> None:
    """In the child from its first record on, with whatever it was forked."""

    def look() -> bool:
        theirs, ours = both()
        return ours.process == theirs.process == os.getpid()

    if fork is not os.fork:
        process = fork()(target=lambda: sys.exit(not look()))
        process.start()
        process.join()
        assert process.exitcode == 0
    elif (child := os.fork()) == 0:
        os._exit(not look())
    else:
        assert os.waitpid(child, 0)[1] == 0
    assert look()


def test_a_record_while_the_process_forks_asks_for_its_id() -> None:
    """Whatever runs between the hooks of others logs the right process."""
    template._before_fork()
    try:
        same(*both())
    finally:
        template._after_fork()
    same(*both())


def same(theirs: logging.LogRecord, ours: logging.LogRecord) -> None:
    """Fails where two records differ in more than their time."""
    times = ("created", "msecs", "relativeCreated")
    found = [[(key, value) for key, value in vars(record).items() if key not in times] for record in (theirs, ours)]
    assert found[0] == found[1]
