"""The commands around a real collector: one record's way from a shell script to a file, and the end of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.collector_command import run_logbus
from tests.conftest import StartCollector


def test_a_shell_script_can_log_look_and_stop(start_collector: StartCollector, tmp_path: Path) -> None:
    """Emit hands over, status balances, stop ends the collector with 0; every line is in the file, secrets are not."""
    collector = start_collector("--sink", "file:out.jsonl", "--name", "eu")
    one = run_logbus("emit", "50% done", "token=tell-nobody", "--name", "eu", "--level", "error", "--component", "job")
    assert (one.returncode, one.stdout, one.stderr) == (0, "", "")
    many = run_logbus("emit", "-", "job=7", "--name", "eu", input="".join(f"line {n}\n" for n in range(10_000)))
    assert (many.returncode, many.stderr) == (0, "")

    status = run_logbus("status", "--name", "eu", "--json")
    assert (status.returncode, status.stderr) == (0, "")
    document = json.loads(status.stdout)
    assert document["balanced"] is True
    assert document["total"]["emitted"] >= 10_001
    people = run_logbus("status", "--name", "eu")
    assert people.returncode == 0
    assert "balanced: every record is accounted for" in people.stdout
    assert collector.control in run_logbus("collector", "status", "--name", "eu").stdout

    stop = run_logbus("collector", "stop", "--name", "eu")
    assert (stop.returncode, stop.stderr) == (0, f"collector eu (pid {collector.process.pid}) has stopped\n")
    assert collector.process.wait(0) == 0
    first, *rest = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (first["message"], first["level"], first["component"]) == ("50% done", "ERROR", "job")
    assert first["extra"] == {"token": "***"}
    lines = [record["message"] for record in rest if record.get("extra") == {"job": "7"}]
    assert lines == [f"line {n}" for n in range(10_000)]


def test_a_second_collector_ends_with_3_and_names_the_first(start_collector: StartCollector) -> None:
    """An endpoint has one owner: the second is told who within a second or so, and the first goes on."""
    first = start_collector("--sink", "console")
    second = run_logbus("collector", "start", "--sink", "console")
    assert second.returncode == 3
    assert f"is owned by collector 'default' (pid {first.process.pid})" in second.stderr
    assert first.status()["collector"]["pid"] == first.process.pid


def test_a_killed_collector_is_known_to_be_gone(start_collector: StartCollector) -> None:
    """After SIGKILL the sockets lie there still; commands say at once that nobody listens."""
    collector = start_collector("--sink", "console")
    collector.kill()
    assert Path(collector.control.removeprefix("ipc://")).is_socket()
    begun = time.monotonic()
    done = run_logbus("status", "--control", collector.control, "--timeout", "60")
    assert done.returncode == 1
    assert "nobody listens there" in done.stderr
    assert time.monotonic() - begun < 30
