"""The whole way of a record from one configuration: redacted, chosen, sampled, written in a format, rotated, packed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import lines_of, settled, sink_of
from tests.worker import Worker

CONFIGURATION = """
[[sinks]]
name = "all"
type = "file"
path = "logs/all.jsonl"
rotation = ["20 kB", "00:00"]
retention = ["1000 files", "7 days"]
compression = "gz"
rename_fields = { timestamp = "@timestamp" }
static_fields = { environment = "production", password = "hunter2", account = "acct-12345678" }

[[sinks]]
name = "few"
type = "file"
path = "logs/few.jsonl"
where = { number = { ge = 100 } }
sample = { rate = 0.2, key = "request_id", keep = "ERROR" }

[[sinks]]
name = "last"
type = "file"
path = "logs/last.log"
format = "logfmt"
rotation = "5 kB"
retention = "2 files"

[redaction]
patterns = ["acct-[0-9]{8}"]
"""

SCRIPT = """
import logging
logbus.configure(component="demo")
log = logging.getLogger("proxywhirl.rotator")
for number in range(600):
    level = logging.ERROR if number % 50 == 49 else logging.INFO
    log.log(level, "paid from acct-%08d", number, extra={"number": number, "request_id": f"r{number // 4}"})
logbus.shutdown(10)
"""
COUNT = 600


def rotated(directory: Path, pattern: str) -> list[Path]:
    """The rotated files of that name, the oldest first."""
    return sorted(directory.glob(pattern))


def test_one_configuration_says_it_all(
    start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Each sink has what it is told to have, no secret is in any, and every record is accounted for."""
    logs = tmp_path / "logs"
    (tmp_path / "logbus.toml").write_text(CONFIGURATION)
    collector = start_collector()
    start_worker(SCRIPT).wait()

    def written(status: dict[str, Any]) -> bool:
        rows = [row for row in status["workers"] if row["worker"] != "logbus"]
        return [row["collected"] for row in rows] == [COUNT] and not any(sink["queued"] for sink in status["sinks"])

    status = settled(collector, written)
    eventually(lambda: rotated(logs, "all.*.jsonl.gz") and not rotated(logs, "all.*Z.jsonl"), what="compressed files")
    eventually(lambda: len(rotated(logs, "last.*.log")) == 2, what="two rotated files, which retention leaves")
    collector.stop()
    assert status["balanced"], status

    packed = rotated(logs, "all.*.jsonl.gz")
    parts = [*(gzip.decompress(path.read_bytes()) for path in packed), (logs / "all.jsonl").read_bytes()]
    assert len(parts) > 5
    assert all(len(part) <= 20_000 and (not part or part.endswith(b"\n")) for part in parts)
    every = [json.loads(line) for line in b"".join(parts).splitlines()]
    records = [line for line in every if line["worker"] != "logbus"]
    assert [line["extra"]["number"] for line in records] == [*range(COUNT)]
    assert {"@timestamp", "environment", "password", "account"} <= records[0].keys()
    assert "timestamp" not in records[0]
    assert (records[0]["password"], records[0]["account"]) == ("***", "***")

    few = [line for line in lines_of(logs / "few.jsonl") if line["worker"] != "logbus"]
    requests: dict[str, set[int]] = {}
    for line in few:
        if line["level"] == "ERROR":
            assert "sample_rate" not in line
        else:
            assert line["sample_rate"] == 0.2
            requests.setdefault(line["request_id"], set()).add(line["extra"]["number"])
    assert 0 < len(requests) < 125
    for request, numbers in requests.items():
        whole = {number for number in range(100, COUNT) if f"r{number // 4}" == request and number % 50 != 49}
        assert numbers == whole, request
    errors = {line["extra"]["number"] for line in few if line["level"] == "ERROR"}
    assert errors == {number for number in range(100, COUNT) if number % 50 == 49}
    row = sink_of(status, "few")
    assert row["delivered"] == len(lines_of(logs / "few.jsonl"))
    assert row["filtered"] >= 100
    assert row["delivered"] + row["filtered"] + row["sampled_out"] == row["offered"]

    last = [*rotated(logs, "last.*.log"), logs / "last.log"]
    assert all(path.stat().st_size <= 5_000 for path in last)
    assert all(line.startswith("timestamp=") for path in last for line in path.read_text().splitlines())
    outputs = [*parts, *(path.read_bytes() for path in last), (logs / "few.jsonl").read_bytes()]
    assert b"hunter2" not in b"".join(outputs)
    assert b"acct-0" not in b"".join(outputs)
