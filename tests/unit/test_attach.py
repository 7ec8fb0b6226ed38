"""What a process does that comes to be below ``logbus run``; the whole of it is in ``integration/test_run.py``."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from logbus.integrations import attach as module
from logbus.integrations.attach import arrange, attach, tell
from logbus.producers import imports


@pytest.fixture(autouse=True)
def nothing_attached(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not attached, and hooks as they were."""
    monkeypatch.setattr(module, "_HERE", module._Attachment())
    hook, finders, wishes = sys.excepthook, list(sys.meta_path), dict(imports._WISHES)
    yield
    sys.excepthook, sys.meta_path[:] = hook, finders
    imports._WISHES.clear()
    imports._WISHES.update(wishes)


def test_a_command_of_logbus_is_nobodys_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that is started below ``logbus run`` would log to itself."""
    monkeypatch.setitem(sys.modules, "logbus.cli", module)
    before = sys.excepthook
    arrange()
    arrange()
    assert attach() is None
    assert sys.excepthook is before


def test_what_goes_wrong_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And it is not tried again."""
    monkeypatch.delitem(sys.modules, "logbus.cli", raising=False)
    monkeypatch.setenv("LOGBUS_CAPACITY", "none")
    assert attach() is None
    assert attach() is None
    assert capsys.readouterr().err.splitlines() == [
        f"logbus run: LOGBUS_CAPACITY 'none': expected a number of records, at least 1 "
        f"(records of this process, pid {os.getpid()}, are not collected)"
    ]


def test_where_it_fails_late_logging_is_given_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has begun to take records would take them to nobody, or raise in the application's log calls."""
    before = dict(vars(logging.Logger))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.delitem(sys.modules, "logbus.cli", raising=False)
    monkeypatch.setattr("logbus.producers.configure.serve", fail)
    assert attach() is None
    assert "no more threads (records of this process" in capsys.readouterr().err
    assert dict(vars(logging.Logger)) == before


@pytest.mark.parametrize("closed", [True, False])
def test_without_a_stderr_nothing_is_told(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    """Daemons have none, or a closed one."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if closed else None)
    tell("nobody hears it")


def test_the_fork_server_is_known_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works for its children only."""
    command = "from multiprocessing.forkserver import main; main(3, 5, ['__main__'], **{})"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-B", "-c", command])
    assert module._forks_only()
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "print('from multiprocessing.forkserver import main')"])
    assert not module._forks_only()
