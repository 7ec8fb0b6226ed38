"""The ledger as metrics, and a collector's health."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from logbus.collectors import metrics as module
from logbus.collectors.histogram import BOUNDS_S, Histogram
from logbus.collectors.metrics import Metrics, View
from logbus.collectors.roll import OWN
from logbus.wire import REASONS

WORKERS: list[dict[str, Any]] = [
    {"producer": "01", "worker": 'odd "name"\\\n{x}', "state": "live", "emitted": 12, "collected": 10},
    {"producer": "02", "worker": "b", "state": "gone", "emitted": 3, "collected": 3},
    {"producer": OWN.hex(), "worker": "logbus", "state": "live", "emitted": 1, "collected": 1},
]
SINK = {
    "name": "main",
    "state": "ok",
    "delivered": 11,
    "filtered": 3,
    "sampled_out": 4,
    "dropped": {"shutdown": 2},
    "queued": 1,
    "spooled": 6,
    "dead_letters": 8,
    "duplicated": 5,
    "last_error": None,
}
#: What its writer says.
WAITING = {"queue_bytes": 700, "oldest_seconds": 1.5, "circuit": "open", "spool": {"bytes": 4096}}


class Bench:
    """Metrics over a document that a test may change."""

    def __init__(self) -> None:
        self.state = "serving"
        self.looks = 0
        self.sinks: list[dict[str, Any]] = [{**SINK, **WAITING}]
        self.total: dict[str, Any] = {"dropped": {"high_water_mark": 2}, "unknown": 4}
        self.latency = Histogram()
        self.metrics = Metrics(self.look)

    def look(self) -> View:
        """The document."""
        self.looks += 1
        ledger = {"workers": WORKERS, "total": self.total, "sinks": self.sinks}
        return View(self.state, 7, ledger, {"main": self.latency})

    def scrape(self) -> dict[str, dict[tuple[str, ...], float]]:
        """The samples by name, each by the values of its labels in the order of their names."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.metrics.text().decode()):
            for sample in family.samples:
                values = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[values] = sample.value
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose metrics look whenever they are asked."""
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    return Bench()


def test_a_scrape_has_the_names_of_the_contract(bench: Bench) -> None:
    """Each with the ledger's counts, and nothing else; every reason is there from the beginning."""
    bench.latency.observe(0.003)
    found = bench.scrape()
    histogram = found.pop("logbus_sink_latency_seconds_bucket")
    assert found == {
        "logbus_records_total": {
            ("emitted", 'odd "name"\\\n{x}'): 12,
            ("collected", 'odd "name"\\\n{x}'): 10,
            ("emitted", "logbus"): 1,
            ("collected", "logbus"): 1,
            ("emitted", "(other)"): 3,
            ("collected", "(other)"): 3,
        },
        "logbus_dropped_total": {(reason,): 2 if reason == "high_water_mark" else 0 for reason in REASONS},
        "logbus_unknown_records_total": {(): 4},
        "logbus_workers": {(): 1},
        "logbus_level_version": {(): 7},
        "logbus_sink_delivered_total": {("main",): 11},
        "logbus_sink_filtered_total": {("main",): 3},
        "logbus_sink_sampled_out_total": {("main",): 4},
        "logbus_sink_failed_total": {(reason, "main"): 2 if reason == "shutdown" else 0 for reason in REASONS},
        "logbus_sink_queue_records": {("main",): 1},
        "logbus_sink_queue_bytes": {("main",): 700},
        "logbus_sink_oldest_seconds": {("main",): 1.5},
        "logbus_sink_dead_letters": {("main",): 8},
        "logbus_sink_spooled_records": {("main",): 6},
        "logbus_sink_spool_bytes": {("main",): 4096},
        "logbus_sink_duplicated_total": {("main",): 5},
        "logbus_sink_circuit": {("main", "closed"): 0, ("main", "open"): 1, ("main", "half_open"): 0},
        "logbus_sink_latency_seconds_count": {("main",): 1},
        "logbus_sink_latency_seconds_sum": {("main",): 0.003},
    }
    assert {float(bound): count for (bound, _), count in histogram.items()} == {
        bound: float(bound >= 0.003) for bound in (*BOUNDS_S, float("inf"))
    }


def test_a_sink_that_was_removed_shows_what_it_left(bench: Bench) -> None:
    """Its counts, and what stands in its spool; it has no queue, no circuit, and nothing grows old."""
    bench.sinks.append({**SINK, "name": "old", "state": "removed"})
    found = bench.scrape()
    assert found["logbus_sink_spooled_records"] == {("main",): 6, ("old",): 6}
    assert list(found["logbus_sink_queue_bytes"]) == list(found["logbus_sink_oldest_seconds"]) == [("main",)]
    assert {sink for sink, _ in found["logbus_sink_circuit"]} == {"main"}


def test_a_counter_does_not_fall(bench: Bench) -> None:
    """The ledger may take a loss back; the counter waits until there are as many again."""
    shown = []
    for count in (2, 5, 3, 5, 6):
        bench.total["dropped"] = {"collector_lost": count}
        shown.append(bench.scrape()["logbus_dropped_total"]["collector_lost",])
    assert shown == [2, 5, 5, 5, 6]


def test_a_crowd_of_scrapers_is_one_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is read once for all who ask within half a second, for their health too."""
    monkeypatch.setattr(module, "FRESH_S", 60.0)
    texts = {bench.metrics.text() for _ in range(10)}
    assert bench.metrics.health() == (True, "serving")
    assert (len(texts), bench.looks) == (1, 1)


def test_a_draining_collector_is_not_healthy(bench: Bench) -> None:
    """Whoever balances load sends nothing more."""
    bench.state = "draining"
    assert bench.metrics.health() == (False, "draining")


def test_a_sink_that_fails_is_named(bench: Bench) -> None:
    """With its error; one that was removed is not missed."""
    bench.sinks.append({**SINK, "name": "old", "state": "removed", "last_error": "gone"})
    assert bench.metrics.health() == (True, "serving")
    bench.sinks.append({**SINK, "name": "disk", "state": "failing", "last_error": "OSError: [Errno 28] full"})
    assert bench.metrics.health() == (False, "unable to deliver: sink disk: OSError: [Errno 28] full")


def test_the_pages_are_text(bench: Bench) -> None:
    """Prometheus' own kind, and a line for eyes; the status says which."""
    pages = bench.metrics.pages()
    status, kind, body = pages["/metrics"]()
    assert (status, kind) == (HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8")
    assert body.endswith(b"\n")
    assert pages["/healthz"]() == (HTTPStatus.OK, "text/plain; charset=utf-8", b"serving\n")
    bench.state = "draining"
    assert pages["/healthz"]()[::2] == (HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
