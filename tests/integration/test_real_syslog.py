"""What Debian's rsyslog and syslog-ng make of our messages, over every transport, compared field by field.

One collector sends the same records to all inputs of both servers, and to a file: what a line of JSON says there is
what each server has to have understood. Both are at their defaults (tests/servers).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.collector_command import CollectorCommand, child_environment
from tests.integration.watch import lines_of, settled
from tests.servers.certificates import Certificates
from tests.servers.daemon import ZONE
from tests.servers.parsed import Parsed
from tests.servers.rsyslog import CLIENT, Rsyslog
from tests.servers.syslog_ng import SyslogNg
from tests.worker import Worker

SCRIPT = r"""
logbus.configure(component="shop", level="DEBUG")
log = logging.getLogger("shop.till")
logging.addLevelName(25, "NOTICE")
for level in (10, 20, 25, 30, 40, 50):
    log.log(level, "level %d", level)
for message in (
    'she said "yes" [no] \\ back ] end\\',
    "grün € 漢字 😀",
    "two\nlines\r\tand a tab",
    "\x1b[31mred\x1b[0m \u202eevil",
    "%s {json} $MESSAGE %timereported%",
    "12 <34>1 - - - - - forged",
    "",
    "  blanks  around  ",
    "\ufeffa mark",
    "#012 \\x0a \\n as they are",
):
    log.info("%s", message, extra={"request_id": "r-1"})
log.info("fields", extra={
    "q": 'a"b]c\\d', "nested": {"k": [1, 2.5, None, True]}, "a b=c": "x", "line2": "one\ntwo", "user_id": 7,
    "empty": "", "umlaut": "ü", "a_name_that_is_longer_than_a_parameter_may_have": 1, "end": "back\\",
})
try:
    {}["missing"]
except KeyError:
    log.exception("failed")
log.info("%s end of the long one", "x" * 10240)
log.info("%s end of the long one", "é€" * 3000, extra={"kept": "short"})
log.info("last")
logbus.shutdown(20)
"""
LEVELS = {"DEBUG": 7, "INFO": 6, "NOTICE": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
COUNT = 6 + 10 + 2 + 3

#: Facilities tell apart what one input gets: the fields of RFC 5424, RFC 3164, and RFC 5424 with a line of JSON.
FIELDS, OLD, LINES = 16, 17, 18
#: Bytes that a message may have for the input that takes as many.
LARGE = 32 * 1024


@dataclass(frozen=True)
class Input:
    """An input of a server: where it is, what the sink's table says more, and the bytes that a message may have."""

    server: str
    name: str
    address: str
    more: str = ""
    max_message: int = 8096

    @property
    def key(self) -> str:
        """How tests call it."""
        return f"{self.server}-{self.name}"


@dataclass(frozen=True)
class Seen:
    """What was logged, as lines of JSON, and what each input has got of it."""

    records: list[dict[str, Any]]
    parsed: dict[str, list[Parsed]]
    status: dict[str, Any]

    def pairs(self, key: str, facility: int) -> list[tuple[dict[str, Any], Parsed]]:
        """Each record with what an input made of it."""
        got = [each for each in self.parsed[key] if each.facility == facility]
        assert len(got) == len(self.records), [each.message[:80] for each in got]
        return list(zip(self.records, got, strict=True))


#: The inputs that read RFC 5424, those that read RFC 3164 with a host's name, and those that read what syslog(3) says.
MODERN = [
    *("rsyslog-udp", "rsyslog-tcp", "rsyslog-tls", "rsyslog-modern", "syslog-ng-udp", "syslog-ng-tcp"),
    *("syslog-ng-asking", "syslog-ng-datagram", "syslog-ng-stream"),
]
REMOTE = ["rsyslog-udp", "rsyslog-tcp", "syslog-ng-udp", "syslog-ng-tcp"]
LOCAL = ["rsyslog-unix", "syslog-ng-local"]


