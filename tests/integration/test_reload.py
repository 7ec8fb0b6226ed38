"""A real collector whose configuration changes while records come."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.cli import client
from tests.collector_command import CollectorCommand, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import lines_of, messages_of, settled, sink_of, status_of

A = producer(1)


class Service:
    """A collector with a configuration file and a worker that sends what the test says."""

    def __init__(self, start: StartCollector, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "logbus.toml"
        self.log = directory / "main.jsonl"
        self.start = start
        self.collector: CollectorCommand
        self.sender: RawSender
        self.sent = 0

    def write(self, text: str = "", *, main: str = "") -> None:
        """A configuration with the sink "main", a part of it, and more."""
        sink = f'[[sinks]]\ntype = "file"\nname = "main"\npath = "{self.log}"\n{main}\n'
        new = self.config.with_suffix(".new")
        new.write_text(f"{sink}{text}")
        new.replace(self.config)

    def send(self, *messages: str) -> None:
        """Records of the worker."""
        self.sender.send(data(A, self.sent, *messages))
        self.sent += len(messages)

    def configuration(self) -> dict[str, Any]:
        """What the status says of the configuration; no worker is asked for anything."""
        found: dict[str, Any] = self.ask("describe")["collector"]["configuration"]
        return found

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to a command."""
        return client.request({"command": command}, control=Endpoint.parse(self.collector.control), timeout=10)

    def reload(self, how: str = "command") -> None:
        """Has the file taken over, and waits for it."""
        if how == "command":
            self.ask("reload")
        elif how == "signal":
            self.collector.process.send_signal(signal.SIGHUP)
        wanted = hashlib.sha256(self.config.read_bytes()).hexdigest(), None

        def done() -> bool:
            found = self.configuration()
            return (found["sha256"], found["error"]) == wanted

        eventually(done, what=f"a reload by {how}")

    def events(self) -> set[str]:
        """What the collector's own records in the log speak of."""
        return {line["extra"]["event"] for line in lines_of(self.log) if line["worker"] == "logbus"}

    def wait_sent(self) -> None:
        """Waits until everything sent is collected: the socket may be closed then."""
        self.sender.send(mark(A, sent=self.sent, bye=True))

        def collected(status: dict[str, Any]) -> bool:
            return [row["collected"] for row in status["workers"] if row["worker"] == "w1"] == [self.sent]

        settled(self.collector, collected)


