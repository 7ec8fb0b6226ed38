"""What breaks at the far end of a sink: full disks, consoles that nobody reads, and a collector killed in its work."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.collectors import collector as collector_module
from logbus.collectors.collector import Collector
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.ledger import Ledger
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import Destination
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing.terms import Terms
from tests.collector_command import CollectorCommand, child_environment
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer, site
from tests.integration.watch import lines_of, messages_of, settled, sink_of, status_of
from tests.small_disk import PAGE, can_mount, small_disk

A = producer(1)
#: A message of which two are more than a small disk holds.
LARGE = "x" * 65_000
#: Frames with such a message that are more than a sink's queue holds.
QUEUE_BYTES = Terms().queue_bytes
FLOOD = QUEUE_BYTES // len(LARGE) + 60


@contextlib.contextmanager
def little_room(collector: CollectorCommand, path: Path) -> Iterator[Callable[[], object]]:
    """Lets files below ``path`` grow to 64 kB and no further, until the yielded function is called.

    A small disk is mounted there before the collector starts, where that is allowed; else the system is asked to
    bound the files of the running collector, which fails its writes in the same place.
    """
    if path.is_mount():
        yield lambda: subprocess.run(
            ["mount", "-o", f"remount,size={16 * 1024 * PAGE}", str(path)], check=True, capture_output=True
        )
        return
    hard = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (16 * PAGE, hard))
    yield lambda: resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory, on a disk of 64 kB where mounting one is allowed."""
    path = tmp_path / "disk"
    if not can_mount():
        path.mkdir()
        yield path
        return
    with small_disk(path, 16):
        yield path


def test_a_full_disk_fails_one_sink_until_there_is_room(
    start_collector: StartCollector, tmp_path: Path, full_disk: Path
) -> None:
    """It says so, keeps its records, and writes them once it can, whole and in order; no other sink notices."""
    # The other sink takes little: where the collector's files are bounded, so is that one.
    other = "file:other.jsonl,name=other,level=WARNING"
    collector = start_collector("--sink", f"file:{full_disk}/out.jsonl,name=small", "--sink", other)
    sites = [site("db", 20, "INFO"), site("db", 40, "ERROR")]
    messages = [f"{number} {'' if number % 20 == 0 else 'y' * 1000}" for number in range(300)]
    with RawSender(collector.endpoint) as sender, little_room(collector, full_disk) as give_room:
        for number, message in enumerate(messages):
            sender.send(data(A, number, message, sites=sites, at=[int(number % 20 == 0)]))
        sender.send(mark(A, sent=300, bye=True))
        # The last of the 15 errors, and the complaint.
        status = settled(collector, lambda status: sink_of(status, "other")["delivered"] == 16)
        row = sink_of(status, "small")
        assert row["state"] == "failing"
        assert "No space left on device" in row["last_error"] or "File too large" in row["last_error"]
        # The complaint is not for the sink that it is about.
        assert (row["delivered"] + row["queued"], row["filtered"], row["offered"]) == (300, 1, 301)
        assert row["dropped"] == {}
        assert status["balanced"], status["problems"]
        for _ in range(5):
            for line in (full_disk / "out.jsonl").read_bytes().splitlines(keepends=True):
                assert line.endswith(b"}\n")
        give_room()
        # Everything, and that it delivers again.
        status = settled(collector, lambda status: sink_of(status, "small")["delivered"] == 301)
        row = sink_of(status, "small")
        assert (row["state"], row["last_error"], row["queued"]) == ("ok", None, 0)
        assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert messages_of(full_disk / "out.jsonl") == messages
    assert messages_of(tmp_path / "other.jsonl") == messages[::20]
    [failed] = messages_of(tmp_path / "other.jsonl", "logbus")
    assert "sink 'small' fails and is tried again" in failed
    [worked] = messages_of(full_disk / "out.jsonl", "logbus")
    assert "sink 'small' delivers again after" in worked


