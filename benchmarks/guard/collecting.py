"""Workloads of the collector: frames of the reference records through one stage more each time, in one thread.

Records stay in their frame where a collector with a sink of JSON lines would leave them there: where its part is
compiled (:mod:`logbus.collectors.packed`), and nothing is asked of a record but its line.

The frames are made once, all with times of their own, and handed to the receiver as a socket would. Behind it is what
the collector itself does with a turn, and then what the thread of the sink does: one after the other, so that no
two runs differ in who waited for whom.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import zmq

from benchmarks.feed import FRAME_RECORDS
from benchmarks.guard.prepared import Prepared
from benchmarks.record import LOGGER, SITES, log_records
from logbus.collectors.compiled import NATIVE
from logbus.collectors.decode import Batch, decode
from logbus.collectors.encode import Encoded
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, make_formatter
from logbus.collectors.format.syslog import make_syslog
from logbus.collectors.ledger import Ledger
from logbus.collectors.packed import Packed, unpack
from logbus.collectors.receiver import Receiver
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.roll import Roll
from logbus.collectors.route import Destination, Route, Router
from logbus.collectors.sinks.file import FileSink
from logbus.collectors.where import parse_where
from logbus.collectors.writing.writer import Writer
from logbus.wire import DATA, SCHEMA, Header, pack_frame, pack_payload, unpack_frame

#: Frames of which no two are equal: as many records as a counted run has in all, so that none comes twice.
_FRAMES: Final = 50
#: How often these are sent, so that nobody runs out of them where time is measured.
_AGAIN: Final = 5
#: Frames of one turn, which share a commit and a write. A collector that is behind takes more.
_TURN_FRAMES: Final = 2
#: Microseconds of the epoch at which the first record was logged, and between two.
_BEGUN_US: Final = 1_790_000_000_000_000
_STEP_US: Final = 100

#: What every record's URL has, and none that was redacted.
_SECRET: Final = b":s3cr3t-"

_SOURCE: Final = ["host", 7, "guarded", "benchmarks"]
_PRODUCER: Final = bytes(range(1, 17))


def collector_decode(_: Path) -> Prepared:
    """Frames, checked and decoded."""
    return _staged(lambda batch: None, lambda batch: _lines_are_whole(batch, redacted=False))


def collector_redact(_: Path) -> Prepared:
    """The same, redacted."""
    return _staged(Redactor().redact, _lines_are_whole)


def collector_redact_new(_: Path) -> Prepared:
    """The same with messages that redaction sees for the first time, each of them."""
    return _staged(Redactor().redact, _lines_are_whole, payloads=_payloads(" ({})"))


def collector_redact_fresh(_: Path) -> Prepared:
    """The same with URLs, too, whose credentials nobody has seen before: those of a session for each request."""
    return _staged(Redactor().redact, _lines_are_whole, payloads=_payloads(" ({})", "session-{}-user"))


def collector_encode(_: Path) -> Prepared:
    """The same, through the filter of a sink that takes all, and encoded as JSON."""
    return _chosen(SinkFilter(), FRAME_RECORDS)


def collector_filtered(_: Path) -> Prepared:
    """The same for a sink that takes a tenth."""
    return _chosen(SinkFilter(where=parse_where({"operation": "connect"})), FRAME_RECORDS // SITES)


def collector_turn(directory: Path) -> Prepared:
    """From the socket to the file."""
    frames = _numbered(_payloads())
    turns = _Turns(directory)

    def run(count: int) -> None:
        for _ in range(count // FRAME_RECORDS // _TURN_FRAMES):
            turns.turn([next(frames) for _ in range(_TURN_FRAMES)])

    return Prepared(run, turns.written)


def format_json(_: Path) -> Prepared:
    """Batches that were redacted before, as JSON."""
    return _encoded(make_formatter("json"))


def format_logfmt(_: Path) -> Prepared:
    """The same as logfmt."""
    return _encoded(make_formatter("logfmt"))


def format_text(_: Path) -> Prepared:
    """The same as text."""
    return _encoded(make_formatter("text"))


def format_syslog(_: Path) -> Prepared:
    """The same as syslog with structured data."""
    return _encoded(make_syslog("rfc5424", 16, 8192))


class _Socket:
    """As much of a PULL socket as the receiver asks: frames, then nothing."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def recv(self, *_: Any, **__: Any) -> Any:
        """The next frame. Raises zmq.Again when there is none."""
        if not self.waiting:
            raise zmq.Again
        return SimpleNamespace(bytes=self.waiting.pop(), more=False)


class _Turns:
    """A collector without its sockets and threads: a turn is entered, handed over and written when it is over."""

    def __init__(self, directory: Path) -> None:
        self._ledger = Ledger.open(directory / "state", name="guarded")
        self._socket = _Socket()
        self._receiver = Receiver(cast("zmq.Socket[bytes]", self._socket), Redactor())
        self._roll = Roll(self._ledger, directory / "pages", fresh=True)
        self._path = directory / "lines.jsonl"
        sink = FileSink("file", self._path, json_lines=True)
        self._writer = writer = Writer(sink, self._ledger, complain=_fail)
        destination = Destination(sink, SinkFilter(), make_formatter("json"))
        self._router = Router([Route.of(destination, writer, None)])
        self._receiver.takes_rows = lambda: self._router.takes_rows
        self._last: Batch | None = None
        # As Writer.start() and its thread begin, but for the thread.
        writer.open()
        writer._books.enter(sink)
        writer._stock.open_spool(None, lambda: False)

    def turn(self, frames: list[bytes]) -> None:
        """What Collector does with frames, then what the writer's thread does."""
        self._socket.waiting = frames[::-1]
        turn = self._receiver.receive()
        batches = []
        with self._ledger.transaction() as change:
            for _, batch in turn.arrivals:
                if isinstance(batch, Batch):
                    self._roll.enter(change, batch)
                    batches.append(batch)
                    self._last = batch
            deliveries = self._router.enter(change, batches)
        for delivery in deliveries:
            delivery.hand_over()
        while self._writer._stock.waits:
            self._writer._courier.deliver()

    def written(self) -> int:
        """Lines in the file, if the ledger says the same of every stage, and records came there as they should."""
        [worker] = self._ledger.workers.values()
        row = self._writer.row
        data = self._path.read_bytes()
        lines = data.count(b"\n")
        whole = _in_its_form(self._last) and _SECRET not in data
        return lines if whole and worker.collected == row.offered == row.delivered == lines else -1


