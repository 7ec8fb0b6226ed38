"""A collector's command socket and nothing behind it: answers that a test chooses, and the commands that it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import zmq

from logbus.bus import Endpoint, command_socket
from logbus.control import pack_message, unpack_message

#: What a test answers: a document, bytes as they are, or None for silence.
Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | None]


class FakeCollector:
    """Answers commands on a control endpoint, in a thread, for as long as the ``with`` block lasts."""

    def __init__(self, control: Endpoint, answer: Answer) -> None:
        self.control = control
        self.answer = answer
        self.commands: list[dict[str, Any]] = []
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._serve, name="fake collector")
        self._bound = threading.Event()
        self._stopping = False

    def __enter__(self) -> FakeCollector:
        if self.control.path is not None:
            self.control.path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        assert self._bound.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()
        self._context.term()
        if self.control.path is not None:
            self.control.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        router = command_socket(self._context)
        router.bind(self.control.url)
        self._bound.set()
        while not self._stopping:
            if not router.poll(20):
                continue
            peer, message = router.recv_multipart()
            command = unpack_message(message)
            self.commands.append(command)
            answer = self.answer(command)
            if answer is not None:
                router.send_multipart([peer, answer if isinstance(answer, bytes) else pack_message(answer)])
        router.close()
