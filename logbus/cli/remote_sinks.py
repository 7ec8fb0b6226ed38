"""What the doctor looks at around the sinks that send to others: secrets, certificates, and room for what waits.

Nothing is sent, and nothing is resolved: whether a server answers, the status of a running collector tells.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from logbus.cli.finding import Finding, failed, ok, warning

if TYPE_CHECKING:
    from logbus.collectors.configuration.settings import RemoteSink, Settings

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def remote_sinks(settings: Settings, state: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each sink that sends to others, with all that is wrong about it; then where its records would wait.

    ``state`` is the collector's directory in the state directory.
    """
    from logbus.collectors.configuration.settings import HttpSink, PluginSink, SyslogSink

    remote = [sink for sink in settings.sinks if isinstance(sink, (HttpSink, SyslogSink, PluginSink))]
    for sink in remote:
        check = f"sink {sink.name}"
        found = [*_variables(check, sink, environ), *_tls_files(check, sink), *_in_the_clear(check, sink)]
        yield from found or [ok(check, f"sends to {_where(sink)}, which was not tried")]
    if remote:
        yield _room(remote, state)


def _where(sink: RemoteSink) -> str:
    from logbus.collectors.configuration.settings import HttpSink, SyslogSink
    from logbus.collectors.sinks.http.options import parse_target

    if isinstance(sink, HttpSink):
        return parse_target(sink.url).shown
    return sink.address if isinstance(sink, SyslogSink) else sink.type


def _variables(check: str, sink: RemoteSink, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that the sink needs and that are not set here, where the collector need not be started."""
    from logbus.collectors.configuration.references import names, texts_in

    texts = texts_in(sink.model_dump(include={"headers", "auth", "options"}))
    for name in dict.fromkeys(name for text in texts for name in names(text)):
        if not environ.get(name):
            advice = "see to it that the collector is started with it: it does not start, or reload, without"
            yield warning(check, f"{name} has no value in this environment", advice)


def _tls_files(check: str, sink: RemoteSink) -> Iterator[Finding]:
    tls = getattr(sink, "tls", None)
    if tls is None:
        return
    for key in ("ca", "certificate", "key"):
        path: Path | None = getattr(tls, key)
        if path is None:
            continue
        if not path.is_file() or not os.access(path, os.R_OK):
            yield failed(check, f"tls.{key}: {path} can't be read", "mend the path, or its permissions")
        elif key == "key" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield warning(check, f"tls.key: others may read {path}", f"chmod go-r {path}")


def _in_the_clear(check: str, sink: RemoteSink) -> Iterator[Finding]:
    """Credentials that anybody on the way can read."""
    from logbus.collectors.configuration.settings import HttpSink

    if not isinstance(sink, HttpSink) or not (sink.auth or sink.headers):
        return
    parts = urlsplit(sink.url)
    if parts.scheme.lower() == "http" and parts.hostname not in _LOOPBACK:
        yield warning(check, f"its headers go to {parts.hostname} in the clear", "use https:// for what may be secret")


def _room(sinks: list[RemoteSink], state: Path) -> Finding:
    """Whether the disk has room for the spools' bounds, beside what is in them already."""
    from logbus.collectors.dead_letters.store import DIRECTORY as DEAD_LETTERS, MAX_BYTES
    from logbus.collectors.spool.spools import DIRECTORY
    from logbus.sizes import format_size, parse_size

    check, spools = "spools", state / DIRECTORY
    letters = f"up to {format_size(MAX_BYTES)} of what is refused for good in {state / DEAD_LETTERS}"
    bound = sum(parse_size(sink.spool) for sink in sinks if sink.spool is not None)
    if not bound:
        return ok(check, f"no sink has one: what a queue has no room for is dropped; {letters}")
    there = spools
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        disk = os.statvfs(there)
        used = sum(file.stat().st_blocks * 512 for file in spools.rglob("*") if file.is_file())
    except OSError as error:
        return failed(check, f"{there} can't be looked at: {error.strerror}", "mend its permissions")
    free = disk.f_bavail * disk.f_frsize
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(check, f"{there} can't be written", "mend its permissions, or choose another state directory")
    text = f"up to {format_size(bound)} in {spools}; {letters}"
    if bound > free + used:
        advice = "make room, or set smaller spools: a disk that is full has records dropped, the lowest levels first"
        return warning(check, f"{text}; the disk has {(free + used) // 2**20:,} MiB for them", advice)
    return ok(check, text)
