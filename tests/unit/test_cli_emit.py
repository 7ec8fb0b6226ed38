"""``logbus emit``, with a producer that writes down what it was asked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import logbus
from logbus.cli import emit as emit_module, program


class Producer(logging.Handler):
    """A root handler in the place of the producer: records with their context, and drains that may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.records: list[tuple[str, str, int, dict[str, str]]] = []
        self.fields: dict[str, str] = {}
        self.drains: list[int] = []
        self.drained = True
        self.dropped: dict[str, int] = {}
        self.shut_down: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what a record says."""
        self.records.append((record.name, record.getMessage(), record.levelno, dict(self.fields)))

    def configure(self, **settings: Any) -> None:
        """Stands for logbus.configure."""
        self.settings = settings
        logging.getLogger().setLevel(settings["level"])
        logging.getLogger().addHandler(self)

    @contextlib.contextmanager
    def context(self, **fields: str) -> Iterator[None]:
        """Stands for logbus.context."""
        self.fields = fields
        yield
        self.fields = {}

    def flush_(self, timeout: float) -> bool:
        """Stands for logbus.flush."""
        self.drains.append(len(self.records))
        return self.drained

    def shutdown(self, timeout: float) -> SimpleNamespace:
        """Stands for logbus.shutdown."""
        self.shut_down.append(timeout)
        sent = len(self.records) - sum(self.dropped.values()) if self.drained else 0
        return SimpleNamespace(emitted=len(self.records), sent=sent, dropped=self.dropped)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Producer]:
    """The producer of this process, in place of the real one."""
    fake = Producer()
    for name, replacement in (
        ("configure", fake.configure),
        ("context", fake.context),
        ("flush", fake.flush_),
        ("shutdown", fake.shutdown),
    ):
        monkeypatch.setitem(vars(logbus), name, replacement)
    yield fake
    logging.getLogger().removeHandler(fake)


def emit(*arguments: str, stdin: bytes = b"") -> Result:
    """What ``logbus emit ARGUMENTS`` did."""
    return CliRunner().invoke(program, ["emit", *arguments], input=stdin, prog_name="logbus")


def test_a_message_becomes_one_record(producer: Producer, directories: Path) -> None:
    """Message, level, component and fields arrive as given; the value of a field stays text."""
    arguments = ["50% of it", "name=x", "message=a=b", "code=7", "--level", "warning", "--component", "health.disk"]
    result = emit(*arguments)
    assert (result.exit_code, result.output) == (0, "")
    fields = {"name": "x", "message": "a=b", "code": "7"}
    assert producer.records == [("health.disk", "50% of it", 30, fields)]
    assert producer.settings == {
        "endpoint": f"ipc://{directories}/runtime/default/records",
        "control": f"ipc://{directories}/runtime/default/control",
        "level": 30,
    }
    assert len(producer.shut_down) == 1


def test_the_defaults_are_info_and_the_root_logger(producer: Producer) -> None:
    """Without options a record is INFO, of the root logger, so that LOGBUS_COMPONENT can name it."""
    assert emit("x").exit_code == 0
    assert producer.records == [("root", "x", 20, {})]


def test_the_collector_can_be_chosen(producer: Producer, directories: Path) -> None:
    """By name or by address, as for every other command."""
    assert emit("x", "--name", "eu").exit_code == 0
    assert producer.settings["endpoint"] == f"ipc://{directories}/runtime/eu/records"
    assert emit("x", "--endpoint", "ipc:///a/records").exit_code == 0
    assert (producer.settings["endpoint"], producer.settings["control"]) == ("ipc:///a/records", "ipc:///a/control")


def test_each_line_of_stdin_becomes_a_record(producer: Producer) -> None:
    """Lines lose their end and nothing else; what is no UTF-8 stays readable."""
    assert emit("-", "job=7", stdin=b"one\ntwo \r\n\n\xff\xc3\xbc\nlast").exit_code == 0
    assert [message for _, message, _, _ in producer.records] == ["one", "two ", "", "\\xffü", "last"]
    assert all(fields == {"job": "7"} for *_, fields in producer.records)


def test_a_long_line_becomes_several_records(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is held whole, however long it is."""
    monkeypatch.setattr(emit_module, "MAX_LINE_BYTES", 4)
    assert emit("-", stdin=b"123456789\nx\n").exit_code == 0
    assert [message for _, message, _, _ in producer.records] == ["1234", "5678", "9", "x"]


def test_a_fast_pipe_waits_for_the_collector(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer is drained after so many lines, or so many characters, before more is read."""
    monkeypatch.setattr(emit_module, "PORTION", 3)
    monkeypatch.setattr(emit_module, "PORTION_CHARACTERS", 10)
    assert emit("-", stdin=b"1\n2\n3\n4\n1234567890\n6\n").exit_code == 0
    assert producer.drains == [3, 5, 6]


def test_without_a_collector_no_more_is_read(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a drain fails the command stops, ends with 1 and says how much of it got through."""
    monkeypatch.setattr(emit_module, "PORTION", 2)
    producer.drained = False
    producer.dropped = {"shutdown": 2, "high_water_mark": 0}
    result = emit("-", "--timeout", "0.5", stdin=b"1\n2\n3\n4\n")
    assert result.exit_code == 1
    assert len(producer.records) == 2
    assert producer.shut_down == [0.0]
    assert "0 of 2 records handed to a collector at ipc://" in result.stderr
    assert result.stderr.endswith("within 0.5 s; dropped: shutdown 2\n")


def test_records_that_nobody_confirms_are_a_failure(producer: Producer) -> None:
    """When all was sent and nothing dropped, the error says whose confirmation is missing."""
    producer.drained = False
    result = emit("x", "--timeout", "0.5", "--control", "ipc:///c/control")
    assert result.exit_code == 1
    assert result.stderr.endswith("within 0.5 s; not confirmed by one at ipc:///c/control\n")


def test_no_line_is_nothing_to_wait_for(producer: Producer) -> None:
    """Empty input ends with 0 at once, collector or not."""
    producer.drained = False
    assert emit("-", stdin=b"").exit_code == 0
    assert not producer.drains


def test_a_dropped_record_is_a_failure(producer: Producer) -> None:
    """Every record must be handed over: one that was dropped ends the command with 1."""
    producer.dropped = {"unencodable": 1}
    result = emit("x")
    assert result.exit_code == 1
    assert "dropped: unencodable 1" in result.stderr


def test_the_producer_is_shut_down_when_reading_is_interrupted(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while lines are read still ends the producer."""

    def interrupted() -> Iterator[str]:
        yield "one"
        raise KeyboardInterrupt

    monkeypatch.setattr(emit_module, "_lines", interrupted)
    assert emit("-").exit_code == 1
    assert len(producer.records) == len(producer.shut_down) == 1
