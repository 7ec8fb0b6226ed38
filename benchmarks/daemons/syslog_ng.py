"""Debian's syslog-ng with one file, fed over TCP, 64 lines in a send.

``raw`` reads lines (``no-parse``) and writes them as they came. The others read RFC 5424; ``format-json`` makes an
object of the header's fields and the text, which is a string in it; ``json-parser`` parses the text and writes the
fields that it holds; ``subst`` is one regular expression over the line. Flow control is on: without it a full queue
loses messages.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from benchmarks.daemons.forms import Connections, chunks, json_lines, repeated, syslog_lines
from benchmarks.daemons.program import Program, free_port, listens
from benchmarks.daemons.receiver import Daemon, Receiver
from scripts.servers import place

_CONFIGURATION: Final = """
@version: 3.38
options {{ use-dns(no); keep-hostname(yes); stats-freq(0); }};
source s_tcp {{
  network(ip(127.0.0.1) port({port}) transport("tcp") flags({flags}) max-connections(16) log-iw-size(16000));
}};
{does}
destination d_file {{ file("{directory}/out.jsonl" template("{template}\\n")); }};
log {{ source(s_tcp); {steps} destination(d_file); flags(flow-control); }};
"""
#: Lines of one send.
_LINES: Final = 64

_FORMATTED: Final = (
    "$(format-json --pair timestamp=$ISODATE --pair host=$HOST --pair app_name=$PROGRAM --pair severity=$LEVEL"
    " --pair message=$MESSAGE)"
)
_SUBST: Final = """
rewrite r_redact { subst('://([^:/@ "]*):[^@/ "]*@', '://$1:***@', value("MESSAGE") flags(store-matches)); };
"""
_PARSER: Final = 'parser p_json { json-parser(prefix(".json.")); };'


@contextlib.contextmanager
def _syslog_ng(
    directory: Path, flags: str, does: str, template: str, steps: str, form: Callable[[], list[bytes]]
) -> Iterator[Receiver]:
    port = free_port()
    configuration = directory / "syslog-ng.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, flags=flags, does=does, template=template, steps=steps)
    )
    command = [str(place.program("syslog-ng")), "--foreground", "--stderr", "--no-caps", f"--cfgfile={configuration}"]
    command += [f"--{name}={directory / name}" for name in ("persist-file", "pidfile", "control")]
    command += [f"--module-path={place.modules('syslog-ng')}"]
    with (
        Program(command, directory, place.environment(), lambda: listens(port)) as program,
        Connections(port) as feeder,
    ):
        yield Receiver(
            directory / "out.jsonl",
            program.cpu_seconds,
            program.peak_mib,
            lambda count: feeder.sender(chunks(repeated(form(), count), _LINES)),
        )


@lru_cache(1)
def _version() -> str:
    command = [str(place.program("syslog-ng")), "-V", f"--module-path={place.modules('syslog-ng')}"]
    done = subprocess.run(command, env=place.environment(), capture_output=True, text=True, check=True)
    (found,) = (line.split("(")[1].rstrip(")") for line in done.stdout.splitlines() if line.startswith("syslog-ng"))
    return f"syslog-ng {found}"


def _absent() -> str:
    return "syslog-ng is not there: python -m scripts.servers" if "syslog-ng" in place.missing() else ""


def _daemon(
    what: str,
    *,
    template: str,
    flags: str = "syslog-protocol",
    does: str = "",
    steps: str = "",
    form: Callable[[], list[bytes]] = syslog_lines,
    records: int = 100_000,
) -> Daemon:
    start = partial(_syslog_ng, flags=flags, does=does, template=template, steps=steps, form=form)
    return Daemon(start, what, redacts=does is _SUBST, records=records, absent=_absent, version=_version)


SYSLOG_NG: Final = {
    "syslog-ng tcp, raw": _daemon(
        "parses nothing: lines in, the same lines out; no redaction",
        template="$MESSAGE",
        flags="no-parse",
        form=json_lines,
    ),
    "syslog-ng tcp, subst": _daemon(
        "parses nothing; one regex over the line, for the first URL's password",
        template="$MESSAGE",
        flags="no-parse",
        does=_SUBST,
        steps="rewrite(r_redact);",
        form=json_lines,
    ),
    "syslog-ng tcp, format-json": _daemon(
        "parses the header, writes an object whose message is the text, escaped: no fields of it; no redaction",
        template=_FORMATTED,
        records=40_000,
    ),
    "syslog-ng tcp, json-parser": _daemon(
        "parses header and JSON, writes the fields; no redaction",
        template="$(format-json .json.* --rekey .json.* --shift 6)",
        does=_PARSER,
        steps="parser(p_json);",
        records=40_000,
    ),
}
