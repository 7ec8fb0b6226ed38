"""Rotation in a real collector: killed in the midst of it, on a disk that is full, in a directory that is read-only."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector_command import CollectorCommand, child_environment
from tests.conftest import SOAK, StartCollector
from tests.eventually import eventually
from tests.faults.scenario import Scenario, content
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import lines_of, messages_of, settled, sink_of
from tests.rotating import rotated
from tests.small_disk import can_mount, small_disk

A = producer(1)
#: The names that a directory of logs may have once nothing is under way.
NAMES = re.compile(r"records(\.[0-9]{8}T[0-9]{6}\.[0-9]{6}Z)?\.jsonl|records\.[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.jsonl\.gz")
#: Bytes in a message of which two don't fit into 1 kB.
LARGE = 500


# ── kill -9 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def scenario(directories: Path, start_collector: StartCollector) -> Iterator[Callable[[int, str], Scenario]]:
    """Makes a scenario in a directory of logs, and ends its processes."""
    made: list[Scenario] = []

    def make(seed: int, keys: str) -> Scenario:
        (directories / "logs").mkdir()
        made.append(Scenario(directories / "logs", start_collector, seed, keys))
        return made[-1]

    yield make
    for found in made:
        found.end()


class Moments:
    """When to kill, by the names in the directory: in a rotation, in a compression, or anywhere."""

    def __init__(self, run: Scenario) -> None:
        self.run = run
        self.names: set[str] = set()

    def wait(self, kind: str, worker_names: int) -> None:
        """Comes back at the moment; a seeded while later, so that every step of what goes on there has its turn."""
        self.names = self.look()
        after = self.run.random.choice([0.0, 0.0002, 0.0005, 0.002])
        if kind == "anywhere":
            self.run.wait_begun(self.run.workers[-1], self.run.random.randrange(1, worker_names))
            after = self.run.random.uniform(0.0, 0.1)
        else:
            wanted = ".part" if kind == "compression" else "Z.jsonl"
            deadline = time.monotonic() + 20.0
            while not any(name.endswith(wanted) for name in self.look() - self.names):
                assert time.monotonic() < deadline, f"no {kind} within 20 s: {sorted(self.look())}"
        end = time.perf_counter() + after
        while time.perf_counter() < end:  # a sleep would take as long as it likes
            pass

    def look(self) -> set[str]:
        """The names of the files in the directory."""
        return set(os.listdir(self.run.directory))


@pytest.mark.soak
@pytest.mark.timeout(900 if SOAK else 120)
def test_a_collector_that_is_killed_again_and_again(
    scenario: Callable[[int, str], Scenario], scale: Callable[[int, int], int]
) -> None:
    """Whole lines in every file, in order; what the ledger reports lost is what is lost; no half file is left."""
    records = scale(8000, 4000)
    run = scenario(4, ",rotation=1 MB,compression=gz")
    kinds = ["rotation", "compression", "anywhere"]
    for number in range(scale(50, 3)):
        run.work(records, fixed_level=0, patience=20.0)
        Moments(run).wait(kinds[number % 3], records)
        run.kill_collector()
        run.start()
    for worker in run.workers:
        worker.wait()

    status = run.judge()

    assert status["total"]["dropped"].get("high_water_mark", 0) < status["total"]["emitted"] / 2
    eventually(lambda: any(path.suffix == ".gz" for path in run.files), 30.0)
    assert run.collector.stop() == 0
    files = run.files
    assert len(files) > scale(50, 1)
    names = {path.name for path in run.directory.iterdir() if path.suffix not in (".witness", ".out", ".err")}
    assert {name for name in names if not NAMES.fullmatch(name)} == set()
    stems = [name.removesuffix(".gz") for name in names]
    assert len(set(stems)) == len(stems), "a file is there plain and compressed"
    assert all(len(content(path)) <= 1_000_000 for path in files)
    assert all(content(path) for path in files[:-1]), "an empty file was rotated"
    packed = [str(path) for path in files if path.suffix == ".gz"]
    assert packed
    subprocess.run(["gzip", "--test", *packed], check=True, capture_output=True)


# ── disks and directories ───────────────────────────────────────────────────────────────────────────────────────────


def written(path: Path) -> list[str]:
    """The messages of the worker in every file, in the order of the files."""
    return [message for each in (*rotated(path), path) for message in messages_of(each)]


def test_a_full_disk_stops_rotation_until_there_is_room(start_collector: StartCollector, tmp_path: Path) -> None:
    """Lines wait, files that were rotated stay whole, and then all of them are there, in order."""
    if not can_mount():
        pytest.skip("mounting a small disk is not allowed here")
    messages = [f"{number} {'y' * 1000}" for number in range(300)]
    with small_disk(tmp_path / "disk", 16) as disk:
        path = disk.path / "out.jsonl"
        collector = start_collector("--sink", f"file:{path},name=small,rotation=16 kB")
        with RawSender(collector.endpoint) as sender:
            for number, message in enumerate(messages):
                sender.send(data(A, number, message))
            sender.send(mark(A, sent=300, bye=True))
            status = settled(collector, lambda status: status["total"]["emitted"] >= 300)
            status = settled(collector, lambda status: sink_of(status, "small")["state"] == "failing")
            assert "No space left on device" in sink_of(status, "small")["last_error"]
            assert status["balanced"], status["problems"]
            assert all(each.read_bytes().endswith(b"}\n") for each in rotated(path))
            disk.grow(16 * 1024)
            status = settled(collector, lambda status: sink_of(status, "small")["queued"] == 0)
            row = sink_of(status, "small")
            assert (row["state"], row["last_error"], row["dropped"]) == ("ok", None, {})
            assert status["balanced"], status["problems"]
        assert collector.stop() == 0
        assert written(path) == messages
        assert all(each.stat().st_size <= 16_000 for each in (*rotated(path), path))
        assert row["delivered"] == sum(len(lines_of(each)) for each in (*rotated(path), path))


class Obedient:
    """Collectors whose root, if that is who runs the test, obeys the modes of directories like anybody else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[CollectorCommand] = []

    def start(self, *arguments: str) -> CollectorCommand:
        """A collector, just started."""
        capabilities = "-dac_override,-dac_read_search"
        drop = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
        command = [*(drop if os.geteuid() == 0 else []), sys.executable, "-m", "logbus", "collector", "start"]
        output, errors = self.directory / "output.txt", self.directory / "errors.txt"
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.directory,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started.append(CollectorCommand(process, output, errors))
        return self.started[-1]


