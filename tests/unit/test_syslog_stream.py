from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.syslog import connection, dial, stream
from logbus.collectors.sinks.syslog.wait import Abort
from tests.eventually import eventually
from tests.syslog_sender import MakeSender, Sender, senders
from tests.syslog_server import StreamServer, duplicates, lines_of, numbers


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that say nothing are given up sooner than real ones; what is sent again is not too old for that."""
    monkeypatch.setattr(stream, "TAIL_S", 60.0)
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    monkeypatch.setattr(stream, "PROOF_S", 0.05)
    monkeypatch.setattr(dial, "CONNECT_S", 1.0)


@pytest.fixture
def sender() -> Iterator[MakeSender]:
    """Makes senders, and closes their sinks."""
    with senders() as make:
        yield make


@pytest.fixture
def stalled(sender: MakeSender) -> Iterator[tuple[Sender, StreamServer]]:
    """A sender, and a server with little room that has read one line of it and reads no more for now."""
    with StreamServer(buffer=4096) as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_read(server, 0, 1)
        server.pause()
        yield one, server


def test_what_is_sent_arrives(sender: MakeSender) -> None:
    """Messages arrive in order, each behind its length, and the connection is ended in order."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        assert one.send(lines_of(0, 100))
        assert one.send(lines_of(100, 3000, 300))
        assert one.sink.document() == {
            "address": f"tcp://127.0.0.1:{server.port}",
            "connected": True,
            "peer": f"127.0.0.1:{server.port}",
        }
        one.sink.close()
        assert eventually(lambda: server.ends) == ["end"]
        assert numbers(server.messages) == list(range(3100))
        assert (one.resent, one.failures, server.accepted) == (0, [], 1)


def test_nobody_listens(sender: MakeSender) -> None:
    """A write fails at once, with the address and the reason, and nothing is doubtful."""
    with StreamServer() as server:
        address = f"tcp://127.0.0.1:{server.port}"
    one = sender(address)
    assert not one.send(lines_of(0, 3))
    assert one.failures == [f"{address}: Connection refused"]
    assert (one.resent, one.sink.document()["connected"]) == (0, False)


def test_a_server_that_restarts_in_order(sender: MakeSender) -> None:
    """A server that ends in order may have forgotten what it has read: what was sent last comes again, counted."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_read(server, 0, 500)
    with StreamServer(port=server.port) as successor:
        one.until_sent(lines_of(500, 500))
        assert numbers(successor.wait(1000)) == list(range(1000))
    assert numbers(server.messages) == list(range(500))
    assert one.resent == 500


def test_a_connection_that_is_hung_up_is_made_again(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an idle connection is noticed before anything is sent into it, and what is old does not come again."""
    monkeypatch.setattr(stream, "TAIL_S", 0.0)
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        for first in range(0, 30, 10):
            assert one.send(lines_of(first, 10))
            server.wait(first + 10)
            server.hang_up()
            ended = first // 10 + 1
            eventually(lambda ended=ended: len(server.ends) == ended)  # type: ignore[misc]
        assert numbers(server.wait(30)) == list(range(30))
        assert (one.failures, one.resent, server.accepted) == ([], 0, 3)


def test_a_server_that_closes_each_connection_soon(sender: MakeSender) -> None:
    """What is sent again comes a few times and not for ever, each time counted."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_sent(lines_of(0, 10))
        for end in range(1, stream.REPEATS + 2):
            server.wait(end * 10)
            server.hang_up()
            eventually(lambda end=end: len(server.ends) == end)  # type: ignore[misc]
            eventually(lambda: one.look() is None and not one.sink.document()["connected"])
            one.look()
        assert one.send(lines_of(10, 1))
        assert numbers(server.messages) == [*range(10)] * (1 + stream.REPEATS) + [10]
        assert one.resent == 10 * stream.REPEATS


def test_a_server_that_resets_each_connection_soon(sender: MakeSender) -> None:
    """It says that it has not read everything: what was delivered is sent until it has."""
    lives = stream.REPEATS + 2
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_sent(lines_of(0, 10))
        server.pause()
        one.until_sent(lines_of(10, 10))
        server.reset()
    for _ in range(lives):
        with StreamServer(port=server.port) as successor:
            successor.pause()
            eventually(lambda: one.look() is None and one.sink.document()["connected"])
            successor.reset()
            eventually(lambda: one.look() or not one.sink.document()["connected"])
    with StreamServer(port=server.port) as successor:
        eventually(lambda: one.look() is None)
        assert set(numbers(successor.wait(10))) >= set(range(10, 20))
    assert one.resent >= 10 * (lives + 1)


def test_a_server_that_talks_without_an_end(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not listened to for longer than it takes to deliver, neither then nor at the end."""
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        monkeypatch.setattr(connection.Connection, "_ready", lambda _: True)
        monkeypatch.setattr(connection.Connection, "_read", lambda _: None)
        monkeypatch.setattr(Abort, "wait", lambda *_: select.POLLIN)
        assert one.send(lines_of(0, 10))
        assert one.look() is None
        assert one.close() is None
        server.wait(10)


