"""What a worker believes of what it hears: newer states of one life, another life only as a welcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from logbus.bus import Endpoint
from logbus.control import State, confirmation_topic, pack_acknowledgement
from logbus.producers.subscriber import Subscriber
from logbus.rules import Levels, Rule
from tests.eventually import eventually

PRODUCER = bytes(range(16))


class Speaker:
    """A publisher without a welcome: a test says every message itself."""

    def __init__(self, control: Endpoint) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.bind(control.publisher.url)
        self.heard: list[tuple[Levels, bool]] = []
        self.subscriber = Subscriber(self.context, control, PRODUCER, lambda *heard: self.heard.append(heard))
        for _ in range(3):  # its subscriptions
            assert self.socket.poll(10_000)
            self.socket.recv()
        self._seq = 0

    def say(self, *messages: bytes) -> None:
        """Sends, and has the subscriber read all of it."""
        for message in messages:
            self.socket.send(message)
        self._seq += 1
        self.socket.send(pack_acknowledgement(PRODUCER, self._seq, bye=False))

        def read() -> bool:
            self.subscriber.read()
            return self.subscriber.acknowledged == self._seq

        eventually(read)


@pytest.fixture
def speaker(directories: Path) -> Iterator[Speaker]:
    """Somebody who speaks on the control socket."""
    speaker = Speaker(Endpoint.parse(f"ipc://{directories}/control"))
    yield speaker
    speaker.subscriber.close()
    speaker.context.destroy(0)


def state(life: str, version: int, levels: int, ledger: str = "a") -> State:
    """A state with levels of some version."""
    return State(ledger, life, "n", 1, version, "serving", version, Levels(ledger, levels, (Rule("", 10),)))


def test_nothing_is_believed_before_the_welcome(speaker: Speaker) -> None:
    """A state that is not a welcome says nothing to a connection that has none."""
    speaker.say(state("x", 9, 9).pack())
    assert not speaker.heard
    speaker.say(state("x", 3, 3).pack(welcome=True))
    assert speaker.subscriber.state == state("x", 3, 3)
    assert [(levels.version, welcome) for levels, welcome in speaker.heard] == [(3, True)]


def test_an_old_snapshot_changes_nothing(speaker: Speaker) -> None:
    """Neither of this life, as an update or a welcome, nor of another life as an update."""
    speaker.say(state("x", 3, 3).pack(welcome=True), state("x", 4, 4).pack())
    speaker.say(state("x", 2, 2).pack(), state("x", 4, 9).pack(), state("x", 1, 1).pack(welcome=True))
    speaker.say(state("y", 99, 99).pack(), state("y", 99, 99, "b").pack())
    assert speaker.subscriber.state == state("x", 4, 4)
    assert [levels.version for levels, _ in speaker.heard] == [3, 4]


def test_another_life_begins_with_its_welcome(speaker: Speaker) -> None:
    """A collector that came back is believed, whatever it counts from; nonsense in between is left aside."""
    speaker.say(state("x", 30, 3).pack(welcome=True))
    speaker.say(b"S", b"W{}", b"S\xff", state("y", 1, 1, "b").pack(welcome=True), b"P" + PRODUCER)
    assert speaker.subscriber.state == state("y", 1, 1, "b")
    assert speaker.heard[-1] == (state("y", 1, 1, "b").levels, True)


def test_a_life_that_is_over_does_not_begin_again(speaker: Speaker) -> None:
    """Its welcome, sent again, is not believed, and the life that is goes on being heard."""
    speaker.say(state("x", 3, 3).pack(welcome=True), state("y", 1, 1, "b").pack(welcome=True))
    speaker.say(state("x", 3, 3).pack(welcome=True), state("x", 4, 4).pack(), state("y", 2, 2, "b").pack())
    assert speaker.subscriber.state == state("y", 2, 2, "b")
    assert [(levels.ledger, levels.version) for levels, _ in speaker.heard] == [("a", 3), ("b", 1), ("b", 2)]


def test_what_is_in_force_is_said_once(speaker: Speaker) -> None:
    """The newest version stands as a subscription, of which each connection tells anew; before there is one nothing."""
    speaker.subscriber.confirm(0, "")
    speaker.subscriber.confirm(3, "a")
    speaker.subscriber.confirm(3, "a")
    speaker.subscriber.confirm(4, "a")
    said = [speaker.socket.recv() for _ in range(3) if speaker.socket.poll(10_000)]
    three, four = (confirmation_topic(PRODUCER, "a", version) for version in (3, 4))
    assert said == [b"\1" + three, b"\1" + four, b"\0" + three]
    assert not speaker.socket.poll(0)