@pytest.fixture
def obedient(tmp_path: Path) -> Iterator[Obedient]:
    """Starts such collectors, and ends them."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root obeys no mode here: setpriv is missing")
    obedient = Obedient(tmp_path)
    yield obedient
    for collector in obedient.started:
        collector.kill()
        assert "Traceback" not in collector.stderr


def test_a_directory_that_is_read_only_at_the_start(obedient: Obedient, tmp_path: Path) -> None:
    """The start fails, and says which path and why."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o555)
    collector = obedient.start("--sink", f"file:{logs}/out.jsonl,rotation=1 kB")
    assert collector.process.wait(20) == 1
    assert f"sink 'file': {logs}/out.jsonl: can't be opened: Permission denied" in collector.stderr


def test_a_directory_that_becomes_read_only(obedient: Obedient, tmp_path: Path) -> None:
    """Every line goes on into the open file; the sink says what is wrong, once, and rotates when it may again."""
    logs = tmp_path / "logs"
    path = logs / "out.jsonl"
    collector = obedient.start("--sink", f"file:{path},rotation=1 kB").wait_ready()
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "x" * LARGE))
        settled(collector, lambda status: sink_of(status, "file")["delivered"] == 1)
        logs.chmod(0o555)
        for number in range(1, 40):
            sender.send(data(A, number, "x" * LARGE))
        status = settled(collector, lambda status: sink_of(status, "file")["delivered"] >= 40)
        row = sink_of(status, "file")
        assert row["state"] == "ok"
        assert row["last_error"] == f"{path}: rotation fails and is tried again: Permission denied"
        assert rotated(path) == []
        logs.chmod(0o755)
        settled(collector, lambda status: sink_of(status, "file")["last_error"] is None)
        sender.send(data(A, 40, "the last"), mark(A, sent=41, bye=True))
        status = settled(collector, lambda status: status["total"]["emitted"] >= 41)
        settled(collector, lambda status: sink_of(status, "file")["queued"] == 0)
        assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert written(path) == ["x" * LARGE] * 40 + ["the last"]
    assert len(rotated(path)) == 1
    assert collector.stderr.count("rotation fails") == 1


