"""Levels through a real collector, with workers that are sockets only: who confirms, who is named, what is kept."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.cli import client
from logbus.errors import ControlError
from logbus.rules import Levels
from tests.collector_command import CollectorCommand, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import producer
from tests.integration.watch import free_port, lines_of, status_of
from tests.raw_worker import RawWorker

A, B, C = producer(1), producer(2), producer(3)


def worker(collector: CollectorCommand, who: bytes = A, **options: Any) -> RawWorker:
    """A worker of this collector."""
    return RawWorker(collector.endpoint, collector.control, who, **options)


def ask(collector: CollectorCommand, command: str, **document: Any) -> dict[str, Any]:
    """The answer to a command, asked in this process."""
    return client.request({"command": command, **document}, control=Endpoint.parse(collector.control), timeout=20)


def rules_of(collector: CollectorCommand) -> dict[str, int]:
    """Selector and level of the rules in force."""
    return {rule["selector"]: rule["level"] for rule in ask(collector, "levels")["rules"]}


def audit_of(directories: Path, name: str = "default") -> list[dict[str, Any]]:
    """The audit of a collector."""
    return [json.loads(line) for line in (directories / "state" / name / "audit.jsonl").read_text().splitlines()]


def test_every_worker_confirms_and_that_is_said(start_collector: StartCollector, tmp_path: Path) -> None:
    """One line on stdout with how many of how many in what time, exit 0, nothing on stderr; the workers have it."""
    collector = start_collector("--sink", "file:out.jsonl")
    with worker(collector, A, name="a") as one, worker(collector, B, name="b") as two:
        one.log("rotator", "hello")
        eventually(lambda: lines_of(tmp_path / "out.jsonl"))
        done = run_logbus("set-level", "debug", "--component", "rotator", "--for", "10m")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("2/2 workers confirmed in ")
        assert done.stdout.endswith(" ms\n")
        for found in (one, two):
            [rule] = found.levels.rules
            assert (rule.selector, rule.level, rule.rank, rule.version) == ("rotator", 10, "set", found.levels.version)
            assert 590 < (rule.expires or 0) - time.time() <= 600
        shown = run_logbus("levels").stdout
        assert "rotator" in shown
        assert "10 min" in shown
        assert status_of(collector)["collector"]["level_version"] == one.levels.version
        rows = {row["worker"]: row for row in status_of(collector)["workers"]}
        assert (rows["a"]["gate"], rows["a"]["gates"]) == ("source", {"stdlib": "source"})
        reset = run_logbus("reset-level", "--component", "rotator", "--json")
        document = json.loads(reset.stdout)
        assert (reset.returncode, document["confirmed"], document["workers"]) == (0, 2, 2)
        assert one.levels.rules == ()
        assert document["version"] == one.levels.version
    assert collector.stop() == 0
    told = [line for line in lines_of(tmp_path / "out.jsonl") if line["component"] == "logbus"]
    assert [(line["level"], line["extra"]["event"]) for line in told] == [
        ("INFO", "set_level"),
        ("INFO", "reset_level"),
    ]
    assert "selector=rotator" in told[0]["extra"]["what"]


def test_who_does_not_confirm_is_named(start_collector: StartCollector) -> None:
    """Exit 4 within the timeout, the others counted, the silent one with its name, pid and host on stderr."""
    collector = start_collector("--sink", "console")
    with worker(collector, A, name="a"), worker(collector, B, name="b") as two:
        two.mute = True
        begun = time.monotonic()
        done = run_logbus("set-level", "DEBUG", "--timeout", "2")
        assert done.returncode == 4
        assert time.monotonic() - begun < 10
        assert done.stdout.startswith("1/2 workers confirmed in ")
        assert "not confirmed: b (pid 7, host host) has not answered" in done.stderr
        levels = ask(collector, "levels")
        assert {row["worker"]: row["current"] for row in levels["workers"]} == {"a": True, "b": False}
        two.mute = False
        two.confirm()
        eventually(lambda: all(row["current"] for row in ask(collector, "levels")["workers"]))


def test_a_worker_that_never_said_a_word_counts(start_collector: StartCollector) -> None:
    """A connection is a worker: it is waited for, and confirms with its first frame."""
    collector = start_collector("--sink", "console")
    with worker(collector, A, mute=True) as silent:
        answer = ask(collector, "set_level", level=10, wait_seconds=0.2)
        assert (answer["confirmed"], answer["workers"]) == (0, 1)
        [row] = answer["unconfirmed"]
        assert (row["worker"], row["state"]) == ("(not heard yet)", "connected")
        silent.mute = False
        assert ask(collector, "set_level", level=20, wait_seconds=20)["confirmed"] == 1


def test_who_goes_is_not_waited_for(start_collector: StartCollector) -> None:
    """A worker that says goodbye, or whose connection ends, holds nothing up and is not counted."""
    collector = start_collector("--sink", "console")
    with worker(collector, A, name="a"), ExitStack() as going:
        gone = going.enter_context(worker(collector, B, name="b"))
        eventually(lambda: len(ask(collector, "levels")["workers"]) == 2)
        gone.mute = True
        gone.confirm(bye=True)
        eventually(lambda: len(ask(collector, "levels")["workers"]) == 1)
        answer = ask(collector, "set_level", level=10, wait_seconds=20)
        assert (answer["confirmed"], answer["workers"]) == (1, 1)
        going.close()


def test_only_the_workers_that_are_meant_are_counted(start_collector: StartCollector) -> None:
    """A pattern of workers counts those; where it means nobody that is said, and it applies to who comes."""
    collector = start_collector("--sink", "console")
    with worker(collector, A, name="api-1"), worker(collector, B, name="job-1") as job:
        eventually(lambda: len(ask(collector, "levels")["workers"]) == 2)
        job.mute = True
        answer = ask(collector, "set_level", level=10, worker="api-*", wait_seconds=20)
        assert (answer["confirmed"], answer["workers"], answer["notes"]) == (1, 1, [])
        done = run_logbus("set-level", "DEBUG", "--worker", "web-*")
        assert (done.returncode, done.stdout) == (0, "0/0 workers confirmed\n")
        assert "no running worker matches 'web-*'" in done.stderr
        done = run_logbus("reset-level", "--worker", "web-*")
        assert (done.returncode, done.stdout) == (0, "0/0 workers confirmed\n")


def test_without_workers_it_is_done_and_said(start_collector: StartCollector) -> None:
    """0 of 0 is no failure; the next worker is welcomed with the rule, and finds it in the file before."""
    collector = start_collector("--sink", "console")
    done = run_logbus("set-level", "TRACE")
    assert (done.returncode, done.stdout) == (0, "0/0 workers confirmed\n")
    assert "no worker is running: it applies to those that come" in done.stderr
    snapshot = Path(collector.control.removeprefix("ipc://") + ".levels")
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert [rule.level for rule in Levels.of(json.loads(snapshot.read_text())).rules] == [5]
    with worker(collector) as late:
        assert late.heard[0] == (Levels.of(json.loads(snapshot.read_text())), True)


def test_an_unknown_component_is_an_error_with_a_guess(start_collector: StartCollector, tmp_path: Path) -> None:
    """Exit 2 and near matches; --force takes it; one that is known and has not logged is taken, and that is said."""
    collector = start_collector("--sink", "file:out.jsonl")
    with worker(collector) as found:
        found.log("proxywhirl.rotator", "x")
        found.name_loggers("proxywhirl.health.probe")
        eventually(lambda: lines_of(tmp_path / "out.jsonl"))
        wrong = run_logbus("set-level", "DEBUG", "--component", "rotater")
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "unknown component 'rotater': did you mean rotator?" in wrong.stderr
        assert "--force accepts a name that nobody has used yet" in wrong.stderr
        assert rules_of(collector) == {}
        assert run_logbus("set-level", "DEBUG", "--component", "rotater", "--force").returncode == 0
        silent = run_logbus("set-level", "DEBUG", "--component", "health")
        assert silent.returncode == 0
        assert "nothing of health has logged anything yet" in silent.stderr
    assert rules_of(collector) == {"rotater": 10, "health": 10}
    assert status_of(collector)["collector"]["refused_commands"] == {"invalid": 1}


def test_what_was_set_survives_the_collector(
    start_collector: StartCollector, directories: Path, tmp_path: Path
) -> None:
    """Rules and known names are there after kill -9, under a higher version, and workers confirm that."""
    first = start_collector("--sink", "file:out.jsonl")
    with worker(first) as one:
        one.log("rotator", "x")
        eventually(lambda: lines_of(tmp_path / "out.jsonl"))
        set_ = ask(first, "set_level", selector="rotator", level=10, for_seconds=3600, wait_seconds=20)
        assert set_["confirmed"] == 1
        first.kill()
        second = start_collector("--sink", "file:out.jsonl")
        assert rules_of(second) == {"rotator": 10}
        levels = ask(second, "levels")
        assert levels["ledger"] == set_["ledger"]
        assert levels["version"] > set_["version"]
        assert 3500 < levels["rules"][0]["remaining_seconds"] <= 3600
        eventually(lambda: one.levels.version == levels["version"])
        assert second.stop() == 0
    third = start_collector("--sink", "file:out.jsonl")
    assert run_logbus("set-level", "INFO", "--component", "rotator").returncode == 0
    assert third.stop() == 0


def test_a_rule_ends_by_itself(start_collector: StartCollector, directories: Path) -> None:
    """When its time is over the workers hear of a version without it, and the audit says so."""
    collector = start_collector("--sink", "console")
    with worker(collector) as one:
        answer = ask(collector, "set_level", level=10, for_seconds=0.3, wait_seconds=20)
        assert (answer["confirmed"], [rule.level for rule in one.levels.rules]) == (1, [10])
        eventually(lambda: one.levels.rules == () and one.levels.version > answer["version"])
        assert rules_of(collector) == {}
    entries = audit_of(directories)
    assert [(entry["command"], entry["outcome"]) for entry in entries] == [("set_level", "done"), ("expire", "expired")]


def test_who_did_what_is_in_the_audit(start_collector: StartCollector, directories: Path) -> None:
    """Uid, name, pid and host of whoever asked, by the kernel's word; refusals, and the stop, too."""
    collector = start_collector("--sink", "console")
    assert run_logbus("set-level", "DEBUG", "--where", "request_id=7").returncode == 0
    assert run_logbus("set-level", "DEBUG", "--component", "nowhere").returncode == 2
    assert run_logbus("collector", "stop").returncode == 0
    done, refused, stop = audit_of(directories)
    assert (done["command"], done["outcome"], done["uid"], done["vouched"]) == ("set_level", "done", os.geteuid(), True)
    assert (done["host"], done["what"]) == (socket.gethostname(), {"level": 10, "where": "request_id=7"})
    assert (refused["outcome"], refused["error"][:17]) == ("refused", "unknown component")
    assert (stop["command"], stop["outcome"]) == ("stop", "done")
    path = directories / "state" / "default" / "audit.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert collector.process.wait(0) == 0