@pytest.fixture
def service(start_collector: StartCollector, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts the service, with options, in ``tmp_path``."""
    made: list[Service] = []

    def start(*options: str, **environ: str) -> Service:
        service = Service(start_collector, tmp_path)
        if not service.config.exists():
            service.write()
        service.collector = start_collector(*options, env=environ)
        service.sender = RawSender(service.collector.endpoint).__enter__()
        made.append(service)
        return service

    yield start
    for one in made:
        one.sender.__exit__(None, None, None)


@pytest.mark.parametrize("how", ["command", "signal", "file"])
def test_a_change_is_taken_over_in_each_of_three_ways(service: Callable[..., Service], how: str) -> None:
    """On command, on SIGHUP and by itself: sinks and redaction; the sockets stay, and so does the file of a sink."""
    run = service()
    run.send("one")
    eventually(lambda: messages_of(run.log) == ["one"])
    inode = run.log.stat().st_ino
    run.write('[[sinks]]\ntype = "file"\nname = "more"\npath = "more.jsonl"\n[redaction]\nfields = ["pin"]\n')
    run.reload(how)
    run.send("two pin=1234 password=hunter2")
    eventually(lambda: messages_of(run.directory / "more.jsonl") == ["two pin=*** password=hunter2"])
    eventually(lambda: messages_of(run.log) == ["one", "two pin=*** password=hunter2"])
    assert run.log.stat().st_ino == inode
    run.write()
    run.reload(how)
    run.send("three")
    run.wait_sent()
    status = settled(run.collector, lambda status: sink_of(status, "more")["state"] == "removed")
    assert sink_of(status, "more")["queued"] == 0
    assert status["balanced"], status["problems"]
    assert len(messages_of(run.log)) == 3
    assert len(messages_of(run.directory / "more.jsonl")) == 1
    assert run.events() - {"reload"} == {"reloaded"}
    told = [line for line in lines_of(run.log) if line.get("extra", {}).get("event") == "reloaded"]
    assert {(line["level"], *sorted(line["extra"])) for line in told} == {("INFO", "cause", "changes", "event")}


def test_an_invalid_file_changes_nothing_and_says_why(service: Callable[..., Service]) -> None:
    """Every problem goes to the one who asked (exit 2), to stderr, into the log and into the status."""
    run = service()
    run.write('[[sinks]]\ntype = "nats"\n[levels]\nrotator = "LOUD"\n')
    done = run_logbus("collector", "reload")
    assert (done.returncode, done.stdout) == (2, "")
    first, second = sorted(done.stderr.splitlines())
    assert first.startswith("logbus: error: logbus.toml: levels.rotator: expected a level")
    assert second == 'logbus: error: logbus.toml: sinks[1].type: "nats" is not available yet'
    assert 'sinks[1].type: "nats" is not available yet' in run.collector.stderr
    assert "levels.rotator: expected a level" in run.configuration()["error"]
    run.send("goes on")
    eventually(lambda: messages_of(run.log) == ["goes on"])
    eventually(lambda: "reload_failed" in run.events())
    run.write()
    eventually(lambda: run.configuration()["error"] is None)
    run.wait_sent()


def test_a_file_that_goes_leaves_its_configuration(service: Callable[..., Service]) -> None:
    """The defaults don't take its place: the status has the error until the file is back."""
    run = service()
    run.config.rename(run.directory / "away")
    eventually(lambda: "logbus.toml: can't be read: No such file" in (run.configuration()["error"] or ""))
    assert [row["name"] for row in status_of(run.collector)["sinks"]] == ["main"]
    (run.directory / "away").rename(run.config)
    eventually(lambda: run.configuration()["error"] is None)


def test_a_file_that_comes_is_taken_over(start_collector: StartCollector, tmp_path: Path) -> None:
    """A collector that began without one, with the defaults, reads ./logbus.toml when it appears."""
    collector = start_collector()
    assert {row["name"] for row in status_of(collector)["sinks"]} == {"console", "file"}
    (tmp_path / "logbus.toml").write_text('[[sinks]]\ntype = "file"\nname = "own"\npath = "own.jsonl"\n')
    states = {"console": "removed", "file": "removed", "own": "ok"}
    settled(collector, lambda status: {row["name"]: row["state"] for row in status["sinks"]} == states)


def test_a_link_that_is_turned_is_a_change(service: Callable[..., Service], tmp_path: Path) -> None:
    """The way of Kubernetes: the file is a link into a directory link, which is turned to the next version."""
    for version, level in (("v1", "INFO"), ("v2", "DEBUG")):
        (tmp_path / version).mkdir()
        sink = f'[[sinks]]\ntype = "file"\nname = "main"\npath = "{tmp_path}/main.jsonl"\n'
        (tmp_path / version / "c.toml").write_text(f'{sink}[levels]\ndefault = "{level}"\n')
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "logbus.toml").symlink_to("data/c.toml")
    run = service()
    before = status_of(run.collector)["collector"]["level_version"]
    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").rename(tmp_path / "data")
    eventually(lambda: run.configuration()["version"] == 2)
    assert status_of(run.collector)["collector"]["level_version"] > before


def test_options_and_variables_win_over_a_reloaded_file(service: Callable[..., Service], tmp_path: Path) -> None:
    """Precedence is what it was at the start."""
    run = service("--sink", f"file:{tmp_path}/option.jsonl", LOGBUS_REDACTION__FIELDS='["pin"]')
    run.write('[redaction]\nfields = ["puk"]\n[levels]\nx = "DEBUG"\n')
    run.reload()
    run.send("pin=1 puk=2")
    eventually(lambda: messages_of(tmp_path / "option.jsonl") == ["pin=*** puk=2"])
    assert [row["name"] for row in status_of(run.collector)["sinks"]] == ["file"]
    run.wait_sent()


