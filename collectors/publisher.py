"""The collector's voice: the XPUB socket with the state, and the list of who listens.

The newest state is the welcome message too, so that whoever connects knows it at once. Each producer subscribes to
a topic of its own: the subscription messages, which an XPUB socket can read, tell who is connected.

The welcome leaves as the connection is there, and what is published before the subscriptions are there too passes it
by: for long, where a worker that comes back is busy or stopped, since its own thread subscribes. So each listener has
the state once more, by its own topic, as its subscription is read; from then on it misses nothing.

Users whom the configuration allows to log may subscribe to anything here: they see the state with the level rules, and
acknowledgements, never a record. What they subscribe to counts as listening only where the producer is theirs.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from typing import Final, Literal

import zmq

from logbus.bus import publisher_socket
from logbus.collectors.identities import Identities, peer_uid
from logbus.control import PRODUCER_TOPIC, State, pack_acknowledgement, pack_personal, read_confirmation
from logbus.rules import Levels

_SUBSCRIBED: Final = b"\1" + PRODUCER_TOPIC
_UNSUBSCRIBED: Final = b"\0" + PRODUCER_TOPIC
_LENGTH: Final = 1 + len(PRODUCER_TOPIC) + 16
#: Subscriptions read in one turn of the loop: whoever floods the socket does not keep it from its records.
TURN_SUBSCRIPTIONS: Final = 1024
#: Seconds between two reminders of one producer.
REMIND_S: Final = 1.0
#: Producers of one other user that count as listening, at most: each is waited for.
LISTENERS_OF_OTHERS: Final = 1024


def _nobody(producer: bytes, version: int) -> None:
    """Who waits for confirmations where nobody does."""


class Publisher:
    """Publishes the state of one collector life. Its thread must call :meth:`listen` whenever the socket is ready."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        ledger: str,
        name: str,
        levels: Levels | None = None,
        identities: Identities | None = None,
    ) -> None:
        self.socket = publisher_socket(context)
        self._identities = identities
        #: The uid of each listener that is another user's.
        self._of_others: dict[bytes, int] = {}
        #: When a producer was reminded last, in monotonic seconds.
        self._reminded: dict[bytes, float] = {}
        #: Called with a producer and the version of our level rules that is in force there.
        self.confirmed: Callable[[bytes, int], None] = _nobody
        #: Producers (16 bytes each) whose control connection stands.
        self.listeners: set[bytes] = set()
        self.state = State(
            ledger=ledger,
            life=secrets.token_hex(8),
            name=name,
            pid=os.getpid(),
            version=0,
            state="serving",
            # Above every number of an earlier life: a MARK that waited in a worker's socket while the collector was
            # replaced would otherwise answer a question that had not been asked, and end a drain too early.
            request=time.time_ns() // 1000,
            levels=levels or Levels(ledger),
        )
        self._welcome()

    def say(
        self,
        state: Literal["serving", "draining"] | None = None,
        *,
        ask: bool = False,
        levels: Levels | None = None,
    ) -> None:
        """Publishes a new state; with ``ask`` every worker is asked for a MARK, with new levels it sends one too."""
        old = self.state
        self.state = old._replace(
            version=old.version + 1,
            state=state or old.state,
            request=old.request + ask,
            levels=levels or old.levels,
        )
        self._welcome()
        self.repeat()

    def repeat(self) -> None:
        """Publishes the state once more; harmless for those who have it."""
        self.socket.send(self.state.pack(), zmq.NOBLOCK)

    def remind(self, producer: bytes) -> None:
        """Sends the state to one producer that listens and is behind it; to each only so often.

        What a stopped process can't take, ZeroMQ queues, and when the queue is full the newest is what it drops.
        """
        now = time.monotonic()
        if producer in self.listeners and now - self._reminded.get(producer, -REMIND_S) >= REMIND_S:
            self._reminded[producer] = now
            self.socket.send(pack_personal(producer, self._said), zmq.NOBLOCK)

    def acknowledge(self, producer: bytes, seq: int, *, bye: bool) -> None:
        """Tells one producer that everything below ``seq`` is accounted for."""
        self.socket.send(pack_acknowledgement(producer, seq, bye=bye), zmq.NOBLOCK)

    def listen(self) -> bool:
        """Takes in who came and who went, up to a turn's worth. True when somebody came."""
        came = False
        for _ in range(TURN_SUBSCRIPTIONS):
            try:
                frame = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return came
            message = frame.bytes
            confirmation = read_confirmation(message, ledger=self.state.ledger)
            if confirmation is not None and self._is_himself(confirmation[0], frame):
                self.confirmed(*confirmation)
            if len(message) != _LENGTH:
                continue
            producer = message[-16:]
            if message.startswith(_SUBSCRIBED) and self._counts(producer, frame):
                self.listeners.add(producer)
                self.socket.send(pack_personal(producer, self._said), zmq.NOBLOCK)
                came = True
            elif message.startswith(_UNSUBSCRIBED):
                self.listeners.discard(producer)
                self._reminded.pop(producer, None)
                self._of_others.pop(producer, None)
        return came

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)

    def _is_himself(self, producer: bytes, frame: zmq.Frame) -> bool:
        """Whether a subscription is that of the producer itself, as far as several users have to be told apart."""
        if self._identities is None:
            return True
        uid = peer_uid(frame)
        return uid is not None and self._identities.admits(producer, uid)

    def _counts(self, producer: bytes, frame: zmq.Frame) -> bool:
        """Whether a producer begins to listen; of each other user only so many do."""
        if self._identities is None:
            return True
        if not self._is_himself(producer, frame):
            return False
        uid = peer_uid(frame)
        if uid is not None and uid != self._identities.owner:
            if sum(other == uid for other in self._of_others.values()) >= LISTENERS_OF_OTHERS:
                return False
            self._of_others[producer] = uid
        return True

    def _welcome(self) -> None:
        self._said = self.state.pack(welcome=True)
        self.socket.set(zmq.XPUB_WELCOME_MSG, self._said)