def _fail(text: str) -> None:
    raise RuntimeError(text)


def _in_its_form(batch: Batch | None) -> bool:
    """Whether a batch's records are in their frame, or none ever is, since nothing is compiled."""
    return (isinstance(batch, Packed) and batch.rows is not None) == (NATIVE is not None)


def _lines_are_whole(batch: Batch, *, redacted: bool = True) -> bool:
    """Whether a batch has the form that it should have, and a line for each record, with or without its password."""
    lines = make_formatter("json").encode(batch)
    secrets = 0 if redacted else FRAME_RECORDS
    return _in_its_form(batch) and (lines.count(b"\n"), lines.count(_SECRET)) == (FRAME_RECORDS, secrets)


def _staged(
    stage: Callable[[Batch], object],
    whole: Callable[[Batch], bool],
    *,
    payloads: Sequence[bytes] | None = None,
    by_site: bool = True,
) -> Prepared:
    """Each frame through the checks and the decoder, then a stage; ``whole``: whether the last was what it should be.

    ``by_site``: whether nobody asks for more of a record than its call site and its line.
    """
    frames = _numbered(payloads or _payloads())
    done = [0]
    last: list[Batch] = []

    def run(count: int) -> None:
        batch = None
        for _ in range(count // FRAME_RECORDS):
            header, payload = unpack_frame(next(frames))
            batch = (unpack(header, payload) if by_site else None) or decode(header, payload)
            stage(batch)
            done[0] += batch.count
        if batch is not None:
            last[:] = [batch]

    return Prepared(run, lambda: done[0] if last and whole(last[0]) else -1)


def _chosen(taken: SinkFilter, lines: int) -> Prepared:
    """Decoded, redacted, filtered and encoded; as the collector does for a sink that is alone with its format.

    Each frame gives so many lines.
    """
    redact, formatter = Redactor().redact, make_formatter("json")
    last = [b""]

    def stage(batch: Batch) -> None:
        redact(batch)
        chosen = taken.select(batch)
        encoded = Encoded(formatter, batch, alone=True)
        last[0] = encoded.whole if chosen is None else b"".join(encoded.pick(chosen))

    def whole(batch: Batch) -> bool:
        right = not taken.by_site or _in_its_form(batch)
        return right and (last[0].count(b"\n"), last[0].count(_SECRET)) == (lines, 0)

    return _staged(stage, whole, by_site=taken.by_site)


def _encoded(formatter: Formatter) -> Prepared:
    redactor = Redactor()
    batches = [decode(Header(DATA, 0, SCHEMA, _PRODUCER, 0, FRAME_RECORDS), payload) for payload in _payloads()]
    for batch in batches:
        redactor.redact(batch)
    every = cycle(batches)
    done, last = [0], [b""]

    def run(count: int) -> None:
        for _ in range(count // FRAME_RECORDS):
            last[0] = formatter.encode(next(every))
            done[0] += FRAME_RECORDS

    return Prepared(run, lambda: done[0] if last[0].count(b"\n") == FRAME_RECORDS else -1)


def _numbered(payloads: Sequence[bytes]) -> Iterator[bytes]:
    """More frames than anybody takes, made before they are asked for: the payloads again and again, numbered on."""
    numbers = range(_AGAIN * len(payloads))
    return iter(
        [
            pack_frame(DATA, _PRODUCER, number * FRAME_RECORDS, FRAME_RECORDS, payloads[number % len(payloads)])
            for number in numbers
        ]
    )


def _payloads(end: str = "", user: str = "user") -> list[bytes]:
    """The reference records as a worker packs them, at times that are the same in every run.

    Each message goes on with ``end``, and the user's name in each URL begins with ``user``, in which ``{}`` is the
    number of the record.
    """
    rows = _Rows(end, user)
    log_records(cast("logging.Logger", rows), _FRAMES * FRAME_RECORDS)
    groups = [rows.rows[at : at + FRAME_RECORDS] for at in range(0, len(rows.rows), FRAME_RECORDS)]
    return [pack_payload([_SOURCE, list(rows.sites), ["MainThread"], group, []]) for group in groups]


class _Rows:
    """A logger that makes rows of frames of its calls. Logging would take longer than what is measured."""

    def __init__(self, end: str, user: str) -> None:
        self._end = end
        self._user = f"http://{user}"
        self.sites: dict[tuple[Any, ...], int] = {}
        self.rows: list[list[Any]] = []

    def info(self, message: str, *args: Any, extra: dict[str, Any]) -> None:
        """Adds a row."""
        caller = sys._getframe(1)
        site = (LOGGER, logging.INFO, "INFO", "record", caller.f_code.co_name, caller.f_lineno, "rotator")
        at = self.sites.setdefault(site, len(self.sites))
        time_us = _BEGUN_US + _STEP_US * len(self.rows)
        number = len(self.rows)
        extra["proxy_url"] = extra["proxy_url"].replace("http://user", self._user.format(number))
        self.rows.append([time_us, at, 0, message % args + self._end.format(number), extra, None, None])
