"""A real collector: who may be one, how it ends, and what becomes of its files."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from logbus.bus import subscriber_socket
from logbus.collectors.handshake import DRAIN_S
from logbus.control import State, without_address
from tests.collector_command import ROOT, child_environment, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer, site
from tests.integration.watch import free_port, lines_of, messages_of, settled, sink_of, status_of
from tests.programs.load import witnessed

A, B = producer(1), producer(2)


def records_path(url: str) -> Path:
    """The path of an ipc URL."""
    return Path(url.removeprefix("ipc://"))


# ── one owner ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_an_endpoint_has_one_collector(
    start_collector: StartCollector, tmp_path: Path, directories: Path, transport: str
) -> None:
    """The second ends with 3 and the name and pid of the first, which goes on without noticing."""
    endpoint = f"tcp://127.0.0.1:{free_port()}" if transport == "tcp" else f"ipc://{directories}/runtime/x/records"
    first = start_collector("--sink", "file:out.jsonl", "--endpoint", endpoint, "--name", "first")
    with RawSender(first.endpoint) as sender:
        sender.send(data(A, 0, "before"))
        eventually(lambda: messages_of(tmp_path / "out.jsonl") == ["before"])
        began = time.monotonic()
        second = run_logbus("collector", "start", "--sink", "console", "--endpoint", endpoint, "--name", "second")
        assert time.monotonic() - began < 10  # a second on a machine that does nothing else
        assert second.returncode == 3
        expected = f"endpoint {endpoint} is owned by collector 'first' (pid {first.process.pid})"
        assert second.stderr == f"logbus: error: {expected}\n"
        sender.send(data(A, 1, "after"), mark(A, sent=2, bye=True))
        assert settled(first, lambda status: status["total"]["collected"] == 2)["balanced"]
    assert first.stop() == 0
    assert messages_of(tmp_path / "out.jsonl") == ["before", "after"]


def test_a_state_has_one_collector(start_collector: StartCollector, directories: Path) -> None:
    """A second one of the same name, on another endpoint, would write into the first one's ledger."""
    first = start_collector("--sink", "console")
    second = run_logbus("collector", "start", "--sink", "console", "--endpoint", f"ipc://{directories}/other/records")
    assert second.returncode == 3
    assert f"is owned by collector 'default' (pid {first.process.pid})" in second.stderr
    assert status_of(first)["collector"]["pid"] == first.process.pid


def test_a_log_file_has_one_collector(start_collector: StartCollector, tmp_path: Path) -> None:
    """Another collector with the same file ends with 3, says whose it is, and leaves its sockets to nobody."""
    first = start_collector("--sink", "file:out.jsonl", "--name", "first")
    for _ in range(2):
        arguments = ("--sink", "console", "--sink", "file:out.jsonl,name=b", "--name", "second")
        second = run_logbus("collector", "start", *arguments, cwd=tmp_path)
        assert second.returncode == 3
        expected = f"file {tmp_path}/out.jsonl is owned by collector 'first' (pid {first.process.pid})"
        assert second.stderr == f"logbus: error: {expected}\n"
    assert first.stop() == 0
    third = start_collector("--sink", "file:out.jsonl", "--name", "second")
    assert third.stop() == 0


def test_a_file_at_the_path_of_the_endpoint_stays(start_collector: StartCollector, directories: Path) -> None:
    """ZeroMQ would unlink it: the collector says what is in the way and ends with 2."""
    path = directories / "runtime" / "default" / "records"
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_text("precious")
    done = run_logbus("collector", "start", "--sink", "console")
    assert done.returncode == 2
    assert f"endpoint 'ipc://{path}': there is a file that is not a socket, and it stays" in done.stderr
    assert path.read_text() == "precious"
    path.unlink()
    assert start_collector("--sink", "console").stop() == 0


