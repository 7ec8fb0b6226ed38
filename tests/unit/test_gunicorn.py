"""The fields of gunicorn's access log, from the atoms that the real gunicorn makes."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gunicorn")

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger as TheirLogger, SafeAtoms
from gunicorn.workers.base import Worker

from logbus.errors import ConfigurationError
from logbus.integrations import gunicorn as integration
from logbus.integrations.gunicorn import _in_child, access_fields, cleaned, install
from logbus.producers.handler import LogbusHandler
from tests.kept import Kept


def environ(**changes: Any) -> dict[str, Any]:
    """What gunicorn's workers make of a request."""
    return {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/tills/3?token=secret",
        "PATH_INFO": "/tills/3",
        "QUERY_STRING": "token=secret",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "10.0.0.7",
        "HTTP_USER_AGENT": 'curl "8"',
        **changes,
    }


def response(**changes: Any) -> SimpleNamespace:
    """What they answered."""
    return SimpleNamespace(**{"status": "200 OK", "sent": 512, "headers": [("X-Request-ID", "r-1")], **changes})


@pytest.fixture
def theirs() -> TheirLogger:
    """Gunicorn's own logger, with an access log."""
    config = Config()
    config.set("accesslog", "-")
    return TheirLogger(config)


def atoms(theirs: TheirLogger, answer: SimpleNamespace, environment: dict[str, Any]) -> dict[str, Any]:
    """The atoms as they come to the log call."""
    request = SimpleNamespace(headers=[("ACCEPT", "*/*")])
    made: dict[str, Any] = SafeAtoms(
        theirs.atoms(answer, request, environment, timedelta(seconds=1, microseconds=2500))
    )
    return made


def test_the_fields_of_a_request(theirs: TheirLogger) -> None:
    """As values that can be compared and added up, and without the query."""
    assert access_fields(atoms(theirs, response(), environ())) == {
        "method": "GET",
        "path": "/tills/3",
        "client": "10.0.0.7",
        "user_agent": 'curl "8"',
        "http_version": "1.1",
        "status": 200,
        "bytes": 512,
        "duration_ms": 1002.5,
        "request_id": "r-1",
    }


def test_a_request_that_failed(theirs: TheirLogger) -> None:
    """Gunicorn knows less of it then: the path stands in its first line, and what has no value is left out."""
    environment = environ(PATH_INFO=None, HTTP_USER_AGENT="-", REMOTE_ADDR="")
    fields = access_fields(atoms(theirs, response(status=500, sent=None, headers={}), environment))
    assert fields == {"method": "GET", "path": "/tills/3", "http_version": "1.1", "status": 500, "duration_ms": 1002.5}


@pytest.mark.parametrize("given", [{}, {"s": "-", "B": "x", "D": None, "r": 3, "m": None}, {"{x-request-id}o": "é\n"}])
def test_atoms_of_another_kind(given: dict[str, Any]) -> None:
    """Nothing is said of what isn't there, and nothing is raised."""
    assert access_fields(given) == {}


def test_gunicorns_own_class(theirs: TheirLogger, kept: Kept) -> None:
    """Its access records have the fields, for us alone: what others print is unchanged. Other records pass."""
    install()
    integration._LOAD_WSGI.revert()
    shown = io.StringIO()
    handler = theirs.access_log.handlers[0]
    handler.setStream(shown)
    printed: list[logging.LogRecord] = []

    def see(record: logging.LogRecord) -> bool:
        printed.append(record)
        return True

    handler.addFilter(see)
    theirs.access_log.addHandler(LogbusHandler.of(kept.producer))
    for _ in range(2):  # the second from a call site that is known
        theirs.access(response(), SimpleNamespace(headers=[]), environ(), timedelta(milliseconds=3))
    theirs.access_log.info("by hand")
    theirs.access_log.info("odd %s", {"s": 1})
    line = shown.getvalue().splitlines()[0]
    assert kept.messages == [line, line, "by hand", "odd {'s': 1}"]
    assert [entry.extra and entry.extra["status"] for entry in kept.entries[:3]] == [200, 200, None]
    assert not any("status" in record.__dict__ for record in printed)


def test_a_record_that_breaks_it() -> None:
    """It passes, as it is."""

    class Odd(dict[str, Any]):
        def get(self, *arguments: Any) -> Any:
            raise RuntimeError

    record = logging.makeLogRecord({"args": Odd(a=1)})
    assert cleaned(record) is record


def test_a_worker_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the master's handler, which only notes a signal: it gets the drain; any other handler stays."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        for handler, stays in ((Arbiter.__new__(Arbiter).signal, False), (signal.SIG_IGN, True)):
            signal.signal(signal.SIGTERM, handler)
            _in_child()
            assert (signal.getsignal(signal.SIGTERM) == handler) == stays
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_a_worker_that_has_not_begun_is_told_to_end_at_once(number: int) -> None:
    """It ends as by SIGTERM, with the drain: the master's handler would leave it to the master's patience."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, number)}
    told: list[int] = []
    try:
        signal.signal(number, Arbiter.__new__(Arbiter).signal)
        _in_child()
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        os.kill(os.getpid(), number)
        assert told == [signal.SIGTERM]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_worker_whose_signals_have_the_default_action() -> None:
    """Gets the drain before it loads the application, and may put it aside; other handlers stay."""
    before = signal.getsignal(signal.SIGTERM)
    application = SimpleNamespace(wsgi=lambda: signal.getsignal(signal.SIGTERM))
    worker = Worker(1, 1, [], application, 30, Config(), None)
    try:
        install()
        for handler in (signal.SIG_IGN, signal.SIG_DFL):  # the second is awaited from the first on
            signal.signal(signal.SIGTERM, handler)
            worker.load_wsgi()
            assert (worker.wsgi == handler) == (handler is signal.SIG_IGN)
        integration._LOAD_WSGI.revert()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        worker.load_wsgi()
        assert worker.wsgi is signal.SIG_DFL
    finally:
        integration._LOAD_WSGI.revert()
        worker.tmp.close()
        signal.signal(signal.SIGTERM, before)


def test_without_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be imported; who asks for the class is told what is missing, and other names are not there."""
    monkeypatch.delitem(sys.modules, "logbus.integrations.gunicorn_logger", raising=False)
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    with pytest.raises(ConfigurationError, match="expected the package gunicorn to be installed"):
        _ = integration.Logger
    with pytest.raises(AttributeError, match="Loger"):
        _ = integration.Loger
