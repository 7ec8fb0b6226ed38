from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.base import Refusal, Sent
from logbus.collectors.sinks.syslog import datagram
from tests.eventually import eventually
from tests.syslog_sender import MakeSender, senders
from tests.syslog_server import DatagramServer, StreamServer, duplicates, lines_of, numbers

#: Messages that a test of UDP sends at once: fewer than a receiver's buffer holds.
FEW = 20


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that take nothing are given up sooner than real ones; what is sent again is not too old for that."""
    monkeypatch.setattr(datagram, "TAIL_S", 60.0)
    monkeypatch.setattr(datagram, "STALL_S", 0.2)


@pytest.fixture
def sender() -> Iterator[MakeSender]:
    """Makes senders, and closes their sinks."""
    with senders() as make:
        yield make


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_message_is_a_datagram(sender: MakeSender, host: str) -> None:
    """A message has neither a length nor a newline."""
    with DatagramServer(host=host) as server:
        one = sender(f"udp://{f'[{host}]' if ':' in host else host}:{server.port}")
        for first in range(0, 5 * FEW, FEW):
            assert one.send(lines_of(first, FEW))
            assert server.wait(first + FEW)[-1] == b"%06d" % (first + FEW - 1)
        assert numbers(server.messages) == list(range(5 * FEW))
        assert one.sink.document()["peer"].endswith(f":{server.port}")


def test_nobody_listens_over_udp(sender: MakeSender) -> None:
    """A refusal is a failure, however often it is tried, and nothing is delivered or doubtful by it."""
    with DatagramServer() as server:
        address = f"udp://127.0.0.1:{server.port}"
    one = sender(address)
    for _ in range(3):
        assert not one.send(b"" if one.queue else lines_of(0, 5))
    assert one.failures == [f"{address}: Connection refused"] * 3
    assert (one.delivered, one.resent, one.queue.count(b"\n")) == (0, 0, 5)
    with DatagramServer(port=server.port) as successor:
        one.until_sent()
        assert numbers(successor.wait(5)) == list(range(5))


def test_a_udp_server_that_restarts(sender: MakeSender) -> None:
    """What was sent in the last moments before a refusal is sent again and counted."""
    with DatagramServer() as server:
        one = sender(f"udp://127.0.0.1:{server.port}")
        assert one.send(lines_of(0, FEW))
        server.wait(FEW)
    assert one.send(lines_of(FEW, 1))  # nobody knows yet
    eventually(lambda: not one.send(lines_of(FEW + 1, 1)) or one.failures)
    with DatagramServer(port=server.port) as successor:
        one.until_sent()
        wanted = set(range(one.delivered))
        eventually(lambda: set(numbers(server.messages + successor.messages)) == wanted)
        assert one.resent >= duplicates(server.messages + successor.messages) > 0


def test_a_refusal_of_the_last_message_is_noticed_later(sender: MakeSender) -> None:
    """A look in between finds it, and the message is sent again."""
    with DatagramServer() as server:
        one = sender(f"udp://127.0.0.1:{server.port}")
        assert one.send(lines_of(0, 1))
        server.wait(1)
    assert one.send(lines_of(1, 1))
    assert "Connection refused" in one.trouble()
    with DatagramServer(port=server.port) as successor:
        eventually(lambda: one.look() is None)
        assert numbers(successor.wait(2)) == [0, 1]
        assert one.send(lines_of(2, 1))
        assert one.resent == 2


def test_an_address_that_refuses_is_not_tried_next(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name with two addresses the one where somebody listens is found."""
    with DatagramServer() as server:

        def lookup(host: str, port: int, **_: Any) -> list[Any]:
            return [
                (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        one = sender(f"udp://logs.example.com:{server.port}")
        assert not one.send(lines_of(0, FEW))
        assert one.send(b"")
        assert numbers(server.wait(FEW)) == list(range(FEW))


def test_a_message_that_has_no_room_is_refused(sender: MakeSender) -> None:
    """It alone, for good and with what to do; the others are delivered."""
    with DatagramServer() as server:
        one = sender(f"udp://127.0.0.1:{server.port}")
        long = b"x" * 70_000 + b"\n"
        found = one.sink.write(lines_of(0, 2) + long + lines_of(2, 1))
        text = "a message of 70000 bytes has no room in a datagram: see max_message"
        assert found == Sent(4, (Refusal(long, 1, text),))
        assert numbers(server.wait(3)) == [0, 1, 2]
        assert one.sink.write(long) == Sent(1, (Refusal(long, 1, text),))


def test_a_unix_socket_of_datagrams(sender: MakeSender, directories: Path) -> None:
    """A sink that is faster than the reader waits for it, and nothing is lost."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one = sender(f"unix://{path}")
        one.until_sent(lines_of(0, 2000, 200))
        assert numbers(server.wait(2000)) == list(range(2000))
        assert one.resent == 0


def test_a_reader_that_takes_nothing(sender: MakeSender, directories: Path) -> None:
    """What its queue has taken is delivered, and the others wait for it to go on."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one = sender(str(path))
        server.pause()
        assert not one.send(lines_of(0, 2000))
        assert 0 < one.delivered < 2000
        assert not one.send(b"")
        assert one.failures == [f"unix://{path}: the reader has taken nothing for 0.2 s"]
        began = time.monotonic()
        threading.Timer(0.05, one.sink.abort).start()
        assert not one.send(b"")
        assert time.monotonic() - began < 10
        server.resume()
        one.until_sent()
        assert numbers(server.wait(2000)) == list(range(2000))


def test_a_unix_socket_that_vanishes_and_comes_back(sender: MakeSender, directories: Path) -> None:
    """What its reader's queue held when it died is sent to the next one, and counted."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one = sender(str(path))
        one.until_read(server, 0, 100)
        server.pause()
        one.send(lines_of(100, 2000))
        server.end()
    assert not one.send(b"")
    path.unlink()
    assert not one.send(b"")
    assert one.failures[-1] == f"unix://{path}: No such file or directory"
    with DatagramServer(path=path) as successor:
        one.until_sent()
        eventually(lambda: set(numbers(server.messages + successor.messages)) == set(range(2100)))
        assert one.resent >= duplicates(server.messages + successor.messages)
        assert one.resent <= 2 * (datagram._queue() + 1)
        assert numbers(successor.messages) == sorted(numbers(successor.messages))


def test_a_reader_that_dies_with_what_was_sent_to_it_again(sender: MakeSender, directories: Path) -> None:
    """What the second one had taken of it is sent to the third, in order, though the second took only a part."""
    path = directories / "log"
    count = datagram._queue() // 2
    with DatagramServer(path=path) as server:
        one = sender(str(path))
        server.pause()
        one.until_sent(lines_of(0, count))
        # It dies with all that it has.
        server.socket.shutdown(socket.SHUT_RDWR)
        os.unlink(path)
    with DatagramServer(path=path) as second:
        second.pause()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect(str(path))
            for _ in range(datagram._queue() + 1 - count // 2):
                other.send(b"another")
            assert not one.send(lines_of(count, 1))
            assert "Connection" in one.failures[-1] or "pipe" in one.failures[-1].lower(), one.failures
            assert not one.send(b"")
            assert "has taken nothing" in one.failures[-1]
        second.socket.shutdown(socket.SHUT_RDWR)
        os.unlink(path)
    with DatagramServer(path=path) as third:
        one.until_sent()
        before = [*server.messages, *(m for m in second.messages if m != b"another")]
        eventually(lambda: set(numbers([*before, *third.messages])) == set(range(count + 1)))
        assert numbers(third.messages) == sorted(numbers(third.messages))
        assert one.resent >= duplicates([*before, *third.messages])


def test_a_unix_socket_that_comes_back_as_another_kind(sender: MakeSender, directories: Path) -> None:
    """Where datagrams were taken and now streams are, or the other way, lines go there, lost ones too."""
    path = directories / "log"
    came: list[bytes] = []
    with DatagramServer(path=path) as datagrams:
        one = sender(str(path))
        one.until_sent(lines_of(0, 5))
        came += datagrams.wait(5)
        datagrams.pause()
        one.until_sent(lines_of(5, 5))
        datagrams.end()
    assert not one.send(lines_of(10, 1))
    with StreamServer(path=path) as streams:
        eventually(lambda: one.look() is None)
        one.until_sent()
        came += streams.wait(6)
    one.send(lines_of(11, 1))
    with DatagramServer(path=path) as datagrams:
        one.until_sent()
        came += datagrams.wait(1)
    assert set(numbers(came)) == set(range(12))
    assert one.resent >= duplicates(came)


def test_what_is_sent_again_to_a_reader_that_is_slow(sender: MakeSender, directories: Path) -> None:
    """Where its queue has room for a part, the rest follows, and nothing of it comes twice uncounted."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one = sender(str(path))
        one.until_read(server, 0, 5)
        server.pause()
        assert not one.send(lines_of(5, 2000))
        server.end()
    assert not one.send(b"")
    with DatagramServer(path=path) as successor:
        successor.pause()
        other = sender(str(path))
        other.send(lines_of(900_000, datagram._queue() // 2))
        assert "has taken nothing for 0.2 s" in one.trouble()
        successor.resume()
        one.until_sent(lines_of(2005, 1))
        eventually(lambda: 2005 in numbers(successor.messages))
        came = [message for message in server.messages + successor.messages if not message.startswith(b"9")]
        assert set(numbers(came)) == set(range(2006))
        assert one.resent >= duplicates(came)


def test_a_reader_that_has_read_everything_owes_nothing(sender: MakeSender, directories: Path) -> None:
    """What was seen to be read before it died is not sent again."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one = sender(str(path))
        one.until_read(server, 0, 10)
        one.sink.look()
    assert not one.send(lines_of(10, 1))
    with DatagramServer(path=path) as successor:
        one.until_sent()
        assert (numbers(successor.wait(1)), one.resent) == ([10], 0)


def test_a_reader_that_died_while_nothing_came(sender: MakeSender, directories: Path) -> None:
    """A look, or the end, notices it by the socket's file, and what it had not read goes to the next."""
    path = directories / "log"
    with DatagramServer(path=path) as server:
        one, two = sender(str(path)), sender(str(path))
        server.pause()
        for each, first in ((one, 0), (two, 3)):
            assert each.send(lines_of(first, 3))
    with DatagramServer(path=path) as successor:
        one.sink.look()
        assert numbers(successor.wait(3)) == [0, 1, 2]
        two.sink.close()
        assert numbers(successor.wait(6)) == list(range(6))


def test_how_much_a_reader_has_unread_is_known() -> None:
    """It is what the system says, or else the usual number."""
    assert datagram._queue() > 0
    assert Path(datagram._QUEUE).is_file() or sys.platform != "linux"
