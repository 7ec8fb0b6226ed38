"""Looking at a real collector from a test: its status, its lines, and what it wrote last."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from logbus.bus import Endpoint
from logbus.cli.client import fetch_status
from tests.collector_command import CollectorCommand
from tests.eventually import eventually


def status_of(collector: CollectorCommand) -> dict[str, Any]:
    """The status document, asked in this process."""
    return fetch_status(Endpoint.parse(collector.control), name=None, timeout=10)


def settled(collector: CollectorCommand, look: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first status for which ``look`` is true."""

    def seen() -> dict[str, Any] | None:
        status = status_of(collector)
        assert look(status), status
        return status

    found = eventually(seen)
    assert found is not None
    return found


def sink_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    """The row of a sink."""
    [row] = [row for row in status["sinks"] if row["name"] == name]
    return dict(row)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log file as records; the last one may still be on its way."""
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def messages_of(path: Path, worker: str = "w1") -> list[str]:
    """The messages of one worker in a log file, in order."""
    return [line["message"] for line in lines_of(path) if line["worker"] == worker]


def free_port() -> int:
    """A tcp port that nobody has at this moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
    return port
