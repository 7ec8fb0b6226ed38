"""The systemd unit, and what a collector tells the manager that runs it."""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from logbus.cli import program
from logbus.collectors.handshake import DRAIN_S
from logbus.collectors.writing.drain import FLUSH_S
from logbus.errors import ConfigurationError, OwnedError
from tests.collector_command import ROOT
from tests.conftest import StartCollector

UNIT = ROOT / "scripts" / "logbus@.service"


def settings() -> dict[str, list[str]]:
    """The settings of the unit, whatever their section; a key may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Its own checker has nothing to say about it, given a program that is there."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    text = UNIT.read_text()
    assert "/usr/local/bin/logbus" in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/usr/local/bin/logbus", sys.executable))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    copy.write_text(copy.read_text().replace("LimitNOFILE=", "LimitNOFLIE="))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    assert "LimitNOFLIE" in done.stderr  # it does look


def test_the_unit_runs_a_command_that_there_is() -> None:
    """The words of ExecStart are ones that the command line takes, with the instance as the name."""
    [line] = settings()["ExecStart"]
    _, *words = shlex.split(line.replace("%i", "billing"))
    command: click.Command = program
    context = click.Context(program)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
    assert command.make_context("start", words).params["name"] == "billing"


def test_the_unit_leaves_time_for_the_drain() -> None:
    """Nobody is killed who still drains; and exits that another start does not mend are not followed by one."""
    found = settings()
    assert float(found["TimeoutStopSec"][0]) > 2 * (DRAIN_S + FLUSH_S)
    never = {str(ConfigurationError.exit_code), str(OwnedError.exit_code)}
    assert set(found["RestartPreventExitStatus"][0].split()) == never
    assert found["RuntimeDirectoryPreserve"] == ["yes"]  # counter pages of workers that live


def test_a_collector_tells_its_manager(start_collector: StartCollector, directories: Path) -> None:
    """Ready only when a worker can connect, and stopping as soon as it drains."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(f"{directories}/notify")
        collector = start_collector("--sink", "console", env={"NOTIFY_SOCKET": f"{directories}/notify"}, ready=False)
        first, status = manager.recv(4096).decode().splitlines()
        assert first == "READY=1"
        collector.wait_ready()
        assert status == f"STATUS=records {collector.endpoint}, control {collector.control}"
        with socket.socket(socket.AF_UNIX) as worker:
            worker.connect(collector.endpoint.removeprefix("ipc://"))
        collector.process.send_signal(signal.SIGTERM)
        assert manager.recv(4096).splitlines()[0] == b"STOPPING=1"
        assert collector.process.wait(20) == 0


def test_a_manager_hears_of_a_reload(start_collector: StartCollector, directories: Path, tmp_path: Path) -> None:
    """Reloading, then ready again, whether the file was taken or refused."""
    (tmp_path / "logbus.toml").write_text("[levels]\ndefault = 'INFO'\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(f"{directories}/notify")
        collector = start_collector("--sink", "console", env={"NOTIFY_SOCKET": f"{directories}/notify"})
        assert manager.recv(4096).startswith(b"READY=1")
        for text in ("[levels]\ndefault = 'DEBUG'\n", "[levels\n"):
            (tmp_path / "logbus.toml").write_text(text)
            collector.process.send_signal(signal.SIGHUP)
            first, second = manager.recv(4096).decode().splitlines()
            assert first == "RELOADING=1"
            assert second.startswith("MONOTONIC_USEC=")
            assert manager.recv(4096).startswith(b"READY=1")
