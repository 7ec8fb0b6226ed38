"""The sender and a collector's sockets: back-pressure, restarts, junk and records of every shape."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

import logbus
from logbus.bus import Endpoint, control_endpoint, publisher_socket
from logbus.control import STATE_TOPIC, State
from logbus.producers import sender
from logbus.producers.handler import LogbusHandler
from logbus.producers.sanitise import TRUNCATED
from tests.eventually import eventually
from tests.peer import Peer, send_junk


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger that leads to a handler with the settings of the environment."""
    logger = logging.getLogger("shop.till")
    logger.setLevel(1)
    logger.propagate = False
    logger.addHandler(LogbusHandler())
    yield logger
    logger.handlers.clear()


def ours(log: logging.Logger) -> LogbusHandler:
    """The handler of ours that a logger has."""
    [handler] = [handler for handler in log.handlers if isinstance(handler, LogbusHandler)]
    return handler


def check_sequences(peer: Peer) -> None:
    """Each producer's records came once, in the order of their numbers, from 0 on."""
    for numbers in peer.arrivals.sequences().values():
        assert numbers == list(range(len(numbers)))


@pytest.mark.soak
def test_a_flood_arrives_in_order(peer: Peer, log: logging.Logger, scale: Callable[[int, int], int]) -> None:
    """Every record of every thread arrives once and in its order, numbered without a gap."""
    count = scale(200_000, 5_000)

    def flood(lane: int) -> None:
        for number in range(count):
            log.log((10, 20, 30, 40)[number % 4], "%d %d", lane, number)
            if number % 5000 == 4999:
                logbus.flush(60)

    threads = [threading.Thread(target=flood, args=(lane,), name=f"lane-{lane}") for lane in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logbus.flush(60)
    records = peer.arrivals.records
    check_sequences(peer)
    for lane in range(3):
        mine = [record.message for record in records if record.thread == f"lane-{lane}"]
        assert mine == [f"{lane} {number}" for number in range(count)]
    assert logbus.stats() == logbus.Stats(3 * count, 3 * count)


def test_a_collector_that_reads_no_more_costs_nothing_but_time(peer: Peer, log: logging.Logger) -> None:
    """The socket's refusal is no drop: what does not fit waits in the buffer, and arrives when it reads again."""
    log.info("before")
    assert logbus.flush(10)
    peer.stall()
    for number in range(40_000):
        log.info("%d", number)
    # Eight frames on either side and what the kernel holds: the rest is still with us.
    assert eventually(lambda: 0 < logbus.stats().sent < 30_000)
    assert logbus.stats().queued > 10_000
    assert not logbus.flush(0.05)
    peer.go_on()
    assert logbus.flush(30)
    assert peer.arrivals.messages == ["before", *map(str, range(40_000))]
    check_sequences(peer)


def test_a_restart_of_the_collector_loses_nothing(directories: Path, log: logging.Logger) -> None:
    """Told to hold its records a worker does, answers with a MARK, and goes on with the next collector."""
    stopped = threading.Event()
    logged = 0

    def work() -> None:
        nonlocal logged
        while not stopped.is_set():
            log.info("%d", logged)
            logged += 1
            if logged % 20 == 0:
                stopped.wait(0.001)

    messages: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(5):
        with Peer.at(directories / "runtime" / "default") as peer:
            peer.wait_records(200)
            said = peer.say("draining", ask=True)
            mark = peer.wait_mark(said.request)
            # The frames of a connection come in order: what the MARK calls sent is here.
            messages += peer.arrivals.messages
            assert len(messages) == mark.sent
    stopped.set()
    thread.join()
    with Peer.at(directories / "runtime" / "default") as peer:
        assert logbus.flush(30)
        messages += peer.arrivals.messages
    assert messages == [str(number) for number in range(logged)]


def test_records_wait_for_the_first_collector(directories: Path, log: logging.Logger) -> None:
    """A worker may start long before its collector: what it logged in between arrives."""
    for number in range(1000):
        log.info("%d", number)
    with Peer.at(directories / "runtime" / "default") as peer:
        assert logbus.flush(10)
        assert peer.arrivals.messages == [str(number) for number in range(1000)]


def test_a_collector_that_crashed_is_found_again(directories: Path, log: logging.Logger) -> None:
    """Without a handshake frames under way may be lost, and never doubled; what comes later arrives."""
    with Peer.at(directories / "runtime" / "default") as first:
        for number in range(2000):
            log.info("%d", number)
        first.wait_records(1)
    with Peer.at(directories / "runtime" / "default") as second:
        log.error("again")
        assert eventually(lambda: "again" in second.arrivals.messages, 20)
        logbus.flush(0.2)
        numbers = [
            number for peer in (first, second) for found in peer.arrivals.sequences().values() for number in found
        ]
        assert numbers == sorted(set(numbers))
        messages = [m for m in first.arrivals.messages + second.arrivals.messages if m != "again"]
        assert messages == sorted(messages, key=int)


def test_an_acknowledgement_that_was_lost_is_asked_for_again(peer: Peer, log: logging.Logger) -> None:
    """A publisher may lose a message: a flush and an exit repeat their question, and don't wait in vain."""
    peer.forget_answers(2)
    log.info("one")
    assert logbus.flush(5 * sender.ASK_INTERVAL_S)
    peer.forget_answers(2)
    begun = len(peer.arrivals.byes)
    log.info("two")
    assert ours(log).producer.shutdown(30).sent == 2
    assert len(peer.arrivals.byes) == begun + 1
    assert peer.arrivals.messages == ["one", "two"]


def test_an_asking_worker_does_not_flood_the_collector(peer: Peer, log: logging.Logger) -> None:
    """Questions that stay unanswered are repeated a few times a second, not as fast as they can be."""
    log.info("one")
    assert logbus.flush(10)
    peer.acknowledge_nothing()
    log.info("two")
    before = len(peer.arrivals.marks)
    assert not logbus.flush(3 * sender.ASK_INTERVAL_S)
    assert 1 <= len(peer.arrivals.marks) - before <= 8


JUNK = [
    b"",
    STATE_TOPIC,
    STATE_TOPIC + b"{}",
    STATE_TOPIC + b"\xff",
    STATE_TOPIC + b"[" * 100_000,
    STATE_TOPIC + b'{"v": 1, "state": "draining"}',
]


def test_junk_on_the_control_socket_is_ignored(directories: Path, log: logging.Logger) -> None:
    """Whoever publishes what is no state is not believed, and stops nobody."""
    directory = directories / "runtime" / "default"
    directory.mkdir(parents=True)
    control = control_endpoint(records=Endpoint.parse(f"ipc://{directory}/records"))
    log.info("early")
    with zmq.Context() as context, publisher_socket(context) as publisher:
        publisher.bind(control.publisher.url)
        topics = {publisher.recv()[1:2] for _ in range(2)} if publisher.poll(10_000) else set()
        for junk in JUNK:
            publisher.send(junk)
            publisher.send(b"P" + junk)
        huge = State("l", "x", "n", 1, 2**62, "serving", 2**62)
        publisher.send(huge.pack().replace(str(2**62).encode(), str(2**70).encode()))
        assert topics == {b"S", b"P"}
    Path(control.publisher.url.removeprefix("ipc://")).unlink()
    with Peer.at(directory) as peer:
        assert logbus.flush(20)
        assert peer.arrivals.messages == ["early"]


def test_junk_on_the_record_socket_disturbs_no_worker(peer: Peer, log: logging.Logger) -> None:
    """Frames of somebody else stand beside ours; the peer of this test refuses them, and ours arrive before it ends."""
    log.info("one")
    assert logbus.flush(10)
    send_junk(peer.endpoint, b"junk")
    with pytest.raises(Exception, match="frame of 4 bytes"):
        peer.wait_records(2)
    peer._failure = None


def test_records_of_every_shape_arrive(peer: Peer, log: logging.Logger) -> None:
    """Surrogates, huge integers, giants, odd names and times: all of them, and their neighbours."""
    log.info("first")
    log.info("\ud800 surrogate %s", "\udfff", extra={"\ud801": ["\ud802"]})
    log.info("huge", extra={"n": 2**70, "nested": [2**70, -(2**70)]})
    log.info("x" * 1_000_000, extra={"y": "y" * 1_000_000, "request_id": "r1"})
    log.info("𐍈" * 60_000, extra={f"k{n}": "𐍈" * 8000 for n in range(100)})
    for attributes in (
        {"name": None},
        {"module": None, "lineno": None},
        {"created": float("nan")},
        {"threadName": ["x"]},
    ):
        # By our own handler alone: pytest's, which captures every logger, raises on such records.
        ours(log).handle(logging.makeLogRecord({"name": "shop.till", "levelno": 20, "msg": "odd", **attributes}))
    log.info("last")
    assert logbus.flush(10)
    records = peer.arrivals.records
    assert [record.message[:15] for record in records[:3]] == ["first", "\\ud800 surrogate"[:15], "huge"]
    assert records[1].nested == {"\\ud801": ["\\ud802"]}
    assert records[2].extra == {"n": str(2**70)}
    assert records[2].nested == {"nested": [str(2**70), str(-(2**70))]}
    assert "truncated" in records[3].message
    assert records[3].extra["request_id"] == "r1"
    assert records[4].extra[TRUNCATED] is True
    assert [record.message for record in records[5:]] == ["odd"] * 4 + ["last"]
    assert logbus.stats() == logbus.Stats(10, 10)


def test_an_exception_of_another_thread_arrives_with_its_lines(peer: Peer, log: logging.Logger) -> None:
    """The traceback is described in the thread that raised, and looked up in the sender's."""

    def fail() -> None:
        try:
            raise ValueError("sold out")
        except ValueError:
            log.exception("failed")

    thread = threading.Thread(target=fail, name="till-7")
    thread.start()
    thread.join()
    [record] = peer.wait_records(1)
    assert (record.thread, record.exception.type, record.exception.message) == ("till-7", "ValueError", "sold out")
    assert 'raise ValueError("sold out")' in record.exception.traceback[-1]


def test_tcp_is_the_same_way(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over loopback tcp records, welcome and acknowledgements travel as on ipc."""
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PULL) as first, context.socket(zmq.PULL) as second:
        port = first.bind_to_random_port("tcp://127.0.0.1")
        control = second.bind_to_random_port("tcp://127.0.0.1")
    context.destroy(0)
    url = f"tcp://127.0.0.1:{port}"
    monkeypatch.setenv("LOGBUS_CONTROL", f"tcp://127.0.0.1:{control}")
    with Peer(Endpoint.parse(url)) as peer:
        producer = logbus.configure(endpoint=url, level=20, sigterm=False)
        logging.getLogger("shop").info("by tcp")
        assert producer.flush(20)
        assert peer.arrivals.messages == ["by tcp"]
        assert producer.shutdown(20).sent == 1
        assert eventually(lambda: len(peer.arrivals.byes) == 1)
    assert (directories / "runtime" / f"tcp-127.0.0.1-{port}.pages").is_dir()
    assert os.listdir(directories / "runtime" / f"tcp-127.0.0.1-{port}.pages")


def test_a_flush_that_nobody_can_answer_does_not_spin(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the collector drains there is nobody to ask: the sender sleeps, however long somebody waits for a flush."""
    waits: list[float] = []
    wait = sender.Sender._wait

    def counted(self: sender.Sender, *arguments: Any, **options: Any) -> bool:
        waits.append(0.0)
        return wait(self, *arguments, **options)

    logbus.configure()
    peer.acknowledge_nothing()
    logging.getLogger("shop").info("one")
    answers: list[bool] = []
    flush = threading.Thread(target=lambda: answers.append(logbus.flush(1.0)))
    flush.start()
    peer.wait_records(1)
    eventually(lambda: any(peer.asked), what="the question for an acknowledgement")
    peer.say("draining")
    monkeypatch.setattr(sender.Sender, "_wait", counted)
    flush.join()
    assert answers == [False]
    assert len(waits) < 100
