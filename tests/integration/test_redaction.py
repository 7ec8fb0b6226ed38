"""Secrets in names: of workers, loggers, threads and levels, and in what an operator commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.collector_command import run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.worker import Worker

#: A worker that puts the same secret into everything that has a name, and into what can't be formatted.
SCRIPT = """
logbus.configure(worker="http://u:hunter2@h", component="password=hunter2", level="DEBUG")
logging.addLevelName(33, "secret=hunter2")
threading.current_thread().name = "auth=hunter2"
log = logging.getLogger("token=hunter2")
log.log(33, "named")
log.warning("password=%s for %d", "hunter2", "x")
sys.stdin.read()
os._exit(1)
"""


def test_no_name_shows_a_secret(
    start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Neither the sinks, status, levels and the audit nor any file of the state have it, after a crash neither."""
    collector = start_collector()
    worker = start_worker(SCRIPT, stdin=True)
    eventually(lambda: any(row["pid"] == worker.pid and row["collected"] == 2 for row in collector.status()["workers"]))
    refused = run_logbus("set-level", "DEBUG", "--component", "http://u:hunter2@h/x", "--control", collector.control)
    assert refused.returncode == 2
    levels = run_logbus("levels", "--json", "--control", collector.control).stdout
    shown = json.dumps(collector.status()) + levels + collector.stdout + collector.stderr
    collector.kill()
    worker.close_stdin()
    worker.wait()
    again = start_collector()
    rows = eventually(lambda: [row for row in again.status()["workers"] if row["state"] in ("gone", "crashed")])
    assert [row["worker"] for row in rows or []] == ["http://u:***@h"]
    shown += json.dumps(again.status())
    assert again.stop() == 0
    state = Path(os.environ["LOGBUS_STATE_DIR"])
    kept = {path: path.read_bytes() for path in (*state.rglob("*"), *tmp_path.rglob("*.jsonl")) if path.is_file()}
    assert "http://u:***@h" in shown
    assert "hunter2" not in shown + again.stdout + again.stderr
    assert [path for path, data in kept.items() if b"hunter2" in data] == []
