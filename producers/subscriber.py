"""The worker's ear: the SUB socket on which a collector's state arrives. Owned by the sender thread.

A welcome message (the newest snapshot) comes with each connection, and once more when the collector has read our
subscriptions, so that a worker that starts late, or whose collector came back, knows the state before it sends. Within
one life of a collector only newer versions count, and another life begins with a welcome only: an old snapshot that is
sent again changes nothing, and the welcome of a life that is over neither (it would set this worker back, and make it
deaf to the life that is).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import zmq

from logbus.bus import Endpoint, subscriber_socket
from logbus.control import (
    PRODUCER_TOPIC,
    WELCOME_TOPIC,
    State,
    confirmation_topic,
    unpack_acknowledgement,
    without_address,
)
from logbus.errors import WireError
from logbus.rules import Levels

#: Lives of collectors that are remembered as over.
_LIVES_KEPT: Final = 64


class Subscriber:
    """The state of the collector as last heard; None until one has welcomed us.

    ``hear_levels`` is told the level rules of each state, and whether they came as a welcome.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        control: Endpoint,
        producer: bytes,
        hear_levels: Callable[[Levels, bool], None],
    ) -> None:
        self.state: State | None = None
        self._over: deque[str] = deque(maxlen=_LIVES_KEPT)
        self._hear_levels = hear_levels
        #: Records below this sequence number are in the collector's ledger, as far as it was asked and said so.
        self.acknowledged = 0
        self.bye_acknowledged = False
        self._producer = producer
        self._confirming = b""
        self.socket = subscriber_socket(context, producer)
        self.socket.connect(control.publisher.url)

    def read(self) -> bool:
        """Takes in whatever has arrived. True when the state has changed."""
        changed = False
        while True:
            try:
                message = without_address(self.socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return changed
            try:
                if message.startswith(PRODUCER_TOPIC):
                    seq, bye = unpack_acknowledgement(message)
                    self.acknowledged = max(self.acknowledged, seq)
                    self.bye_acknowledged = self.bye_acknowledged or bye
                    continue
                state = State.unpack(message)
            except WireError:  # not ours: another program on our socket has nothing to say to us
                continue
            if self._counts(state, welcome=message.startswith(WELCOME_TOPIC)):
                self.state = state
                changed = True
                self._hear_levels(state.levels, message.startswith(WELCOME_TOPIC))

    def confirm(self, version: int, ledger: str) -> None:
        """Says which level rules are in force here; ZeroMQ says it again to whoever the connection comes back to."""
        topic = confirmation_topic(self._producer, ledger, version)
        if topic != self._confirming and ledger:
            self.socket.subscribe(topic)
            if self._confirming:
                self.socket.unsubscribe(self._confirming)
            self._confirming = topic

    def _counts(self, state: State, *, welcome: bool) -> bool:
        current = self.state
        if current is not None and state.life == current.life:
            return state.version > current.version
        if not welcome or state.life in self._over:
            return False
        if current is not None:
            self._over.append(current.life)
        return True

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)