def test_a_file_is_rotated_in_time_though_nothing_comes(start_collector: StartCollector, tmp_path: Path) -> None:
    """By the look of an idle sink; the file after it stays empty, and stays."""
    collector = start_collector("--sink", "file:out.jsonl,rotation=1 s")
    path = tmp_path / "out.jsonl"
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "one"), mark(A, sent=1, bye=True))
        eventually(lambda: rotated(path))
        eventually(path.exists)
        assert collector.stop() == 0
    assert [messages_of(each) for each in rotated(path)] == [["one"]]
    assert path.read_bytes() == b""


def test_logrotate_beside_our_own_rotation(start_collector: StartCollector, tmp_path: Path) -> None:
    """Files that are moved away under load, with a SIGHUP, are whole; no line is lost or doubled."""
    collector = start_collector("--sink", "file:out.jsonl,rotation=20 kB")
    path = tmp_path / "out.jsonl"
    moved: list[Path] = []

    def move() -> bool:
        with contextlib.suppress(FileNotFoundError):  # our own rotation came first, or the next file was not there yet
            moved.append(path.rename(path.with_suffix(f".{len(moved)}")))
            return True
        return False

    with RawSender(collector.endpoint) as sender:
        for number in range(400):
            sender.send(data(A, number, f"{number} {'x' * LARGE}"))
            if number % 50 == 49:
                eventually(move)
                collector.process.send_signal(signal.SIGHUP)
        sender.send(mark(A, sent=400, bye=True))
        status = settled(collector, lambda status: status["total"]["emitted"] >= 400)
        settled(collector, lambda status: sink_of(status, "file")["queued"] == 0)
        assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    files = [*rotated(path), *moved, *([path] if path.exists() else [])]
    numbers = [int(message.split()[0]) for each in files for message in messages_of(each)]
    assert sorted(numbers) == list(range(400))
    for each in files:
        inside = [int(message.split()[0]) for message in messages_of(each)]
        assert inside == sorted(inside)


def test_two_collectors_never_have_one_path(start_collector: StartCollector, tmp_path: Path) -> None:
    """Through rotations too: the second is refused with the name of the first, however often it tries."""
    collector = start_collector("--sink", "file:out.jsonl,rotation=1 kB")
    with RawSender(collector.endpoint) as sender:
        for number in range(30):
            sender.send(data(A, number, "x" * LARGE))
            if number in (5, 25):
                environment = {"LOGBUS_RUNTIME_DIR": str(tmp_path / "r"), "LOGBUS_STATE_DIR": str(tmp_path / "s")}
                second = start_collector("--sink", "file:out.jsonl", env=environment, ready=False)
                assert second.process.wait(20) == 3
                assert "is owned by collector 'default'" in second.stderr
        sender.send(mark(A, sent=30, bye=True))
        settled(collector, lambda status: sink_of(status, "file")["delivered"] >= 30)
    assert collector.stop() == 0
    assert written(tmp_path / "out.jsonl") == ["x" * LARGE] * 30
