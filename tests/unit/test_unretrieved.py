"""Event loops report failures with the fields of the task, and are given back as they were."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from asyncio.base_events import BaseEventLoop
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.producers.context import context, current_context
from logbus.producers.unretrieved import UNRETRIEVED


@pytest.fixture(autouse=True)
def reports() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What asyncio logs, with the fields that a record would carry; and the hook, on for the test."""
    found: list[tuple[str, dict[str, Any]]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            found.append((str(error), current_context()))

    logger, keep = logging.getLogger("asyncio"), Keep()
    logger.addHandler(keep)
    logger.propagate = False
    UNRETRIEVED.follow()
    yield found
    UNRETRIEVED.leave()


async def fail(text: str) -> None:
    """A task's end."""
    raise ValueError(text)


async def fail_inside(text: str) -> None:
    """A task's end in a scope of its own."""
    with context(request_id=text):
        raise ValueError(text)


def test_a_scope_that_the_exception_left(reports: list[tuple[str, dict[str, Any]]]) -> None:
    """Its fields are active while the loop reports, and not those of where the task was collected."""

    async def main() -> None:
        task = asyncio.create_task(fail_inside("mine"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with context(request_id="another's"):
            del task
            gc.collect()
            assert current_context() == {"request_id": "another's"}

    asyncio.run(main())
    assert reports == [("mine", {"request_id": "mine"})]


def test_the_context_that_a_task_was_made_in(reports: list[tuple[str, dict[str, Any]]]) -> None:
    """Where Python tells of it, from 3.12 on, its fields; before, none rather than another task's."""

    async def main() -> None:
        with context(request_id="mine"):
            task = asyncio.create_task(fail("boom"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with context(request_id="another's"):
            del task
            gc.collect()

    asyncio.run(main())
    assert reports == [("boom", {"request_id": "mine"} if sys.version_info >= (3, 12) else {})]


def test_a_callback(reports: list[tuple[str, dict[str, Any]]]) -> None:
    """A callback that fails is reported with the fields of who asked for it."""

    async def main() -> None:
        with context(request_id="mine"):
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert reports == [("division by zero", {"request_id": "mine"})]


def test_a_handler_of_the_application(reports: list[tuple[str, dict[str, Any]]]) -> None:
    """It is called as before, and what it logs has the task's fields."""
    found = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: found.append((report["message"], current_context())))
        loop.call_exception_handler({"message": "by hand"})
        with context(request_id="mine"):  # from Python 3.12 on the handler runs in the task's context
            task = asyncio.create_task(fail_inside("mine"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(main())
    assert found == [("by hand", {}), ("Task exception was never retrieved", {"request_id": "mine"})]


def test_the_class_is_given_back() -> None:
    """The very function that was there; a hook that somebody put on top of ours stays."""
    UNRETRIEVED.leave()
    before = BaseEventLoop.__dict__["call_exception_handler"]
    UNRETRIEVED.follow()
    UNRETRIEVED.follow()
    ours = BaseEventLoop.__dict__["call_exception_handler"]
    assert ours.__wrapped__ is before
    UNRETRIEVED.leave()
    assert BaseEventLoop.__dict__["call_exception_handler"] is before


@pytest.mark.parametrize("report", [{}, {"exception": "none", "task": 3}, {"future": object()}, {"handle": None}])
def test_a_report_that_is_not_as_usual(report: dict[str, Any], reports: list[tuple[str, dict[str, Any]]]) -> None:
    """It is passed on, and nothing is raised."""
    loop = asyncio.new_event_loop()
    try:
        seen = []
        loop.set_exception_handler(lambda _, report: seen.append(report))
        loop.call_exception_handler(report)
        assert seen == [report]
    finally:
        loop.close()
