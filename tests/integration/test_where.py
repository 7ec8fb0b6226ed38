"""Sinks with conditions, in a real collector with real workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.collector_command import run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import lines_of, settled, sink_of
from tests.worker import Worker

CONFIGURATION = """
[[sinks]]
name = "all"
type = "file"
path = "all.jsonl"

[[sinks]]
name = "module"
type = "file"
path = "module.jsonl"
components = ["proxywhirl.rotator"]

[[sinks]]
name = "failed"
type = "file"
path = "failed.jsonl"
where = [{ status_code = { ge = 500 } }, { level = { ge = "ERROR" }, "exception.type" = "ValueError" }]

[[sinks]]
name = "secret"
type = "file"
path = "secret.jsonl"
where = { message = { matches = "hunter[0-9]" } }

[[sinks]]
name = "own"
type = "file"
path = "own.jsonl"
where = { component = "logbus", extra.event = ["reloaded"] }
"""

SCRIPT = """
import logging
logbus.configure(component="demo")
rotator, cache = logging.getLogger("proxywhirl.rotator.sync"), logging.getLogger("proxywhirl.cache")
rotator.info("ok", extra={"status_code": 200})
rotator.warning("bad gateway", extra={"status_code": 502})
cache.warning("as text", extra={"status_code": "502"})
cache.error("password=hunter2 refused")
try:
    int("x")
except ValueError:
    cache.exception("no number")
logbus.shutdown(10)
"""


def test_each_sink_takes_what_its_conditions_say(
    start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """By status, level, exception; by the module's name, the collector's own; never by a secret; the rest counts."""
    (tmp_path / "logbus.toml").write_text(CONFIGURATION)
    collector = start_collector()
    start_worker(SCRIPT).wait()
    (tmp_path / "logbus.toml").write_text(CONFIGURATION.replace('"all.jsonl"', '"all.jsonl"\nlevel = "DEBUG"'))
    assert run_logbus("collector", "reload", "--control", collector.control, cwd=tmp_path).returncode == 0
    eventually(lambda: len(lines_of(tmp_path / "own.jsonl")) == 1, what="the collector's own record of the reload")

    def written(status: dict[str, Any]) -> bool:
        rows = [row for row in status["workers"] if row["worker"] != "logbus"]
        return len(rows) == 1 and rows[0]["collected"] == 5 and not any(sink["queued"] for sink in status["sinks"])

    status = settled(collector, written)
    found = {name: [line["message"] for line in lines_of(tmp_path / f"{name}.jsonl")] for name in ("module", "failed")}
    assert found == {"module": ["ok", "bad gateway"], "failed": ["bad gateway", "no number"]}
    assert lines_of(tmp_path / "secret.jsonl") == []
    every = lines_of(tmp_path / "all.jsonl")
    assert "hunter" not in json.dumps(every)
    assert lines_of(tmp_path / "own.jsonl") == [
        line for line in every if line.get("extra", {}).get("event") == "reloaded"
    ]
    for name in ("all", "module", "failed", "secret", "own"):
        row = sink_of(status, name)
        assert (row["offered"], row["delivered"] + row["filtered"]) == (len(every), len(every))
        assert row["delivered"] == len(lines_of(tmp_path / f"{name}.jsonl"))
    assert status["balanced"]


def test_wrong_conditions_are_refused_with_their_paths(tmp_path: Path) -> None:
    """All of them at once, with exit code 2."""
    (tmp_path / "logbus.toml").write_text(
        '[[sinks]]\ntype = "file"\npath = "a"\n'
        'where = [{ n = { gee = 5 } }, { worker = 5, m = { matches = "(?=a)" } }]\n'
    )
    done = run_logbus("config", "validate", "logbus.toml", cwd=tmp_path)
    assert done.returncode == 2
    problems = [line.partition("sinks[0].where")[2] for line in done.stderr.splitlines() if "sinks[0].where" in line]
    assert [problem.partition(": ")[0] for problem in problems] == ["[0].n.gee", "[1].worker", "[1].m.matches"]
