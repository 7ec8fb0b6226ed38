"""pyzmq's PUBHandler and logbook's ZeroMQHandler: a message per record, from the calling thread.

A PUB socket drops what exceeds its high-water mark, by default 1,000 messages: so they lose records when a reader is
slow. It is lifted here, so that no moment in which the reader has no core makes a run void.
"""

from __future__ import annotations

from typing import Any

import zmq

from benchmarks.peers.calls import Calls
from benchmarks.peers.logbook import logger as logbook_logger
from benchmarks.peers.peer import Peer, Place, root_logger
from benchmarks.peers.reader import KNOCK, Reader
from benchmarks.peers.stdlib import read_by
from benchmarks.record import JsonLine


def pub_handler(place: Place) -> Peer:
    """The handler of pyzmq with a formatter that makes JSON."""
    from zmq.log.handlers import PUBHandler

    publisher: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    handler = PUBHandler(publisher)
    handler.setFormatter(JsonLine())
    return _read(place, publisher, Calls(root_logger(handler)))


def logbook(place: Place) -> Peer:
    """The handler of logbook, which makes JSON of all that a record has."""
    from logbook.queues import ZeroMQHandler

    handler = ZeroMQHandler()
    calls = logbook_logger(handler)
    place.stack.callback(handler.close, 0)
    return _read(place, handler.socket, calls)


def _read(place: Place, publisher: Any, calls: Calls) -> Peer:
    """Once the reader has subscribed."""
    address = f"ipc://{place.file('records')}"
    publisher.set(zmq.SNDHWM, 0)
    publisher.set(zmq.LINGER, 0)
    publisher.bind(address)
    reader = place.stack.enter_context(Reader("published", place.directory, address))
    while not reader.bytes:
        publisher.send(KNOCK)
        reader.wait(0)
    return read_by(reader, calls)
