"""The corpus: every credential that the real proxywhirl, httpx and httpcore log in clear, and where it comes out.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.servers.faulty_http import FaultyHttp
from tests.syslog_server import StreamServer
from tests.tail_command import tail_command
from tests.worker import Worker

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("proxywhirl") is None and not os.environ.get("CI"), reason="not installed: proxywhirl"
    ),
    pytest.mark.timeout(120),
]

CONFIGURATION = """
[levels]
default = "DEBUG"

[[sinks]]
type = "console"

[[sinks]]
type = "file"
name = "json"
path = "leaks.jsonl"

[[sinks]]
type = "file"
name = "logfmt"
path = "leaks.logfmt"
format = "logfmt"

[[sinks]]
type = "file"
name = "text"
path = "leaks.log"
format = "text"

[[sinks]]
type = "syslog"
name = "syslog"
address = "tcp://127.0.0.1:{syslog}"
max_message = "1 MiB"

[[sinks]]
type = "syslog"
name = "old-syslog"
address = "tcp://127.0.0.1:{old}"
protocol = "rfc3164"
max_message = "1 MiB"

[[sinks]]
type = "http"
name = "loki"
url = "{loki}"
body = "loki"
batch = {{ max_delay = "20 ms" }}

[[sinks]]
type = "http"
name = "otlp"
url = "{otlp}"
body = "otlp"
batch = {{ max_delay = "20 ms" }}
"""


@pytest.fixture
def syslog() -> Iterator[tuple[StreamServer, StreamServer]]:
    """Two servers of syslog."""
    with StreamServer() as one, StreamServer() as other:
        yield one, other


def test_no_credential_that_proxywhirl_logs_comes_out_anywhere(
    start_collector: StartCollector,
    start_worker: Callable[..., Worker],
    start_http: Callable[..., FaultyHttp],
    syslog: tuple[StreamServer, StreamServer],
    tmp_path: Path,
) -> None:
    """Led through all of its leaks, the real package leaves no secret in any sink, in tail, status or state."""
    mark = "".join(random.choices("gjkqvwxyz", k=14))  # pydantic shows the ends of its input: half a secret is one
    loki, otlp = start_http(), start_http()
    places = {"syslog": syslog[0].port, "old": syslog[1].port, "loki": loki.url, "otlp": otlp.url}
    (tmp_path / "logbus.toml").write_text(CONFIGURATION.format(**places))
    collector = start_collector("--config", str(tmp_path / "logbus.toml"))
    witness = tmp_path / "witness.json"
    script = f"from tests.programs.leaky import main; main({str(witness)!r}, {mark!r}, {str(tmp_path / 'work')!r})"
    with (
        tail_command(tmp_path, "--format", "json", number=1) as json_tail,
        tail_command(tmp_path, "--format", "text", "--level", "DEBUG", number=2) as text_tail,
    ):
        worker = start_worker(script)
        worker.finish()
        seen = json.loads(witness.read_text())
        assert seen["problems"] == {}
        assert seen["dropped"] == {}
        assert seen["found"].keys() == seen["forms"].keys(), "a row that leaks nothing proves nothing"

        def written() -> bool:
            sinks = collector.status()["sinks"]
            return all(sink["delivered"] >= seen["emitted"] for sink in sinks)

        eventually(written, 20, what="all records in all sinks")
        eventually(lambda: len(json_tail.lines) >= seen["emitted"] and len(text_tail.lines) >= seen["emitted"])
        for server in syslog:
            server.wait(seen["emitted"])
        status = json.dumps(collector.status())
        tails = json_tail.stdout + text_tail.stdout
    assert collector.stop() == 0
    state = Path(os.environ["LOGBUS_STATE_DIR"])
    runtime = Path(os.environ["LOGBUS_RUNTIME_DIR"])
    outputs = {
        "console": collector.stdout,
        "stderr": collector.stderr,
        "status": status,
        "tail": tails,
        "syslog": b"\n".join(syslog[0].messages).decode(),
        "old-syslog": b"\n".join(syslog[1].messages).decode(),
        "loki": loki.kept.read_text(),
        "otlp": otlp.kept.read_text(),
        **{name: (tmp_path / name).read_text() for name in ("leaks.jsonl", "leaks.logfmt", "leaks.log")},
        **{str(path): path.read_bytes().decode(errors="replace") for path in _files(state, runtime)},
    }
    leaks = [
        (name, where, form)
        for name, forms in seen["forms"].items()
        for form in (*forms, mark[:6], mark[-6:])
        for where, output in outputs.items()
        if form in output
    ]
    assert leaks == []
    sinks = ("console", "leaks.jsonl", "leaks.logfmt", "leaks.log", "syslog", "old-syslog", "loki", "otlp")
    for where in (*sinks, "tail"):
        assert outputs[where].count("***") >= len(seen["forms"]), where


def _files(*directories: Path) -> list[Path]:
    return [path for directory in directories for path in directory.rglob("*") if path.is_file()]
