"""``logbus collector start|stop|status``, around a collector that is replaced by what it was told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from logbus.bus import Endpoint
from logbus.cli import program
from logbus.cli.options import addresses
from logbus.collectors.configuration.read import Configuration, ConsoleSink, FileSink, Settings
from logbus.errors import OwnedError
from tests.fake_collector import FakeCollector

Started = list[tuple[Settings, str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """What ``collector start`` has run, in a working directory of its own; each run ends with 0."""
    runs: Started = []

    def run(configuration: Configuration, *, name: str) -> int:
        runs.append((configuration.settings, name))
        return 0

    replace_run(monkeypatch, run)
    monkeypatch.chdir(tmp_path)
    return runs


def replace_run(monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> None:
    """Puts ``run`` in the place of the collector's."""
    monkeypatch.setitem(sys.modules, "logbus.collectors.start", SimpleNamespace(run=run))


def invoke(*arguments: str) -> Result:
    """What ``logbus collector ARGUMENTS`` did."""
    return CliRunner().invoke(program, ["collector", *arguments], prog_name="logbus")


def test_start_without_options_runs_the_defaults(started: Started, tmp_path: Path) -> None:
    """With nothing said a collector called default runs with a console and a file."""
    assert invoke("start").exit_code == 0
    ((settings, name),) = started
    assert name == "default"
    assert isinstance(settings.sinks[0], ConsoleSink)
    assert isinstance(settings.sinks[1], FileSink)
    assert settings.sinks[1].path == tmp_path / "logs" / "logbus.jsonl"