def test_a_killed_collector_is_succeeded(start_collector: StartCollector, tmp_path: Path) -> None:
    """Its sockets lie there still; the next one takes them over, and workers that connected before find it."""
    first = start_collector("--sink", "file:out.jsonl")
    with RawSender(first.endpoint) as sender:
        sender.send(data(A, 0, "one"))
        eventually(lambda: messages_of(tmp_path / "out.jsonl") == ["one"])
        first.kill()
        assert records_path(first.endpoint).is_socket()
        second = start_collector("--sink", "file:out.jsonl")
        sender.send(data(A, 1, "two"), mark(A, sent=2, bye=True))
        assert settled(
            second, lambda status: [row["collected"] for row in status["workers"] if row["worker"] == "w1"] == [2]
        )["balanced"]
    assert second.stop() == 0
    assert messages_of(tmp_path / "out.jsonl") == ["one", "two"]


def test_the_sockets_are_for_their_owner_only(start_collector: StartCollector, tmp_path: Path) -> None:
    """The directory of the sockets has mode 0700; after the end no socket is left in it."""
    collector = start_collector("--sink", "file:logs/out.jsonl")
    directory = records_path(collector.endpoint).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    sockets = {path.name for path in directory.iterdir() if path.is_socket()}
    assert sockets == {"records", "control", "control.pub"}
    assert collector.stop() == 0
    assert [path for path in directory.iterdir() if path.is_socket()] == []
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE((tmp_path / "logs" / "out.jsonl").stat().st_mode) & 0o137 == 0


