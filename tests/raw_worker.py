"""A worker's two sockets and nothing behind them: it hears a collector's states, keeps them, and confirms as told."""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Any

import zmq

from logbus.bus import Endpoint, push_socket, subscriber_socket
from logbus.control import PRODUCER_TOPIC, WELCOME_TOPIC, State
from logbus.rules import Levels
from logbus.wire import MARK, NAMES, pack_frame, pack_payload
from tests.eventually import eventually
from tests.frames import LINGER_MS, data, mark, mark_payload, site, source


class RawWorker:
    """A worker called ``name`` for the length of a ``with`` block; it confirms every version unless ``mute``.

    Its first frame is its first confirmation, its last one a BYE.
    """

    def __init__(self, endpoint: str, control: str, who: bytes, *, name: str = "w1", mute: bool = False) -> None:
        self.who = who
        self.name = name
        self.mute = mute
        #: Every level rules heard, and whether as a welcome.
        self.heard: list[tuple[Levels, bool]] = []
        self.sent = 0
        self._endpoint, self._publisher = Endpoint.parse(endpoint), Endpoint.parse(control).publisher
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._request = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="raw worker")

    def __enter__(self) -> RawWorker:
        self._thread.start()
        eventually(lambda: self.heard, what="a welcome")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.confirm(bye=True)
        self._stopping = True
        self._thread.join()

    @property
    def levels(self) -> Levels:
        """The rules that it heard last."""
        return self.heard[-1][0]

    def log(self, component: str, message: str) -> None:
        """Sends a record of a component."""
        self._frames.put(data(self.who, self.sent, message, worker=self.name, sites=[site(component)]))
        self.sent += 1

    def name_loggers(self, *names: str) -> None:
        """Says which loggers exist here."""
        self._frames.put(pack_frame(NAMES, self.who, 0, 0, pack_payload([source(self.name), list(names)])))

    def speak_for(self, pid: int, host: str) -> None:
        """Sends a MARK in the name of another process, which confirms nothing."""
        body = mark_payload(sent=self.sent, worker=self.name)
        body[0][:2] = [host, pid]
        self._frames.put(pack_frame(MARK, self.who, self.sent, 0, pack_payload(body)))

    def confirm(self, *, bye: bool = False) -> None:
        """Sends a MARK that confirms what was heard last."""
        confirmed = self.levels.version, self.levels.ledger
        options: dict[str, Any] = {"worker": self.name, "confirmed": confirmed, "request": self._request}
        self._frames.put(mark(self.who, sent=self.sent, bye=bye, **options))

    def _run(self) -> None:
        with zmq.Context() as context:
            push, subscriber = push_socket(context), subscriber_socket(context, self.who)
            push.connect(self._endpoint.url)
            subscriber.connect(self._publisher.url)
            while not self._stopping or not self._frames.empty():
                if subscriber.poll(5):
                    message = subscriber.recv()
                    if not message.startswith(PRODUCER_TOPIC):
                        state = State.unpack(message)
                        self._request = state.request
                        self.heard.append((state.levels, message.startswith(WELCOME_TOPIC)))
                        if not self.mute:
                            self.confirm()
                while not self._frames.empty():
                    push.send(self._frames.get())
            subscriber.close(0)
            push.close(LINGER_MS)
