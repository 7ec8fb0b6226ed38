"""Handlers that bring records to an HTTP server by themselves: what users pick who have no collector.

Each runs in a process of its own, with what it needs from ``.venvs/bench`` (``make bench-peers``), so that nothing of
it gets into our own. It is set up as its documentation does, but for what would void or flatter a comparison: queues
that drop a burst are made as long as it, timers that only make the benchmark wait are short, and nothing is compressed.
None of them redacts. All send the fields of a logbus line, or those that the handler chooses.

The program is ``python -m benchmarks.shippers '{"name": …, "host": …, "port": …, "slot": …}'``. It says when it is
ready, and for each number on its stdin logs so many records, brings them away as far as it knows how to, and says so.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.record import LOGGER, JsonLine, log_records

#: Seconds between looks at whether a handler's queue is empty.
_LOOK_S: Final = 0.005
#: Seconds of timers that make only the benchmark wait.
_TIMER_S: Final = 0.2

Flush = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Target:
    """What a process is, and where it sends: ``endpoint`` is a collector's, for logbus alone."""

    name: str
    port: int
    slot: int
    endpoint: str = ""

    def url(self, status: int = 200) -> str:
        """Where requests go that are to be answered so."""
        return f"http://127.0.0.1:{self.port}/{self.slot}/{status}/x"


@dataclass(frozen=True, slots=True)
class Shipper:
    """One of those compared: the distribution it is in ("": Python's own), and what it does. Records of one run."""

    make: Callable[[Target], tuple[logging.Handler, Flush]]
    package: str
    does: str
    records: int = 4000


def _null(_: Target) -> tuple[logging.Handler, Flush]:
    return logging.NullHandler(), lambda: None


def _logbus(target: Target) -> tuple[logging.Handler, Flush]:
    import logbus

    def flush() -> None:
        if not logbus.flush(30):
            raise RuntimeError("nobody took the records within 30 s")

    return logbus.LogbusHandler(target.endpoint), flush


def _http_handler(target: Target) -> tuple[logging.Handler, Flush]:
    place = f"127.0.0.1:{target.port}"
    handler = logging.handlers.HTTPHandler(place, f"/{target.slot}/200/x", method="POST")
    return handler, lambda: None


def _json(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(JsonLine())
    return handler


def _logging_loki(target: Target) -> tuple[logging.Handler, Flush]:
    import logging_loki

    return _json(logging_loki.LokiHandler(target.url(204), tags={"job": "bench"}, version="1")), lambda: None


def _loki_logger_handler(target: Target) -> tuple[logging.Handler, Flush]:
    from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

    handler = LokiLoggerHandler(target.url(204), {"job": "bench"}, timeout=_TIMER_S, compressed=False)

    def flush() -> None:
        handler.flush_event.set()
        _until(handler.buffer.empty)

    return handler, flush


def _opentelemetry(target: Target) -> tuple[logging.Handler, Flush]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider()
    exporter = OTLPLogExporter(target.url())
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=100_000))

    def flush() -> None:
        provider.force_flush()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it has moved into a package of its own, unchanged
        return LoggingHandler(logger_provider=provider), flush


def _logstash_async(target: Target) -> tuple[logging.Handler, Flush]:
    from logstash_async.constants import constants
    from logstash_async.handler import AsynchronousLogstashHandler

    constants.QUEUE_CHECK_INTERVAL = _TIMER_S
    handler = AsynchronousLogstashHandler(
        "127.0.0.1",
        target.port,
        database_path=None,
        transport="logstash_async.transport.HttpTransport",
        ssl_enable=False,
        path=f"{target.slot}/200/x",
    )
    return handler, handler.flush


def _splunk(target: Target) -> tuple[logging.Handler, Flush]:
    from splunk_handler import SplunkHandler

    handler = SplunkHandler(
        "127.0.0.1", target.port, "token", "main", url=target.url(), flush_interval=_TIMER_S / 4, queue_size=0
    )
    return _json(handler), lambda: None


def _logzio(target: Target) -> tuple[logging.Handler, Flush]:
    from logzio.handler import LogzioHandler

    handler = LogzioHandler("token", url=target.url(), logs_drain_timeout=_TIMER_S, backup_logs=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler, handler.flush


SHIPPERS: Final = {
    "NullHandler": Shipper(_null, "", "nothing: what the log call itself costs"),
    "logbus": Shipper(_logbus, "logbus", "redacts; batches of 500, retries, dead letters; worker and collector"),
    "logging.handlers.HTTPHandler": Shipper(_http_handler, "", "a connection for each record, in the call", 400),
    "logging_loki.LokiHandler": Shipper(_logging_loki, "python-logging-loki", "a request for each, in the call", 400),
    "LokiLoggerHandler": Shipper(_loki_logger_handler, "loki-logger-handler", "a batch each 10 s; lost if that fails"),
    "OTLPLogExporter": Shipper(_opentelemetry, "opentelemetry-exporter-otlp-proto-http", "batches of 512, retries"),
    "logstash_async, HTTP": Shipper(_logstash_async, "python-logstash-async", "batches of 50, cache, retries", 1000),
    "SplunkHandler": Shipper(_splunk, "splunk-handler", "batches of 512 KiB each 15 s, retries"),
    "LogzioHandler": Shipper(_logzio, "logzio-python-handler", "batches of 1 MB each 3 s, retries"),
}


def serve(target: Target) -> None:
    """Logs as it is told to, until its stdin ends."""
    handler, flush = SHIPPERS[target.name].make(target)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    log = logging.getLogger(LOGGER)
    print("ready", flush=True)
    for line in sys.stdin:
        log_records(log, int(line))
        flush()
        print("done", flush=True)


def argument(target: Target) -> str:
    """What the program is given."""
    return json.dumps(asdict(target))


def _until(look: Callable[[], Any]) -> None:
    while not look():
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    serve(Target(**json.loads(sys.argv[1])))
