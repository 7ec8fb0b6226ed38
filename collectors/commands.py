"""The command socket: what the CLI asks, and the answers. One JSON document each way.

Which commands there are is said by those who answer them: a handler takes the document of a command and who sent it,
and gives the answer, or a :class:`Wait` for one. So nothing stops the loop: an answer that needs the workers' MARKs
waits here until they are there or its time is over. A handler refuses by raising a :class:`~logbus.errors.LogbusError`;
anything else that it raises is a defect, which refuses that command and ends nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import zmq

from logbus.bus import command_socket
from logbus.control import pack_message, unpack_message
from logbus.errors import ControlError, LogbusError, WireError

#: Commands answered in one turn of the loop.
TURN_COMMANDS: Final = 16

#: The answer to a command.
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a command: the socket's name for the connection and, on ipc, what the kernel vouches for."""

    identity: bytes
    uid: int | None = None
    pid: int | None = None

    @classmethod
    def of(cls, identity: bytes, address: str) -> Asker:
        """The asker with a ``Peer-Address``: on ipc ``localhost:uid:gid:pid``, on tcp a host."""
        parts = address.split(":")
        if len(parts) == 4 and parts[0] == "localhost" and parts[1].isdigit() and parts[3].isdigit():
            return cls(identity, int(parts[1]), int(parts[3]))
        return cls(identity)


@dataclass(frozen=True, slots=True)
class Wait:
    """An answer that is made once ``ready`` says so, or at the deadline (monotonic seconds)."""

    deadline: float
    ready: Callable[[], bool]
    answer: Callable[[], Answer]


#: Answers one command. Raises LogbusError to refuse it.
Handler = Callable[[dict[str, Any], Asker], Answer | Wait]


class Commands:
    """Answers commands on the collector's thread; ``handlers`` is by the name of the command."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], handlers: Mapping[str, Handler]) -> None:
        self.socket = command_socket(context)
        self._handlers = dict(handlers)
        self._waiting: list[tuple[bytes, Wait]] = []

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to be made."""
        return bool(self._waiting)

    def read(self) -> None:
        """Takes in the commands that wait, and answers what can be answered at once."""
        for _ in range(TURN_COMMANDS):
            try:
                first, *rest = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity = first.bytes
            if not rest:
                self._refuse(identity, WireError("control", "command without a document"))
                continue
            asker = Asker.of(identity, _address(rest[-1]))
            try:
                document = unpack_message(rest[-1].bytes)
            except WireError as error:
                self._refuse(identity, error)
                continue
            self._answer(asker, document)

    def settle(self, *, now: bool = False) -> None:
        """Makes the answers that are ready or whose time is over; all of them with ``now``."""
        if not self._waiting:
            return
        at = time.monotonic()
        ready = [entry for entry in self._waiting if now or at >= entry[1].deadline or self._is_ready(entry[1])]
        if not ready:
            return
        self._waiting = [entry for entry in self._waiting if entry not in ready]
        # Many may ask for the same: a status is made once for all of them.
        made: dict[Callable[[], Answer], Answer] = {}
        for identity, wait in ready:
            try:
                answer = made.get(wait.answer)
                if answer is None:
                    answer = made[wait.answer] = wait.answer()
            except Exception as error:
                self._refuse(identity, error)
                continue
            self.reply(identity, {"ok": True, **answer})

    @staticmethod
    def _is_ready(wait: Wait) -> bool:
        try:
            return wait.ready()
        except Exception:  # a defect of ours, which the answer will run into: no reason to stop collecting
            return True

    def reply(self, identity: bytes, document: Answer) -> None:
        """Sends a document to a connection; nothing happens where it has gone."""
        try:
            self.socket.send_multipart([identity, pack_message(document)], zmq.NOBLOCK)
        except zmq.ZMQError:  # who asked has gone, or reads nothing
            return

    def close(self) -> None:
        """Answers what waits and closes the socket."""
        self.settle(now=True)
        self.socket.close(200)

    def _answer(self, asker: Asker, document: dict[str, Any]) -> None:
        command = document.get("command")
        handler = self._handlers.get(command) if isinstance(command, str) else None
        try:
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise WireError("control", f"unknown command {command!r}: expected one of {known}")
            answer = handler(document, asker)
        except Exception as error:
            self._refuse(asker.identity, error)
            return
        if isinstance(answer, Wait):
            self._waiting.append((asker.identity, answer))
        else:
            self.reply(asker.identity, {"ok": True, **answer})

    def _refuse(self, identity: bytes, error: Exception) -> None:
        if not isinstance(error, LogbusError):  # a defect of ours: no reason to stop collecting
            error = ControlError(f"it failed with {type(error).__name__}: {error}")
        self.reply(identity, {"ok": False, "error": str(error), "exit_code": error.exit_code})


def _address(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