def configuration(inputs: dict[str, Input]) -> str:
    """One sink for each input and facility, and the file."""
    sinks = ['name = "truth"\ntype = "file"\npath = "truth.jsonl"']
    for key, each in inputs.items():
        basic = f'type = "syslog"\naddress = "{each.address}"\n{each.more}'
        if key in MODERN:
            sinks.append(f'name = "{key}"\n{basic}\nprotocol = "rfc5424"\nfacility = {FIELDS}')
            sinks.append(f'name = "{key}-line"\n{basic}\nprotocol = "rfc5424"\nfacility = {LINES}\nformat = "json"')
        if key in REMOTE:
            sinks.append(f'name = "{key}-old"\n{basic}\nprotocol = "rfc3164"\nfacility = "local1"')
        if key in LOCAL:
            sinks.append(f'name = "{key}"\n{basic}\nfacility = "local1"')
    return "".join(f"[[sinks]]\n{sink}\n\n" for sink in sinks)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Everything, once: servers, collector and worker have run and ended before the first test looks."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        base = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
        stack.callback(shutil.rmtree, base)
        patch.setenv("LOGBUS_RUNTIME_DIR", str(base / "runtime"))
        patch.setenv("LOGBUS_STATE_DIR", str(base / "state"))
        certificates = Certificates(base)
        servers: dict[str, Rsyslog | SyslogNg] = {
            "rsyslog": (rsyslog := Rsyslog(base / "rsyslog", certificates)),
            "syslog-ng": (
                syslog_ng := SyslogNg(
                    base / "syslog-ng", certificates, {"asking": certificates.issue("server", "localhost")}
                )
            ),
        }
        for server in servers.values():
            stack.callback(server.kill)
            server.start()
        client = certificates.issue("client", CLIENT)
        tls = f'tls = {{ ca = "{certificates.ca}", certificate = "{client.certificate}", key = "{client.key}" }}'
        inputs = [
            Input("rsyslog", "udp", f"udp://127.0.0.1:{rsyslog.udp}", max_message=2048),
            Input("rsyslog", "tcp", f"tcp://localhost:{rsyslog.tcp}"),
            Input("rsyslog", "tls", f"tls://localhost:{rsyslog.tls}", tls),
            Input("rsyslog", "modern", f"unix://{rsyslog.modern}"),
            Input("rsyslog", "unix", f"{rsyslog.unix}"),
            Input("syslog-ng", "udp", f"udp://localhost:{syslog_ng.udp}", max_message=2048),
            Input("syslog-ng", "tcp", f"tcp://127.0.0.1:{syslog_ng.tcp}", 'max_message = "32 KiB"', LARGE),
            Input("syslog-ng", "asking", f"tls://localhost:{syslog_ng.tls['asking']}", tls),
            Input("syslog-ng", "datagram", f"unix://{syslog_ng.datagram}"),
            Input("syslog-ng", "stream", f"unix://{syslog_ng.stream}"),
            Input("syslog-ng", "local", f"{syslog_ng.local}"),
        ]
        (base / "logbus.toml").write_text(configuration({each.key: each for each in inputs}))
        collector = CollectorCommand.start(directory=base, number=0, env=child_environment(TZ=ZONE))
        stack.callback(collector.kill)
        collector.wait_ready()
        worker = Worker(SCRIPT, TZ=ZONE)
        stack.callback(worker.end)
        worker.wait()
        assert worker.process.returncode == 0, worker.stderr
        status = settled(
            collector, lambda status: all(row["offered"] >= COUNT and not row["queued"] for row in status["sinks"])
        )
        assert collector.stop() == 0, collector.stderr
        records = lines_of(base / "truth.jsonl")
        parsed = {}
        for each in inputs:
            forms = (each.key in MODERN) * 2 + (each.key in REMOTE) + (each.key in LOCAL)
            parsed[each.key] = servers[each.server].messages.wait(len(records) * forms, each.name)
        for server in servers.values():
            server.stop()
    return Seen(records, parsed, status)


