"""Counts what a worker logs, without logbus: the other side of the comparison at the end of a run.

Every record gets an ordinal when it is made (through the two public hooks that belong to an application: loguru's
``patcher`` and stdlib's record factory), and is counted again by a sink and a handler of our own. The ordinals end up
in the log file, under ``extra``; so each of them must be there once.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    import loguru

#: The key of the ordinal in a record's extra fields.
ORDINAL = "ordinal"
#: The key of the number of a record below the worker's own level: made while the operator has set a lower one.
BELOW = "ordinal_below"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one worker states at its end. ``logbus_*`` is what ``logbus.shutdown()`` returned, the rest is our own."""

    worker: str
    pid: int
    requests: int
    failed_requests: int
    ordinals: int
    loguru_records: int
    stdlib_records: int
    #: Records that held a secret in clear when they were made: that many the collector had to redact.
    secret_records: int
    logbus_emitted: int
    logbus_sent: int
    logbus_dropped: dict[str, int] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Writes ``WORKER.json`` in the directory, whole or not at all."""
        directory.mkdir(parents=True, exist_ok=True)
        scratch = directory / f"{self.worker}.{os.getpid()}"
        scratch.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(scratch, directory / f"{self.worker}.json")

    @classmethod
    def load(cls, directory: Path, worker: str) -> Statement:
        """The statement of a worker. Raises FileNotFoundError."""
        return cls(**json.loads((directory / f"{worker}.json").read_text()))


class Witness(logging.Handler):
    """Counts loguru's and stdlib's records of at least ``level`` in this process, from :meth:`attach` on."""

    def __init__(self, level: int, secrets: tuple[str, ...]) -> None:
        super().__init__(level)
        self._secrets = secrets
        self._mutex = threading.Lock()
        self._next = count()
        self._next_below = count()
        self.ordinals = 0
        self.loguru_records = 0
        self.stdlib_records = 0
        self.secret_records = 0

    def attach(self) -> None:
        """Begins to number and to count."""
        make = logging.getLogRecordFactory()

        def numbered(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            key, number = self._number(record.levelno)
            setattr(record, key, number)
            return record

        logging.setLogRecordFactory(numbered)
        logging.getLogger().addHandler(self)
        logger.configure(patcher=self._patch)
        logger.add(self._sink, level=self.level, format=lambda _: "", backtrace=False, diagnose=False)

    def emit(self, record: logging.LogRecord) -> None:
        """Counts one record of stdlib."""
        holds = self._holds_secret(record.getMessage(), record.args)
        with self._mutex:
            self.stdlib_records += 1
            self.secret_records += holds

    def _patch(self, record: loguru.Record) -> None:
        key, number = self._number(record["level"].no)
        record["extra"][key] = number

    def _sink(self, message: loguru.Message) -> None:
        record = message.record
        holds = self._holds_secret(record["message"], record["extra"])
        with self._mutex:
            self.loguru_records += 1
            self.secret_records += holds

    def _number(self, level: int) -> tuple[str, int]:
        """The key and the number of a record; those below our level are not counted: most of them go nowhere."""
        with self._mutex:
            if level < self.level:
                return BELOW, next(self._next_below)
            self.ordinals += 1
            return ORDINAL, next(self._next)

    def _holds_secret(self, *values: object) -> bool:
        text = repr(values)
        return any(secret in text for secret in self._secrets)
