"""Workloads of a worker: what a log call executes in the calling thread, and the sender's part of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, Final, cast

from benchmarks.guard.prepared import NotHereError, Prepared
from benchmarks.record import LOGGER, log_records
from logbus.counters import EMITTED, Counters, Meta
from logbus.producers.buffer import Buffer
from logbus.producers.compiled import NATIVE
from logbus.producers.fast_logger import FastLogger
from logbus.producers.gate import Gate
from logbus.producers.handler import LogbusHandler
from logbus.producers.pack import FRAME_BYTES, FRAME_RECORDS, packer_for
from logbus.producers.producer import Emit, Producer
from logbus.rules import Levels, Rule
from logbus.wire import DATA, pack_frame

#: Records and bytes that a buffer holds: more than any workload logs.
_CAPACITY: Final = 1 << 20
_CAPACITY_BYTES: Final = 1 << 40
#: Records between two drains: what gathers in 20 ms at 10,000 a second.
_GATHERED: Final = 200

#: Calls as applications write them.
_SUPPRESSED: Final = 'log.debug("Selected proxy %s for the request", proxy)'
_LOGURU_SUPPRESSED: Final = 'logger.debug("Closed pooled async client", proxy_id=proxy)'
_LOGURU: Final = 'logger.info("Closed pooled async client", proxy_id=proxy)'
_STRUCTLOG: Final = 'log.info("Closed pooled async client", proxy_id=proxy, strategy="round_robin", attempt=3)'
#: Calls in a row, so that the loop around them is in no figure.
_IN_A_ROW: Final = 10


class _StandIn:
    """As much of a producer as log calls and their doors meet."""

    def __init__(self, emit: Emit, gate: Gate) -> None:
        self.emit = emit
        self.gate = gate
        self.settings = SimpleNamespace(level=None)

    def flush_soon(self) -> bool:
        """Nobody waits for anything."""
        return True


class Worker:
    """A producer without its thread and sockets: the gate, the buffer and the counters are real, and of the form that
    this process has.

    ``woken`` is how often its sender would have been woken up: by the first record after it has looked, and by no
    other.
    """

    def __init__(self, directory: Path) -> None:
        meta = Meta("host", 7, "guarded", "benchmarks", 0)
        self._counters = Counters(directory, bytes(range(16)), meta)
        buffer = Buffer if NATIVE is None else NATIVE.Buffer
        self._buffer: Buffer = buffer(_CAPACITY, _CAPACITY_BYTES, "shed_lowest", self._counters)
        self._buffer.wake = self._buffer.hurry = self._wake
        self.woken = 0
        self._packer = packer_for(meta, "")
        self._sent = 0
        self.gate = Gate()
        self.gate.begin(worker=meta.worker, pid=meta.pid, host=meta.host, snapshot=None)
        self.producer = cast("Producer", _StandIn(self._buffer.put, self.gate))

    def drain(self) -> None:
        """What the sender does with what has gathered, but for the socket."""
        while entries := self._buffer.take(FRAME_RECORDS, FRAME_BYTES):
            for packed in self._packer.pack(entries, []):
                pack_frame(DATA, self._counters.producer, self._sent, packed.records, packed.payload)
                self._buffer.release(packed.records, packed.size)
                self._sent += packed.records
        self._buffer.asleep = True

    def prepared(self, run: Callable[[int], None]) -> Prepared:
        """The program of a workload whose records come to this worker."""
        return Prepared(run, self.kept, lambda: self.woken)

    def _wake(self) -> None:
        self.woken += 1

    def kept(self) -> int:
        """Records that were emitted, and are in the buffer or framed: none is lost."""
        emitted = sum([cell[EMITTED] for cell in self._counters.cells.values()])
        return emitted if emitted == self._buffer.records + self._sent else -1


def floor(_: Path) -> Prepared:
    """The standard library's logger with its null handler."""
    return _logged(_logger(logging.NullHandler()), None)


def handler(directory: Path) -> Prepared:
    """The standard library's logger with our handler."""
    worker = Worker(directory)
    return _logged(_logger(LogbusHandler.of(worker.producer)), worker)


def handler_drained(directory: Path) -> Prepared:
    """The same, and the sender's work."""
    worker = Worker(directory)
    return _drained(_logger(LogbusHandler.of(worker.producer)), worker)


def handler_context(directory: Path) -> Prepared:
    """The same in a scope of the context, as a request has it."""
    from logbus.producers.context import context

    worker = Worker(directory)
    log = _logger(LogbusHandler.of(worker.producer))

    def run(count: int) -> None:
        with context(user_id=7, path="/cart"):
            log_records(log, count)

    return worker.prepared(run)


def fast(directory: Path) -> Prepared:
    """A fast logger whose records only our handler would see."""
    worker = Worker(directory)
    return _logged(_logger(LogbusHandler.of(worker.producer), FastLogger), worker)


def fast_drained(directory: Path) -> Prepared:
    """The same, and the sender's work."""
    worker = Worker(directory)
    return _drained(_logger(LogbusHandler.of(worker.producer), FastLogger), worker)