def escaped(text: str) -> str:
    """A text as our lines for eyes have it: what is not printable is an escape of Python's."""
    return "".join(
        one
        if one.isprintable()
        else f"\\x{ord(one):02x}"
        if ord(one) < 0x100
        else f"\\u{ord(one):04x}"
        if ord(one) < 0x10000
        else f"\\U{ord(one):08x}"
        for one in text
    )


def fields_of(parsed: Parsed, key: str) -> dict[str, str]:
    """The parameters of our element as a server understood them."""
    if key.startswith("rsyslog"):  # it keeps the text of the element: read by RFC 5424, section 6.3
        match = re.fullmatch(r"\[logbus@32473((?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*)\]", parsed.structured_data)
        assert match, parsed.structured_data
        pairs = re.findall(r' ([^ =]+)="((?:[^"\\\]]|\\.)*)"', match[1])
        return {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in pairs}
    element = parsed.document["_SDATA"]["logbus@32473"]
    found: dict[str, str] = {}

    def gather(prefix: str, table: dict[str, Any]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                gather(f"{prefix}{name}.", value)
            else:
                found[prefix + name] = value

    gather("", element)
    return found


def expected_fields(record: dict[str, Any]) -> dict[str, str]:
    """What a line of JSON has beside what stands in a message's head, under the names of parameters."""
    found = {key: record[key] for key in ("level", "logger", "component", "module", "function", "line")}
    found |= {key: record[key] for key in ("thread_name", "worker")}
    found |= {key: record[key] for key in ("level_no", "request_id", "user_id") if key in record}
    found |= {f"extra.{key}": value for key, value in record.get("extra", {}).items()}
    if "exception" in record:
        found |= {f"exception.{key}": record["exception"][key] for key in ("type", "message")}
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in found.items()
    }
    long = "extra.a_name_that_is_longer_than_a_parameter_may_have"
    if long in texts:
        texts[f"{long[:23]}~{crc32(long.encode()):08x}"] = texts.pop(long)
        texts["extra.a%20b%3Dc"] = texts.pop("extra.a b=c")
    return {key: escaped(value) for key, value in texts.items()}