def test_a_replayed_command_changes_nothing(start_collector: StartCollector) -> None:
    """The same id gets the same answer; the same id for something else, or an old command, is refused."""
    collector = start_collector("--sink", "console")
    at = time.time()
    first = ask(collector, "set_level", level=10, id="x" * 16, at=at)
    ask(collector, "reset_level")
    again = ask(collector, "set_level", level=10, id="x" * 16, at=at)
    assert again["version"] == first["version"]
    assert rules_of(collector) == {}
    for reason, document in (
        ("no other command", {"level": 20, "id": "x" * 16, "at": at}),
        ("of now", {"level": 20, "at": at - 61}),
        ("of now", {"level": 20, "at": at + 100}),
    ):
        with pytest.raises(ControlError, match=reason):
            ask(collector, "set_level", **document)
    assert rules_of(collector) == {}
    assert status_of(collector)["collector"]["refused_commands"] == {"replayed": 1, "stale": 2}


def test_on_tcp_nobody_vouches(start_collector: StartCollector, directories: Path) -> None:
    """A command over loopback is done, and audited as its sender's own word."""
    port = free_port()
    collector = start_collector(
        "--sink", "console", "--endpoint", f"ipc://{directories}/runtime/r", "--control", f"tcp://127.0.0.1:{port}"
    )
    with worker(collector):
        assert ask(collector, "set_level", level=10, wait_seconds=20)["confirmed"] == 1
    [entry] = audit_of(directories)
    assert (entry["uid"], entry["vouched"], entry["pid"]) == (None, False, os.getpid())


