"""Fluent Bit with one file, by the forward protocol: where ``fluent-bit`` is on PATH (Debian has no package of it).

``plain`` writes a record's fields as JSON. Its redaction is a script in Lua, over the two texts of the reference record
that hold a URL. Chunks are flushed each 200 ms: the default of a second only makes the benchmark wait.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from benchmarks.daemons.forms import Connections, chunks, forward_messages, repeated
from benchmarks.daemons.program import Program, free_port, listens
from benchmarks.daemons.receiver import Daemon, Receiver
from benchmarks.service import environment

_CONFIGURATION: Final = """
[SERVICE]
    flush 0.2
    log_level error
[INPUT]
    name forward
    listen 127.0.0.1
    port {port}
{filter}
[OUTPUT]
    name file
    match *
    path {directory}
    file out.jsonl
    format plain
"""
_FILTER: Final = """
[FILTER]
    name lua
    match *
    script {directory}/redact.lua
    call redact
"""
_LUA: Final = """
local pattern = '://([^:/@ ]*):[^@/ ]*@'
function redact(tag, timestamp, record)
  local changed = 0
  for _, key in ipairs({ 'message', 'proxy_url' }) do
    local value, found = string.gsub(record[key], pattern, '://%1:***@')
    if found > 0 then
      record[key] = value
      changed = 2
    end
  end
  return changed, timestamp, record
end
"""
#: Messages of one send.
_MESSAGES: Final = 64


@contextlib.contextmanager
def _fluent_bit(directory: Path, *, redacts: bool) -> Iterator[Receiver]:
    port = free_port()
    (directory / "redact.lua").write_text(_LUA)
    filtering = _FILTER.format(directory=directory) if redacts else ""
    configuration = directory / "fluent-bit.conf"
    configuration.write_text(_CONFIGURATION.format(port=port, filter=filtering, directory=directory))
    command = [_binary(), "-c", str(configuration)]
    with (
        Program(command, directory, environment(directory), lambda: listens(port)) as program,
        Connections(port) as feeder,
    ):
        yield Receiver(
            directory / "out.jsonl",
            program.cpu_seconds,
            program.peak_mib,
            lambda count: feeder.sender(chunks(repeated(forward_messages(), count), _MESSAGES)),
            port,
        )


def _binary() -> str:
    return shutil.which("fluent-bit") or ""


@lru_cache(1)
def version() -> str:
    """The version of the program."""
    done = subprocess.run([_binary(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def _absent() -> str:
    return "" if _binary() else "no fluent-bit on PATH"


def _daemon(what: str, records: int, *, redacts: bool) -> Daemon:
    start = partial(_fluent_bit, redacts=redacts)
    return Daemon(start, what, redacts=redacts, records=records, absent=_absent, version=version)


FLUENT_BIT: Final = {
    "Fluent Bit forward": _daemon("unpacks the fields, writes them as JSON; no redaction", 100_000, redacts=False),
    "Fluent Bit forward, Lua redaction": _daemon(
        "unpacks the fields, one pattern over two of them for URLs' passwords, writes JSON", 40_000, redacts=True
    ),
}
