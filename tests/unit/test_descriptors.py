"""Whoever closes every descriptor finds ours gone, and the producer opens again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import pytest

import logbus
from logbus.producers import descriptors
from logbus.producers.descriptors import mind_closing
from tests.eventually import eventually
from tests.peer import Peer


@pytest.fixture(autouse=True)
def minded() -> Iterator[None]:
    """The hook, and afterwards the function as it was."""
    before = os.closerange
    undo = mind_closing()
    yield
    undo()
    assert os.closerange is before


def test_what_is_below_them_leaves_producers_alone(peer: Peer) -> None:
    """Standard input and output are closed by many."""
    producer = logbus.configure()
    life = producer._life
    closed: list[tuple[int, int]] = []
    descriptors._let_go_first(lambda low, high: closed.append((low, high)))(0, 3)
    assert producer._life is life
    assert closed == [(0, 3)]


def test_they_let_go_first_and_come_again(peer: Peer) -> None:
    """What was logged before has arrived, and what is logged afterwards arrives too; the counts go on."""
    producer = logbus.configure()
    logging.info("before")
    life = producer._life
    assert life is not None
    beyond = max(int(name) for name in os.listdir("/proc/self/fd")) + 100
    os.closerange(beyond, beyond + 100)
    assert producer._life is None
    assert life.counters.descriptors == ()
    assert peer.arrivals.messages == ["before"]
    logging.info("after")
    assert logbus.flush(10)
    assert peer.arrivals.messages == ["before", "after"]
    assert logbus.stats() == logbus.Stats(2, 2)


def test_a_producer_that_has_nothing_open_stays_closed(peer: Peer) -> None:
    """There is nothing to let go."""
    handler = logbus.LogbusHandler()
    beyond = max(int(name) for name in os.listdir("/proc/self/fd")) + 100
    os.closerange(beyond, beyond + 100)
    assert handler.producer._life is None
    assert handler.producer._opener is None


def test_nothing_is_opened_while_they_are_closed(peer: Peer) -> None:
    """The opener, which is due, comes later, and a record that another thread logs waits, and arrives."""
    producer = logbus.LogbusHandler().producer
    producer.open_soon()
    waited = producer._opener
    assert waited is not None
    lives: list[object] = []

    def close(low: int, high: int) -> None:
        log = logging.getLogger("shop.closing")
        log.addHandler(logbus.LogbusHandler())
        thread = threading.Thread(target=log.warning, args=("in the middle",))
        thread.start()
        thread.join()
        log.handlers.clear()
        lives.append((producer._life, waited._thread.ended.is_set()))

    descriptors._let_go_first(close)(3, 1 << 20)
    assert lives == [(None, True)]
    assert logbus.flush(10)
    assert peer.arrivals.messages == ["in the middle"]
    assert producer._closing == []


def test_an_opener_that_was_stopped_for_it_comes_again(peer: Peer) -> None:
    """A worker that is silent is found all the same."""
    producer = logbus.LogbusHandler().producer
    producer.open_soon()
    descriptors._let_go_first(lambda low, high: None)(3, 1 << 20)
    assert producer._life is None
    assert eventually(lambda: producer._life)


def test_a_child_that_is_forked_in_the_middle_opens(peer: Peer) -> None:
    """Whoever closes them in the parent does not do so there."""
    producer = logbus.LogbusHandler().producer
    producer.stay_closed()
    child = os.fork()
    if not child:
        producer.open()
        os._exit(0 if producer._life is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    producer.may_open(soon=False)
    assert producer._life is None


def test_a_child_that_closes_them_keeps_what_it_opens_then(peer: Peer) -> None:
    """The parent's page is unmapped there: its maps are no garbage that closes the numbers of others' files."""
    producer = logbus.configure()
    logging.info("parent")
    pages = str(producer.settings.endpoint.pages)
    child = os.fork()
    if not child:
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        os._exit(sum(os.path.lexists(link) and os.readlink(link).startswith(pages) for link in links))
    assert os.waitpid(child, 0)[1] == 0
