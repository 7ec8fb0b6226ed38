"""The worker's ear: the SUB socket on which a collector's state arrives. Owned by the sender thread.

A welcome message (the newest snapshot) comes with each connection, so that a worker that starts late, or whose
collector came back, knows the state before it sends. Within one life of a collector only newer versions count.
"""

from __future__ import annotations

import zmq

from logbus.bus import Endpoint, subscriber_socket
from logbus.control import PRODUCER_TOPIC, State, unpack_acknowledgement
from logbus.errors import WireError


class Subscriber:
    """The state of the collector as last heard; None until one has welcomed us."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], control: Endpoint, producer: bytes) -> None:
        self.state: State | None = None
        #: Records below this sequence number are in the collector's ledger, as far as it was asked and said so.
        self.acknowledged = 0
        self.bye_acknowledged = False
        self.socket = subscriber_socket(context, producer)
        self.socket.connect(control.publisher.url)

    def read(self) -> bool:
        """Takes in whatever has arrived. True when the state has changed."""
        changed = False
        while True:
            try:
                message = self.socket.recv(zmq.NOBLOCK)
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
            current = self.state
            if current is None or state.life != current.life or state.version > current.version:
                self.state = state
                changed = True

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)
