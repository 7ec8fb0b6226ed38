"""Frames as bytes, right and wrong, and a socket that sends them as any program of this user might."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import zmq

from logbus.bus import Endpoint, push_socket
from logbus.wire import BYE, DATA, MARK, pack_frame, pack_payload

#: Milliseconds that the frames of a test have for leaving.
LINGER_MS = 5000


def producer(number: int) -> bytes:
    """The identity of a producer; 0 and everything above 0xfe are taken."""
    return number.to_bytes(16, "big")


def source(worker: str = "w1") -> list[Any]:
    """The ``source`` of a payload."""
    return ["host", 7, worker, "app"]


def site(component: str = "db", level_no: int = 20, level_name: str = "INFO") -> list[Any]:
    """A call site in a logger that is called like its component."""
    return [component, level_no, level_name, "module", "function", 7, component]


def payload(
    *messages: str,
    worker: str = "w1",
    sites: Sequence[list[Any]] | None = None,
    at: Sequence[int] = (),
    extra: dict[str, Any] | None = None,
    nested: dict[str, Any] | None = None,
    exception: list[Any] | None = None,
    drops: Sequence[list[int]] = (),
) -> list[Any]:
    """The payload of a DATA frame, as plain lists; ``at`` gives the site of each record, by default the first."""
    places = at or [0] * len(messages)
    records = [
        [1_700_000_000_000_000 + number, place, 0, message, extra, nested, exception]
        for number, (place, message) in enumerate(zip(places, messages, strict=True))
    ]
    return [source(worker), list(sites or [site()]), ["MainThread"], records, list(drops)]


def data(who: bytes, first_seq: int, *messages: str, **options: Any) -> bytes:
    """A DATA frame with a record for each message; options are those of :func:`payload`."""
    return pack_frame(DATA, who, first_seq, len(messages), pack_payload(payload(*messages, **options)))


def raw(who: bytes, first_seq: int, count: int, body: object) -> bytes:
    """A DATA frame that is whole, with whatever payload; ``body`` is packed unless it is bytes."""
    return pack_frame(DATA, who, first_seq, count, body if isinstance(body, bytes) else pack_payload(body))


def mark_payload(
    *,
    sent: int,
    emitted: int | None = None,
    buffered: int = 0,
    drops: Sequence[Sequence[int]] = (),
    request: int = 0,
    exact: bool = True,
    worker: str = "w1",
    confirmed: tuple[int, str] = (0, ""),
) -> list[Any]:
    """The payload of a MARK or BYE; ``emitted`` is by default what the other numbers add up to."""
    total = sent + buffered + sum(drop[2] for drop in drops) if emitted is None else emitted
    counters = [request, total, sent, buffered, list(drops), exact]
    return [source(worker), 1_700_000_000_000_000, *counters, *confirmed, "stdlib=source", [0, 0, 0]]


def mark(who: bytes, *, sent: int, bye: bool = False, **options: Any) -> bytes:
    """A MARK, or a BYE; options are those of :func:`mark_payload`."""
    return pack_frame(BYE if bye else MARK, who, sent, 0, pack_payload(mark_payload(sent=sent, **options)))


class RawSender:
    """A PUSH socket with nothing behind it, for the length of a ``with`` block.

    Wait inside the block until the collector has read what was sent: of a connection that closes while its queue is
    full ZeroMQ throws away what is still in the kernel. (A real producer waits for an acknowledgement.)
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = Endpoint.parse(endpoint)
        self._context = zmq.Context()

    def __enter__(self) -> RawSender:
        self._socket = push_socket(self._context)
        self._socket.set(zmq.SNDTIMEO, LINGER_MS)
        self._socket.connect(self._endpoint.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close(LINGER_MS)
        self._context.term()

    def send(self, *frames: bytes) -> None:
        """Sends frames, each as a message of its own."""
        for frame in frames:
            self._socket.send(frame)

    def send_parts(self, *parts: bytes) -> None:
        """Sends one message of several parts."""
        self._socket.send_multipart(parts)
