"""``logbus doctor`` beside real collectors, each of its failures made for real."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq

from logbus.bus import Endpoint, command_socket
from logbus.cli import contact
from logbus.cli.options import addresses
from logbus.collectors.claim import Claim
from logbus.collectors.zap import Doorkeeper
from logbus.control import unpack_message
from logbus.counters import CHUNK_BYTES, Counters, Meta
from tests.collector_command import child_environment, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import free_port, settled, status_of


def checked(*arguments: str, code: int | None = None, **options: Any) -> dict[str, list[dict[str, str]]]:
    """What ``doctor --json`` found, by check."""
    done = run_logbus("doctor", "--json", *arguments, **options)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["ok"] else 1)
    assert code is None or done.returncode == code
    found: dict[str, list[dict[str, str]]] = {}
    for finding in document["checks"]:
        found.setdefault(finding["check"], []).append(finding)
    assert document["ok"] is all(row["verdict"] != "failed" for rows in found.values() for row in rows)
    return found


def failures(found: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """What has failed: check → advice, which is never empty."""
    failed = {row["check"]: row["advice"] for rows in found.values() for row in rows if row["verdict"] == "failed"}
    assert all(failed.values())
    return failed


def test_a_collector_that_serves_is_well(start_collector: StartCollector, tmp_path: Path) -> None:
    """Exit 0, one line for each check, and a record that is in the file and whose way is balanced."""
    collector = start_collector("--sink", "file:out.jsonl")
    found = checked(code=0, cwd=tmp_path)
    assert {row["verdict"] for rows in found.values() for row in rows} <= {"ok", "warning"}
    [trip] = found["round trip"]
    assert trip["verdict"] == "ok"
    assert float(trip["found"].split()[-2]) < 5000
    [line] = eventually(lambda: (tmp_path / "out.jsonl").read_text().splitlines())
    assert json.loads(line)["logger"] == "logbus.doctor"
    assert settled(collector, lambda status: status["workers"][0]["state"] == "gone")["balanced"]
    shown = run_logbus("doctor", cwd=tmp_path)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == sum(map(len, found.values()))
    assert all(line.split()[0] in ("ok", "warning") for line in shown.stdout.splitlines())


def test_without_a_collector_the_rest_still_runs(tmp_path: Path) -> None:
    """The missing one is the only failure, with the command that starts it; the round trip is not tried."""
    found = checked(code=1, cwd=tmp_path)
    assert failures(found) == {"collector": "start one: logbus collector start"}
    assert found["round trip"][0]["verdict"] == "warning"
    assert found["sink file"][0]["verdict"] == "ok"
    assert not (tmp_path / "logs").exists()
    assert failures(checked("--name", "eu", cwd=tmp_path)) == {
        "collector": "start one: logbus collector start --name eu"
    }
    shown = run_logbus("doctor", cwd=tmp_path)
    assert "→ start one: logbus collector start" in shown.stdout


def test_a_stopped_collector_does_not_answer(start_collector: StartCollector) -> None:
    """It listens, so that it is said to be stuck and not to be missing."""
    collector = start_collector("--sink", "console")
    collector.process.send_signal(signal.SIGSTOP)
    try:
        found = checked("--timeout", "0.5")
    finally:
        collector.process.send_signal(signal.SIGCONT)
    assert "kill -CONT" in failures(found)["collector"]
    assert found["record socket"][0]["verdict"] == "ok"


def test_what_a_killed_collector_left_is_named(start_collector: StartCollector) -> None:
    """Stale sockets are a warning with the name and pid of their owner."""
    collector = start_collector("--sink", "console")
    collector.kill()
    found = checked()
    for check in ("record socket", "control socket", "publisher socket"):
        [row] = found[check]
        assert row["verdict"] == "warning"
        assert f"collector 'default' (pid {collector.process.pid}), which was killed" in row["found"]
    assert list(failures(found)) == ["collector"]


def test_workers_that_send_elsewhere_are_told_where_to_send(start_collector: StartCollector, directories: Path) -> None:
    """The collector at the control endpoint reads another record endpoint than a worker here would use."""
    collector = start_collector(
        "--sink", "console", "--endpoint", f"ipc://{directories}/x/s", "--control", f"ipc://{directories}/x/c"
    )
    found = checked("--control", collector.control, "--timeout", "1")
    assert failures(found)["record endpoint"] == f"set LOGBUS_ENDPOINT={collector.endpoint}"
    assert "does a collector read there?" in failures(found)["round trip"]


def test_another_collector_than_the_named_one_fails(start_collector: StartCollector) -> None:
    """--control leads to one of another name."""
    collector = start_collector("--sink", "console")
    assert list(failures(checked("--name", "eu", "--control", collector.control))) == ["collector"]


def test_a_collector_on_tcp_is_well(start_collector: StartCollector) -> None:
    """Both endpoints said by variables; with one of them only, the error says which is missing."""
    endpoint, control = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"
    start_collector("--sink", "console", "--endpoint", endpoint, "--control", control)
    both = child_environment(LOGBUS_ENDPOINT=endpoint, LOGBUS_CONTROL=control)
    checked(code=0, env=both)
    found = checked(code=1, env=child_environment(LOGBUS_ENDPOINT=endpoint))
    assert "set LOGBUS_CONTROL" in found["endpoints"][0]["found"]
    found = checked(code=1, env=child_environment(LOGBUS_CONTROL="udp://x"))
    assert "LOGBUS_CONTROL 'udp://x'" in found["endpoints"][0]["found"]


def test_limits_and_wrong_files_fail(tmp_path: Path) -> None:
    """Too few descriptors, a file for a runtime directory, a wrong configuration: all of them at once."""
    (tmp_path / "file").touch()
    (tmp_path / "logbus.toml").write_text("[bus]\nx = 1\n")
    script = f'ulimit -n 200; exec "{sys.executable}" -m logbus doctor --json'
    done = subprocess.run(
        ["bash", "-c", script],
        env=child_environment(LOGBUS_RUNTIME_DIR=str(tmp_path / "file")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    failed = {row["check"] for row in json.loads(done.stdout)["checks"] if row["verdict"] == "failed"}
    assert {"open files", "runtime directory", "configuration"} <= failed
    assert done.returncode == 1


def test_a_path_too_long_for_a_socket_fails(tmp_path: Path) -> None:
    """The runtime directory leaves no room for a socket's name."""
    found = checked(code=1, env=child_environment(LOGBUS_RUNTIME_DIR=f"/tmp/{'x' * 120}"))
    assert "more than" in found["endpoints"][0]["found"]