def test_start_hands_every_option_over(started: Started, tmp_path: Path) -> None:
    """Options win over the file, sinks come in their order, and the name is the collector's."""
    file = tmp_path / "c.toml"
    file.write_text('[bus]\nendpoint = "ipc:///file"\n[redaction]\nfields = ["pin"]\n[[sinks]]\ntype = "console"\n')
    arguments = [
        "--endpoint",
        "ipc:///o/r",
        "--control",
        "ipc:///o/c",
        "--sink",
        "console:json",
        "--sink",
        "file:x.log",
        "--level",
        "debug",
        "--metrics",
        "127.0.0.1:9464",
    ]
    result = invoke("start", "--config", str(file), "--name", "main", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    ((settings, name),) = started
    assert name == "main"
    assert (settings.bus.endpoint, settings.bus.control) == ("ipc:///o/r", "ipc:///o/c")
    assert [sink.name for sink in settings.sinks] == ["console", "file"]
    assert settings.redaction.fields == ("pin",)
    assert (settings.levels, settings.metrics.address) == ({"default": 10}, "127.0.0.1:9464")


def test_start_reads_the_environment(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables count where no option speaks."""
    monkeypatch.setenv("LOGBUS_SINKS", '[{"type": "console", "level": "ERROR"}]')
    monkeypatch.setenv("LOGBUS_ENDPOINT", "ipc:///env")
    monkeypatch.setenv("LOGBUS_LEVEL", "TRACE")
    assert invoke("start").exit_code == 0
    ((settings, _),) = started
    assert settings.levels == {"default": 5}
    assert (settings.bus.endpoint, settings.sinks[0].level) == ("ipc:///env", 40)


def test_start_refuses_wrong_settings_all_at_once(started: Started) -> None:
    """Every problem is a line on stderr, the exit code is 2 and nothing has run."""
    result = invoke("start", "--sink", "file", "--sink", "syslog:dev/log", "--endpoint", "x://")
    assert result.exit_code == 2
    assert [line.split(": ")[:3] for line in result.stderr.splitlines()] == [
        ["logbus", "error", "--endpoint"],
        ["logbus", "error", "--sink file"],
        ["logbus", "error", "--sink syslog:dev/log"],
    ]
    assert not started


def test_start_refuses_a_name_that_is_no_name(started: Started) -> None:
    """A name stands in a path, so it is checked before anything runs."""
    result = invoke("start", "--name", "../x")
    assert (result.exit_code, started) == (2, [])
    assert "name '../x': expected 1 to 64" in result.stderr


@pytest.mark.parametrize("code", [0, 1, 4])
def test_start_ends_with_the_collectors_exit_code(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """What the collector returns is the exit code of the command."""
    replace_run(monkeypatch, lambda _configuration, *, name: code)
    assert invoke("start", "--sink", "console").exit_code == code


def test_start_names_the_owner_and_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second collector on one endpoint ends with 3 and says whose it is."""

    def run(_configuration: Configuration, *, name: str) -> int:
        raise OwnedError("ipc:///x", name="first", pid=77)

    replace_run(monkeypatch, run)
    result = invoke("start", "--sink", "console")
    assert result.exit_code == 3
    assert result.stderr == "logbus: error: ipc:///x is owned by collector 'first' (pid 77)\n"


def test_stop_ends_with_0_once_the_process_has_gone(directories: Path) -> None:
    """``collector stop`` says on stderr which collector has stopped."""
    with subprocess.Popen(["true"]) as process:
        pass
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    with FakeCollector(control, lambda _: {"ok": True, "name": "default", "pid": process.pid}) as fake:
        result = invoke("stop")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"collector default (pid {process.pid}) has stopped\n"
    assert [command["command"] for command in fake.commands] == ["stop"]


def test_reload_shows_what_has_changed(directories: Path) -> None:
    """A line for each change, or that there is none; as JSON with the file that is in force."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    part = {"file": "c.toml", "sha256": "ab", "loaded_at": "now", "version": 2}
    answers = [{"ok": True, "changes": changes, **part} for changes in (["a: 1, was \x1b", "b: added"], [], ["a"])]
    with FakeCollector(control, lambda _: answers.pop(0)) as fake:
        some, none, document = invoke("reload"), invoke("reload", "--name", "default"), invoke("reload", "--json")
    assert (some.exit_code, some.stdout) == (0, "a: 1, was \\x1b\nb: added\n")
    assert (none.exit_code, none.stdout) == (0, "nothing has changed\n")
    assert json.loads(document.stdout) == {**part, "changes": ["a"]}
    assert [command.get("name") for command in fake.commands] == [None, "default", None]


@pytest.mark.parametrize("code", [1, 2, 3])
def test_reload_ends_with_the_collectors_code_and_its_reasons(directories: Path, code: int) -> None:
    """Every problem is a line on stderr; 2 for an invalid configuration."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    answer = {"ok": False, "error": "c.toml: x: wrong\nc.toml: y: wrong", "exit_code": code}
    with FakeCollector(control, lambda _: answer):
        result = invoke("reload")
    assert (result.exit_code, result.stdout) == (code, "")
    first, second = result.stderr.splitlines()
    assert first.startswith("logbus: error: ")
    assert first.endswith("c.toml: x: wrong")
    assert second == "logbus: error: c.toml: y: wrong"


def test_stop_without_a_collector_ends_with_1() -> None:
    """Nothing to stop is a failure with a clear message."""
    result = invoke("stop")
    assert result.exit_code == 1
    assert "no collector answered at ipc://" in result.stderr


def test_status_shows_the_collectors_part(directories: Path) -> None:
    """``collector status`` gives the part about the collector, for people line by line, or as JSON."""
    part = {
        "name": "eu",
        "pid": 5,
        "state": "serving",
        "uptime_seconds": 2.5,
        "bad_frames": {"\x1b": 2, "type": 1},
        "x": {},
    }
    answer: dict[str, Any] = {"ok": True, "status": {"collector": part, "balanced": False}}
    control = Endpoint.parse(f"ipc://{directories}/runtime/eu/control")
    with FakeCollector(control, lambda _: answer):
        document = invoke("status", "--name", "eu", "--json")
        people = invoke("status", "--name", "eu")
    assert (document.exit_code, json.loads(document.stdout)) == (0, part)
    assert people.exit_code == 0
    assert people.stdout.splitlines() == [
        "name            eu",
        "pid             5",
        "state           serving",
        "uptime seconds  2.5",
        "bad frames      \\x1b 2, type 1",
        "x               none",
        f"control         {control.url}",
    ]


def test_a_command_looks_where_a_collector_would_listen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, directories: Path
) -> None:
    """The control endpoint: option, environment, file; beside the record endpoint; by name in the runtime directory."""
    monkeypatch.chdir(tmp_path)

    def found(control: str | None = None, name: str | None = None) -> str:
        return addresses(control=control, name=name).control.url

    assert found() == f"ipc://{directories}/runtime/default/control"
    assert found(name="eu") == f"ipc://{directories}/runtime/eu/control"
    (tmp_path / "logbus.toml").write_text('[bus]\nendpoint = "ipc:///f/records"\n')
    assert found() == "ipc:///f/control"
    (tmp_path / "logbus.toml").write_text('[bus]\ncontrol = "ipc:///f/c"\n')
    assert found() == "ipc:///f/c"
    monkeypatch.setenv("LOGBUS_ENDPOINT", "ipc:///e/records")
    assert found() == "ipc:///f/c"
    (tmp_path / "logbus.toml").unlink()
    assert found() == "ipc:///e/control"
    monkeypatch.setenv("LOGBUS_CONTROL", "ipc:///e/c")
    assert found() == "ipc:///e/c"
    assert found("ipc:///o") == "ipc:///o"
