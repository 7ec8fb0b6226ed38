"""A strict reader of syslog messages, written from the grammars of RFC 5424 §6 and RFC 3164 §4.1 and from nothing else.

What the grammar does not have is an AssertionError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(
    rb"<(?P<priority>0|[1-9][0-9]{0,2})>(?P<version>[1-9][0-9]{0,2})"
    rb" (?P<timestamp>-|[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))"
    rb" (?P<host>-|[!-~]{1,255}) (?P<app_name>-|[!-~]{1,48}) (?P<process>-|[!-~]{1,128}) (?P<message_id>-|[!-~]{1,32}) "
)
#: SD-NAME: printable ASCII but "=", SP, "]" and the quotation mark.
_NAME = rb"[!#-<>-\\^-~]{1,32}"
_ELEMENT = re.compile(rb"\[(?P<id>%b)(?P<params>(?: %b=\"(?:[^\"\\\]]|\\[\"\\\]])*\")*)\]" % (_NAME, _NAME))
_PARAM = re.compile(rb" (?P<name>%b)=\"(?P<value>(?:[^\"\\\]]|\\[\"\\\]])*)\"" % _NAME)
_ESCAPE = re.compile(rb"\\([\"\\\]])")
_BOM = b"\xef\xbb\xbf"

_OLD = re.compile(
    rb"<(?P<priority>0|[1-9][0-9]{0,2})>(?P<timestamp>(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    rb" (?: [1-9]|[12][0-9]|3[01]) (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]) "
)
_OLD_HOST = re.compile(rb"(?P<host>[A-Za-z0-9._-]{1,255}) ")
_OLD_TAG = re.compile(rb"(?P<tag>[A-Za-z0-9._-]{1,32})\[(?P<process>[0-9]+)\]: ")


@dataclass(frozen=True)
class Message:
    """What a message says. ``data`` has its elements by their ids, each a list of names and values, unescaped."""

    facility: int
    severity: int
    timestamp: str
    host: str
    app_name: str
    process: str
    text: str
    data: dict[str, list[tuple[str, str]]]

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the only element, each name once."""
        [pairs] = self.data.values()
        assert len({name for name, _ in pairs}) == len(pairs), f"a name comes twice: {pairs}"
        return dict(pairs)


def parse_5424(message: bytes) -> Message:
    """A message of RFC 5424, without the newline or the length by which a transport tells it from the next."""
    header = _HEADER.match(message)
    assert header, f"no header of RFC 5424: {message[:400]!r}"
    assert header["version"] == b"1"
    facility, severity = divmod(_priority(header["priority"]), 8)
    at = header.end()
    data: dict[str, list[tuple[str, str]]] = {}
    if message[at : at + 1] == b"-":
        at += 1
    else:
        while element := _ELEMENT.match(message, at):
            name = element["id"].decode("ascii")
            assert re.fullmatch(r"[^@]+@[0-9]+(\.[0-9]+)*", name), f"{name}: neither registered nor with a number"
            assert name not in data, f"{name} comes twice"
            data[name] = [
                (param["name"].decode("ascii"), _ESCAPE.sub(rb"\1", param["value"]).decode())
                for param in _PARAM.finditer(element["params"])
            ]
            at = element.end()
        assert data, f"no structured data: {message[at : at + 200]!r}"
    rest = message[at:]
    assert not rest or rest.startswith(b" "), f"behind the structured data: {rest[:100]!r}"
    assert not rest[1:].startswith(_BOM)
    assert header["message_id"] == b"-"
    timestamp, host, app_name, process = (
        header[name].decode("ascii") for name in ("timestamp", "host", "app_name", "process")
    )
    return Message(facility, severity, timestamp, host, app_name, process, rest[1:].decode(), data)


def parse_3164(message: bytes, *, local: bool = False) -> Message:
    """A message of RFC 3164; a ``local`` one has no host."""
    head = _OLD.match(message)
    assert head, f"no header of RFC 3164: {message[:200]!r}"
    facility, severity = divmod(_priority(head["priority"]), 8)
    at, host = head.end(), ""
    if not local:
        found = _OLD_HOST.match(message, at)
        assert found, f"no host: {message[:200]!r}"
        at, host = found.end(), found["host"].decode()
    tag = _OLD_TAG.match(message, at)
    assert tag, f"no tag: {message[:400]!r}"
    text = message[tag.end() :].decode()
    return Message(
        facility, severity, head["timestamp"].decode(), host, tag["tag"].decode(), tag["process"].decode(), text, {}
    )


def _priority(digits: bytes) -> int:
    priority = int(digits)
    assert 0 <= priority <= 191
    return priority
