"""For the tests of applications: a whole collector in memory, and a pytest fixture.

Nothing is faked: records take the way that they take in production, sockets, ledger and redaction included; only the
last step, the sink, is a list. In ``conftest.py``::

    pytest_plugins = ["logbus.testing"]

and in a test::

    def test_selection_is_logged(logbus_collector):
        logbus.configure()
        select_proxy()
        [record] = logbus_collector.wait(1)
        assert record["message"] == "proxy selected"
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pytest

from logbus.bus import Endpoint
from logbus.collectors.collector import Collector
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import Destination
from logbus.collectors.sinks.memory import MemorySink
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import all_producers

__all__ = ["MemoryCollector", "logbus_collector"]

#: Seconds that a wait lasts at most unless the test says otherwise.
PATIENCE: Final = 10.0


class MemoryCollector:
    """A collector in this process, on a socket of its own in a temporary directory. A context manager.

    ``endpoint`` and ``control`` are its URLs, for ``logbus.configure(endpoint=…)`` or for the environment of a child.
    """

    def __init__(self) -> None:
        # Not pytest's tmp_path: the path of a Unix socket has at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="logbus-"))
        self._sink = MemorySink("memory")
        #: The last status document (the contract's), once the collector has ended.
        self.status: dict[str, Any] = {}
        try:
            self._collector = Collector(
                "testing",
                endpoint=Endpoint.parse(f"ipc://{self._directory / 'records'}"),
                control=Endpoint.parse(f"ipc://{self._directory / 'control'}"),
                state=self._directory / "state",
                destinations=[Destination(self._sink, SinkFilter(), JsonFormat())],
                redactor=Redactor(),
                tell=logging.getLogger("logbus.testing").warning,
            )
        except BaseException:
            shutil.rmtree(self._directory)
            raise
        self.endpoint = self._collector.endpoint.url
        self.control = self._collector.control.url
        self._thread = threading.Thread(target=self._run, name="logbus-testing", daemon=True)
        self._thread.start()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines so far, decoded, as the contract describes them; gap records are among them."""
        return [json.loads(line) for line in self._sink.lines()]

    def wait(self, count: int, timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """The records once there are ``count``. Raises AssertionError when ``timeout`` seconds were too few."""
        if not self._sink.wait(count, timeout):
            found = self.records
            raise AssertionError(f"expected {count} records within {timeout:g} s, found {len(found)}: {found}")
        return self.records

    def clear(self) -> None:
        """Forgets the records so far; the ledger forgets nothing."""
        self._sink.clear()

    def close(self) -> dict[str, Any]:
        """Drains the producers of this process that log here, ends the collector, and returns its last status."""
        for producer in all_producers():
            if producer.settings.endpoint.url == self.endpoint:
                producer.shutdown()
                producer.gate.close()
        self._collector.stop()
        self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)
        return self.status

    def __enter__(self) -> MemoryCollector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._collector.serve()
        finally:
            self._collector.close()
            self.status = self._collector.status()


@pytest.fixture
def logbus_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCollector]:
    """A collector in memory, to which ``logbus.configure()`` and child processes of the test log by themselves."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with MemoryCollector() as collector:
        monkeypatch.setenv("LOGBUS_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("LOGBUS_CONTROL", collector.control)
        yield collector
        root.setLevel(level)
        for handler in list(root.handlers):
            if isinstance(handler, LogbusHandler) and handler not in handlers:
                root.removeHandler(handler)
