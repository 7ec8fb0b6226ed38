"""The ledger as Prometheus metrics, and the health of a collector: what ``--metrics`` serves.

Nothing is counted here. A scrape reads the status document, as ``logbus status`` does, and shows it under the names
of the contract, so that a dashboard and the ledger can't disagree. Reading it holds the ledger's lock for some
milliseconds: scrapes that come fast get the same text for :data:`FRESH_S`, so that no number of them slows the
collector.

A counter of Prometheus must not go down while its process lives. One term of the ledger may, when a record that was
given up as lost comes after all: the counter then waits until the ledger is there again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as Source

from logbus.collectors.histogram import BOUNDS_S, Histogram
from logbus.collectors.labels import Labels
from logbus.collectors.roll import OWN
from logbus.collectors.web import Answer, WebServer, text
from logbus.collectors.writing.breaker import Circuit
from logbus.wire import REASONS

#: Seconds for which a look at the ledger serves all who ask.
FRESH_S: Final = 0.5
#: The stages of ``logbus_records_total``: keys of a worker's row.
STAGES: Final = ("emitted", "collected")
#: What a breaker does: the values of ``state`` of ``logbus_sink_circuit``.
CIRCUITS: Final = get_args(Circuit)


@dataclass(frozen=True, slots=True)
class View:
    """A collector at one moment: its state, the ledger's document, and how long records waited, by sink."""

    state: str
    level_version: int
    ledger: Mapping[str, Any]
    latencies: Mapping[str, Histogram]


def serve(address: str, look: Callable[[], View], *, tell: Callable[[str], None]) -> WebServer:
    """A web server with the pages of the collector at which ``look`` looks, from the server's thread.

    ``tell`` hears of it when others than this machine can read them. Raises what :class:`WebServer` raises.
    """
    server = WebServer(address, Metrics(look).pages())
    if server.exposed:
        tell(f"metrics at {server.url} can be read by whoever reaches this address, names of workers and sinks too")
    return server


