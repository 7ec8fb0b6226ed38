"""OpenTelemetry's spans on records: the real SDK, whatever its providers do, and nothing where it is not in use."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags

import logbus
from logbus.errors import ConfigurationError
from logbus.producers import tracing
from logbus.producers.context import context, current_context
from logbus.producers.producer import Producer
from logbus.producers.request import request_scope
from logbus.producers.settings import resolve
from logbus.producers.tracing import span_ids, with_span
from tests.peer import Peer
from tests.worker import Worker

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
REMOTE = SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=True, trace_flags=TraceFlags(0))
TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("tests")

StartWorker = Callable[..., Worker]


class Failing(NonRecordingSpan):
    """A span of somebody's own, which fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(REMOTE)
        self._error = error

    def get_span_context(self) -> SpanContext:
        """Raises."""
        raise self._error


def ids() -> dict[str, str]:
    """The fields of the span here."""
    found = trace.get_current_span().get_span_context()
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


def test_a_span_gives_two_fields() -> None:
    """The innermost one, recording or not as long as its ids are valid; outside of spans nothing changes."""
    assert span_ids() is None
    assert with_span(None, None, 7) == (None, None, 7)
    with TRACER.start_as_current_span("outer"), TRACER.start_as_current_span("inner"):
        expected = ids()
        assert with_span(None, None, 7)[0] == expected
        assert with_span({"a": 1}, {"b": [2]}, 7)[:2] == ({"a": 1, **expected}, {"b": [2]})
        assert with_span(None, None, 7)[2] > 7 + 48
    with trace.use_span(NonRecordingSpan(REMOTE)):
        assert span_ids() == (TRACE, SPAN)
    with trace.use_span(INVALID_SPAN):
        assert span_ids() is None


def test_no_dict_is_changed() -> None:
    """The fields may be those of a context, which all its records share."""
    with trace.use_span(NonRecordingSpan(REMOTE)), context(a=1):
        extra: dict[str, Any] = {"a": 1}
        assert with_span(extra, None, 0)[0] == {"a": 1, "trace_id": TRACE, "span_id": SPAN}
        assert extra == {"a": 1}


