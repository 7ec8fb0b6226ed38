"""Records of requests, for whatever samples: as batches, and as the frames of two workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from logbus.collectors.decode import Batch, Record, Site, Source, build
from tests.frames import RawSender, mark, payload, producer, raw, site

A = producer(1)
#: Call sites by level number.
LEVELS: Final = (10, 20, 30, 40)
_NAMES: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}
SITES: Final = [Site("shop.till", level, _NAMES[level], "till", "sell", 7, "till") for level in LEVELS]

#: The two workers that each request passes through.
WORKERS = (producer(1), producer(2))
_LOADED = [site("till", 20, "INFO"), site("till", 40, "ERROR")]
#: Records of one frame.
_FRAME: Final = 400

#: A request's id (None: the record has none), and its level number.
Entry = tuple[Any, int]


def batch(
    *entries: Entry, first_seq: int = 0, who: bytes = A, sites: Sequence[Site] = SITES, worker: str = "w1"
) -> Batch:
    """A batch with a record for each entry; its message is its sequence number."""
    records = [
        Record(
            1_700_000_000_000_000 + at,
            LEVELS.index(level),
            0,
            str(first_seq + at),
            None if request is None or type(request) is dict else {"request_id": request},
            {"request_id": request} if type(request) is dict else None,
        )
        for at, (request, level) in enumerate(entries)
    ]
    source = Source("host", 7, worker, "app")
    return build(source, list(sites), ["MainThread"], records, producer=who, first_seq=first_seq)


class Load:
    """Two workers that send records of requests, ``(request id or None, whether it is an error)`` each."""

    def __init__(self, sender: RawSender) -> None:
        self.sender = sender
        self.sent = [0, 0]

    def send(self, worker: int, *entries: tuple[str | None, bool]) -> None:
        """Sends records of a worker, in frames; the message of each is its number."""
        for start in range(0, len(entries), _FRAME):
            part = entries[start : start + _FRAME]
            first = self.sent[worker]
            numbers = [str(first + at) for at in range(len(part))]
            body = payload(*numbers, worker=f"w{worker}", sites=_LOADED, at=[int(failed) for _, failed in part])
            for record, (request, _) in zip(body[3], part, strict=True):
                record[4] = None if request is None else {"request_id": request}
            self.sender.send(raw(WORKERS[worker], first, len(part), body))
            self.sent[worker] += len(part)

    def end(self) -> None:
        """Both workers close their books."""
        for worker, who in enumerate(WORKERS):
            self.sender.send(mark(who, sent=self.sent[worker], bye=True, worker=f"w{worker}"))


def configured(tmp_path: Path, *sinks: dict[str, Any]) -> list[str]:
    """The arguments of a collector with these file sinks, each of which has its name as its path."""
    path = tmp_path / "logbus.json"
    tables = [{"type": "file", "path": f"{sink['name']}.jsonl", **sink} for sink in sinks]
    path.write_text(json.dumps({"sinks": tables}))
    return ["--config", str(path)]
