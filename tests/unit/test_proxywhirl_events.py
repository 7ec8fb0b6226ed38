"""Events: records as any other, that never raise."""

from __future__ import annotations

import logging

import pytest

from logbus.integrations.proxywhirl.events import emit

LOG = logging.getLogger("proxywhirl.rotator")


def telling(stacklevel: int) -> None:
    """Whoever emits."""
    emit(LOG, logging.WARNING, "attempt_failed", "100% failed", {"attempt": 1}, stacklevel=stacklevel)


def test_an_event_is_a_record_with_its_name_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    """The message is no template, and the call site the one that was asked for."""
    telling(1)
    telling(2)
    first, second = caplog.records
    assert (first.getMessage(), first.name, first.levelno) == ("100% failed", "proxywhirl.rotator", logging.WARNING)
    assert (first.__dict__["event"], first.__dict__["attempt"]) == ("attempt_failed", 1)
    assert first.funcName == "telling"
    assert second.funcName == "test_an_event_is_a_record_with_its_name_and_fields"


def test_an_event_that_can_not_be_logged_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """A field that logging refuses, or a filter that raises, never reaches the request."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken")

    emit(LOG, logging.WARNING, "odd", "odd", {"message": "taken"}, stacklevel=1)
    LOG.addFilter(broken)
    telling(1)
    assert caplog.records == []
