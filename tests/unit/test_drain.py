"""The end of all writers of a collector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.writing import drain as module
from logbus.collectors.writing.drain import drain
from logbus.collectors.writing.terms import Terms
from logbus.wire import SHUTDOWN
from tests.answering import Answering
from tests.bench import ENOUGH, Held, WriterBench
from tests.eventually import eventually

REMOTE = Terms(on_full="shed_lowest", initial_s=0.01, max_interval_s=0.02, breaker_failures=2)
SPOOLED = replace(REMOTE, on_full="spool", spool_bytes=1024 * 1024)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers are ended."""
    with WriterBench(tmp_path) as bench:
        yield bench


def test_every_sink_is_flushed_and_none_waits_for_another(bench: WriterBench) -> None:
    """One works, one is slow, one waits for a server that asked for an hour: all are tried at once, each to its end."""
    works = bench.start(Answering(name="works"), terms=REMOTE)
    patient_sink = Answering(TryAgainError("later", after_s=3600.0), name="patient")
    patient = bench.start(patient_sink, terms=SPOOLED, spools=bench.spools)
    slow_sink = Held("slow")
    slow = bench.start(slow_sink)
    bench.give(patient, "1")
    eventually(lambda: patient.row.state == "failing")
    bench.give(patient, "2")
    bench.give(slow, "1", "2")
    assert slow_sink.inside.wait(ENOUGH)
    looked: list[bool] = []

    def hurried() -> bool:
        looked.append(patient.row.delivered == 2)
        if looked[-1]:
            slow_sink.gate.set()  # only now
        return False

    bench.give(works, "1")
    drain([slow, works, patient], hurried=hurried)
    assert (works.row.delivered, slow.row.delivered, patient.row.delivered) == (1, 2, 2)
    assert patient_sink.received == [b"1", b"2"]
    assert all(writer.ended for writer in (works, slow, patient))


def test_servers_that_refuse_hold_nobody_up(bench: WriterBench) -> None:
    """What one has not taken is in its spool, or dropped and told where there is none."""
    failures = ConnectionRefusedError("refused")
    spooled = bench.start(Answering(always=failures, name="spooled"), terms=SPOOLED, spools=bench.spools)
    bare = bench.start(Answering(always=failures, name="bare"), terms=REMOTE)
    for writer in (spooled, bare):
        bench.give(writer, "1", "2")
        eventually(lambda writer=writer: writer.row.state == "failing")  # type: ignore[misc]
    drain([spooled, bare], hurried=lambda: False)
    assert (spooled.row.spooled, sum(spooled.row.dropped)) == (2, 0)
    assert (bare.row.spooled, bare.row.dropped[SHUTDOWN]) == (0, 2)
    assert "sink 'spooled': 2 records wait in its spool" in bench.complaints
    assert "sink 'bare': 2 records were dropped at its end" in bench.complaints


def test_who_is_in_a_hurry_is_not_kept_waiting(bench: WriterBench) -> None:
    """A second SIGTERM: what is under way is aborted, and what is left goes where it can."""
    sink = Answering()
    sink.gate.clear()
    writer = bench.start(sink, terms=SPOOLED, spools=bench.spools)
    bench.give(writer, "1")
    assert sink.inside.wait(ENOUGH)
    drain([writer], hurried=lambda: True)
    assert sink.was_aborted
    assert (writer.row.spooled, writer.row.duplicated) == (1, 1)
    assert bench.law(writer)


def test_a_console_has_less_time(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its terminal may have been stopped for good; a file that works has as long as it needs."""
    monkeypatch.setattr(module, "FLUSH_CONSOLE_S", 0.05)
    monkeypatch.setattr(module, "FLUSH_S", ENOUGH)
    console = Held("console")
    console.type = "console"
    stopped = bench.start(console)
    bench.give(stopped, "1")
    assert console.inside.wait(ENOUGH)
    file_sink = Held("file")
    writer = bench.start(file_sink)
    bench.give(writer, "1")
    began = time.monotonic()

    def hurried() -> bool:
        if stopped.ended:
            file_sink.gate.set()
        return False

    drain([stopped, writer], hurried=hurried)
    assert time.monotonic() - began < ENOUGH
    assert (stopped.row.unknown, writer.row.delivered) == (1, 1)
