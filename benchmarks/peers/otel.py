"""OpenTelemetry's handler and its batch processor, with an exporter that only counts: nothing is packed or sent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.peers.calls import Calls
from benchmarks.peers.peer import Peer, Place, root_logger

#: Records that its queue holds: a burst. By default 2,048, whereupon the oldest are dropped.
_QUEUED: Final = 8192


def batch(place: Place) -> Peer:
    """``LoggingHandler`` and ``BatchLogRecordProcessor``."""
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult

    class Counter(LogRecordExporter):
        records = 0

        def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
            self.records += len(batch)
            return LogRecordExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    counter = Counter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(counter, max_queue_size=_QUEUED))
    place.stack.callback(provider.shutdown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has moved to a package that isn't stable yet
        handler = LoggingHandler(logger_provider=provider)
    return Peer(Calls(root_logger(handler)), provider.force_flush, lambda: counter.records)
