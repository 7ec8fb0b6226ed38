"""``--metrics`` of a real collector: the same counts as the ledger, and a health that follows its life."""

from __future__ import annotations

import http.client
import itertools
import signal
from contextlib import closing
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from logbus.collectors.metrics import CIRCUITS
from logbus.wire import REASONS
from tests.collector_command import run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer, raw
from tests.integration.watch import free_port, settled, sink_of, status_of

Samples = dict[tuple[str, ...], float]

A, B = producer(1), producer(2)


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()


def scrape(port: int) -> Samples:
    """Every sample by its name and the values of its labels, these in the order of their names."""
    status, text = get(port, "/metrics")
    assert status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_says_what_the_status_says(start_collector: StartCollector) -> None:
    """At rest each counter is the ledger's number: by worker and stage, by reason, and by sink."""
    port = free_port()
    arguments = ("--sink", "file:out.jsonl", "--sink", "file:err.jsonl,level=ERROR,name=err")
    collector = start_collector(*arguments, "--metrics", f"127.0.0.1:{port}")
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "one", "two", worker="a"), raw(A, 2, 3, b"junk"))
        sender.send(mark(A, sent=5, buffered=1, drops=[[0, 2, 7]], worker="a"))
        sender.send(data(B, 4, "late", worker="b"))
        # A name is given to who is seen alive.
        eventually(lambda: ("logbus_records_total", "emitted", "b") in scrape(port))
        sender.send(mark(B, sent=5, bye=True, worker="b"))
        settled(collector, lambda status: status["total"]["emitted"] >= 18)

        def same() -> bool:
            shown, status = scrape(port), status_of(collector)
            found = {key: value for key, value in shown.items() if not key[0].startswith("logbus_sink_latency")}
            workers = {row["worker"]: row for row in status["workers"]}
            total = status["total"]
            expected: Samples = {
                ("logbus_records_total", stage, name): workers[name][stage] if name in workers else 0
                for name in ("a", "b", "logbus", "(other)")
                for stage in ("collected", "emitted")
            }
            expected |= {("logbus_dropped_total", reason): total["dropped"].get(reason, 0) for reason in REASONS}
            expected |= {
                ("logbus_unknown_records_total",): total["unknown"],
                ("logbus_workers",): sum(row["state"] == "live" for row in status["workers"]) - 1,
                ("logbus_level_version",): status["collector"]["level_version"],
            }
            for sink in status["sinks"]:
                expected["logbus_sink_delivered_total", sink["name"]] = sink["delivered"]
                expected["logbus_sink_filtered_total", sink["name"]] = sink["filtered"]
                expected["logbus_sink_sampled_out_total", sink["name"]] = sink["sampled_out"]
                expected["logbus_sink_queue_records", sink["name"]] = sink["queued"]
                expected["logbus_sink_queue_bytes", sink["name"]] = sink["queue_bytes"]
                expected["logbus_sink_oldest_seconds", sink["name"]] = sink["oldest_seconds"] or 0.0
                expected["logbus_sink_spooled_records", sink["name"]] = sink["spooled"]
                expected["logbus_sink_dead_letters", sink["name"]] = sink["dead_letters"]
                expected["logbus_sink_spool_bytes", sink["name"]] = 0
                expected["logbus_sink_duplicated_total", sink["name"]] = sink["duplicated"]
                for state in CIRCUITS:
                    expected["logbus_sink_circuit", sink["name"], state] = float(sink["circuit"] == state)
                for reason in REASONS:
                    expected["logbus_sink_failed_total", reason, sink["name"]] = sink["dropped"].get(reason, 0)
            assert found == expected
            assert total["dropped"]["high_water_mark"] == 7
            assert shown["logbus_sink_latency_seconds_count", "file"] >= 1
            assert shown["logbus_sink_latency_seconds_bucket", "+Inf", "file"] >= 1
            assert 0 < shown["logbus_sink_latency_seconds_sum", "file"] < 10
            return True

        # Worker b has gone by its own word, and is closed a moment later: all of it comes to rest.
        eventually(same)
    assert status_of(collector)["collector"]["metrics"] == f"http://127.0.0.1:{port}"


def test_health_follows_the_life_of_a_collector(start_collector: StartCollector, tmp_path: Path) -> None:
    """200 while it serves; 503 while a sink fails, with its error, and while it drains; then nobody is there."""
    port = free_port()
    collector = start_collector("--sink", "file:logs/out.jsonl", "--metrics", f"127.0.0.1:{port}")
    assert get(port, "/healthz") == (200, "serving\n")
    with RawSender(collector.endpoint) as sender:
        (tmp_path / "logs").rename(tmp_path / "moved")
        (tmp_path / "logs").write_text("a file, not a directory")

        numbers = itertools.count()

        def failing() -> bool:
            sender.send(data(A, next(numbers), "one"))  # the file is looked at between writes, once a second
            status, words = get(port, "/healthz")
            return status == 503 and words.startswith("unable to deliver: sink file: ")

        eventually(failing)
        (tmp_path / "logs").unlink()
        eventually(lambda: get(port, "/healthz") == (200, "serving\n"))
        settled(collector, lambda status: sink_of(status, "file")["queued"] == 0)
        # A worker that lives and does not answer: the drain waits for it.
        sender.send(mark(A, sent=next(numbers)))
        settled(collector, lambda status: status["total"]["emitted"] > 1)
        collector.process.send_signal(signal.SIGTERM)
        eventually(lambda: get(port, "/healthz") == (503, "draining\n"))
    assert collector.stop() == 0
    assert start_collector("--sink", "file:logs/out.jsonl", "--metrics", f"127.0.0.1:{port}").stop() == 0


def test_an_address_in_use_ends_with_3(start_collector: StartCollector, tmp_path: Path) -> None:
    """Before a worker could connect; the one who has it goes on."""
    port = free_port()
    first = start_collector("--sink", "file:out.jsonl", "--metrics", f"127.0.0.1:{port}")
    arguments = ("--sink", "file:other.jsonl", "--name", "second", "--metrics", f"127.0.0.1:{port}")
    second = run_logbus("collector", "start", *arguments, cwd=tmp_path)
    assert second.returncode == 3
    assert second.stderr == f"logbus: error: metrics address 127.0.0.1:{port} is owned by another process\n"
    assert get(port, "/healthz")[0] == 200
    assert first.stop() == 0


def test_an_address_beyond_loopback_is_told(start_collector: StartCollector) -> None:
    """Once, on stderr: whoever reaches it reads names."""
    port = free_port()
    collector = start_collector("--sink", "file:out.jsonl", "--metrics", f"0.0.0.0:{port}")
    assert collector.stderr.count(f"metrics at http://0.0.0.0:{port} can be read by whoever reaches") == 1
    assert get(port, "/metrics")[0] == 200
