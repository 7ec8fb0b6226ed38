"""The command socket: what the CLI asks, and the answers. One JSON document each way.

Answers that need fresh counters wait for the workers' MARKs without stopping the loop: a command is a pending
question until its answer is there or its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import zmq

from logbus.bus import command_socket
from logbus.control import pack_message, unpack_message
from logbus.errors import WireError

#: Seconds for which a status waits for the MARKs of the live workers.
FRESH_S: Final = 1.0
#: Commands answered in one turn of the loop.
TURN_COMMANDS: Final = 16


@dataclass(slots=True)
class Question:
    """A status that waits for the answer to a mark request; monotonic seconds."""

    identity: bytes
    request: int
    deadline: float


class Commands:
    """Answers commands on the collector's thread.

    ``status`` gives the whole status document; ``ask`` requests MARKs and returns the number of the request;
    ``answered`` tells whether every live worker has answered it; ``stop`` begins the end.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        status: Callable[[], dict[str, Any]],
        ask: Callable[[], int],
        answered: Callable[[int], bool],
        stop: Callable[[], dict[str, Any]],
    ) -> None:
        self.socket = command_socket(context)
        self._status = status
        self._ask = ask
        self._answered = answered
        self._stop = stop
        self._questions: list[Question] = []

    @property
    def waiting(self) -> bool:
        """Whether a question waits for MARKs."""
        return bool(self._questions)

    def read(self) -> None:
        """Takes in the commands that wait, and answers what can be answered at once."""
        for _ in range(TURN_COMMANDS):
            try:
                identity, *parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                document = unpack_message(parts[-1] if parts else b"")
            except WireError as error:
                self._reply(identity, {"ok": False, "error": str(error)})
                continue
            self._answer(identity, document)

    def settle(self, *, now: bool = False) -> None:
        """Answers the questions whose MARKs have come or whose time is over; all of them with ``now``."""
        if not self._questions:
            return
        at = time.monotonic()
        ready = [
            question
            for question in self._questions
            if now or at >= question.deadline or self._answered(question.request)
        ]
        if not ready:
            return
        self._questions = [question for question in self._questions if question not in ready]
        reply = {"ok": True, "status": self._status()}
        for question in ready:
            self._reply(question.identity, reply)

    def close(self) -> None:
        """Answers what waits and closes the socket."""
        self.settle(now=True)
        self.socket.close(200)

    def _answer(self, identity: bytes, document: dict[str, Any]) -> None:
        command = document.get("command")
        if command == "status":
            self._questions.append(Question(identity, self._ask(), time.monotonic() + FRESH_S))
        elif command == "stop":
            self._reply(identity, {"ok": True, **self._stop()})
        else:
            self._reply(identity, {"ok": False, "error": f"unknown command {command!r}: expected status or stop"})

    def _reply(self, identity: bytes, document: dict[str, Any]) -> None:
        try:
            self.socket.send_multipart([identity, pack_message(document)], zmq.NOBLOCK)
        except zmq.ZMQError:  # who asked has gone
            return
