"""The standard library's own ways: a file, a queue to a thread, a queue to a process, a socket, syslog."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.peers.calls import Calls
from benchmarks.peers.peer import Peer, Place, into_file, root_logger
from benchmarks.peers.reader import Reader
from benchmarks.record import JsonLine
from benchmarks.service import PATIENCE_S, cpu_seconds

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.queues import Queue

#: The logger of a record that says: all before this one has been handled.
_MARK: Final = "benchmarks.mark"


def null(place: Place) -> Peer:
    """The floor itself, at the place of a variant: its ratio shows how well pairs of the same agree."""
    return Peer(Calls(root_logger(logging.NullHandler())))


def json_file(place: Place) -> Peer:
    """A FileHandler with a formatter of one's own, which flushes each line."""
    path = place.file("lines.jsonl")
    return into_file(Calls(root_logger(_file(path))), path)


def orjson_file(place: Place) -> Peer:
    """The same where the formatter has orjson, as python-json-logger offers it: the least that a line of JSON costs."""
    path = place.file("lines.jsonl")
    file = logging.FileHandler(path)
    file.setFormatter(_OrjsonLine())
    return into_file(Calls(root_logger(file)), path)


def queue_listener(place: Place) -> Peer:
    """A QueueHandler, and a QueueListener whose thread formats and writes."""
    path = place.file("lines.jsonl")
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, _file(path))
    listener.start()
    place.stack.callback(listener.stop)

    def drain() -> None:
        listener.stop()
        listener.start()

    return into_file(Calls(root_logger(logging.handlers.QueueHandler(waiting))), path, drain)


def mp_queue(place: Place) -> Peer:
    """A QueueHandler with a multiprocessing.Queue, and a process whose QueueListener formats and writes."""
    import multiprocessing

    path = place.file("lines.jsonl")
    context = multiprocessing.get_context("spawn")
    waiting: Queue[Any] = context.Queue()
    ours, theirs = context.Pipe()
    process = context.Process(target=_listen, args=(waiting, theirs, str(path)), daemon=True)
    process.start()

    def end() -> None:
        process.kill()
        process.join()
        waiting.cancel_join_thread()
        waiting.close()

    place.stack.callback(end)
    mark = logging.makeLogRecord({"name": _MARK})

    def drain() -> None:
        waiting.put(mark)
        if not ours.poll(PATIENCE_S):
            raise RuntimeError(f"the listener did not handle its queue within {PATIENCE_S:g} s")
        ours.recv()

    pid = process.pid
    assert pid is not None
    peer = into_file(Calls(root_logger(logging.handlers.QueueHandler(waiting))), path, drain)
    return Peer(peer.calls, drain, peer.arrived, written_bytes, lambda: cpu_seconds(pid))


def socket_handler(place: Place) -> Peer:
    """A SocketHandler, which sends each record as a pickle, over TCP."""
    reader = place.stack.enter_context(Reader("lengths", place.directory))
    handler = logging.handlers.SocketHandler("127.0.0.1", reader.port)
    return read_by(reader, Calls(root_logger(handler)))


def syslog(place: Place) -> Peer:
    """A SysLogHandler, which sends each line as a datagram to a unix socket."""
    reader = place.stack.enter_context(Reader("datagrams", place.directory, str(place.file("log"))))
    handler = logging.handlers.SysLogHandler(reader.address, socktype=socket.SOCK_DGRAM)
    handler.setFormatter(JsonLine())
    return read_by(reader, Calls(root_logger(handler)))


def read_by(reader: Reader, calls: Calls) -> Peer:
    """A peer whose records a reader counts."""

    def arrived() -> int:
        return reader.wait(calls.made)

    return Peer(calls, arrived, arrived, lambda: reader.bytes)


def written_bytes() -> int:
    """Bytes that this process has given to the system's ``write`` so far (sockets' ``send`` is not in it)."""
    return int(Path(f"/proc/{os.getpid()}/io").read_text().split("wchar: ")[1].split()[0])


def _file(path: Path) -> logging.Handler:
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())
    return file


class _OrjsonLine(JsonLine):
    def __init__(self) -> None:
        import orjson

        super().__init__()
        self._dumps = lambda line: orjson.dumps(line).decode()


class _Listener(logging.handlers.QueueListener):
    """Says when a mark has come; all before it has been handled."""

    pipe: Connection

    def handle(self, record: logging.LogRecord) -> None:
        if record.name == _MARK:
            self.pipe.send(None)
        else:
            super().handle(record)


def _listen(waiting: Queue[Any], pipe: Connection, path: str) -> None:
    listener = _Listener(waiting, _file(Path(path)))
    listener.pipe = pipe
    listener.start()
    pipe.recv()  # until it is killed