def test_what_a_full_disk_has_no_queue_for_is_dropped(
    start_collector: StartCollector, tmp_path: Path, full_disk: Path
) -> None:
    """Beyond its queue a failing sink drops, counted exactly, and does not hold up the other."""
    if not full_disk.is_mount():
        pytest.skip("mounting a small disk is not allowed here")
    collector = start_collector(
        "--sink", f"file:{full_disk}/out.jsonl,name=small", "--sink", "file:other.jsonl,name=big"
    )
    with RawSender(collector.endpoint) as sender, little_room(collector, full_disk) as give_room:
        sender.send(data(A, 0, LARGE, LARGE, LARGE))
        settled(collector, lambda status: sink_of(status, "small")["state"] == "failing")
        for number in range(3, FLOOD):
            sender.send(data(A, number, LARGE))
        sender.send(mark(A, sent=FLOOD, bye=True))
        status = settled(collector, lambda status: sink_of(status, "big")["delivered"] >= FLOOD)
        dropped = sink_of(status, "small")["dropped"]["high_water_mark"]
        assert dropped > 20
        assert status["balanced"], status["problems"]
        give_room()
        status = settled(collector, lambda status: sink_of(status, "small")["queued"] == 0)
        row = sink_of(status, "small")
        assert row["delivered"] == row["offered"] - row["filtered"] - row["dropped"]["high_water_mark"]
        assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert len(lines_of(full_disk / "out.jsonl")) == row["delivered"]
    assert len(messages_of(tmp_path / "other.jsonl")) == FLOOD


# ── consoles ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Piped:
    """Collectors whose stdout, and at will stderr, is a pipe of the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[CollectorCommand] = []
        self.reading = -1

    def start(self, *arguments: str, errors_too: bool = False) -> CollectorCommand:
        """A collector that is ready."""
        self.reading, writing = os.pipe()
        errors = self.directory / "errors.txt"
        command = [sys.executable, "-m", "logbus", "collector", "start", *arguments]
        with errors.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing if errors_too else file,
            )
        os.close(writing)
        collector = CollectorCommand(process, self.directory / "output.txt", errors)
        self.started.append(collector)
        if errors_too:
            errors.write_bytes(os.read(self.reading, 4096))
        return collector.wait_ready()

    def hang_up(self) -> None:
        """Closes the reading end."""
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1


@pytest.fixture
def piped(tmp_path: Path) -> Iterator[Piped]:
    """Starts collectors with a pipe, and ends them."""
    piped = Piped(tmp_path)
    yield piped
    piped.hang_up()
    for collector in piped.started:
        collector.kill()
        assert "Traceback" not in collector.stderr


def test_a_console_that_nobody_reads_holds_nothing_up(piped: Piped, tmp_path: Path) -> None:
    """The file gets everything; the console's queue fills and then drops, counted; the end waits for it briefly."""
    collector = piped.start("--sink", "console:json", "--sink", "file:out.jsonl")
    with RawSender(collector.endpoint) as sender:
        for number in range(FLOOD):
            sender.send(data(A, number, LARGE))
        sender.send(mark(A, sent=FLOOD, bye=True))
        status = settled(
            collector,
            lambda status: (
                sink_of(status, "file")["delivered"] > FLOOD  # the collector's own word about the drops is there, too
                and sink_of(status, "file")["delivered"] == sink_of(status, "file")["offered"]
            ),
        )
    console = sink_of(status, "console")
    assert console["dropped"]["high_water_mark"] > 20
    left = console["delivered"] + console["queued"] + console["dropped"]["high_water_mark"] + console["filtered"]
    assert left == console["offered"] == sink_of(status, "file")["offered"]
    assert sink_of(status, "file")["dropped"] == {}
    assert status["balanced"], status["problems"]
    began = time.monotonic()
    assert collector.stop() == 0
    assert time.monotonic() - began < 6
    assert messages_of(tmp_path / "out.jsonl") == [LARGE] * FLOOD
    with closing(Ledger.open(Path(os.environ["LOGBUS_STATE_DIR"]) / "default", name="t")) as ledger:
        row = ledger.sinks["console"]
        assert row.problems(0) == []
        assert row.unknown >= 1  # the write in hand: some of it is in the pipe
        assert row.document(0)["dropped"]["shutdown"] >= 1


