"""The collector's voice, and who listens to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from logbus.bus import Endpoint, subscriber_socket
from logbus.collectors import publisher as publisher_module
from logbus.collectors.identities import Identities
from logbus.collectors.publisher import Publisher
from logbus.collectors.zap import Doorkeeper
from logbus.control import (
    PRODUCER_TOPIC,
    WELCOME_TOPIC,
    State,
    confirmation_topic,
    unpack_acknowledgement,
    without_address,
)
from logbus.producers.subscriber import Subscriber
from logbus.rules import Levels
from tests.eventually import eventually
from tests.frames import producer

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[Context]:
    """A context of this test's own."""
    with zmq.Context() as context:
        yield context
        context.destroy(0)


@pytest.fixture
def endpoint(directories: Path) -> Endpoint:
    """Where the publisher is bound."""
    return Endpoint.parse(f"ipc://{directories}/control.pub")


class Doored(Publisher):
    """A publisher whose loop lets everybody in who knocks, as the collector's does."""

    def __init__(self, context: Context, identities: Identities | None = None) -> None:
        self._doorkeeper = Doorkeeper(context)
        super().__init__(context, ledger="L", name="eu", identities=identities)

    def listen(self) -> bool:
        """Lets in, then listens."""
        self._doorkeeper.answer()
        return super().listen()

    def close(self) -> None:
        """Closes both."""
        super().close()
        self._doorkeeper.close()


@pytest.fixture
def publisher(context: Context, endpoint: Endpoint) -> Iterator[Publisher]:
    """A publisher, bound."""
    with closing(Doored(context)) as publisher:
        publisher.socket.bind(endpoint.url)
        yield publisher


def received(publisher: Publisher, subscriber: zmq.Socket[bytes]) -> bytes:
    """The next message that a subscriber gets; the publisher's loop runs meanwhile."""

    def come() -> bool:
        publisher.listen()
        return bool(subscriber.poll(1))

    eventually(come)
    return subscriber.recv()


def heard(publisher: Publisher, subscriber: zmq.Socket[bytes]) -> State:
    """The next state that a subscriber hears."""
    return State.unpack(received(publisher, subscriber))


def welcomed(publisher: Publisher, subscriber: zmq.Socket[bytes]) -> State:
    """The state with which a subscriber begins: that of its connection, and the same as its subscription is read."""
    welcome, personal = (received(publisher, subscriber) for _ in range(2))
    assert without_address(welcome) == welcome == without_address(personal) != personal
    return State.unpack(welcome)


def test_whoever_connects_is_welcomed_with_the_newest_state(
    context: Context, endpoint: Endpoint, publisher: Publisher
) -> None:
    """A late subscriber knows at once what was said before it came."""
    begun = publisher.state.request
    publisher.say(ask=True)
    publisher.say("draining")
    with subscriber_socket(context, producer(1)) as late:
        late.connect(endpoint.url)
        state = heard(publisher, late)
    assert state == publisher.state
    assert (state.ledger, state.name, state.version, state.request, state.state) == (
        "L",
        "eu",
        2,
        begun + 1,
        "draining",
    )


def test_a_subscription_confirms(context: Context, endpoint: Endpoint, publisher: Publisher) -> None:
    """Of our ledger only, each version once it is said, and without making a listener of anybody."""
    confirmed: list[tuple[bytes, int]] = []
    publisher.confirmed = lambda *said: confirmed.append(said)
    with context.socket(zmq.SUB) as worker:
        worker.connect(endpoint.url)
        for ledger, version in (("L", 3), ("other", 4), ("L", 5)):
            worker.subscribe(confirmation_topic(producer(1), ledger, version))
        worker.unsubscribe(confirmation_topic(producer(1), "L", 3))

        def heard_last() -> bool:
            publisher.listen()
            return confirmed[-1:] == [(producer(1), 5)]

        eventually(heard_last)
    assert confirmed == [(producer(1), 3), (producer(1), 5)]
    assert publisher.listeners == set()