def lean(directory: Path) -> Prepared:
    """A fast logger with our handler, and beside it one of somebody's own, who has to get a record."""
    worker = Worker(directory)
    return _logged(_lean_logger(worker), worker)


def lean_drained(directory: Path) -> Prepared:
    """The same, and the sender's work."""
    worker = Worker(directory)
    return _drained(_lean_logger(worker), worker)


def suppressed(directory: Path) -> Prepared:
    """A debug call where a rule says WARNING."""
    from logbus.producers.stdlib import STDLIB

    worker = Worker(directory)
    logging.getLogger().addHandler(LogbusHandler.of(worker.producer))
    logging.getLogger().setLevel(logging.DEBUG)
    worker.gate.attach(STDLIB)
    _rule(worker)
    return _silent({"log": logging.getLogger(LOGGER)}, _SUPPRESSED, worker)


def loguru_direct(directory: Path) -> Prepared:
    """A call that passes, in a module whose logger is ours."""
    worker = Worker(directory)
    return worker.prepared(_calls(_LOGURU, _loguru_module(worker)))


def loguru_suppressed(directory: Path) -> Prepared:
    """A debug call where a rule says WARNING."""
    worker = Worker(directory)
    namespace = _loguru_module(worker)
    _rule(worker)
    return _silent(namespace, _LOGURU_SUPPRESSED, worker)


def structlog(directory: Path) -> Prepared:
    """A logger of structlog whose processors are ours and one that renders nothing."""
    try:
        import structlog as library
    except ImportError as error:
        raise NotHereError("structlog is not installed") from error
    from logbus.producers.structlog import StructlogProcessor

    worker = Worker(directory)
    log = library.wrap_logger(
        library.ReturnLogger(),
        processors=[StructlogProcessor(producer=worker.producer), lambda *_: ""],
        wrapper_class=library.make_filtering_bound_logger(0),
    )
    return worker.prepared(_calls(_STRUCTLOG, {"log": log.bind(), "__name__": LOGGER}))


class _Beside(logging.Handler):
    """Costs what a NullHandler costs; but that is known to want no record."""

    def handle(self, record: logging.LogRecord) -> bool:
        return False


def _lean_logger(worker: Worker) -> logging.Logger:
    log = _logger(LogbusHandler.of(worker.producer), FastLogger)
    assert log.parent is not None
    log.parent.addHandler(_Beside())
    return log


def _logger(handler: logging.Handler, kind: type[logging.Logger] = logging.Logger) -> logging.Logger:
    """A logger as an application has it, the handler is the root's; in a tree of its own."""
    root = logging.RootLogger(logging.INFO)
    root.addHandler(handler)
    manager = logging.Manager(root)
    manager.setLoggerClass(kind)
    return manager.getLogger(LOGGER)


def _logged(log: logging.Logger, worker: Worker | None) -> Prepared:
    def run(count: int) -> None:
        log_records(log, count)

    return worker.prepared(run) if worker is not None else Prepared(run, None)


def _drained(log: logging.Logger, worker: Worker) -> Prepared:
    def run(count: int) -> None:
        for _ in range(count // _GATHERED):
            log_records(log, _GATHERED)
            worker.drain()

    return worker.prepared(run)


def _rule(worker: Worker) -> None:
    worker.gate.take(Levels("ledger", 1, (Rule("rotator", logging.WARNING),)), welcome=True)


def _loguru_module(worker: Worker) -> dict[str, Any]:
    """The globals of a module of an application that has imported loguru's logger, which is now ours."""
    try:
        from loguru import logger
    except ImportError as error:
        raise NotHereError("loguru is not installed") from error
    from logbus.producers.loguru_front import LOGURU

    module = ModuleType(LOGGER)
    module.__dict__["logger"] = logger
    sys.modules[LOGGER] = module
    LOGURU.begin(worker.producer, level=logging.DEBUG)
    worker.gate.attach(LOGURU)
    if module.__dict__["logger"] is logger or LOGURU.kind() != "direct":
        raise RuntimeError(f"expected loguru's direct way, found {LOGURU.kind()!r}")
    return vars(module)


def _silent(namespace: dict[str, Any], statement: str, worker: Worker) -> Prepared:
    calls = _calls(statement, namespace)

    def run(count: int) -> None:
        calls(count)
        if worker.kept():
            raise RuntimeError(f"expected a rule that suppresses {statement}, found that it passes")

    return Prepared(run, None)


def _calls(statement: str, namespace: dict[str, Any]) -> Callable[[int], None]:
    """A function that calls so often, with these globals."""
    body = "\n        ".join([statement] * _IN_A_ROW)
    source = f"def calls(count):\n    proxy = 'proxy-07'\n    for _ in range(count // {_IN_A_ROW}):\n        {body}\n"
    [code] = [found for found in compile(source, "calls.py", "exec").co_consts if isinstance(found, CodeType)]
    return FunctionType(code, namespace, "calls")