def test_a_console_whose_reader_has_gone_holds_nothing_up(piped: Piped, tmp_path: Path) -> None:
    """As with ``2>&1 | head``: stdout and stderr are one broken pipe; the file gets everything, the end is clean."""
    collector = piped.start("--sink", "console:json", "--sink", "file:out.jsonl", errors_too=True)
    piped.hang_up()
    with RawSender(collector.endpoint) as sender:
        for number in range(50):
            sender.send(data(A, number, str(number)))
        sender.send(mark(A, sent=50, bye=True))
        status = settled(
            collector,
            lambda status: (
                sink_of(status, "file")["delivered"] >= 50 and sink_of(status, "console")["state"] == "failing"
            ),
        )
    console = sink_of(status, "console")
    assert (console["state"], console["delivered"], console["unknown"]) == ("failing", 0, 0)
    assert "Broken pipe" in console["last_error"]
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert messages_of(tmp_path / "out.jsonl") == [str(number) for number in range(50)]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_other_file(tmp_path: Path, directories: Path, closed: str) -> None:
    """What is opened next does not get the number of a closed stream: the console never writes into a ledger."""
    program = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "logbus", "collector", "start"]
    sinks = ["--sink", "console:json", "--sink", "console:json,name=errors,stream=stderr", "--sink", "file:out.jsonl"]
    runtime = directories / "runtime" / "default"
    null = subprocess.DEVNULL
    with subprocess.Popen(
        [*program, *sinks], cwd=tmp_path, env=child_environment(), stdout=null, stderr=null
    ) as process:
        try:
            collector = CollectorCommand(process, tmp_path / "none", tmp_path / "none")
            collector.control = f"ipc://{runtime / 'control'}"
            eventually(lambda: (runtime / "records").is_socket() and (tmp_path / "out.jsonl").exists())
            with RawSender(f"ipc://{runtime / 'records'}") as sender:
                sender.send(data(A, 0, "here I am"), mark(A, sent=1, bye=True))
                status = settled(
                    collector,
                    lambda status: (
                        status["total"]["emitted"]
                        and all(row["state"] == "failing" or not row["queued"] for row in status["sinks"])
                    ),
                )
            for name, number in (("console", ">&-"), ("errors", "2>&-")):
                row = sink_of(status, name)
                if number in closed.split():
                    assert (row["state"], row["delivered"]) == ("failing", 0)
                    assert "Bad file descriptor" in row["last_error"]
                else:
                    assert (row["state"], row["delivered"]) == ("ok", row["offered"] - row["queued"])
            assert status["balanced"], status["problems"]
            for lock in runtime.glob("*.lock"):
                assert json.loads(lock.read_text())["pid"] == process.pid
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert messages_of(tmp_path / "out.jsonl") == ["here I am"]