# ── parts of it, in this process ────────────────────────────────────────────────────────────────────────────────────


def test_what_lies_in_the_place_of_a_socket(directories: Path) -> None:
    """A file, a socket of no collector, a claim whose owner does not listen: each fails, and each otherwise."""
    where = addresses(control=None, name=None)
    runtime = directories / "runtime" / "default"
    runtime.mkdir(parents=True, mode=0o700)
    assert [finding.verdict for finding in contact.sockets(where)] == ["ok"] * 3
    (runtime / "records").write_text("precious")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as alien:
        alien.bind(str(runtime / "control"))
        alien.listen()
        records, control, publisher = contact.sockets(where)
    assert (records.verdict, control.verdict, publisher.verdict) == ("failed", "failed", "ok")
    assert "is not a socket" in records.found
    assert "no collector" in control.found
    assert (runtime / "records").read_text() == "precious"
    claim = Claim(where.control, name="eu")
    try:
        [_, control, _] = contact.sockets(where)
        assert control.verdict == "failed"
        assert f"collector 'eu' (pid {os.getpid()}) has claimed it and does not listen" in control.found
    finally:
        claim.release()
    if os.geteuid() == 0:
        os.chown(runtime / "control", 12345, -1)
        assert "belongs to uid 12345" in list(contact.sockets(where))[1].found


def test_a_level_snapshot_that_can_not_be_read_fails(directories: Path) -> None:
    """What is no snapshot, and what is no file; one that is missing matters once a collector has run."""
    control = addresses(control=None, name=None).control
    assert contact.level_snapshot(control, served=False).verdict == "ok"
    assert contact.level_snapshot(control, served=True).verdict == "warning"
    control.levels.parent.mkdir(parents=True)
    for content in (b"", b"[]", b'{"ledger": "a", "version": -1, "rules": []}', b"\xff", b"[" * 100_000):
        control.levels.write_bytes(content)
        assert contact.level_snapshot(control, served=True).verdict == "failed"
    control.levels.write_text(json.dumps({"ledger": "a", "version": 7, "rules": []}))
    assert contact.level_snapshot(control, served=True).found == "version 7, 0 rules"
    control.levels.unlink()
    control.levels.mkdir()
    assert contact.level_snapshot(control, served=True).verdict == "failed"


