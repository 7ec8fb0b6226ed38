"""The receiver of the logging cookbook: a thread for each connection of ``SocketHandler``, into a JSON file.

A record is a length and a pickled dictionary. As in the cookbook, the four bytes of the length are asked for once: when
the kernel has fewer at hand, the server takes the connection for ended, and what was sent over it is lost. What is ours
is the file: a ``FileHandler`` with the formatter that people write (:class:`JsonLine`).

The program is ``python -m benchmarks.daemons.cookbook FILE``; it prints its port.
"""

from __future__ import annotations

import logging
import pickle
import socketserver
import struct
import sys

from benchmarks.record import JsonLine


class _Stream(socketserver.StreamRequestHandler):
    """The records of one connection."""

    def handle(self) -> None:
        """Handles records until the connection ends, or seems to."""
        while len(head := self.connection.recv(4)) == 4:
            (length,) = struct.unpack(">L", head)
            body = b""
            while len(body) < length:
                more = self.connection.recv(length - len(body))
                if not more:
                    return
                body += more
            record = logging.makeLogRecord(pickle.loads(body))
            logging.getLogger(record.name).handle(record)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _main(path: str) -> None:
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())
    logging.getLogger().addHandler(file)
    with _Server(("127.0.0.1", 0), _Stream) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    _main(sys.argv[1])
