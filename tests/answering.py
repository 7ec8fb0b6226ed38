"""A sink that sends to a server which answers as a test tells it, without a server."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from logbus.collectors.sinks.base import Sent, TryAgainError
from logbus.collectors.sinks.remote import RemoteSink
from tests.bench import ENOUGH

#: What comes of a write: it is raised, or returned, or found out from the lines.
Answer = Exception | Sent | None | Callable[[list[bytes]], Sent | None]


class Answering(RemoteSink):
    """Gives the ``answers`` in turn and then ``always`` the same one. ``received`` are the lines that have ended.

    Each write waits at the ``gate``, which is open at first, and ends when it is aborted unless it is ``deaf``.
    """

    type = "server"

    def __init__(self, *answers: Answer, always: Answer = None, name: str = "main") -> None:
        super().__init__(name)
        self.answers = deque(answers)
        self.always = always
        self.writes: list[list[bytes]] = []
        self.times: list[float] = []
        self.received: list[bytes] = []
        self.refused: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.deaf = False
        self._aborted = threading.Event()

    def write(self, data: bytes) -> Sent | None:
        """What the test says."""
        lines = data.splitlines()
        self.times.append(time.monotonic())
        self.writes.append(lines)
        self.inside.set()
        until = time.monotonic() + ENOUGH
        while not self.gate.wait(0.01):
            assert time.monotonic() < until
            if self._aborted.is_set() and not self.deaf:
                raise TryAgainError("aborted", doubtful=len(lines))
        answer = self.answers.popleft() if self.answers else self.always
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(lines)
        ended = lines[: answer.records] if answer is not None else lines
        gone = [line for refusal in answer.refused for line in refusal.lines.splitlines()] if answer is not None else []
        self.received += [line for line in ended if line not in gone]
        self.refused += gone
        return answer

    def abort(self) -> None:
        """Ends the write under way, if the test lets it."""
        self._aborted.set()

    @property
    def was_aborted(self) -> bool:
        """Whether somebody has done so."""
        return self._aborted.is_set()

    def release(self) -> None:
        """Lets everything through from now on."""
        self.answers.clear()
        self.always = None
        self.gate.set()