def moment(text: str) -> datetime:
    """A time in RFC 3339."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("key", MODERN)
def test_the_head_of_each_message_says_what_the_record_does(seen: Seen, key: str) -> None:
    """Severity by level, time to the microsecond, host, app and process are as in the line of JSON."""
    for record, parsed in seen.pairs(key, FIELDS):
        assert parsed.severity == LEVELS[record["level"]]
        assert moment(parsed.timestamp) == moment(record["timestamp"])
        assert (parsed.host, parsed.app_name) == (record["host"], record["app_name"])
        assert (parsed.proc_id, parsed.msg_id) == (str(record["process_id"]), "-" if "rsyslog" in key else "")


@pytest.mark.parametrize("key", MODERN)
def test_structured_data_comes_back_as_it_was(seen: Seen, key: str) -> None:
    """Every field of every record is a parameter, with quotes, brackets, backslashes and what is not ASCII."""
    for record, parsed in seen.pairs(key, FIELDS):
        fields = fields_of(parsed, key)
        if "truncated" not in fields:
            assert fields == expected_fields(record)


@pytest.mark.parametrize("key", MODERN)
def test_messages_come_whole_and_in_one_line(seen: Seen, key: str) -> None:
    """What was logged is what the server has as the message, with escapes for what would break a line."""
    whole = 0
    for record, parsed in seen.pairs(key, FIELDS):
        if "truncated" in fields_of(parsed, key):
            continue
        whole += 1
        message = escaped(record["message"])
        if "exception" in record:
            assert parsed.message.startswith(f"{message} exception KeyError: 'missing' | ")
        else:
            assert parsed.message == message
    assert whole == (COUNT if key == "syslog-ng-tcp" else COUNT - 2)


@pytest.mark.parametrize("key", MODERN)
def test_a_message_that_is_too_long_is_cut_and_marked(seen: Seen, key: str) -> None:
    """It has no more bytes than the transport takes, says how many are gone, and its short fields are whole."""
    cut = 0
    for record, parsed in seen.pairs(key, FIELDS):
        fields = fields_of(parsed, key)
        assert len(parsed.raw.encode()) <= inputs_limit(key)
        if "truncated" in fields:
            cut += 1
            assert re.search(r"…\[truncated \d+ bytes\]$", parsed.message)
            assert len(parsed.raw.encode()) > inputs_limit(key) - 100
            gone = int(fields.pop("truncated"))
            kept = parsed.message[: parsed.message.rindex("…[")]
            assert len(record["message"].encode()) == len(kept.encode()) + gone
            assert fields == expected_fields(record)
    assert cut == (0 if key == "syslog-ng-tcp" else 2)


@pytest.mark.parametrize("key", MODERN)
def test_a_line_of_json_comes_whole_as_the_message(seen: Seen, key: str) -> None:
    """With ``format = "json"`` the message is the line that the file has, and there is no structured data."""
    whole = 0
    for record, parsed in seen.pairs(key, LINES):
        assert parsed.structured_data.startswith(("", "-", "[meta sequenceId="))
        if not parsed.message.endswith(" bytes]"):
            whole += 1
            assert json.loads(parsed.message) == record
    assert whole >= COUNT - 3


@pytest.mark.parametrize("key", REMOTE)
def test_rfc_3164_is_understood(seen: Seen, key: str) -> None:
    """Severity, local time to the second, host, tag and process are right; the fields stand behind the message."""
    for record, parsed in seen.pairs(key, OLD):
        assert parsed.severity == LEVELS[record["level"]]
        assert moment(parsed.timestamp) == moment(record["timestamp"]).replace(microsecond=0)
        assert (parsed.host, parsed.app_name) == (record["host"], record["app_name"])
        assert parsed.proc_id == str(record["process_id"])
        assert_old_message(record, parsed, key)


@pytest.mark.parametrize("key", LOCAL)
def test_what_is_sent_to_dev_log_is_what_the_c_library_sends(seen: Seen, key: str) -> None:
    """A daemon that knows syslog(3) and nothing else takes the tag, the process and the message out of it."""
    for record, parsed in seen.pairs(key, OLD):
        assert parsed.severity == LEVELS[record["level"]]
        assert (parsed.app_name, parsed.proc_id) == (record["app_name"], str(record["process_id"]))
        assert_old_message(record, parsed, key)


def test_every_sink_says_that_it_has_delivered_everything_once(seen: Seen) -> None:
    """The ledger balances, and no row has lost, doubled or kept a record."""
    assert seen.status["balanced"], seen.status
    for row in seen.status["sinks"]:
        assert row["offered"] == row["delivered"], row
        assert not row["duplicated"], row
        assert row["last_error"] is None, row


def assert_old_message(record: dict[str, Any], parsed: Parsed, key: str) -> None:
    """The message of RFC 3164 is the record's, and behind it stand its fields, with a time to the microsecond."""
    # rsyslog takes the blank behind the tag for a part of the message.
    text = parsed.message.removeprefix(" ") if key.startswith("rsyslog") else parsed.message
    if text.endswith(" bytes]"):
        return
    assert text.startswith(escaped(record["message"]) + " timestamp=" + record["timestamp"])
    for name in ("level", "logger", "component", "request_id"):
        if name in record:
            assert f" {name}={record[name]}" in text


def inputs_limit(key: str) -> int:
    """Bytes of a message of RFC 5424 to an input."""
    return 2048 if key.endswith("-udp") else LARGE if key == "syslog-ng-tcp" else 8096