def test_pages_of_dead_workers_wait_for_a_collector(directories: Path) -> None:
    """Live ones are no trouble; dead ones are, without a collector, and in number also with one."""
    records = addresses(control=None, name=None).records
    assert contact.dead_pages(records, served=False).verdict == "ok"
    records.pages.mkdir(parents=True)
    live = Counters(records.pages, b"\1" * 16, Meta("h", 1, "w", "a", 1))
    try:
        assert contact.dead_pages(records, served=False).found == "1 of live workers, 0 of dead ones"
        for number in range(contact.MANY_PAGES):
            (records.pages / f"{number:032x}.page").write_bytes(bytes(CHUNK_BYTES))
        assert contact.dead_pages(records, served=False).verdict == "warning"
        assert contact.dead_pages(records, served=True).verdict == "warning"
        (records.pages / f"{0:032x}.page").unlink()
        assert contact.dead_pages(records, served=True).verdict == "ok"
    finally:
        live.close(unlink=True)


class Answering:
    """A command socket that gives one answer to everything."""

    def __init__(self, control: Endpoint, answer: bytes) -> None:
        self._control, self._answer = control, answer
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="answering")
        self._ready = threading.Event()

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        self._context.destroy(0)

    def _run(self) -> None:
        doorkeeper, commands = Doorkeeper(self._context), command_socket(self._context)
        commands.bind(self._control.url)
        self._ready.set()
        while not self._stopping:
            doorkeeper.answer()
            if commands.poll(5):
                identity, document = commands.recv_multipart()
                assert unpack_message(document)["command"] == "describe"
                commands.send_multipart([identity, self._answer])
        commands.close(0)
        doorkeeper.close()


@pytest.fixture
def control(directories: Path) -> Endpoint:
    """A control endpoint in a directory that is there."""
    control = addresses(control=None, name=None).control
    assert control.path is not None
    control.path.parent.mkdir(parents=True)
    return control


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"v": 99, "ok": true}', "v = 1"),
        (b'{"v": 1, "ok": false, "error": "unknown command"}', "refused 'describe'"),
        (b'{"v": 1, "ok": true, "collector": 5}', "an answer of another kind"),
    ],
)
def test_a_collector_of_another_protocol_fails(control: Endpoint, answer: bytes, words: str) -> None:
    """Its version of the protocol, a command that it does not know, an answer that makes no sense."""
    with Answering(control, answer):
        said, [finding] = contact.collector(addresses(control=None, name=None), name=None, timeout=5)
    assert said is None
    assert finding.verdict == "failed"
    assert words in finding.found


def test_what_a_collector_says_of_itself_is_judged(control: Endpoint) -> None:
    """Draining, another version, a configuration that was refused: warnings, each with what to do."""
    where = addresses(control=None, name=None)
    said = {
        "name": "default",
        "pid": 1,
        "state": "draining",
        "version": "0.0.9",
        "endpoint": where.records.url,
        "configuration": {"error": "bus.x: unknown key"},
    }
    with Answering(control, json.dumps({"v": 1, "ok": True, "collector": said, "workers": 0}).encode()):
        found, findings = contact.collector(where, name=None, timeout=5)
    assert found == said
    assert [(finding.check, finding.verdict) for finding in findings] == [
        ("collector", "warning"),
        ("collector version", "warning"),
        ("collector configuration", "warning"),
    ]


def test_a_round_trip_to_nobody_fails() -> None:
    """There is no welcome, and that is said with the address."""
    finding = contact.round_trip(addresses(control=None, name=None), timeout=0.2)
    assert finding.verdict == "failed"
    assert "no welcome from" in finding.found


def test_the_status_counts_the_doctor_as_a_worker(start_collector: StartCollector) -> None:
    """Its record is counted like every other, under a name that says whose it was."""
    collector = start_collector("--sink", "console")
    assert contact.round_trip(addresses(control=None, name=None), timeout=10).verdict == "ok"
    status = eventually(lambda: status_of(collector))
    assert [row["worker"] for row in status["workers"] if row["worker"] != "logbus"] == [f"doctor-{os.getpid()}"]