def test_a_command_for_another_collector_is_refused(start_collector: StartCollector) -> None:
    """LOGBUS_CONTROL may lead to another one than was named: nothing is changed there."""
    collector = start_collector("--sink", "console", "--name", "eu")
    for command in (("set-level", "DEBUG"), ("reset-level",), ("levels",)):
        done = run_logbus(*command, "--name", "us", "--control", collector.control)
        assert done.returncode == 1
        assert "expected collector 'us', found 'eu'" in done.stderr
    assert rules_of(collector) == {}


def test_a_stopped_process_is_named_as_stopped(start_collector: StartCollector) -> None:
    """SIGSTOP leaves a worker connected: it counts, and the answer says why it does not confirm."""
    collector = start_collector("--sink", "console")
    with subprocess.Popen(["sleep", "600"]) as process, worker(collector, mute=True) as found:
        try:
            process.send_signal(signal.SIGSTOP)
            found.speak_for(process.pid, socket.gethostname())
            eventually(lambda: ask(collector, "levels")["workers"])
            done = run_logbus("set-level", "DEBUG", "--timeout", "1", "--json")
            document = json.loads(done.stdout)
            assert done.returncode == 4
            assert [(row["pid"], row["state"]) for row in document["unconfirmed"]] == [(process.pid, "stopped")]
        finally:
            process.kill()


def test_what_configuration_names_is_known_and_stays_in_force(start_collector: StartCollector) -> None:
    """Components of sinks and of [levels] are known before any worker came; set-level wins, reset gives it back."""
    collector = start_collector(
        "--sink", "file:out.jsonl,components=health", env={"LOGBUS_LEVELS__ROTATOR": "WARNING", "LOGBUS_LEVEL": "ERROR"}
    )
    assert rules_of(collector) == {"": 40, "rotator": 30}
    for component in ("rotator", "health"):
        assert run_logbus("set-level", "DEBUG", "--component", component).returncode == 0
    with worker(collector) as found:
        assert sorted((rule.rank, rule.selector, rule.level) for rule in found.levels.rules) == [
            ("configuration", "", 40),
            ("configuration", "rotator", 30),
            ("set", "health", 10),
            ("set", "rotator", 10),
        ]
        assert ask(collector, "reset_level", all=True, wait_seconds=20)["confirmed"] == 1
    assert rules_of(collector) == {"": 40, "rotator": 30}
