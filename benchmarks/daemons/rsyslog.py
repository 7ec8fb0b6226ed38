"""Debian's rsyslog with one file: what it takes by which input, and what it does with a message.

All is at its defaults, but that a full queue makes the input wait and never gives up, as a lossless collector has to.
It reads messages of RFC 5424 whose text is a line of JSON. ``raw`` writes that text as it came; ``JSON template`` makes
an object of the header's fields and the text, which is a string in it; ``mmjsonparse`` parses the text and writes the
object that it holds; ``redaction`` is two regular expressions over the text, for the one credential that the reference
record has.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import zmq

from benchmarks.daemons.forms import Connections, chunks, repeated, syslog_lines
from benchmarks.daemons.program import Program, free_port, listens
from benchmarks.daemons.receiver import WORKERS, Daemon, Receiver, Send
from benchmarks.service import PATIENCE_S
from scripts.servers import place

_CONFIGURATION: Final = """
global(workDirectory="{directory}" maxMessageSize="64k")
main_queue(queue.timeoutEnqueue="60000")
{modules}
{does}
action(type="omfile" file="{directory}/out.jsonl" template="line")
{input}
"""
_TCP: Final = 'module(load="imtcp")', 'input(type="imtcp" address="127.0.0.1" port="{port}")'
_ZMQ: Final = 'module(load="imczmq")', 'input(type="imczmq" endpoints="@ipc://{directory}/zmq" sockType="PULL")'
_UNIX: Final = (
    'module(load="imuxsock" SysSock.Use="off")',
    'input(type="imuxsock" Socket="{directory}/log" CreatePath="off")',
)

_RAW: Final = 'template(name="line" type="string" string="%msg%\\n")'
#: What Python's SysLogHandler sends has a priority and no other header, so that nothing but that is cut off.
_AFTER_PRIORITY: Final = 'template(name="line" type="string" string="%rawmsg-after-pri%\\n")'
_JSON: Final = """
template(name="line" type="list" option.jsonf="on") {
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app_name" name="app-name" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
"""
_PARSED: Final = """
module(load="mmjsonparse")
template(name="line" type="string" string="%$!all-json%\\n")
action(type="mmjsonparse" cookie="")
"""
_REDACTED: Final = """
template(name="line" type="string" string="%$.before%***@%$.behind%\\n")
set $.before = re_extract($msg, "(.*//[^:/@ \\"]*:)[^@/ \\"]*@", 0, 1, "");
set $.behind = re_extract($msg, "//[^:/@ \\"]*:[^@/ \\"]*@(.*)", 0, 1, "");
"""


@contextlib.contextmanager
def _rsyslog(directory: Path, source: tuple[str, str], does: str, lines: int) -> Iterator[Receiver]:
    """One with this input; ``lines`` go into a send over TCP."""
    port = free_port()
    module, given = source
    configuration = directory / "rsyslog.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory, modules=module, does=does, input=given.format(directory=directory, port=port)
        )
    )
    command = [str(place.program("rsyslogd")), "-n", "-f", str(configuration), "-i", str(directory / "pid")]
    modules, roots = [place.modules("rsyslog")], [place.SERVERS.root]
    if source is _ZMQ:
        modules.append(place.modules("rsyslog", place.BENCH))
        roots.append(place.BENCH.root)
    command += ["-M", ":".join(map(str, modules))]
    ready: dict[tuple[str, str], Callable[[], bool]] = {
        _TCP: lambda: listens(port),
        _ZMQ: (directory / "zmq").exists,
        _UNIX: (directory / "log").exists,
    }
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(Program(command, directory, place.environment(*roots), ready[source]))
        feeder = stack.enter_context(Connections(port))

        def prepare(count: int) -> Send:
            made = repeated(syslog_lines(), count)
            if source is _TCP:
                return feeder.sender(chunks(made, lines))
            return _push(stack, f"ipc://{directory}/zmq", made)

        yield Receiver(directory / "out.jsonl", program.cpu_seconds, program.peak_mib, prepare, str(directory / "log"))


def _push(stack: contextlib.ExitStack, url: str, messages: list[bytes]) -> Send:
    """What sends each as a message of ZeroMQ."""
    context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
    sockets = [stack.enter_context(context.socket(zmq.PUSH)) for _ in range(WORKERS)]
    for each in sockets:
        each.set(zmq.SNDTIMEO, int(PATIENCE_S * 1000))
        each.set(zmq.LINGER, int(PATIENCE_S * 1000))
        each.connect(url)

    def send() -> None:
        for push, message in zip(itertools.cycle([each.send for each in sockets]), messages, strict=False):
            push(message[:-1])

    return send


@lru_cache(1)
def version() -> str:
    """The version of the program."""
    command = [str(place.program("rsyslogd")), "-v"]
    done = subprocess.run(command, env=place.environment(), capture_output=True, text=True, check=True)
    return f"rsyslog {done.stdout.split()[1]}"


def absent() -> str:
    """Why there is none."""
    return "rsyslogd is not there: python -m scripts.servers" if "rsyslogd" in place.missing() else ""


def _absent_zmq() -> str:
    if place.BENCH.stamp.exists():
        return absent()
    return absent() or "rsyslog's imczmq is not there: python -m scripts.servers bench"


def _daemon(source: tuple[str, str], does: str, what: str, *, lines: int = 64, records: int = 100_000) -> Daemon:
    return Daemon(
        partial(_rsyslog, source=source, does=does, lines=lines),
        what,
        redacts=does is _REDACTED,
        records=records,
        absent=_absent_zmq if source is _ZMQ else absent,
        version=version,
    )


_PASSES: Final = "parses the syslog header, writes the text as it came: what is in it nobody looks at; no redaction"
_WRAPS: Final = "parses the header, writes an object whose message is the text, escaped: no fields of it; no redaction"
_PARSES: Final = "parses header and JSON, writes the fields; no redaction"

RSYSLOG: Final = {
    "rsyslog imczmq, raw": _daemon(_ZMQ, _RAW, _PASSES),
    "rsyslog imczmq, JSON template": _daemon(_ZMQ, _JSON, _WRAPS),
    "rsyslog imczmq, mmjsonparse": _daemon(_ZMQ, _PARSED, _PARSES, records=40_000),
    "rsyslog imtcp, raw, a send for each": _daemon(_TCP, _RAW, _PASSES, lines=1),
    "rsyslog imtcp, raw": _daemon(_TCP, _RAW, _PASSES),
    "rsyslog imtcp, JSON template": _daemon(_TCP, _JSON, _WRAPS),
    "rsyslog imtcp, regex redaction": _daemon(
        _TCP, _REDACTED, "the text through two regexes for the first URL's password; parses no JSON", records=20_000
    ),
}
#: For real workers with a SysLogHandler, whose text is a line of JSON.
RSYSLOG_LOCAL: Final = _daemon(
    _UNIX, _AFTER_PRIORITY, "a datagram for each record, json.dumps in the worker; parses no JSON; no redaction"
)