def test_too_few_descriptors_are_refused(tmp_path: Path) -> None:
    """An ipc listener that runs out of them would abort the process: the collector does not start."""
    limited = ["bash", "-c", 'ulimit -n 128; exec "$@"', "bash", sys.executable, "-m", "logbus"]
    done = subprocess.run(
        [*limited, "collector", "start", "--sink", "console"],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert "the limit of open files is 128: at least 256 are needed" in done.stderr
    assert "Traceback" not in done.stderr


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stop"])
def test_every_graceful_end_drains(start_collector: StartCollector, tmp_path: Path, how: str) -> None:
    """What was sent is in the file when the process has gone, with 0; and its sums are in the ledger."""
    collector = start_collector("--sink", "file:out.jsonl")
    with RawSender(collector.endpoint) as sender:
        for number in range(20):
            sender.send(data(A, 100 * number, *[str(100 * number + at) for at in range(100)]))
        sender.send(mark(A, sent=2000, bye=True))
        eventually(lambda: (tmp_path / "out.jsonl").stat().st_size)
        if how == "stop":
            assert run_logbus("collector", "stop").returncode == 0
        else:
            collector.process.send_signal(getattr(signal, how))
        assert collector.process.wait(20) == 0
    assert messages_of(tmp_path / "out.jsonl") == [str(number) for number in range(2000)]
    again = start_collector("--sink", "file:out.jsonl")
    status = settled(again, lambda status: status["workers"][-1]["state"] == "gone")
    count = 2000 + (how == "stop")  # who stopped it is in the log too
    assert (status["total"]["collected"], sink_of(status, "file")["delivered"]) == (count, count)
    assert status["balanced"], status["problems"]


def test_a_second_signal_hurries(start_collector: StartCollector) -> None:
    """A worker that never answers holds the drain up for two seconds; who is in a hurry says so twice."""
    collector = start_collector("--sink", "console")
    with zmq.Context() as context, subscriber_socket(context, B) as listener, RawSender(collector.endpoint) as sender:
        listener.connect(f"{collector.control}.pub")
        sender.send(mark(A, sent=0))
        settled(collector, lambda status: status["workers"])
        collector.process.send_signal(signal.SIGTERM)
        eventually(lambda: listener.poll(1000) and State.unpack(without_address(listener.recv())).state == "draining")
        began = time.monotonic()
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(20) == 0
        assert time.monotonic() - began < DRAIN_S * 0.75


# ── a worker ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_status_asks_the_workers(start_collector: StartCollector, tmp_path: Path) -> None:
    """A real worker answers with a MARK: its counters are of now, exact, and nothing is in flight."""
    collector = start_collector("--sink", "file:out.jsonl")
    witness = tmp_path / "witness"
    load = f'{{"name": "w1", "witness": "{witness}", "count": 500, "stay": true}}'
    program = [sys.executable, "-m", "tests.programs.load", load]
    with subprocess.Popen(program, cwd=ROOT, env=child_environment(), stdout=subprocess.DEVNULL) as worker:
        try:
            eventually(lambda: witness.exists() and witness.stat().st_size and witnessed(witness)[1] == 500)
            settled(collector, lambda status: status["total"]["collected"] == 500)
            began = time.monotonic()
            for _ in range(4):
                status = status_of(collector)
                [row] = [row for row in status["workers"] if row["worker"] == "w1"]
                assert row["mark_age_seconds"] < 0.5
                assert (row["emitted"], row["in_flight"], row["state"], row["exact"]) == (500, 0, "live", True)
                assert status["balanced"], status["problems"]
            assert time.monotonic() - began < 2  # asked and answered, not waited for the MARK of each second
        finally:
            worker.kill()
    [row] = settled(collector, lambda status: status["workers"][0]["state"] == "crashed")["workers"]
    assert (row["emitted"], row["collected"], row["dropped"], row["exact"]) == (500, 500, {}, True)
    assert collector.stop() == 0


def test_a_status_of_two_hundred_workers(start_collector: StartCollector, tmp_path: Path) -> None:
    """It has a row for each, balances, and waits no longer than its time for those who don't answer."""
    collector = start_collector("--sink", "file:out.jsonl")
    with RawSender(collector.endpoint) as sender:
        for number in range(1, 201):
            who = producer(number)
            sender.send(data(who, 0, "x", worker=f"w{number}"), mark(who, sent=1, buffered=2, worker=f"w{number}"))
        status = settled(collector, lambda status: status["total"]["emitted"] == 600)
        assert len(status["workers"]) == 200
        assert (status["total"]["collected"], status["total"]["in_flight"]) == (200, 400)
        assert status["balanced"], status["problems"]
        began = time.monotonic()
        status_of(collector)
        assert time.monotonic() - began < 4
    assert collector.stop() == 0


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_logrotate_loses_nothing(start_collector: StartCollector, tmp_path: Path) -> None:
    """Renamed under load, then SIGHUP: every record is in one of the files, once, in order, and no line is torn."""
    collector = start_collector("--sink", "file:out.jsonl")
    log = tmp_path / "out.jsonl"
    with RawSender(collector.endpoint) as sender:
        for number in range(400):
            sender.send(data(A, 10 * number, *[str(10 * number + at) for at in range(10)]))
            if number % 100 == 50:
                eventually(log.exists)
                log.rename(tmp_path / f"out.{number}.jsonl")
                collector.process.send_signal(signal.SIGHUP)
        sender.send(mark(A, sent=4000, bye=True))
        status = settled(collector, lambda status: sink_of(status, "file")["delivered"] == 4000)
        assert status["balanced"], status["problems"]
    eventually(log.exists)
    assert collector.stop() == 0
    parts = [tmp_path / f"out.{number}.jsonl" for number in (50, 150, 250, 350)] + [log]
    assert [message for part in parts for message in messages_of(part)] == [str(number) for number in range(4000)]


def test_a_rename_is_noticed_without_a_signal(start_collector: StartCollector, tmp_path: Path) -> None:
    """Within a second or so, though nothing is logged: the moved file is nobody's any more."""
    collector = start_collector("--sink", "file:out.jsonl")
    log = tmp_path / "out.jsonl"
    log.rename(tmp_path / "out.1.jsonl")
    eventually(log.exists)
    assert collector.stop() == 0


def test_a_log_directory_that_was_removed_is_made_again(start_collector: StartCollector, tmp_path: Path) -> None:
    """The collector goes on in a new one; other sinks are not touched."""
    collector = start_collector("--sink", "file:logs/out.jsonl", "--sink", "file:other.jsonl")
    log = tmp_path / "logs" / "out.jsonl"
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "one"))
        eventually(lambda: messages_of(log) == ["one"])
        log.unlink()
        log.parent.rmdir()
        eventually(log.exists)
        sender.send(data(A, 1, "two"), mark(A, sent=2, bye=True))
        status = settled(collector, lambda status: sink_of(status, "file")["delivered"] == 2)
        assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert messages_of(log) == ["two"]
    assert messages_of(tmp_path / "other.jsonl") == ["one", "two"]


