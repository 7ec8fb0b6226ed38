"""What the doctor finds around sinks that send to others, without sending anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from logbus.cli.finding import Finding
from logbus.cli.remote_sinks import remote_sinks
from logbus.collectors.configuration.settings import Settings

HTTPS = {"type": "http", "url": "https://logs.example.com/in?key=abc"}


def found(state: Path, *sinks: dict[str, Any], **environ: str) -> list[Finding]:
    """The findings about these sinks."""
    named = [{"name": f"s{at}", **sink} for at, sink in enumerate(sinks)]
    return [*remote_sinks(Settings.model_validate({"sinks": named}), state, environ)]


def test_sinks_of_this_machine_are_none_of_its_business(tmp_path: Path) -> None:
    """No line about them, and none about spools."""
    assert found(tmp_path, {"type": "file", "path": "x"}, {"type": "console"}) == []


def test_a_sink_that_has_all_it_needs_is_well(tmp_path: Path) -> None:
    """Where it sends is said, without what its query holds, and where its records would wait."""
    theirs = {"type": "tests.plugin_sinks:Kept", "options": {"path": "${A}"}, "spool": "1 MiB"}
    first, second, third, room = found(tmp_path, HTTPS, {"type": "syslog", "address": "/dev/log"}, theirs, A="b")
    assert {one.verdict for one in (first, second, third, room)} == {"ok"}
    assert first.found == "sends to https://logs.example.com/in?***, which was not tried"
    assert second.found == "sends to /dev/log, which was not tried"
    assert room.found.startswith(
        f"up to 1 MiB in {tmp_path}/spools; up to 64 MiB of what is refused for good in {tmp_path}/"
    )
    assert not [*tmp_path.iterdir()]


def test_variables_without_a_value_are_named(tmp_path: Path) -> None:
    """A warning: the collector may be started elsewhere."""
    sink = {**HTTPS, "headers": {"A": "${ONE}${TWO}"}, "auth": {"bearer": "${ONE}"}}
    one, two, _ = found(tmp_path, sink, TWO="")
    assert [(row.check, row.verdict) for row in (one, two)] == [("sink s0", "warning")] * 2
    assert (one.found, two.found) == ("ONE has no value in this environment", "TWO has no value in this environment")


def test_files_of_tls_are_looked_at(tmp_path: Path) -> None:
    """One that is not there fails; a key that others may read is a warning."""
    for name, mode in (("c.pem", 0o644), ("k.pem", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    tls = {"ca": str(tmp_path / "gone"), "certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}
    ca, key, _ = found(tmp_path, {**HTTPS, "tls": tls})
    assert (ca.verdict, ca.found) == ("failed", f"tls.ca: {tmp_path}/gone can't be read")
    assert (key.verdict, key.advice) == ("warning", f"chmod go-r {tmp_path}/k.pem")


@pytest.mark.parametrize(
    ("url", "clear"), [("http://h/x", True), ("https://h/x", False), ("http://127.0.0.1:8/", False), ("HTTP://h", True)]
)
def test_credentials_in_the_clear_are_a_warning(tmp_path: Path, url: str, clear: bool) -> None:
    """But on this machine."""
    finding, _ = found(tmp_path, {"type": "http", "url": url, "auth": {"bearer": "x"}})
    assert (finding.verdict == "warning") is clear


def test_without_a_spool_it_is_said_what_happens(tmp_path: Path) -> None:
    """What has no room is dropped; where dead letters lie is said all the same."""
    *_, room = found(tmp_path, HTTPS)
    assert room.verdict == "ok"
    assert room.found.startswith("no sink has one: what a queue has no room for is dropped; up to 64 MiB of what")


def test_a_disk_without_room_for_the_spools_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of all of them together count, and what they hold already is room."""
    sinks = [{**HTTPS, "spool": "60 MiB"}, {**HTTPS, "spool": "60 MiB"}]
    disk = list(os.statvfs(tmp_path))
    disk[1], disk[4] = 4096, 100 * 256
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(disk))
    *_, room = found(tmp_path, *sinks)
    assert room.verdict == "warning"
    assert room.found.startswith("up to 120 MiB in ")
    assert room.found.endswith("dead-letters; the disk has 100 MiB for them")
    file = tmp_path / "spools" / "s0" / "segment"
    file.parent.mkdir(parents=True)
    with open(file, "wb") as spooled:
        os.posix_fallocate(spooled.fileno(), 0, 30 << 20)
    *_, room = found(tmp_path, *sinks)
    assert room.verdict == "ok"


def test_a_state_directory_that_can_not_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that wait would have nowhere to go."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    *_, room = found(tmp_path, {**HTTPS, "spool": "1 MiB"})
    assert (room.check, room.verdict, room.found) == ("spools", "failed", f"{tmp_path} can't be written")
