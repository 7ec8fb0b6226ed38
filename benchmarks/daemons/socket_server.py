"""``SocketHandler`` and the cookbook's server (:mod:`benchmarks.daemons.cookbook`), with a JSON file behind it."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.daemons.forms import Connections, pickles, repeated
from benchmarks.daemons.program import Program
from benchmarks.daemons.receiver import Daemon, Receiver
from benchmarks.service import environment


@contextlib.contextmanager
def _server(directory: Path) -> Iterator[Receiver]:
    path, output = directory / "out.jsonl", directory / "output"
    command = [sys.executable, "-m", "benchmarks.daemons.cookbook", str(path)]
    with Program(command, directory, environment(directory), lambda: output.read_text().endswith("\n")) as program:
        port = int(program.said())
        with Connections(port) as feeder:
            yield Receiver(
                path,
                program.cpu_seconds,
                program.peak_mib,
                lambda count: feeder.sender(repeated(pickles(), count)),
                port,
            )


SOCKET_SERVER: Final = Daemon(
    _server,
    "a pickle for each record, json.dumps; loses what a connection carries when a read comes short; no redaction",
    records=12_000,
    version=lambda: f"Python {platform.python_version()}",
)