def test_what_is_said_later_is_heard_as_a_newer_version(
    context: Context, endpoint: Endpoint, publisher: Publisher
) -> None:
    """Each state has a version above the one before; only a question raises the number of the request."""
    with subscriber_socket(context, producer(1)) as subscriber:
        subscriber.connect(endpoint.url)
        first = welcomed(publisher, subscriber)
        publisher.say(ask=True)
        asked = heard(publisher, subscriber)
        publisher.say("draining")
        draining = heard(publisher, subscriber)
        publisher.repeat()
        assert heard(publisher, subscriber) == draining
    assert [(state.version, state.request - first.request, state.state) for state in (first, asked, draining)] == [
        (0, 0, "serving"),
        (1, 1, "serving"),
        (2, 1, "draining"),
    ]
    assert len({state.life for state in (first, asked, draining)}) == 1


def test_two_lives_are_told_apart(context: Context) -> None:
    """A collector that starts again has another life, whatever its version."""
    with (
        closing(Publisher(context, ledger="L", name="eu")) as one,
        closing(Publisher(context, ledger="L", name="eu")) as two,
    ):
        assert one.state.life != two.state.life


def test_an_old_answer_answers_no_new_question(context: Context) -> None:
    """A later life asks with higher numbers than an earlier one, however often that one asked."""
    with closing(Publisher(context, ledger="L", name="eu")) as one:
        for _ in range(20):
            one.say(ask=True)
        with closing(Publisher(context, ledger="L", name="eu")) as two:
            assert two.state.request > one.state.request


