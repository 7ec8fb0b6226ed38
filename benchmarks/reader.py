"""A collector's sockets and nothing behind them: it welcomes a worker, reads its frames and forgets them.

Beside it one sees what a collector costs a worker by its mere presence, on a machine whose cores they share. The
program is ``python -m benchmarks.reader DIRECTORY``; it prints the URL of its record socket.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import zmq

from benchmarks.child import Child
from logbus.bus import Endpoint, control_endpoint, publisher_socket, pull_socket
from logbus.collectors.zap import Doorkeeper
from logbus.control import PRODUCER_TOPIC, State, pack_acknowledgement, pack_personal
from logbus.rules import Levels
from logbus.wire import ACK_WANTED, BYE, unpack_frame


class Reader(Child):
    """The reader's process, for the length of the block; ``endpoint`` is where workers send."""

    def __init__(self, directory: Path) -> None:
        super().__init__("benchmarks.reader", str(directory), directory=directory)
        self.endpoint = self.hear().strip()


def main(directory: Path) -> None:
    """Reads until its stdin is closed."""
    endpoint = Endpoint.parse(f"ipc://{directory}/records")
    state = State("ledger", secrets.token_hex(8), "reader", os.getpid(), 0, "serving", 0, Levels("ledger"))
    with zmq.Context() as context:
        doorkeeper = Doorkeeper(context)
        publisher, pull = publisher_socket(context), pull_socket(context)
        publisher.set(zmq.XPUB_WELCOME_MSG, state.pack(welcome=True))
        publisher.bind(control_endpoint(records=endpoint).publisher.url)
        pull.bind(endpoint.url)
        poller = zmq.Poller()
        for socket in (doorkeeper.socket, publisher, pull, sys.stdin.fileno()):
            poller.register(socket, zmq.POLLIN)
        print(endpoint.url, flush=True)
        while sys.stdin.fileno() not in (ready := dict(poller.poll())):
            doorkeeper.answer()
            if publisher in ready:
                message = publisher.recv()
                if message[0] and message[1:].startswith(PRODUCER_TOPIC):
                    publisher.send(pack_personal(message[2:], state.pack(welcome=True)))
            if pull in ready:
                header, _ = unpack_frame(pull.recv())
                if header.flags & ACK_WANTED:
                    publisher.send(pack_acknowledgement(header.producer, header.first_seq, bye=header.type == BYE))
        doorkeeper.close()
        publisher.close(0)
        pull.close(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
