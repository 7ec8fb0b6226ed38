"""The sender thread at its beginning and its end: how long an exit waits, and signals in between."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from logbus.producers import pack, sender
from logbus.producers.producer import Producer, producer_for
from logbus.producers.settings import resolve
from tests.eventually import eventually
from tests.peer import Peer


def emit(producer: Producer, message: str) -> None:
    """Logs one record."""
    producer.emit(1.5, ("logger", 20, "INFO", "module", "function", 1), "main", message, None, None, None, 200)


def test_a_collector_that_is_slow_to_welcome_is_waited_for(directories: Path) -> None:
    """Records of a short life are worth the whole shutdown timeout where a collector listens, and little where not."""
    producer = producer_for(resolve({"worker": "w"}))
    emit(producer, "m")
    assert producer._life is not None
    assert producer._life.sender is not None
    patience = producer._life.sender.patience
    assert patience(5.0) == sender.WELCOME_S
    path = producer.settings.control.publisher.path
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        assert patience(5.0) == 5.0
    assert patience(5.0) == sender.WELCOME_S  # the file of one that was killed
    assert patience(0.01) == 0.01
    began = time.monotonic()
    assert not producer.flush_soon()
    assert time.monotonic() - began < producer.settings.shutdown_timeout / 2


def test_a_mistake_of_ours_is_told_once_and_stops_no_record(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has foreseen doesn't end the thread that sends: it begins again, and everything arrives."""
    told: list[type] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: told.append(found.exc_type))
    monkeypatch.setattr(sender, "RETRY_S", 0.01)
    producer = producer_for(resolve({"worker": "w"}))
    names, failures = producer.gate.names, itertools.count()

    def fail_twice() -> list[str] | None:
        if next(failures) < 2:
            raise ZeroDivisionError
        return names()

    monkeypatch.setattr(producer.gate, "names", fail_twice)
    emit(producer, "m")
    assert [record.message for record in peer.wait_records(1)] == ["m"]
    assert told == [ZeroDivisionError]
    assert producer.shutdown().sent == 1


def test_a_signal_may_end_the_process_while_the_thread_is_started(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that drains between the making of the thread and its start does not raise, and nothing is lost."""
    producer = producer_for(resolve({"worker": "w"}))
    emit(producer, "before")
    producer.before_fork()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.undo()
        producer.shutdown(5.0)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    producer.after_fork_in_parent()
    assert [record.message for record in peer.wait_records(1)] == ["before"]
    eventually(lambda: peer.arrivals.byes)
    stats = producer.stats()
    assert (stats.emitted, stats.sent, stats.queued) == (1, 1, 0)


@pytest.mark.parametrize("of", ["frame", "batch"])
def test_what_memory_was_short_for_at_the_end_is_counted_once(
    directories: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """A closing of the book that stops in the middle is taken up where it stopped: no record is dropped twice."""
    told: list[type] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: told.append(found.exc_type))
    producer = producer_for(resolve({"worker": "w", "shutdown_timeout": 0.1}))
    for number in range(4):
        emit(producer, str(number))
    life = producer._life
    assert life is not None
    assert life.sender is not None
    # No collector is here, so the thread leaves all of this alone until the end.
    for _ in range(2):
        life.sender._outgoing += life.sender._packer.pack(life.buffer.take(1, 1), [])
    life.sender._taken = life.buffer.take(1, 1)
    short: Any = pack.Packed if of == "frame" else type(life.sender._packer)
    levels, calls = short.levels, itertools.count()

    def short_of_memory(*given: Any) -> Any:
        if next(calls) == 1:
            raise MemoryError
        return levels(*given)

    monkeypatch.setattr(short, "levels", short_of_memory if of == "frame" else staticmethod(short_of_memory))
    stats = producer.shutdown()
    assert (stats.emitted, stats.dropped, stats.queued, stats.bytes) == (4, {"shutdown": 4}, 0, 0)
    assert told == [MemoryError]