class Metrics(Source):
    """Metrics and health of the collector at which ``look`` looks; any thread may ask for them."""

    def __init__(self, look: Callable[[], View]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._view: View | None = None
        self._text = b""
        self._until = 0.0
        self._labels = Labels(STAGES)
        #: What each counter of a reason has shown.
        self._shown: dict[tuple[str, ...], int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        with self._lock:
            self._refresh()
            return self._text

    def pages(self) -> dict[str, Callable[[], Answer]]:
        """The pages of a web server."""
        return {"/metrics": self._metrics_page, "/healthz": self._health_page}

    def health(self) -> tuple[bool, str]:
        """Whether the collector serves and can deliver to every sink, and a line that says so or what is wrong.

        It says what an operator has to mend, not what a restart would: nobody should kill a collector for it.
        """
        with self._lock:
            view = self._refresh()
        if view.state != "serving":
            return False, view.state
        failing = [
            f"sink {row['name']}: {row['last_error']}" for row in view.ledger["sinks"] if row["state"] == "failing"
        ]
        return (False, f"unable to deliver: {'; '.join(failing)}") if failing else (True, "serving")

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not look for names that another source has."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of the last look, for the registry."""
        view = self._view
        if view is None:
            return
        workers, sinks = view.ledger["workers"], view.ledger["sinks"]
        before, self._shown = self._shown, {}

        def risen(key: tuple[str, ...], count: int) -> int:
            """The count, or what was shown of it the last time if that was more."""
            highest = self._shown[key] = max(count, before.get(key, 0))
            return highest

        records = CounterMetricFamily("logbus_records", "Records by stage and worker.", labels=("stage", "worker"))
        for worker, counts in self._labels.counts(workers).items():
            for stage, count in zip(STAGES, counts, strict=True):
                records.add_metric((stage, worker), risen((stage, worker), count))
        yield records

        dropped = CounterMetricFamily("logbus_dropped", "Records of workers that were dropped.", labels=("reason",))
        for reason in REASONS:
            dropped.add_metric((reason,), risen((reason,), view.ledger["total"]["dropped"].get(reason, 0)))
        yield dropped

        unknown = view.ledger["total"]["unknown"]
        yield CounterMetricFamily(
            "logbus_unknown_records", "Records of which nobody knows what became of them.", value=unknown
        )
        live = [row for row in workers if row["state"] == "live" and row["producer"] != OWN.hex()]
        yield GaugeMetricFamily("logbus_workers", "Workers that are alive.", value=len(live))
        yield GaugeMetricFamily("logbus_level_version", "Version of the level rules.", value=view.level_version)

        delivered = CounterMetricFamily("logbus_sink_delivered", "Records that a sink has written.", labels=("sink",))
        filtered = CounterMetricFamily("logbus_sink_filtered", "Records that a sink does not take.", labels=("sink",))
        sampled_out = CounterMetricFamily(
            "logbus_sink_sampled_out", "Records that a sink's sampling has left out.", labels=("sink",)
        )
        failed = CounterMetricFamily(
            "logbus_sink_failed", "Records that a sink has dropped.", labels=("sink", "reason")
        )
        queue = GaugeMetricFamily("logbus_sink_queue_records", "Records that wait for a sink.", labels=("sink",))
        for row in sinks:
            delivered.add_metric((row["name"],), row["delivered"])
            filtered.add_metric((row["name"],), row["filtered"])
            sampled_out.add_metric((row["name"],), row["sampled_out"])
            for reason in REASONS:
                failed.add_metric((row["name"], reason), row["dropped"].get(reason, 0))
            queue.add_metric((row["name"],), row["queued"])
        yield from (delivered, filtered, sampled_out, failed, queue)
        yield from _waiting(sinks)

        latency = HistogramMetricFamily(
            "logbus_sink_latency_seconds",
            "From the hand-over to a sink's queue until it was written: one write, its oldest record.",
            labels=("sink",),
        )
        bounds = (*(str(bound) for bound in BOUNDS_S), "+Inf")
        for name, histogram in sorted(view.latencies.items()):
            found = histogram.now()
            latency.add_metric((name,), list(zip(bounds, map(float, found.cumulative), strict=True)), found.seconds)
        yield latency

    def _metrics_page(self) -> Answer:
        return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, self.text()

    def _health_page(self) -> Answer:
        well, words = self.health()
        return text(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, words)

    def _refresh(self) -> View:
        """The last look, or a new one where that is old. The lock is held."""
        now = time.monotonic()
        if self._view is None or now >= self._until:
            self._view = self._look()
            self._text = generate_latest(self._registry)
            self._until = time.monotonic() + FRESH_S
        return self._view


def _waiting(sinks: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """What waits for the sinks, and how long; of those in force, which have a writer that says so."""
    duplicated = CounterMetricFamily(
        "logbus_sink_duplicated", "Records that the other side has, or may have, twice.", labels=("sink",)
    )
    spooled = GaugeMetricFamily("logbus_sink_spooled_records", "Records in a sink's spool.", labels=("sink",))
    letters = GaugeMetricFamily(
        "logbus_sink_dead_letters", "Records that a sink has refused for good, and that are kept.", labels=("sink",)
    )
    for row in sinks:
        duplicated.add_metric((row["name"],), row["duplicated"])
        spooled.add_metric((row["name"],), row["spooled"])
        letters.add_metric((row["name"],), row["dead_letters"])
    queue = GaugeMetricFamily("logbus_sink_queue_bytes", "Bytes that wait for a sink in memory.", labels=("sink",))
    spool = GaugeMetricFamily("logbus_sink_spool_bytes", "Bytes that a sink's spool has on disk.", labels=("sink",))
    oldest = GaugeMetricFamily(
        "logbus_sink_oldest_seconds", "Age of the oldest record that waits for a sink, 0 for none.", labels=("sink",)
    )
    circuit = GaugeMetricFamily(
        "logbus_sink_circuit", "1 for what the breaker of a sink does at present.", labels=("sink", "state")
    )
    for row in sinks:
        if "queue_bytes" in row:
            name = row["name"]
            queue.add_metric((name,), row["queue_bytes"])
            spool.add_metric((name,), row.get("spool", {}).get("bytes", 0))
            oldest.add_metric((name,), row["oldest_seconds"] or 0.0)
            for state in CIRCUITS:
                circuit.add_metric((name, state), float(row["circuit"] == state))
    yield from (duplicated, spooled, letters, queue, spool, oldest, circuit)