@pytest.mark.parametrize("count", [5, 2000])
def test_a_server_that_dies_with_what_its_kernel_holds(sender: MakeSender, count: int) -> None:
    """After a reset what was sent last is sent again and counted; no message is missing."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_held(server, count)
    with StreamServer(port=server.port) as successor:
        one.until_sent(lines_of(10 + count, 5))
        successor.wait(count)
        one.sink.close()
        came = server.messages + successor.messages
        assert set(numbers(came)) == set(range(count + 15))
        assert numbers(successor.messages) == sorted(numbers(successor.messages))
        assert one.resent >= duplicates(came)
        assert one.resent <= count + 15


@pytest.mark.parametrize("at_the_end", [False, True])
def test_what_was_lost_is_sent_again_though_nothing_comes(sender: MakeSender, at_the_end: bool) -> None:
    """A look in between notices the reset, and sends the lines to the successor; closing is the last moment for it."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_held(server, 10)
    if not at_the_end:
        assert "Connection refused" in one.trouble()
    with StreamServer(port=server.port) as successor:
        if at_the_end:
            assert one.close() is None
        else:
            eventually(lambda: one.look() is None)
        assert set(numbers(server.messages + successor.wait(10))) == set(range(20))
        assert one.resent >= max(duplicates(server.messages + successor.messages), 10)


def test_what_is_sent_again_is_counted_first(sender: MakeSender) -> None:
    """A look that finds the end of a connection sends nothing before its count was asked for: a crash may follow."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_read(server, 0, 10)
        server.hang_up()
        eventually(lambda: server.ends)
        one.sink.look()
        one.sink.look()
        assert server.accepted == 1
        assert one.sink.resent() == 10
        assert one.sink.resent() == 0
        one.sink.look()
        assert numbers(server.wait(20)) == [*range(10)] * 2
        assert one.sink.resent() == 0


def test_what_can_not_be_sent_again_at_the_end_is_told(sender: MakeSender) -> None:
    """Where nobody is there any more, lines that were delivered may be lost, and a second close finds none."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_read(server, 0, 10)
        server.pause()
        server.reset()
    assert one.close() == "10 lines that were delivered may be lost: at the end nobody was there to take them"


def test_a_server_that_stops_reading(stalled: tuple[Sender, StreamServer]) -> None:
    """The write ends with what has arrived; once it reads again all of it arrives, and none of it twice."""
    one, server = stalled
    lines = lines_of(1, 30_000, 300)
    assert not one.send(lines)
    while one.delivered < 1 and not one.failures:
        one.send(b"")
    assert not one.send(b"")
    assert "has read nothing for 0.2 s" in one.failures[-1]
    server.resume()
    one.until_sent()
    assert numbers(server.wait(30_001)) == list(range(30_001))
    assert server.accepted == 1