# ── a slow sink ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Gated(MemorySink):
    """A patient sink that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.gate = threading.Event()

    def write(self, data: bytes) -> None:
        """Waits for the gate."""
        assert self.gate.wait(60)
        super().write(data)


class InThread:
    """A collector in a thread of this process, with a sink of the test's."""

    def __init__(self, directory: Path, sink: MemorySink) -> None:
        self.told: list[str] = []
        self.collector = Collector(
            "slow",
            endpoint=Endpoint.parse(f"ipc://{directory}/bus/records"),
            control=Endpoint.parse(f"ipc://{directory}/bus/control"),
            state=directory / "state",
            destinations=[Destination(sink, SinkFilter(), JsonFormat())],
            redactor=Redactor(),
            tell=self.told.append,
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.collector.serve()
        finally:
            self.collector.close()

    def close(self) -> None:
        """Drains."""
        self.collector.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_a_slow_patient_sink_makes_the_senders_wait(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue stays within its limit, sends meet EAGAIN, commands are answered, and in the end nothing is lost."""
    sink = Gated()
    line_bytes = len(LARGE) + 1024  # what stands around the message is less
    with closing(InThread(directories, sink)) as running:
        watched: Any = type("Watched", (), {"control": running.collector.control.url})()
        blocked = threading.Event()
        count = 2 * FLOOD

        def flood() -> None:
            with RawSender(running.collector.endpoint.url) as sender:
                for number in range(count):
                    if number > FLOOD:
                        blocked.set()
                    sender.send(data(A, number, f"{number} {LARGE}"))
                sender.send(mark(A, sent=count, bye=True))
                settled(watched, lambda status: status["total"]["collected"] == count)

        flooding = threading.Thread(target=flood)
        monkeypatch.setattr("tests.frames.LINGER_MS", 60_000)
        flooding.start()
        status = settled(watched, lambda status: sink_of(status, "slow")["queued"] * line_bytes >= QUEUE_BYTES)
        for _ in range(3):  # held there, over several sweeps and questions
            status = status_of(watched)
        assert sink_of(status, "slow")["queued"] * len(LARGE) < QUEUE_BYTES + 2 * 1024 * 1024
        assert sink_of(status, "slow")["dropped"] == {}
        assert not blocked.is_set()
        assert status["balanced"], status["problems"]
        sink.gate.set()
        flooding.join(60)
        assert not flooding.is_alive()
        status = settled(watched, lambda status: sink_of(status, "slow")["delivered"] == count)
        assert status["balanced"], status["problems"]
    numbers = [int(json.loads(line)["message"].split()[0]) for line in sink.lines()]
    assert numbers == list(range(count))
    assert collector_module.PUSHED_BACK_S < 0.1


# ── a killed collector ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_collector_is_found_out(start_collector: StartCollector, tmp_path: Path, seed: int) -> None:
    """After ``kill -9`` under load the next one says what is in the file and what is not, to the record."""
    collector = start_collector("--sink", "file:out.jsonl", "--sink", "console:json")
    count = 6000
    with RawSender(collector.endpoint) as sender:
        for number in range(count // 50):
            sender.send(data(A, 50 * number, *[f"{50 * number + at} {'z' * 400}" for at in range(50)]))
            if number == 30 + 20 * seed:
                collector.kill()
                break
        collector = start_collector("--sink", "file:out.jsonl", "--sink", "console:json")
        sent = 50 * (number + 1)
        sender.send(data(A, sent, "the last"), mark(A, sent=sent + 1, bye=True))
        status = settled(
            collector,
            lambda status: status["total"]["emitted"] > sent and not any(row["queued"] for row in status["sinks"]),
        )
    assert status["balanced"], status["problems"]
    [row] = [row for row in status["workers"] if row["worker"] == "w1"]
    assert row["collected"] + row["dropped"].get("collector_lost", 0) == sent + 1
    assert row["exact"]
    file, console = sink_of(status, "file"), sink_of(status, "console")
    assert collector.stop() == 0
    lines = lines_of(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes().endswith(b"\n")
    numbers = [message.split()[0] for message in messages_of(tmp_path / "out.jsonl")]
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] == "the"
    own = [line for line in lines if line["worker"] == "logbus"]
    assert file["delivered"] == len(lines)
    assert file["unknown"] == 0
    lost = file["dropped"].get("collector_lost", 0)
    assert row["collected"] == len(numbers) + lost
    restarted = {line["extra"]["sink"]: line["extra"] for line in own if line["extra"]["event"] == "restarted"}
    assert restarted.get("file", {}).get("count", 0) == lost
    assert restarted.get("console", {}).get("unknown", 0) == console["unknown"]


def test_what_a_killed_collector_had_on_its_way_to_a_console(
    piped: Piped, start_collector: StartCollector, tmp_path: Path
) -> None:
    """The write in hand is unknown, what was queued behind it is lost, and the next collector says both numbers."""
    first = piped.start("--sink", "console:json", "--sink", "file:out.jsonl")
    with RawSender(first.endpoint) as sender:
        for number in range(100):
            sender.send(data(A, number, LARGE))
        status = settled(first, lambda status: sink_of(status, "file")["delivered"] == 100)
        console = sink_of(status, "console")
        assert console["queued"] > 1
        first.kill()
        second = start_collector("--sink", "console:json", "--sink", "file:out.jsonl")
        sender.send(mark(A, sent=100, bye=True))
        status = settled(second, lambda status: status["total"]["emitted"] >= 100)
    assert status["balanced"], status["problems"]
    after = sink_of(status, "console")
    lost = after["dropped"]["collector_lost"]
    assert after["unknown"] >= 1
    assert lost >= 1
    assert after["unknown"] + lost == console["queued"]
    assert sink_of(status, "file")["dropped"] == {}
    assert second.stop() == 0
    assert messages_of(tmp_path / "out.jsonl") == [LARGE] * 100
    [told] = [line["extra"] for line in lines_of(tmp_path / "out.jsonl") if line["worker"] == "logbus"]
    assert told == {
        "event": "restarted",
        "sink": "console",
        "count": lost,
        "delivered": 0,
        "unknown": after["unknown"],
    }
    assert f"ended with {lost} records not written and {after['unknown']} of which nobody knows" in second.stderr
