"""The reference records as frames, made once: what collectors are fed with that are compared with one another.

A real worker costs more than the collector that it feeds, and a second of start. Here every collector gets the same
bytes, so the costs of making them are in no figure.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any, Final

import zmq

from benchmarks.record import LOGGER, SITES, log_records
from benchmarks.service import PATIENCE_S
from logbus.bus import Endpoint, push_socket
from logbus.wire import BYE, DATA, pack_frame, pack_payload

#: Records of one frame, as many as a worker puts into one when it logs these flat out.
FRAME_RECORDS: Final = 160
#: The message of the last record of a run, an ERROR, with the number of the run.
END: Final = "end of run %d of the benchmark"

_SOURCE: Final = ["host", 7, "feeder", "benchmarks"]
_FIELDS: Final = ("request_id", "operation", "proxy_url", "strategy", "source")
#: What the last record has besides; conditions on reference records let it pass too.
_END_FIELDS: Final = {"operation": "connect", "strategy": "round_robin", "proxy_url": "http://proxy-00.example.net"}


class Rows(logging.Handler):
    """Keeps what is logged as the rows of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[tuple[Any, ...], int] = {}
        self.rows: list[list[Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Adds a row."""
        component = record.name.rpartition(".")[2]
        site = (record.name, record.levelno, record.levelname, record.module, record.funcName, record.lineno, component)
        at = self.sites.setdefault(site, len(self.sites))
        extra = {field: vars(record)[field] for field in _FIELDS}
        self.rows.append([int(record.created * 1e6), at, 0, record.getMessage(), extra, None, None])


def payloads(count: int, *, fresh: bool = False) -> list[tuple[int, bytes]]:
    """The payloads of frames with ``count`` reference records in all, and how many are in each.

    Their messages and URLs repeat, as those of a pool's proxies do. With ``fresh`` no two have one of them in common:
    each message ends with a number, and each URL has the user of a session of its own.
    """
    log, kept = logging.Logger(LOGGER, logging.INFO), Rows()
    log.addHandler(kept)
    log_records(log, count // SITES * SITES)
    rows, sites = kept.rows, list(kept.sites)
    if fresh:
        for number, row in enumerate(rows):
            row[3] += f" ({number})"
            row[4]["proxy_url"] = row[4]["proxy_url"].replace("http://user", f"http://session-{number}-user")
    groups = [rows[at : at + FRAME_RECORDS] for at in range(0, len(rows), FRAME_RECORDS)]
    return [(len(group), pack_payload([_SOURCE, sites, ["MainThread"], group, []])) for group in groups]


class Feeder:
    """One producer of one collector; :meth:`close` says goodbye. ``sent`` is how many records went out."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, number: int) -> None:
        self.sent = 0
        self._producer = (number + 1).to_bytes(16, "big")
        self._socket = push_socket(context)
        self._socket.set(zmq.SNDTIMEO, int(PATIENCE_S * 1000))
        self._socket.connect(Endpoint.parse(endpoint).url)

    def send(self, frames: list[tuple[int, bytes]]) -> None:
        """Sends these payloads, as fast as they are taken."""
        for count, payload in frames:
            self._socket.send(pack_frame(DATA, self._producer, self.sent, count, payload))
            self.sent += count

    def end(self, run: int) -> None:
        """Sends the last record of a run: once it is written, so is all that came before it."""
        site = [LOGGER, logging.ERROR, "ERROR", "feed", "end", 1, "rotator"]
        row = [time.time_ns() // 1000, 0, 0, END % run, _END_FIELDS, None, None]
        self.send([(1, pack_payload([_SOURCE, [site], ["MainThread"], [row], []]))])

    def close(self) -> None:
        """The last word on what was sent; a status needs no other after it."""
        mark = [_SOURCE, time.time_ns() // 1000, 0, self.sent, self.sent, 0, [], True, 0, "", "", [0, 0, 0]]
        self._socket.send(pack_frame(BYE, self._producer, self.sent, 0, pack_payload(mark)))

    def __enter__(self) -> Feeder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close(0 if kind else int(PATIENCE_S * 1000))
