"""A producer's life: it opens with the first record, counts whatever comes, and closes its book once."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbus import bus, folded
from logbus.counters import page_is_alive, read_page
from logbus.producers import pack, producer as module, sender
from logbus.producers.producer import all_producers, drain_all, producer_for
from logbus.producers.settings import resolve
from logbus.producers.stats import Stats
from logbus.wire import SHUTDOWN
from tests.eventually import eventually
from tests.peer import Peer
from tests.producing import ERROR, INFO, check_law, emit, make, page_of


def test_nothing_is_opened_before_the_first_record(directories: Path) -> None:
    """A producer that nobody uses costs no thread, no file and no socket."""
    producer = make()
    assert not any(thread.name == "logbus-sender" for thread in threading.enumerate())
    assert not (directories / "runtime").exists()
    assert (producer.stats(), producer.flush(0), producer.shutdown()) == (Stats(), True, Stats())


def test_the_first_record_opens_and_arrives(peer: Peer) -> None:
    """A record logged before anything was opened is not lost."""
    producer = make()
    emit(producer, "first")
    assert producer.flush(5)
    [record] = peer.arrivals.records
    assert (record.message, record.worker, record.pid, record.seq) == ("first", "w", os.getpid(), 0)
    assert check_law(producer) == Stats(1, 1)


def test_threads_that_log_first_open_once(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while another opens leaves its record and goes on; there is one life, and every record arrives."""
    lives: list[int] = []
    barrier = threading.Barrier(9)
    original = module.Life

    class SlowLife(original):  # type: ignore[valid-type, misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            lives.append(id(self))
            eventually(lambda: barrier.n_waiting == 8)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(module, "Life", SlowLife)
    producer = make()

    def log(number: int) -> None:
        for at in range(3):
            emit(producer, f"{number} {at}")
        barrier.wait()
        for at in range(3, 6):
            emit(producer, f"{number} {at}")

    threads = [threading.Thread(target=log, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = peer.wait_records(54)
    assert len(lives) == 1
    for number in range(9):
        assert [r.message for r in records if r.message.startswith(f"{number} ")] == [f"{number} {n}" for n in range(6)]
    assert producer.stats().emitted == 54


def test_an_interrupted_opening_is_tried_again(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt while the first record opens everything comes out, and the next record opens."""
    producer = make()
    with monkeypatch.context() as patch:
        patch.setattr(module, "Life", raiser(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            emit(producer, "first")
    emit(producer, "second")
    assert [record.message for record in peer.wait_records(2)] == ["first", "second"]


def raiser(kind: type[BaseException]) -> Callable[..., Any]:
    """A callable that raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise kind

    return fail


def test_a_shutdown_sends_everything_and_closes_the_book(peer: Peer) -> None:
    """What was logged arrives, the BYE says so, and the page tells it to whoever comes later."""
    producer = make()
    for number in range(5000):
        emit(producer, str(number))
    stats = producer.shutdown()
    assert stats == Stats(5000, 5000)
    assert peer.arrivals.messages == [str(number) for number in range(5000)]
    [bye] = peer.arrivals.byes.values()
    assert (bye.emitted, bye.sent, bye.buffered, bye.drops, bye.exact) == (5000, 5000, 0, [], True)
    page = read_page(page_of(producer))
    assert (page.said_bye, page.welcomed, page.totals.sent) == (True, True, 5000)
    assert producer.shutdown() == stats


def test_what_is_logged_after_a_shutdown_is_dropped_and_counted(peer: Peer) -> None:
    """The book is closed: later records are drops of the shutdown, in the stats and on the page."""
    producer = make()
    emit(producer)
    producer.shutdown()
    for level in (INFO, INFO, ERROR):
        emit(producer, level=level)
    assert check_law(producer) == Stats(4, 1, {"shutdown": 3})
    assert read_page(page_of(producer)).totals.drops() == [[SHUTDOWN, 2, 2], [SHUTDOWN, 4, 1]]
    assert producer.flush(0)
    assert peer.arrivals.messages == ["m"]


def test_a_producer_can_begin_anew(peer: Peer) -> None:
    """After a shutdown a second life has an identity and a page of its own, and the stats go on."""
    producer = make()
    emit(producer, "one")
    producer.shutdown()
    emit(producer, "between")
    first = page_of(producer)
    producer.reopen()
    emit(producer, "two")
    assert producer.flush(5)
    assert check_law(producer) == Stats(3, 2, {"shutdown": 1})
    assert peer.arrivals.messages == ["one", "two"]
    assert len({record.producer for record in peer.arrivals.records}) == 2
    assert (page_is_alive(first), page_is_alive(page_of(producer))) == (False, True)
    producer.reopen()
    assert len(list(first.parent.glob("*.page"))) == 2


def test_a_full_buffer_drops_by_its_policy_and_says_so(peer: Peer) -> None:
    """With a collector that does not read, the limit holds; every drop is counted, and reported when it reads again."""
    peer.say("draining")
    producer = make(capacity=100)
    producer.open()
    assert producer.wait_welcome(5)
    for number in range(300):
        emit(producer, str(number), level=10 if number < 200 else 30, created=float(number + 1))
    assert check_law(producer) == Stats(300, 0, {"high_water_mark": 200}, 100, producer.stats().bytes)
    peer.say("serving")
    assert [record.message for record in peer.wait_records(100)] == [str(number) for number in range(200, 300)]
    assert eventually(peer.arrivals.reported) == {(0, 1): 200}
    [drop] = [drop for batch in peer.arrivals.frames for drop in batch.drops]
    assert (drop.first_us, drop.last_us) == (1_000_000, 200_000_000)
    assert producer.shutdown() == Stats(300, 100, {"high_water_mark": 200})


def test_a_record_of_level_error_does_not_wait_for_company(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst gathers before it is sent; what may be the last word of a process goes at once."""
    monkeypatch.setattr(sender, "GATHER_S", 60.0)
    producer = make()
    emit(producer, "waits")
    emit(producer, "goes", level=ERROR)
    peer.wait_records(2, timeout=5)
    # And from its sleep.
    assert eventually(lambda: producer._life is not None and producer._life.buffer.asleep)
    emit(producer, "goes too", level=ERROR)
    peer.wait_records(3, timeout=5)


def test_a_flush_waits_for_what_was_logged_before_it(peer: Peer) -> None:
    """Once it says True, everything is with the collector; it says False when its time was too short."""
    producer = make()
    for number in range(20):
        for _ in range(50):
            emit(producer)
        assert producer.flush(10)
        assert len(peer.arrivals.records) == 50 * (number + 1)
    peer.wait_mark(peer.say("draining", ask=True).request)  # its answer says that it has heard
    emit(producer)
    assert not producer.flush(0.05)
    peer.say("serving")
    assert producer.flush(10)


def test_flushes_that_gave_up_leave_nothing_behind() -> None:
    """With no collector for days, an application that flushes each second does not grow."""
    producer = make()
    emit(producer)
    for _ in range(20):
        assert not producer.flush(0.001)
    assert producer._life is not None
    assert producer._life.sender is not None
    assert producer._life.sender._flushes.waiting() == []


def test_a_mark_is_sent_on_request_and_when_a_collector_appears(peer: Peer) -> None:
    """Each request is answered with its number, by counters that agree with each other."""
    producer = make()
    emit(producer)
    assert producer.flush(5)
    mark = peer.wait_mark(peer.say(ask=True).request)
    assert (mark.emitted, mark.sent, mark.buffered, mark.source.worker) == (1, 1, 0, "w")


@pytest.mark.uncovered
def test_marks_under_load_always_balance(peer: Peer) -> None:
    """Whatever threads do meanwhile, a MARK's terms add up to what was emitted."""
    producer = make(capacity=500)
    stopped = threading.Event()

    def log() -> None:
        while not stopped.is_set():
            emit(producer, level=random.choice((10, 20, 30)))

    threads = [threading.Thread(target=log) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        request = peer.say(ask=True).request
        peer.wait_mark(request)
    stopped.set()
    for thread in threads:
        thread.join()
    assert len(peer.arrivals.marks) >= 20
    for _, mark in peer.arrivals.marks:
        assert mark.emitted == mark.sent + mark.buffered + sum(mark.by_reason()), mark


def test_a_shutdown_under_load_keeps_the_law(peer: Peer) -> None:
    """Threads that log through the end lose nothing in silence: what is not sent is dropped by the shutdown."""
    producer = make(shutdown_timeout=0.3)
    stopped = threading.Event()

    def log() -> None:
        while not stopped.is_set():
            emit(producer)

    threads = [threading.Thread(target=log) for _ in range(8)]
    for thread in threads:
        thread.start()
    peer.wait_records(1000)
    producer.shutdown()
    stopped.set()
    for thread in threads:
        thread.join()
    # The thread may have been denied its turns until now; it closes the book all the same.
    eventually(lambda: producer.stats().queued == 0, 30)
    stats = check_law(producer)
    page = read_page(page_of(producer)).totals
    assert page.emitted == page.sent + sum(page.dropped) == stats.emitted
    # What is in the socket when the time is over may be lost on the way, and shows as sent and never collected.
    [sequence] = peer.arrivals.sequences().values()
    assert sequence == list(range(len(sequence)))
    assert len(sequence) <= stats.sent


def test_records_that_can_not_be_encoded_are_counted(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that nothing helps is a drop of its own reason, and the others arrive."""
    monkeypatch.setattr(pack, "repair", raiser(ValueError))
    producer = make()
    emit(producer, "before")
    emit(producer, "\ud800", level=ERROR)
    assert producer.flush(5)
    emit(producer, "after")
    assert producer.flush(5)
    # "before" may stand in one batch with the other, and then goes by itself, unrepaired too.
    assert 1 <= check_law(producer).dropped["unencodable"] <= 2
    assert peer.arrivals.messages[-1] == "after"


def test_without_descriptors_records_wait(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system refuses a socket the thread does not die: it tries again, and everything arrives."""
    attempts = itertools.count()
    real = bus.push_socket

    def refuse(context: Any) -> Any:
        if next(attempts) < 2:
            raise OSError(24, "Too many open files")
        return real(context)

    monkeypatch.setattr(sender, "push_socket", refuse)
    monkeypatch.setattr(sender, "RETRY_S", 0.01)
    producer = make()
    emit(producer)
    assert producer.flush(5)
    assert peer.arrivals.messages == ["m"]


def test_a_system_without_threads_costs_records_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started every record is counted as dropped, and no descriptor is kept."""
    monkeypatch.setattr(threading.Thread, "start", raiser(RuntimeError))
    before = len(os.listdir("/proc/self/fd"))
    producer = make()
    emit(producer)
    emit(producer)
    monkeypatch.undo()
    assert check_law(producer) == Stats(2, 0, {"shutdown": 2})
    assert producer.shutdown() == Stats(2, 0, {"shutdown": 2})
    # The page and its lock, and the map's own.
    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_thread_that_died_leaves_its_records_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the sender ever fail, the end of the producer still counts what was in the buffer."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(sender.Sender, "_session", raiser(ZeroDivisionError))
    producer = make()
    for _ in range(5):
        emit(producer)
    assert producer.shutdown(0.1) == Stats(5, 0, {"shutdown": 5})


@pytest.mark.parametrize("obstacle", ["file", "folded", "page"])
def test_whatever_lies_in_the_page_directory_a_record_is_taken(
    peer: Peer, directories: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Junk beside the pages costs exactness at most; no log call fails for it."""
    monkeypatch.setattr(folded, "FOLD_FROM", 1)
    pages = directories / "runtime" / "default" / "records.pages"
    if obstacle == "file":
        pages.write_text("in the way")
    else:
        pages.mkdir()
        name = "folded" if obstacle == "folded" else "00.page"
        (pages / name).write_bytes(b"\x95\xa200\xa1x\x01\x90\x90" if obstacle == "folded" else b"LBPAGE1\0" * 700)
    producer = make()
    emit(producer)
    assert producer.flush(5)
    producer.shutdown()
    [bye] = peer.arrivals.byes.values()
    assert bye.exact == (obstacle != "file")


def test_producers_are_shared_by_their_settings() -> None:
    """The same settings are the same producer; each of them is drained at exit."""
    first, same = producer_for(resolve({"worker": "a"})), producer_for(resolve({"worker": "a"}))
    other = producer_for(resolve({"worker": "b"}))
    assert first is same is not other
    assert {first, other} <= set(all_producers())
    for made in (first, other):
        emit(made)
    drain_all()
    assert (first.stats(), other.stats()) == (Stats(1, 0, {"shutdown": 1}),) * 2


def test_stats_add_up() -> None:
    """Counters of several producers are the counters of a process."""
    total = Stats(1, 1, {"shutdown": 1}, 2, 3, 4) + Stats(10, 10, {"shutdown": 1, "unencodable": 5}, 20, 30, 1)
    assert total == Stats(11, 11, {"shutdown": 2, "unencodable": 5}, 22, 33, 4)


def test_a_level_beyond_all_names_is_carried(peer: Peer) -> None:
    """Numbers below 0 and far above CRITICAL arrive as they are, or as near as the wire can hold."""
    producer = make()
    levels = (-7, 0, 55, 1000, 2**70)
    for level in levels:
        emit(producer, level=level)
    assert producer.flush(5)
    assert [record.level_no for record in peer.arrivals.records] == [*levels[:-1], 2**31 - 1]
    assert producer.shutdown().sent == len(levels)


def test_it_opens_soon_by_itself(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a record; twice is once, and one that is open stays as it is."""
    monkeypatch.setattr("logbus.producers.opener.OPEN_AFTER_S", 0.01)
    producer = make()
    producer.open_soon()
    life = eventually(lambda: producer._life)
    producer.open_soon()
    assert producer._life is life
    assert producer.wait_welcome(10)


def test_only_its_children_may_open_by_themselves() -> None:
    """A process that does nothing but fork has no thread and no page; one of its children soon has."""
    producer = make()

    def waits() -> bool:
        return producer._opener is not None and producer._opener._thread.ident is not None

    producer.open_soon(only_children=True)
    assert not waits()
    producer.before_fork()
    producer.after_fork_in_parent()
    assert not waits()
    producer.after_fork_in_child()
    assert waits()
    producer.shutdown()
    assert producer._life is None


def test_it_lets_go_of_everything_and_begins_anew(peer: Peer) -> None:
    """Drained, with its counts; what is logged then opens it again."""
    producer = make()
    assert not producer.reaches(1 << 20)
    assert not producer.let_go()
    emit(producer)
    assert producer.reaches(1 << 20)
    assert not producer.reaches(3)
    assert producer.let_go()
    assert not producer.reaches(1 << 20)
    assert peer.arrivals.messages == ["m"]
    emit(producer, "again")
    assert producer.flush(10)
    assert producer.stats() == Stats(2, 2)
