"""Loguru that is imported after ``configure()``: attached at the end of that import, unless it is to be left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.peer import Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]


def test_a_library_brings_loguru_after_configure(peer: Peer, start_worker: StartWorker) -> None:
    """The real proxywhirl imports it: its records arrive, each once, by the settings of the last configure()."""
    worker = start_worker(
        """
        from logbus.integrations import proxywhirl as integration
        logbus.configure(app_name="first")
        producer = logbus.configure(app_name="last")
        integration.install()
        assert "loguru" not in sys.modules
        import proxywhirl
        rotator = proxywhirl.ProxyWhirl(bootstrap=False)
        rotator.add_proxy(proxywhirl.Proxy(url="http://127.0.0.1:9", allow_local=True))
        rotator._aggregation_timer.cancel()
        import loguru
        loguru.logger.bind(a=1).info("by the handler")
        logbus.flush(10)
        handlers = len(loguru.logger._core.handlers)
        say(gates=producer.gate.confirmed()[2], emitted=producer.stats().emitted, handlers=handlers)
        """
    )
    found = worker.finish()
    messages = peer.arrivals.messages
    assert messages.count("Added proxy to pool: http://127.0.0.1:9") == 1
    assert messages.count("by the handler") == 1
    assert found["emitted"] == len(messages)
    assert "loguru=direct" in found["gates"]
    assert found["handlers"] == 1
    assert worker.stderr == ""


@pytest.mark.parametrize(
    "statement",
    [
        "logbus.configure(loguru=False)",
        "logbus.configure(); logbus.configure(loguru=False)",
        "logbus.configure(); logbus.shutdown()",
        "from logbus.integrations.attach import attach; attach(); logbus.configure(loguru=False)",
    ],
)
def test_a_loguru_that_is_to_be_left_alone(peer: Peer, start_worker: StartWorker, statement: str) -> None:
    """It is as without logbus when it comes: its own handler on stderr, its own methods."""
    worker = start_worker(
        statement
        + """
import loguru
loguru.logger.info("on stderr")
say(
    handlers=list(loguru.logger._core.handlers),
    wrapped=hasattr(type(loguru.logger).remove, "__wrapped__"),
)
"""
    )
    found = worker.finish()
    assert peer.arrivals.messages == []
    assert (found["handlers"], found["wrapped"]) == ([0], False)
    assert "on stderr" in worker.stderr


def test_a_loguru_that_is_loaded_anew(peer: Peer, start_worker: StartWorker) -> None:
    """Records of the new logger and of the one before arrive, each once, and loguru's methods are given back."""
    worker = start_worker(
        """
        import importlib
        logbus.configure()
        import loguru
        remove = type(loguru.logger).remove.__wrapped__
        old = loguru.logger
        old.info("one")
        new = importlib.reload(loguru).logger
        assert old is not new
        new.info("two")
        old.info("three")
        new.bind(a=1).info("four")
        new.remove()
        new.bind(a=1).info("five")
        logbus.shutdown()
        say(given_back=type(new).remove is remove)
        """
    )
    found = worker.finish()
    assert peer.arrivals.messages == ["one", "two", "three", "four", "five"]
    assert found["given_back"]
