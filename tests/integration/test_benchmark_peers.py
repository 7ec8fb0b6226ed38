"""The measuring of log calls, as small as it gets: that every call is the reference record's, that every figure is
there, and that what gets lost is seen; never how fast anything is.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compiled import form_of
from benchmarks.peers import family, jobs, skipped
from benchmarks.peers.calls import CALLS, EXTRA, FUNCTIONS, Calls, Dialect
from benchmarks.peers.reader import Reader
from benchmarks.record import LOGGER, log_records
from benchmarks.service import ROOT, environment
from benchmarks.suite.job import Bench
from benchmarks.suite.sample import Sample
from tests.forms import needs_compiled

#: Cheap to start, from the standard library and what the tests have anyway: the floor, those that send to logbus,
#: a file, and one of each kind of process that counts.
OURS = ("handler", "lean", "fast")
IN_PYTHON = ("handler, in Python", "lean, in Python", "fast, in Python")
CHEAP = ("null", *OURS, *IN_PYTHON, "json_file", "mp_queue", "syslog", "zmq_pub")
FIGURES = {
    *("thread_us", "process_us", "wall_us", "paced_thread_us", "paced_process_us"),
    *("call_p50_us", "call_p99_us", "call_p999_us"),
}


@pytest.fixture
def bench(unmeasured: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The surroundings of a tiny run, on this interpreter."""
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path_factory.mktemp("b"), Path(sys.executable), "tiny", stack)


def only(samples: Sample | Sequence[Sample]) -> Sample:
    """The one sample of a job."""
    assert isinstance(samples, Sample)
    return samples


class Logger:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def info(self, message: str, *arguments: Any, **keywords: Any) -> None:
        """One call."""
        self.calls.append((message, arguments, keywords))


def test_cheap_variants_give_every_figure(bench: Bench) -> None:
    """Each has its figures and the floor's beside those that have one, and every record arrived."""
    found = {job.variant: only(job.run(0)) for job in jobs(bench) if job.variant in CHEAP}
    form = form_of(bench.python, bench.directory)
    assert tuple(found) == tuple(name for name in CHEAP if form == "compiled" or name not in IN_PYTHON)
    for variant, sample in found.items():
        assert (sample.family, sample.variant, sample.lost) == ("producer", variant, 0)
        assert sample.records > 1000
        assert set(sample.ratios) == FIGURES
        assert all(value > 0 for value in (*sample.ratios.values(), *(sample.figures[name] for name in FIGURES)))
        assert {"drain_ms", "rss_mib"} <= set(sample.figures)
        assert (sample.figures.get("bytes_per_record", 0) > 200) == (variant != "null")
    assert found["mp_queue"].figures["consumer_us"] > 0
    forms = {**dict.fromkeys(CHEAP, ""), **dict.fromkeys(OURS, form), **dict.fromkeys(IN_PYTHON, "in Python")}
    assert {variant: sample.notes for variant, sample in found.items()} == {name: forms[name] for name in found}


@needs_compiled
def test_a_run_of_another_form_is_void(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that says compiled and whose process has nothing compiled has no figure, but an error that says so."""
    [job] = [job for job in jobs(bench) if job.variant == "fast"]
    monkeypatch.setattr(family, "environment", lambda directory, *, pure: environment(directory, pure=True))
    with pytest.raises(RuntimeError, match="expected log calls that are compiled, found that they are in Python"):
        job.run(0)


@needs_compiled
def test_where_nothing_is_compiled_all_is_in_python(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is one row of each, which says so, and the other is left out with its reason."""
    monkeypatch.setattr(family, "environment", lambda directory, *, pure: environment(directory, pure=True))
    assert {job.variant for job in jobs(bench)}.isdisjoint(IN_PYTHON)
    assert all("all of logbus is in Python" in skipped(bench)[f"producer/{name}"] for name in IN_PYTHON)
    [job] = [job for job in jobs(bench) if job.variant == "fast"]
    assert only(job.run(0)).notes == "in Python"


def test_the_collector_of_logbus_has_the_last_word(bench: Bench) -> None:
    """Records that its process takes for sent and that are not in the collector's file are lost."""
    [job] = [job for job in jobs(bench) if job.variant == "handler"]
    service = bench.service("producer")
    wait = service.wait_lines

    def one_less(lines: int) -> bool:
        whole = wait(lines)
        service.lines -= lines > 0
        return whole and not lines

    service.wait_lines = one_less  # type: ignore[method-assign]
    assert only(job.run(0)).lost == 1


def test_what_is_not_installed_is_skipped_with_its_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant without its interpreter or its package is no job, and says what it lacks."""
    monkeypatch.setattr("benchmarks.peers.family.NEWER_PYTHON", ROOT / ".venvs" / "none" / "bin" / "python")
    reasons = skipped(bench)
    assert reasons["producer/logxide (3.13)"] == "there is no .venvs/none/bin/python"
    assert re.fullmatch(r"picologging is not installed in \S+", reasons["producer/picologging_file"])
    assert {f"producer/{job.variant}" for job in jobs(bench)}.isdisjoint(reasons)


@pytest.mark.parametrize(
    "dialect",
    [EXTRA, Dialect("{0}", keywords=False), Dialect("{}", keywords=True), Dialect("%s", keywords=True)],
    ids=["stdlib", "logbook", "loguru", "structlog"],
)
@pytest.mark.parametrize("timed", [False, True])
def test_every_dialect_makes_the_reference_calls(dialect: Dialect, timed: bool) -> None:
    """The texts and the fields are those of the reference record's ten calls, whatever a library's words for them."""
    reference, logger = Logger(), Logger()
    log_records(reference, CALLS)  # type: ignore[arg-type]
    calls = Calls(logger, dialect)
    times: list[int] = []
    if timed:
        calls.timed(CALLS, times.append)
    else:
        calls.log(CALLS)
    assert len(times) == (CALLS if timed else 0)
    assert calls.made == CALLS
    for (text, arguments, keywords), (message, [argument], own) in zip(reference.calls, logger.calls, strict=True):
        fields = own if dialect.keywords else own["extra"]
        assert message == text.replace("%s", dialect.placeholder)
        assert type(argument) is type(arguments[0])
        assert list(fields) == list(keywords["extra"])
        told = {name: fields[name] for name in ("operation", "strategy", "source")}
        assert told == {name: keywords["extra"][name] for name in told}


def test_calls_come_from_a_hundred_places() -> None:
    """Each of the ten functions has its turn, and no two calls of a round share a line."""
    places: set[tuple[str, int]] = set()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            places.add((record.funcName or "", record.lineno))

    log = logging.Logger(LOGGER)
    log.addHandler(Handler())
    Calls(log).log(3 * CALLS * FUNCTIONS)
    assert len(places) == CALLS * FUNCTIONS
    assert {function for function, _ in places} == {f"log_{number}" for number in range(FUNCTIONS)}


def test_a_reader_says_how_many_have_come_when_no_more_do(unmeasured: None, tmp_path: Path) -> None:
    """Asked for more records than were sent, it answers with those and their bytes, and goes on counting."""
    with Reader("datagrams", tmp_path, str(tmp_path / "log")) as reader:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(reader.address)
            sender.send(b"first")
            assert reader.wait(2) == 1
            sender.send(b"second")
            assert reader.wait(2) == 2
        assert reader.bytes == len(b"firstsecond")
