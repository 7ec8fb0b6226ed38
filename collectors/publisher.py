"""The collector's voice: the XPUB socket with the state, and the list of who listens.

The newest state is the welcome message too, so that whoever connects knows it at once. Each producer subscribes to
a topic of its own: the subscription messages, which an XPUB socket can read, tell who is connected.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Final, Literal

import zmq

from logbus.bus import publisher_socket
from logbus.control import PRODUCER_TOPIC, State, pack_acknowledgement

_SUBSCRIBED: Final = b"\1" + PRODUCER_TOPIC
_UNSUBSCRIBED: Final = b"\0" + PRODUCER_TOPIC
_LENGTH: Final = 1 + len(PRODUCER_TOPIC) + 16
#: Subscriptions read in one turn of the loop: whoever floods the socket does not keep it from its records.
TURN_SUBSCRIPTIONS: Final = 1024


class Publisher:
    """Publishes the state of one collector life. Its thread must call :meth:`listen` whenever the socket is ready."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], *, ledger: str, name: str) -> None:
        self.socket = publisher_socket(context)
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
        )
        self._welcome()

    def say(self, state: Literal["serving", "draining"] | None = None, *, ask: bool = False) -> None:
        """Publishes a new state; with ``ask`` every worker is asked for a MARK."""
        old = self.state
        self.state = State(
            ledger=old.ledger,
            life=old.life,
            name=old.name,
            pid=old.pid,
            version=old.version + 1,
            state=state or old.state,
            request=old.request + ask,
        )
        self._welcome()
        self.repeat()

    def repeat(self) -> None:
        """Publishes the state once more; harmless for those who have it."""
        self.socket.send(self.state.pack(), zmq.NOBLOCK)

    def acknowledge(self, producer: bytes, seq: int, *, bye: bool) -> None:
        """Tells one producer that everything below ``seq`` is accounted for."""
        self.socket.send(pack_acknowledgement(producer, seq, bye=bye), zmq.NOBLOCK)

    def listen(self) -> bool:
        """Takes in who came and who went, up to a turn's worth. True when somebody came."""
        came = False
        for _ in range(TURN_SUBSCRIPTIONS):
            try:
                message = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return came
            if len(message) != _LENGTH:
                continue
            if message.startswith(_SUBSCRIBED):
                self.listeners.add(message[-16:])
                came = True
            elif message.startswith(_UNSUBSCRIBED):
                self.listeners.discard(message[-16:])
        return came

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)

    def _welcome(self) -> None:
        self.socket.set(zmq.XPUB_WELCOME_MSG, self.state.pack())
