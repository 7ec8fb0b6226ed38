"""The two records of a request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from logbus.integrations.access import Access

LOG = logging.getLogger("shop.requests")


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Records from INFO up."""
    caplog.set_level(logging.INFO)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of an access record."""
    names = ("event", "method", "path", "client", "status", "error")
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def test_a_request_begins_and_ends_once(caplog: pytest.LogCaptureFixture) -> None:
    """The end says status and duration, and whoever ends it again is late."""
    access = Access(LOG, "GET", "/shop", "127.0.0.1")
    access.started()
    access.status = 204
    access.ended()
    access.ended("incomplete response")
    first, last = caplog.records
    common = {"method": "GET", "path": "/shop", "client": "127.0.0.1"}
    assert fields(first) == {"event": "request_started", **common}
    assert fields(last) == {"event": "request_ended", **common, "status": 204}
    assert (first.name, first.levelno, first.getMessage()) == ("shop.requests", logging.INFO, "GET /shop started")
    assert last.getMessage().startswith("GET /shop 204 in ")
    assert last.duration_ms >= 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sent", "error", "status", "told"),
    [
        (None, KeyError("secret"), 500, "KeyError"),
        (200, KeyError("secret"), 200, "KeyError"),
        (None, asyncio.CancelledError(), None, "asyncio.exceptions.CancelledError"),
        (None, "incomplete response", None, "incomplete response"),
    ],
)
def test_what_went_wrong_is_told(
    caplog: pytest.LogCaptureFixture, sent: int | None, error: Any, status: int | None, told: str
) -> None:
    """An exception by its type, with the status that went out, or the one that servers send then."""
    access = Access(LOG, "GET", "/", None)
    access.status = sent
    access.ended(error)
    [record] = caplog.records
    expected = {"event": "request_ended", "method": "GET", "path": "/", "error": told}
    assert fields(record) == expected | ({} if status is None else {"status": status})
    assert "secret" not in record.getMessage()


def test_nothing_is_raised_and_nothing_made_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A filter of the application may fail; a level above INFO silences both."""

    def fail(_: logging.LogRecord) -> bool:
        raise ValueError

    LOG.addFilter(fail)
    access = Access(LOG, "GET", "/", None)
    access.started()
    LOG.removeFilter(fail)
    LOG.setLevel(logging.WARNING)
    access.ended()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/proxies/http://user:word@10.0.0.1:1", "/proxies/http://***@10.0.0.1:1"),
        ("/proxies/http:/user:w@rd@10.0.0.1", "/proxies/http://***@10.0.0.1"),
        ("/users/@me", "/users/@me"),
        ("/mail/me@shop.example/http://10.0.0.1/", "/mail/me@shop.example/http://10.0.0.1/"),
    ],
)
def test_a_url_in_a_path_is_shown_without_credentials(caplog: pytest.LogCaptureFixture, path: str, shown: str) -> None:
    """Where resources are named by URLs, those have users and passwords in them."""
    Access(LOG, "GET", path, None).started()
    [record] = caplog.records
    assert (fields(record)["path"], record.getMessage()) == (shown, f"GET {shown} started")
