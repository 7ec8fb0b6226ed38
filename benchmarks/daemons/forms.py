"""The reference records in the forms that collectors read, made before any clock runs, and the sockets for them.

Four thousand records are made and come again and again: to make as many as are sent would take longer than to collect
them. As in the applications, request ids differ from record to record and proxies repeat.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import logging.handlers
import socket
from functools import lru_cache
from types import TracebackType
from typing import Final, Self

import msgpack

from benchmarks.daemons.receiver import WORKERS, Send
from benchmarks.record import LOGGER, JsonLine, log_records

#: Records that are made.
MADE: Final = 4000
#: The header of a syslog message (RFC 5424): user.info, an application, its pid and nothing else.
_HEADER: Final = b"<14>1 2026-01-02T03:04:05.678901+00:00 host benchmarks 7 - - "


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@lru_cache(1)
def log_record_objects() -> list[logging.LogRecord]:
    """As the standard library makes them."""
    log, kept = logging.Logger(LOGGER, logging.INFO), _Kept()
    log.addHandler(kept)
    log_records(log, MADE)
    return kept.records


@lru_cache(1)
def json_lines() -> list[bytes]:
    """As lines of JSON with the fields of a logbus line."""
    form = JsonLine()
    return [form.format(record).encode() + b"\n" for record in log_record_objects()]


def syslog_lines() -> list[bytes]:
    """The same as messages of RFC 5424, a line each."""
    return [_HEADER + line for line in json_lines()]


def pickles() -> list[bytes]:
    """As ``logging.handlers.SocketHandler`` sends them: a length, and a pickled dictionary."""
    handler = logging.handlers.SocketHandler("127.0.0.1", 0)
    found = [handler.makePickle(record) for record in log_record_objects()]
    handler.close()
    return found


def forward_messages() -> list[bytes]:
    """As fluent-logger sends them: messages of the forward protocol, msgpack."""
    made = zip(log_record_objects(), json_lines(), strict=True)
    return [msgpack.packb(["benchmarks", int(record.created), json.loads(line)]) for record, line in made]


def repeated(items: list[bytes], count: int) -> list[bytes]:
    """So many of them."""
    return list(itertools.islice(itertools.cycle(items), count))


def chunks(items: list[bytes], size: int) -> list[bytes]:
    """Joined, so many at a time."""
    return [b"".join(items[at : at + size]) for at in range(0, len(items), size)]


class Connections:
    """The connections of a feeder to a TCP port of this machine, made when they are needed, closed with the block."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def sender(self, ready: list[bytes]) -> Send:
        """What sends these chunks, over the connections in turn. It ends early when the other side hangs up."""
        if not self._sockets:
            self._sockets = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(WORKERS)]
        targets = [each.sendall for each in self._sockets]

        def send() -> None:
            with contextlib.suppress(ConnectionError):  # what was not taken is missing in the file
                for target, chunk in zip(itertools.cycle(targets), ready, strict=False):
                    target(chunk)

        return send

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self._sockets:
            each.close()