def test_a_flood_of_subscriptions_has_an_end(
    context: Context, endpoint: Endpoint, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn reads so many and no more; the loop gets to its records in between."""
    monkeypatch.setattr(publisher_module, "TURN_SUBSCRIPTIONS", 8)
    with context.socket(zmq.SUB) as flood:
        for number in range(1, 101):
            flood.set(zmq.SUBSCRIBE, PRODUCER_TOPIC + producer(number))
        flood.connect(endpoint.url)
        eventually(publisher.listen)
        assert len(publisher.listeners) == 8
        eventually(lambda: not publisher.listen() and len(publisher.listeners) == 100)


def test_who_listens_is_known(context: Context, endpoint: Endpoint, publisher: Publisher) -> None:
    """A producer is a listener from its subscription until its connection goes."""
    with subscriber_socket(context, producer(1)) as first, subscriber_socket(context, producer(2)) as second:
        first.connect(endpoint.url)
        assert eventually(publisher.listen)
        assert publisher.listeners == {producer(1)}
        second.connect(endpoint.url)
        eventually(lambda: publisher.listen() and publisher.listeners == {producer(1), producer(2)})
        first.close(0)
        eventually(lambda: not publisher.listen() and publisher.listeners == {producer(2)})


def test_one_producer_is_told_what_is_in_the_ledger(context: Context, endpoint: Endpoint, publisher: Publisher) -> None:
    """An acknowledgement reaches the one that it is for, and no other."""
    with subscriber_socket(context, producer(1)) as one, subscriber_socket(context, producer(2)) as two:
        for subscriber in (one, two):
            subscriber.connect(endpoint.url)
            welcomed(publisher, subscriber)
        publisher.acknowledge(producer(2), 2**40, bye=True)
        assert two.poll(5000)
        assert unpack_acknowledgement(two.recv()) == (2**40, True)
        publisher.acknowledge(producer(1), 7, bye=False)
        assert one.poll(5000)
        assert unpack_acknowledgement(one.recv()) == (7, False)
        assert not two.poll(0)


@pytest.mark.parametrize(
    "message",
    [
        b"\1" + PRODUCER_TOPIC + b"short",
        b"\1" + PRODUCER_TOPIC + bytes(17),
        b"\1" + b"X" + bytes(16),
        b"\2" + PRODUCER_TOPIC + bytes(16),
        b"\0" + PRODUCER_TOPIC + bytes(16),
        b"\1",
        b"",
        b"hello",
    ],
)
def test_who_says_something_else_is_no_listener(
    context: Context, endpoint: Endpoint, publisher: Publisher, message: bytes
) -> None:
    """Whatever another program sends up the control socket, it is read and changes nothing."""
    with context.socket(zmq.XSUB) as other, subscriber_socket(context, producer(1)) as honest:
        other.connect(endpoint.url)
        other.send(message)
        honest.connect(endpoint.url)
        eventually(lambda: publisher.listen() or publisher.listeners)
        assert publisher.listeners == {producer(1)}
        other.close(0)


def test_a_subscription_to_somebody_else_s_producer_does_not_listen(
    context: Context, endpoint: Endpoint, directories: Path
) -> None:
    """Where several users log, he who listens for another is not waited for in his place; his own producers count."""
    identities = Identities(directories)
    assert identities.admits(producer(1), identities.owner + 1)
    with closing(Doored(context, identities)) as publisher:
        publisher.socket.bind(endpoint.url)
        with subscriber_socket(context, producer(1)) as subscriber:
            subscriber.set(zmq.SUBSCRIBE, PRODUCER_TOPIC + producer(2))
            subscriber.connect(endpoint.url)
            eventually(lambda: publisher.listen() or publisher.listeners)
            assert publisher.listeners == {producer(2)}


def test_another_user_s_listeners_are_bounded(
    context: Context, endpoint: Endpoint, directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd of subscriptions is not waited for beyond a number; whoever leaves makes room."""
    monkeypatch.setattr(publisher_module, "LISTENERS_OF_OTHERS", 2)
    identities = Identities(directories)
    identities.owner += 1  # so that we ourselves are somebody else
    with closing(Doored(context, identities)) as publisher:
        publisher.socket.bind(endpoint.url)
        with subscriber_socket(context, producer(1)) as subscriber:
            for number in (2, 3, 4):
                subscriber.set(zmq.SUBSCRIBE, PRODUCER_TOPIC + producer(number))
            subscriber.connect(endpoint.url)
            eventually(lambda: publisher.listen() or len(publisher.listeners) == 2)
            for _ in range(3):
                publisher.listen()
            assert len(publisher.listeners) == 2
        eventually(lambda: publisher.listen() or not publisher.listeners)
        assert not publisher._of_others


def test_what_is_said_while_a_worker_comes_back_reaches_it(context: Context, endpoint: Endpoint) -> None:
    """A connection is welcomed before its subscriptions are there: what is said between the two is not lost to it."""
    told: list[Levels] = []
    control = Endpoint.parse(endpoint.url.removesuffix(".pub"))
    with closing(Subscriber(context, control, producer(1), lambda levels, _: told.append(levels))) as subscriber:
        with zmq.Context() as place, closing(Doored(place)) as first:
            first.socket.bind(endpoint.url)
            eventually(lambda: first.listen() or (subscriber.read() and first.listeners))
        with zmq.Context() as place, closing(Doored(place)) as second:
            with second.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) as connected:
                second.socket.bind(endpoint.url)
                # The worker is busy: its connection comes back by itself, its subscriptions once it looks again.
                eventually(lambda: second.listen() or connected.poll(1))
                second.socket.disable_monitor()
            for _ in range(20):  # the socket takes the connection over from ZeroMQ's own thread, and welcomes it
                assert not second.socket.poll(5)
                assert not second.listen()
            second.say(levels=Levels("L", 7))
            eventually(lambda: (second.listen(), subscriber.read(), told[-1])[-1] == Levels("L", 7))


def test_who_is_behind_is_reminded_of_the_state(
    context: Context, endpoint: Endpoint, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own topic, as a welcome, once in a while; whoever does not listen is sent nothing."""
    with subscriber_socket(context, producer(1)) as one, subscriber_socket(context, producer(2)) as two:
        for subscriber in (one, two):
            subscriber.connect(endpoint.url)
            welcomed(publisher, subscriber)
        for _ in range(3):
            publisher.remind(producer(1))
            publisher.remind(producer(3))
        message = received(publisher, one)
        assert State.unpack(without_address(message)) == publisher.state
        assert without_address(message).startswith(WELCOME_TOPIC)
        publisher.say()
        assert heard(publisher, one).version == heard(publisher, two).version == 1
        monkeypatch.setattr("logbus.collectors.publisher.REMIND_S", 0.0)
        publisher.remind(producer(1))
        assert State.unpack(without_address(received(publisher, one))).version == 1
