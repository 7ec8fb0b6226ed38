"""What the doctor finds around a collector: variables, configuration, and where its files would go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbus.cli import surroundings
from logbus.collectors.configuration import sources
from logbus.collectors.configuration.read import load
from logbus.producers import below, compiled, settings as producer_settings
from tests.small_disk import can_mount, small_disk


def test_every_variable_that_is_read_is_known() -> None:
    """The doctor's list is that of the worker's settings and of the collector's sources."""
    read = set(producer_settings._ENVIRONMENT.values()) | set(sources._OWN_VARIABLES)
    read |= {below.VARIABLE, below.TOLD}  # of `logbus run`
    read |= {compiled.VARIABLE}
    assert {name for name in read if name.startswith("LOGBUS_")} == surroundings.VARIABLES


def test_unknown_variables_are_named() -> None:
    """With the one that was meant, if there is one near; those of sections are judged with the configuration."""
    environ = {"LOGBUS_ENDPONT": "x", "LOGBUS_COLOUR": "y", "LOGBUS_LEVEL": "INFO", "LOGBUS_BUS__X": "1", "PATH": ""}
    findings = {finding.found: finding for finding in surroundings.variables(environ)}
    assert len(findings) == 3
    assert findings["LOGBUS_ENDPONT is unknown"].advice == "did you mean LOGBUS_ENDPOINT?"
    assert findings["LOGBUS_COLOUR is unknown"].advice == "unset it: nothing reads it"
    assert findings["LOGBUS_BUS__X, LOGBUS_LEVEL"].verdict == "ok"
    assert {finding.verdict for finding in findings.values()} == {"ok", "warning"}


def test_every_problem_of_the_configuration_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of the file and those of variables, each with its place; a valid file and none are well."""
    monkeypatch.chdir(tmp_path)
    settings, findings = surroundings.configuration({})
    assert settings is not None
    assert [(finding.verdict, finding.found) for finding in findings] == [("ok", "no file: defaults")]
    (tmp_path / "logbus.toml").write_text("[bus]\nendpoint = 'udp://x'\ncolour = 1\n")
    settings, findings = surroundings.configuration({"LOGBUS_REDACTION__FIELDS": "x"})
    assert settings is None
    assert {finding.verdict for finding in findings} == {"failed"}
    text = "\n".join(finding.found for finding in findings)
    assert len(findings) == 3
    for part in ("bus.endpoint", "bus.colour", "LOGBUS_REDACTION__FIELDS"):
        assert part in text
    (tmp_path / "logbus.toml").write_text("[bus]\n")
    assert surroundings.configuration({})[1][0].found == f"{tmp_path}/logbus.toml is valid"
    [missing] = surroundings.configuration({"LOGBUS_CONFIG": "/nonexistent.toml"})[1]
    assert missing.verdict == "failed"


def test_wrong_settings_of_a_worker_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of them in one line, by the names of the variables; records on tcp without a control endpoint among them."""
    monkeypatch.chdir(tmp_path)
    assert surroundings.worker_settings({}).verdict == "ok"
    finding = surroundings.worker_settings({"LOGBUS_CAPACITY": "-1", "LOGBUS_ON_FULL": "wait"})
    assert finding.verdict == "failed"
    assert "LOGBUS_CAPACITY" in finding.found
    assert "LOGBUS_ON_FULL" in finding.found
    finding = surroundings.worker_settings({"LOGBUS_ENDPOINT": "tcp://127.0.0.1:5555"})
    assert finding.verdict == "failed"
    assert "set LOGBUS_CONTROL" in finding.found


def test_files_that_can_not_be_written_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file above them, a directory in their place; one that could be made is well, and a console has none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").touch()
    (tmp_path / "stone").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    paths = {"a": "plain", "b": "new/deep/down.jsonl", "c": "stone/below.jsonl", "d": "folder", "e": "pipe"}
    sinks = [f"file:{path},name={name}" for name, path in paths.items()]
    settings = load(None, {"sinks": [*sinks, "console"]}, {})
    findings = {finding.check: finding for finding in surroundings.log_files(settings)}
    assert {check: finding.verdict for check, finding in findings.items()} == {
        "sink a": "ok",
        "sink b": "ok",
        "sink c": "failed",
        "sink d": "failed",
        "sink e": "failed",
    }
    assert "stone is not a directory" in findings["sink c"].found
    assert all(finding.advice for finding in findings.values() if finding.verdict == "failed")


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
def test_files_on_a_read_only_disk_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is there, and one that would have to be made."""
    import subprocess

    monkeypatch.chdir(tmp_path)
    with small_disk(tmp_path / "disk", 64) as disk:
        (disk.path / "old.jsonl").touch()
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True, capture_output=True)
        sinks = [f"file:{disk.path}/{name}.jsonl,name={name}" for name in ("old", "new")]
        for finding in surroundings.log_files(load(None, {"sinks": sinks}, {})):
            assert finding.verdict == "failed"
            assert "can't be written" in finding.found