def test_the_nearest_to_the_call_wins() -> None:
    """A record's own fields, whatever they are, then the span's, then those of the context."""
    with trace.use_span(NonRecordingSpan(REMOTE)):
        for own in ({"trace_id": "mine"}, {"span_id": "mine"}):
            assert with_span({**own}, None, 7) == (own, None, 7)
        assert with_span({"trace_id": None}, None, 7)[0] == {"trace_id": TRACE, "span_id": SPAN}
        assert with_span({"a": 1}, {"trace_id": ["mine"]}, 7) == ({"a": 1}, {"trace_id": ["mine"]}, 7)
        with request_scope("r", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"):
            joined = current_context()
            assert with_span(joined, None, 7)[0] == {"request_id": "r", "trace_id": TRACE, "span_id": SPAN}
            assert with_span({**joined, "span_id": "mine"}, None, 7)[0] == {**joined, "span_id": "mine"}


def test_a_request_in_a_span_has_the_id_of_its_trace() -> None:
    """Unless one is given or active."""
    with trace.use_span(NonRecordingSpan(REMOTE)):
        with request_scope():
            assert current_context() == {"request_id": TRACE}
        with context(request_id="r"), request_scope():
            assert current_context() == {"request_id": "r"}


def test_a_span_that_fails_costs_its_ids_only() -> None:
    """No Exception of a provider reaches a log call; an interrupt is the application's."""
    with trace.use_span(Failing(ValueError("broken"))):
        assert with_span({"a": 1}, None, 7) == ({"a": 1}, None, 7)
    with trace.use_span(Failing(KeyboardInterrupt()), record_exception=False), pytest.raises(KeyboardInterrupt):
        span_ids()


def test_records_carry_the_span_in_which_they_are_logged(peer: Peer) -> None:
    """From the first record on: in the main thread, in tasks, in threads that were told to carry, and not in others."""
    logging.getLogger().addHandler(logbus.LogbusHandler())
    log = logging.getLogger("shop.till")
    log.setLevel(logging.INFO)
    expected: dict[str, dict[str, str]] = {}

    def tell(name: str) -> None:
        expected[name] = ids() if trace.get_current_span().get_span_context().is_valid else {}
        log.info(name)

    async def task(name: str) -> None:
        with TRACER.start_as_current_span(name):
            await asyncio.sleep(0)
            tell(name)

    async def tasks() -> None:
        await asyncio.gather(*(task(f"task {n}") for n in range(5)))

    with TRACER.start_as_current_span("main"):
        tell("first")
        asyncio.run(tasks())
        threads = [
            threading.Thread(target=logbus.carry(tell), args=("carried",)),
            threading.Thread(target=tell, args=("bare",)),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    tell("outside")
    found = {record.message: record.extra for record in peer.wait_records(9)}
    assert found == expected
    assert len({extra["span_id"] for extra in found.values() if extra}) == 6
    assert (found["carried"], found["outside"]) == (found["first"], {})


def test_the_flight_recorder_keeps_the_span(peer: Peer) -> None:
    """What comes back later says where it was logged, and not where the trigger was."""
    logbus.configure(flight_recorder=True, level="INFO")
    log = logging.getLogger("shop.till")
    with trace.use_span(NonRecordingSpan(REMOTE)):
        log.debug("kept")
    with TRACER.start_as_current_span("other"):
        expected = ids()
        log.error("failed")
    kept, failed = peer.wait_records(2)
    assert (kept.message, kept.extra) == ("kept", {"trace_id": TRACE, "span_id": SPAN, "flight_recorder": True})
    assert (failed.message, failed.extra) == ("failed", expected)


def test_it_can_be_turned_off(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the code or the environment; what makes no sense is refused."""
    logbus.configure(opentelemetry=False)
    with trace.use_span(NonRecordingSpan(REMOTE)):
        logging.info("off")
    [record] = peer.wait_records(1)
    assert record.extra == {}
    monkeypatch.setenv("LOGBUS_OPENTELEMETRY", "Off")
    assert resolve({}).opentelemetry is False
    assert resolve({"opentelemetry": True}).opentelemetry is True
    monkeypatch.setenv("LOGBUS_OPENTELEMETRY", "maybe")
    with pytest.raises(ConfigurationError, match="LOGBUS_OPENTELEMETRY 'maybe': expected true or false"):
        resolve({})


def test_it_may_be_found_while_the_producer_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the moment of the look, the way of the records that follow leads past the span."""
    monkeypatch.setattr(tracing, "is_loaded", lambda: False)
    producer = Producer(resolve({}))
    assert producer.emit == producer._emit_early
    taken: list[Any] = []

    def put(*record: Any) -> None:
        taken.append(record)
        if record[3] == "early":
            monkeypatch.setattr(tracing, "is_loaded", lambda: True)
            assert producer.look_for_spans()
            assert not producer.look_for_spans()

    record = (1.5, ("shop", 20, "INFO", "m", "f", 1), "thread", "early", None, None, None, 100)
    producer._early.append(record)
    producer._let_go(put)
    with trace.use_span(NonRecordingSpan(REMOTE)):
        producer.emit(*record[:3], "late", *record[4:])  # type: ignore[arg-type]
    assert [(entry[3], entry[4]) for entry in taken] == [
        ("early", None),
        ("late", {"trace_id": TRACE, "span_id": SPAN}),
    ]


def test_nothing_stands_in_the_way_before_it_is_loaded(peer: Peer, start_worker: StartWorker) -> None:
    """Then a log call takes no step more; once it is loaded, records carry spans from the first on."""
    worker = start_worker(
        """
        producer = logbus.configure(sigterm=False)
        log.info("before")
        loaded = "opentelemetry" in sys.modules
        direct = producer.emit == producer._life.buffer.put
        from opentelemetry import trace
        span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))
        with trace.use_span(span):
            log.info("after")
        say(loaded=loaded, direct=direct)
        """
    )
    assert worker.finish() == {"loaded": False, "direct": True}
    found = {record.message: record.extra for record in peer.wait_records(2)}
    assert found == {"before": {}, "after": {"trace_id": f"{1:032x}", "span_id": f"{2:016x}"}}


def test_a_forked_child_asks_too(peer: Peer, start_worker: StartWorker) -> None:
    """From its first record on, in the span in which it was forked."""
    worker = start_worker(
        """
        import logbus.producers.tracing
        logbus.configure(opentelemetry=True)
        from opentelemetry import trace
        with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))):
            pid = os.fork()
            log.info("child" if pid == 0 else "parent")
        logbus.shutdown(10)
        if pid == 0:
            os._exit(0)
        say(status=os.waitpid(pid, 0)[1])
        """
    )
    assert worker.finish() == {"status": 0}
    found = {record.message: record.extra["trace_id"] for record in peer.wait_records(2)}
    assert found == dict.fromkeys(("child", "parent"), f"{1:032x}")


def test_where_it_is_not_installed_only_an_explicit_wish_is_an_error(start_worker: StartWorker) -> None:
    """The error says what was expected; without the wish nothing happens, also while it is half imported."""
    worker = start_worker(
        """
        import types
        sys.modules["opentelemetry.trace"] = types.ModuleType("opentelemetry.trace")
        logbus.configure()
        with_half = logbus.producers.producer.tracing.is_loaded()
        sys.modules["opentelemetry.trace"] = None
        try:
            logbus.configure(opentelemetry=True)
        except logbus.ConfigurationError as error:
            say(half=with_half, error=str(error))
        """
    )
    said = worker.hear()
    worker.wait()
    assert said["half"] is False
    assert "opentelemetry=True: expected opentelemetry-api, which is not installed" in said["error"]


def test_processes_get_the_trace_as_fields() -> None:
    """A span can't be pickled: what is carried to another process are its ids."""
    with TRACER.start_as_current_span("main"), context(request_id="r"):
        expected = {"request_id": "r", **ids()}
        carried = logbus.carry(current_context)
    assert pickle.loads(pickle.dumps(carried))() == expected
