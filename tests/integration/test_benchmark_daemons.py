"""Collectors under measurement, as small as it gets: that each takes and writes every record, never how fast."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import daemons
from benchmarks.compiled import PARTS, form_of
from benchmarks.daemons import collector, end_to_end, offer
from benchmarks.service import environment
from benchmarks.suite.job import Bench
from benchmarks.suite.sample import Sample
from scripts.servers import place
from tests.eventually import eventually
from tests.forms import needs_compiled, needs_lines


def group_lives(group: int) -> bool:
    """Whether a process group has a process that runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


Take = Callable[[str], Sample]


@pytest.fixture
def bench(directories: Path, unmeasured: None) -> Iterator[Bench]:
    """A tiny run whose children are this interpreter's, in a directory that is short enough for sockets."""
    directory = directories / "bench"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        yield Bench(directory, Path(sys.executable), "tiny", stack)


@pytest.fixture
def take(bench: Bench) -> Take:
    """Takes a sample of FAMILY/VARIANT. Everything has ended with it, and its files are gone."""
    jobs = {f"{job.family}/{job.variant}": job for job in daemons.jobs(bench)}

    def taken(name: str) -> Sample:
        found = jobs[name].run(0)
        assert isinstance(found, Sample)
        assert list(bench.directory.iterdir()) == []
        assert f"{found.family}/{found.variant}" == name
        return found

    return taken


@pytest.mark.parametrize(
    "variant",
    [
        "logbus",
        pytest.param("logbus, in Python", marks=needs_lines),
        *("logbus_bare", "logbus_fresh", "multiprocessing.Queue + QueueListener"),
    ],
)
def test_a_collector_that_is_fed_has_every_figure(bench: Bench, take: Take, variant: str) -> None:
    """CPU, pace and memory of its process, the floor beside its CPU, its form if it is ours, and nothing lost."""
    sample = take(f"collector/{variant}")

    assert (sample.lost, sample.records) == (0, 400)
    assert set(sample.figures) == {"process_us", "records_per_s", "rss_mib"}
    assert min(sample.figures.values()) > 0
    assert set(sample.ratios) == {"process_us"}
    here = form_of(bench.python, bench.directory, "collectors") if variant.startswith("logbus") else ""
    assert sample.notes == ("in Python" if variant.endswith("in Python") else here)


def test_the_cookbook_server_has_every_figure(take: Take) -> None:
    """Whatever it loses: its reads may come short."""
    assert min(take("collector/cookbook socket server").figures.values()) > 0


@pytest.mark.skipif("rsyslogd" in place.missing(), reason="rsyslogd is not there: python -m scripts.servers")
@pytest.mark.parametrize("variant", ["rsyslog imtcp, raw", "rsyslog imtcp, regex redaction"])
def test_a_daemon_that_is_fed_takes_every_record(take: Take, variant: str) -> None:
    """Debian's rsyslog writes a line for each, and where it is to redact no password is in the file."""
    assert take(f"collector/{variant}").lost == 0


@pytest.mark.parametrize(
    "variant", ["handler", pytest.param("handler, in Python", marks=needs_compiled), "loguru enqueue"]
)
def test_the_whole_way_has_every_figure(bench: Bench, take: Take, variant: str) -> None:
    """Four real workers' part and the collector's are in the sum, both are of the row's form, and each record is in the
    file.
    """
    sample = take(f"end_to_end/{variant}")

    assert (sample.lost, sample.records) == (0, 400)
    assert min(sample.figures.values()) > 0
    parts = sample.figures["workers_us"] + sample.figures["receiver_us"]
    assert sample.figures["process_us"] == pytest.approx(parts)
    calls, lines = (form_of(bench.python, bench.directory, part) for part in PARTS)
    here = calls if calls == lines else f"log calls {calls}, collector {lines}"
    assert sample.notes == {"handler": here, "handler, in Python": "in Python", "loguru enqueue": ""}[variant]


@needs_compiled
def test_workers_of_another_form_have_no_figure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the row says compiled and what the workers have loaded is Python, the run is an error that says so."""
    (job,) = [job for job in daemons.jobs(bench) if f"{job.family}/{job.variant}" == "end_to_end/fast"]
    monkeypatch.setattr(offer, "environment", lambda directory: environment(directory, pure=True))
    with pytest.raises(RuntimeError, match="expected workers whose log calls are compiled, found"):
        job.run(0)


@pytest.mark.parametrize("variant", ["logbus", "logbus_bare"])
def test_a_collector_of_another_form_has_no_figure(variant: str, bench: Bench) -> None:
    """Where the row says one form and what the collector has loaded is the other, the run is an error that says so."""
    here = form_of(bench.python, bench.directory, "collectors")
    other = "compiled" if here == "in Python" else "in Python"
    complaint = f"expected a collector that is {other}, found that it is {here}"
    with pytest.raises(RuntimeError, match=complaint):
        collector.measure(variant, bench.place("fed"), 400, other)
    with pytest.raises(RuntimeError, match=complaint):
        end_to_end.measure("handler", bench.place("logged"), 400, form_of(bench.python, bench.directory), other)


def test_what_a_sample_has_started_ends_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that takes too long is an error, and its whole process group is gone: the daemon too."""
    (job,) = [job for job in daemons.jobs(bench) if f"{job.family}/{job.variant}" == "collector/logbus"]
    hangs = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, file=sys.stderr); input()"
    started: list[subprocess.Popen[str]] = []

    class Hanging(subprocess.Popen[str]):
        """A child that hangs, with one of its own."""

        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__([sys.executable, "-c", hangs], **{**options, "stdin": subprocess.PIPE})
            started.append(self)

    monkeypatch.setattr(offer, "_TIMEOUT_S", 0.5)
    monkeypatch.setattr(subprocess, "Popen", Hanging)

    with pytest.raises(RuntimeError, match=r"collector/logbus took more than 0.5 s"):
        job.run(0)
    eventually(lambda: not group_lives(started[0].pid))