def test_copytruncate_leaves_no_hole(start_collector: StartCollector, tmp_path: Path) -> None:
    """A file that is emptied in place goes on from its beginning."""
    collector = start_collector("--sink", "file:out.jsonl")
    log = tmp_path / "out.jsonl"
    with RawSender(collector.endpoint) as sender:
        for number in range(5):
            sender.send(data(A, number, str(number)))
            eventually(lambda number=number: messages_of(log) == [str(number)])  # type: ignore[misc]
            os.truncate(log, 0)
        sender.send(mark(A, sent=5, bye=True))
        assert settled(collector, lambda status: status["total"]["collected"] == 5)["balanced"]
    assert collector.stop() == 0
    assert log.read_bytes() == b""


def test_what_a_crash_tore_is_cut_and_what_is_foreign_stays(start_collector: StartCollector, tmp_path: Path) -> None:
    """A JSON file ends with a whole line before the first new one; a text file loses nothing."""
    (tmp_path / "out.jsonl").write_bytes(b'{"message":"whole","worker":"w0"}\n{"message":"to')
    (tmp_path / "notes.txt").write_bytes(b"notes without an end")
    collector = start_collector("--sink", "file:out.jsonl", "--sink", "file:notes.txt,format=text")
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "new"), mark(A, sent=1, bye=True))
        settled(collector, lambda status: status["total"]["collected"] == 1)
    assert collector.stop() == 0
    assert [line["message"] for line in lines_of(tmp_path / "out.jsonl")] == ["whole", "new"]
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    assert (len(notes), notes[0]) == (2, "notes without an end")


def test_a_link_at_the_path_of_a_log_is_refused(start_collector: StartCollector, tmp_path: Path) -> None:
    """Whoever may write to the log's directory does not choose what else the collector writes to."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "target")
    done = run_logbus("collector", "start", "--sink", "file:out.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert "sink 'file'" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "target").read_text() == "precious"


def test_each_sink_takes_its_part(start_collector: StartCollector, tmp_path: Path) -> None:
    """By level, by component and in its format; what it leaves is filtered; no secret is in any of them."""
    collector = start_collector(
        *("--sink", "file:all.jsonl,name=all"),
        *("--sink", "file:errors.jsonl,name=errors,level=ERROR"),
        *("--sink", "file:rotator.txt,name=rotator,format=text,components=rotator"),
        *("--sink", "file:rest.jsonl,name=rest,exclude_components=rotator+logbus"),
        *("--sink", "console:text,name=screen,level=WARNING"),
    )
    sites = [site("db", 20, "INFO"), site("rotator", 40, "ERROR"), site("rotator", 10, "DEBUG")]
    secret = ["ValueError", "bad proxy http://bob:hunter2@proxy:1", ["  token=hunter2\n"], None, None, []]
    messages = ("to http://bob:hunter2@proxy:1", "b", "c", "Authorization: Bearer hunter2", "e")
    extra = {"password": "hunter2", "n": 1, "proxy_url": "socks5://bob:hunter2@proxy:1"}
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, *messages, sites=sites, at=[0, 1, 2, 0, 1], extra=extra, exception=secret))
        sender.send(mark(A, sent=5, bye=True))
        status = settled(collector, lambda status: {row["offered"] - row["queued"] for row in status["sinks"]} == {5})
    books = {row["name"]: (row["offered"], row["delivered"], row["filtered"]) for row in status["sinks"]}
    assert books == {
        "all": (5, 5, 0),
        "errors": (5, 2, 3),
        "rotator": (5, 3, 2),
        "rest": (5, 2, 3),
        "screen": (5, 2, 3),
    }
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert [message[0] for message in messages_of(tmp_path / "all.jsonl")] == ["t", "b", "c", "A", "e"]
    assert [message[0] for message in messages_of(tmp_path / "errors.jsonl")] == ["b", "e"]
    assert [message[0] for message in messages_of(tmp_path / "rest.jsonl")] == ["t", "A"]
    assert (tmp_path / "rotator.txt").read_text().count("\n") == 3
    assert collector.stdout.count("ERROR") == 2
    written = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert "hunter2" not in "".join(written)
    assert sum(text.count("bob") + text.count("***") for text in written) > 20  # masked, not left out