def test_what_needs_a_restart_is_refused(service: Callable[..., Service]) -> None:
    """The socket that workers know stays where it is; the key is named, and nothing else of the file is taken over."""
    run = service()
    run.write('[[sinks]]\ntype = "console"\n[bus]\nendpoint = "ipc:///tmp/elsewhere"\n')
    done = run_logbus("collector", "reload", "--control", run.collector.control)
    assert done.returncode == 2
    assert (
        'logbus.toml: bus.endpoint: needs a restart; the default is in force, found "ipc:///tmp/elsewhere"'
        in done.stderr
    )
    assert [row["name"] for row in status_of(run.collector)["sinks"]] == ["main"]


def test_a_sink_that_can_not_be_opened_is_refused_whole(service: Callable[..., Service]) -> None:
    """Exit 1 for a path that can't be, 3 for a file that is another collector's; no lock is kept."""
    run = service()
    other = run.start("--name", "other", "--sink", "file:theirs.jsonl")
    new = '[[sinks]]\ntype = "file"\nname = "new"\npath = "new.jsonl"\n'
    for path, code, words in (
        ("/proc/nowhere/x", 1, "can't be opened"),
        ("theirs.jsonl", 3, f"is owned by collector 'other' (pid {other.process.pid})"),
    ):
        run.write(f'{new}[[sinks]]\ntype = "file"\nname = "bad"\npath = "{path}"\n')
        done = run_logbus("collector", "reload", "--control", run.collector.control)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
        assert "new" not in {row["name"] for row in status_of(run.collector)["sinks"] if row["state"] == "ok"}
    run.write(new)
    run.reload()
    assert sink_of(status_of(run.collector), "new")["state"] == "ok"


def test_a_hang_up_opens_moved_files_anew(service: Callable[..., Service]) -> None:
    """What logrotate does: move the file, then SIGHUP; also where there is nothing to reload."""
    run = service()
    run.send("one")
    eventually(lambda: messages_of(run.log) == ["one"])
    os.rename(run.log, run.directory / "main.1")
    run.collector.process.send_signal(signal.SIGHUP)
    eventually(run.log.exists)
    run.send("two")
    eventually(lambda: messages_of(run.log) == ["two"])
    assert messages_of(run.directory / "main.1") == ["one"]
    run.wait_sent()


def test_levels_of_the_file_reach_the_book(service: Callable[..., Service]) -> None:
    """A change of [levels] is a new version of the rules; other changes are not; set-level's rules stay."""
    run = service()
    assert run_logbus("set-level", "ERROR", "--component", "cache", "--force").returncode == 0
    before = status_of(run.collector)["collector"]["level_version"]
    run.write(main='level = "DEBUG"')
    run.reload()
    assert status_of(run.collector)["collector"]["level_version"] == before
    run.write('[levels]\nrotator = "DEBUG"\n')
    run.reload()
    assert status_of(run.collector)["collector"]["level_version"] > before
    done = run_logbus("levels", "--json")
    rules = {rule["selector"]: rule["rank"] for rule in json.loads(done.stdout)["rules"]}
    assert rules == {"cache": "set", "rotator": "configuration"}


def test_the_format_of_a_file_changes_between_two_lines(service: Callable[..., Service]) -> None:
    """Every line whole, the old ones first, none lost."""
    run = service()
    run.send(*[str(number) for number in range(500)])
    run.wait_sent()
    run.write(main='format = "text"')
    run.reload("signal")
    run.send("text")
    eventually(lambda: " text " in run.log.read_text())
    run.write()
    run.reload("signal")
    run.send("json")
    run.wait_sent()
    status = settled(run.collector, lambda status: sink_of(status, "main")["queued"] == 0)
    assert status["balanced"], status["problems"]
    lines = [line for line in run.log.read_text().splitlines() if "logbus logbus" not in line]
    kinds = [line.startswith("{") for line in lines if '"worker":"logbus"' not in line and " logbus " not in line]
    assert kinds == [True] * 500 + [False, True]
    assert sink_of(status, "main")["delivered"] == len(run.log.read_text().splitlines())