def test_a_server_that_never_reads_again(stalled: tuple[Sender, StreamServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """After long enough another connection is made, and what was on its way is counted."""
    monkeypatch.setattr(stream, "ABANDON_S", 0.0)
    one, server = stalled
    one.send(lines_of(1, 30_000, 300))
    eventually(lambda: one.send(b"") or one.failures)
    assert one.sink.document()["connected"] is False
    assert one.resent > 0
    server.resume()
    one.until_sent()
    eventually(lambda: set(numbers(server.messages)) == set(range(30_001)))
    assert one.resent >= duplicates(server.messages)


def test_what_arrives_after_the_end_is_counted(stalled: tuple[Sender, StreamServer]) -> None:
    """A sink that is closed while lines are on their way sends no more, and those that may arrive were counted."""
    one, server = stalled
    while not one.failures:
        one.send(b"" if one.queue else lines_of(1, 30_000, 300))
    one.sink.close()
    server.resume()
    eventually(lambda: server.ends)
    assert len(server.messages) <= one.delivered + one.resent < 30_001


def test_fewer_lines_than_before_are_a_probe(stalled: tuple[Sender, StreamServer]) -> None:
    """A write of the first line only, after one that stalled, does not send it again, nor the others later."""
    one, server = stalled
    one.send(lines_of(1, 30_000, 300))
    while one.delivered < 1 and not one.failures:
        one.send(b"")
    rest, one.queue = one.queue.split(b"\n", 1)[1], one.queue.split(b"\n", 1)[0] + b"\n"
    server.resume()
    one.until_sent()
    one.until_sent(rest)
    assert numbers(server.wait(30_001)) == list(range(30_001))


def test_other_lines_than_before_are_sent(stalled: tuple[Sender, StreamServer]) -> None:
    """Where a writer has given up what stalled, what it brings instead is not taken for it."""
    one, server = stalled
    eventually(lambda: not one.send(lines_of(1, 10_000, 300)))
    one.queue = b""
    server.resume()
    one.until_sent(lines_of(500_000, 10))
    assert {*range(500_000, 500_010)} <= set(numbers(server.messages))
    assert not server.wrong


def test_a_call_can_be_ended(stalled: tuple[Sender, StreamServer]) -> None:
    """A word from another thread ends a write that waits, and only that one."""
    one, server = stalled
    threading.Timer(0.05, one.sink.abort).start()
    began = time.monotonic()
    assert not one.send(lines_of(1, 10_000, 300))
    assert time.monotonic() - began < 10
    server.resume()
    one.until_sent()
    assert numbers(server.wait(10_001)) == list(range(10_001))


def test_a_word_that_comes_too_early_is_for_the_next_call(sender: MakeSender) -> None:
    """It is not lost between two calls."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.sink.abort()
        assert not one.send(lines_of(0, 1))
        assert "interrupted" in one.failures[0]
        assert one.send(b"")


def test_a_server_that_acknowledges_and_reads_nothing(sender: MakeSender) -> None:
    """Where each new connection is reset, as by a proxy without a server, nothing counts as delivered."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)

        def refuse() -> None:
            while not stop.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                with sock:  # closed with something unread: a reset
                    assert sock.recv(1, socket.MSG_PEEK)

        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            one = sender(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            for _ in range(3):
                assert not one.send(b"" if one.queue else lines_of(0, 10))
            assert (one.delivered, len(one.failures)) == (0, 3)
        finally:
            stop.set()
            thread.join()


def test_each_address_of_a_name_is_tried(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first address of a name refuses, the second is taken; names are looked up each time."""
    with StreamServer() as server:
        asked = []

        def lookup(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        one = sender(f"tcp://logs.example.com:{server.port}")
        assert one.send(lines_of(0, 1))
        assert one.sink.document()["peer"] == f"127.0.0.1:{server.port}"
        server.wait(1)
    assert not one.send(lines_of(1, 1))
    assert one.failures[0].startswith(f"tcp://logs.example.com:{server.port}: ::1: ")
    assert "; 127.0.0.1: Connection refused" in one.failures[0]
    assert asked == ["logs.example.com"] * 2


def test_a_name_that_is_not_found(sender: MakeSender) -> None:
    """The failure says so."""
    one = sender("tcp://nobody.invalid:601")
    assert not one.send(lines_of(0, 1))
    assert one.failures[0].startswith("tcp://nobody.invalid:601: the name is not found: ")


def test_a_server_that_does_not_answer_a_connection(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for no longer than a deadline, and less where somebody wants it to end."""
    monkeypatch.setattr(dial, "CONNECT_S", 0.1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        try:
            for _ in range(4):  # the queue of connections is full: the next ones get no answer
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(address)
            one = sender(f"tcp://127.0.0.1:{address[1]}")
            assert not one.send(lines_of(0, 1))
            assert one.failures == [f"tcp://127.0.0.1:{address[1]}: Connection timed out"]
            one.sink.abort()
            assert not one.send(b"")
            assert "interrupted" in one.failures[1]
        finally:
            for sock in waiting:
                sock.close()


def test_a_unix_stream(sender: MakeSender, directories: Path) -> None:
    """Where a Unix socket takes streams, messages end with a newline, and count when they have been read."""
    path = directories / "log"
    with StreamServer(path=path) as server:
        one = sender(str(path))
        assert one.send(lines_of(0, 1000, 200))
        assert numbers(server.messages) == list(range(1000))
        server.pause()
        assert not one.send(lines_of(1000, 10))
        assert "has read nothing" in one.failures[0]
        server.resume()
        one.until_sent()
        assert numbers(server.messages) == list(range(1010))


def test_a_unix_stream_that_vanishes_and_comes_back(sender: MakeSender, directories: Path) -> None:
    """What its reader has not read is sent to the next one, and nothing that it has."""
    path = directories / "log"
    with StreamServer(path=path) as server:
        one = sender(str(path))
        one.until_sent(lines_of(0, 10))
        server.pause()
        one.send(lines_of(10, 10))
        server.end()
    assert not one.send(b"")
    with StreamServer(path=path) as successor:
        one.until_sent(lines_of(20, 10))
        came = server.messages + successor.wait(10)
        assert set(numbers(came)) == set(range(30))
        assert one.resent >= duplicates(came)
        assert numbers(server.messages[:10]) == list(range(10))


@pytest.mark.parametrize("how", ["stops", "dies"])
def test_what_is_sent_again_is_no_better_off_than_the_rest(sender: MakeSender, how: str) -> None:
    """A successor that stops reading, or dies, delivers nothing either, a look says so, and the next one gets all."""
    with StreamServer() as server:
        one = sender(f"tcp://127.0.0.1:{server.port}")
        one.until_held(server, 300, 200)
    with StreamServer(port=server.port, buffer=4096) as successor:
        successor.pause()
        assert "has read nothing for 0.2 s" in one.trouble()
        if how == "stops":
            successor.resume()
        else:
            successor.reset()
            assert "lines that were delivered may be lost" in one.trouble()
            successor = StreamServer(port=server.port).__enter__()
        one.until_sent(lines_of(310, 1))
        successor.wait(301)
        successor.end()
        assert set(numbers(server.messages + successor.messages)) == set(range(311))
        assert one.resent >= duplicates(server.messages + successor.messages)
