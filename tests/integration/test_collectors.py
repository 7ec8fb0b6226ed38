"""Several collectors side by side, and the list of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.collector_command import run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import free_port, messages_of, settled


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    """The collectors of ``collector list --json``, by name."""
    done = run_logbus("collector", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["collectors"]}


def test_collectors_of_two_names_share_nothing(start_collector: StartCollector, tmp_path: Path) -> None:
    """Each has its sockets, its ledger and its file; a command with --name asks that one."""
    collectors = [start_collector("--name", name, "--sink", f"file:{name}.jsonl") for name in ("eu", "us")]
    for number, collector in enumerate(collectors):
        with RawSender(collector.endpoint) as sender:
            sender.send(data(producer(number + 1), 0, collector.name), mark(producer(number + 1), sent=1, bye=True))
            settled(collector, lambda status: status["total"]["collected"] == 1)
        path = tmp_path / f"{collector.name}.jsonl"
        eventually(lambda path=path, wanted=[collector.name]: messages_of(path) == wanted)  # type: ignore[misc]
        done = run_logbus("collector", "status", "--json", "--name", collector.name)
        assert json.loads(done.stdout)["pid"] == collector.process.pid
    assert run_logbus("collector", "stop", "--name", "eu").returncode == 0
    assert list(listed()) == ["us"]


def test_two_without_an_option_in_one_directory_clash_on_the_file(
    start_collector: StartCollector, tmp_path: Path
) -> None:
    """Both would write ./logs/logbus.jsonl: the second ends with 3 and names the first."""
    first = start_collector("--name", "eu")
    second = run_logbus("collector", "start", "--name", "us", cwd=tmp_path)
    assert second.returncode == 3
    expected = f"file {tmp_path}/logs/logbus.jsonl is owned by collector 'eu' (pid {first.process.pid})"
    assert second.stderr == f"logbus: error: {expected}\n"


def test_every_collector_is_listed_with_what_it_says(start_collector: StartCollector) -> None:
    """Name, pid, state, both URLs, seconds and workers, on ipc and on tcp; one that has stopped is not shown."""
    here = start_collector("--name", "eu", "--sink", "console")
    endpoint, control = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"
    there = start_collector("--name", "us", "--sink", "console", "--endpoint", endpoint, "--control", control)
    start_collector("--name", "gone", "--sink", "console").stop()
    with RawSender(here.endpoint) as sender:
        sender.send(data(producer(1), 0, "a"), mark(producer(1), sent=1))
        settled(here, lambda status: status["total"]["collected"] == 1)
        found = listed()
    assert list(found) == ["eu", "us"]
    for row, collector, workers in ((found["eu"], here, 1), (found["us"], there, 0)):
        assert 0 < row.pop("uptime_seconds") < 60
        assert row == {
            "name": collector.name,
            "pid": collector.process.pid,
            "state": "serving",
            "endpoint": collector.endpoint,
            "control": collector.control,
            "workers": workers,
            "error": None,
        }
    shown = run_logbus("collector", "list")
    assert [line.split()[:3] for line in shown.stdout.splitlines()[2:]] == [
        ["eu", str(here.process.pid), "serving"],
        ["us", str(there.process.pid), "serving"],
    ]


def test_the_stopped_and_the_killed_are_told_apart(start_collector: StartCollector) -> None:
    """One that does not answer in time is listed so, with the reason; a killed one as stale, until its name is used."""
    stopped = start_collector("--name", "eu", "--sink", "console")
    killed = start_collector("--name", "us", "--sink", "console")
    killed.kill()
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        found = listed("--timeout", "0.3")
        shown = run_logbus("collector", "list", "--timeout", "0.3")
    finally:
        stopped.process.send_signal(signal.SIGCONT)
    assert (found["eu"]["state"], found["eu"]["pid"]) == ("not answering", stopped.process.pid)
    assert "within 0.3 s" in found["eu"]["error"]
    assert "within 0.3 s" in shown.stderr
    assert (found["us"]["state"], found["us"]["pid"], found["us"]["workers"]) == ("stale", killed.process.pid, None)
    again = start_collector("--name", "us", "--sink", "console")
    assert {row["name"]: (row["state"], row["pid"]) for row in listed().values()} == {
        "eu": ("serving", stopped.process.pid),
        "us": ("serving", again.process.pid),
    }


def test_nobody_is_listed_where_nobody_is(directories: Path) -> None:
    """No runtime directory, and one with files of other kinds: an empty list, and a word for people."""
    assert listed() == {}
    runtime = directories / "runtime" / "eu"
    runtime.mkdir(parents=True)
    for name, content in (("records.lock", b""), ("control.lock", b'{"name": 1, "pid": "x"}'), ("x.lock", b"\xff")):
        (runtime / name).write_bytes(content)
    os.mkfifo(runtime / "fifo.lock")
    assert listed() == {}
    done = run_logbus("collector", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"no collector in {directories}/runtime\n"


@pytest.mark.parametrize("timeout", ["0", "nan", "x"])
def test_a_timeout_is_a_number_of_seconds(timeout: str) -> None:
    """As for every command that waits."""
    assert run_logbus("collector", "list", "--timeout", timeout).returncode == 2
