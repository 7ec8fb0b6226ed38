"""One deadline over all that a call waits for, and another thread that ends it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from logbus.collectors.sinks.http.watch import AbortedError, Watch, WatchedSocket
from tests.eventually import eventually


@pytest.fixture
def pair() -> Iterator[tuple[WatchedSocket, socket.socket, Watch]]:
    """A connection that is watched, its other end, and the watch, with ten seconds for the call."""
    ours, theirs = socket.socketpair()
    watch = Watch()
    with WatchedSocket(ours.family, ours.type, ours.proto, ours.detach()) as sock, theirs:
        sock.watch = watch
        watch.begin()
        watch.allow(10)
        yield sock, theirs, watch
    watch.let_go()


def test_what_is_left_gets_less_and_ends() -> None:
    """Seconds of the whole, however often it is asked, and TimeoutError after them."""
    watch = Watch()
    watch.begin()
    watch.allow(10)
    assert 9 < watch.left() <= 10
    watch.shorten(100)
    assert watch.left() <= 10
    watch.shorten(5)
    assert watch.left() <= 5
    watch.allow(0)
    with pytest.raises(TimeoutError):
        watch.left()


def test_bytes_that_drip_do_not_hold_a_call(pair: tuple[WatchedSocket, socket.socket, Watch]) -> None:
    """The deadline is of all reads together, though each one finds a byte in time."""
    sock, theirs, watch = pair
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.01):
            theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    watch.allow(0.2)
    with sock.makefile("rb") as stream, pytest.raises(TimeoutError):
        stream.read(1_000_000)
    over.set()
    dripping.join()


def test_a_reader_that_reads_nothing_does_not_hold_a_call(pair: tuple[WatchedSocket, socket.socket, Watch]) -> None:
    """A send that finds no room ends with the time, and says how much has gone out."""
    sock, _, watch = pair
    sock.sendall(b"x")
    data = b"x" * 10_000_000
    watch.allow(0.1)
    with pytest.raises(TimeoutError):
        sock.sendall(data)
    assert 1 <= sock.gone < len(data)


def test_all_is_sent_and_counted(pair: tuple[WatchedSocket, socket.socket, Watch]) -> None:
    """Any buffer of bytes, in as many pieces as it takes."""
    sock, theirs, _ = pair
    got = bytearray()

    def read() -> None:
        while data := theirs.recv(65_536):
            got.extend(data)

    reading = threading.Thread(target=read)
    reading.start()
    sock.sendall(b"head")
    sock.sendall(memoryview(b"y" * 5_000_000))
    assert sock.gone == 5_000_004
    sock.shutdown(socket.SHUT_WR)
    reading.join()
    assert bytes(got) == b"head" + b"y" * 5_000_000


def test_another_thread_ends_a_read(pair: tuple[WatchedSocket, socket.socket, Watch]) -> None:
    """The wait ends at once, as if the other side had closed, and what would be waited for next is refused."""
    sock, _, watch = pair
    watch.hold(sock)
    got: list[int] = []
    began = threading.Event()

    def read() -> None:
        began.set()
        got.append(sock.recv_into(bytearray(10)))

    reading = threading.Thread(target=read)
    reading.start()
    began.wait()
    watch.abort()
    reading.join(10)
    assert got in ([0], [])  # it may not have come to wait yet
    assert not reading.is_alive()
    assert watch.aborted
    with pytest.raises(AbortedError):
        watch.left()


def test_an_abort_before_the_connection_is_there_counts() -> None:
    """A call that is ended while it looks up a name never gets to connect."""
    watch = Watch()
    watch.begin()
    watch.allow(10)
    watch.abort()
    with socket.socket() as sock, pytest.raises(AbortedError):
        watch.hold(sock)
    watch.let_go()


def test_an_abort_without_a_call_is_nothing(pair: tuple[WatchedSocket, socket.socket, Watch]) -> None:
    """The kept connection stays as it is, and the next call is no other."""
    sock, theirs, watch = pair
    watch.hold(sock)
    watch.end()
    watch.abort()
    watch.begin()
    watch.allow(10)
    theirs.send(b"z")
    assert sock.recv_into(bytearray(10)) == 1


def test_an_abort_after_the_connection_was_closed_touches_nobody_elses(
    pair: tuple[WatchedSocket, socket.socket, Watch],
) -> None:
    """The number of a closed descriptor may be another file's by now: only our own is shut down."""
    sock, theirs, watch = pair
    watch.hold(sock)
    other, end = socket.socketpair()
    number = sock.fileno()
    sock.close()
    with other, end:
        os.dup2(other.fileno(), number)
        try:
            watch.abort()
            end.send(b"alive")
            assert other.recv(10) == b"alive"
        finally:
            os.close(number)
    watch.let_go()
    assert theirs.recv(1) == b""


def test_a_connection_attempt_can_be_ended() -> None:
    """Of one that nobody answers, too: its queue is full."""
    with socket.socket() as listener, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting.connect(listener.getsockname())
        watch = Watch()
        watch.begin()
        watch.allow(30)
        ended: list[float] = []
        with WatchedSocket() as sock:

            def connect() -> None:
                with socket.socket() as second:  # the kernel takes one more than was said
                    second.settimeout(0.05)
                    second.connect_ex(listener.getsockname())
                    watch.hold(sock)
                    sock.settimeout(watch.left())
                    try:
                        sock.connect(listener.getsockname())
                        sock.recv(1)
                    except OSError:
                        pass
                    ended.append(time.monotonic())

            connecting = threading.Thread(target=connect)
            connecting.start()
            eventually(lambda: watch._handle is not None)
            watch.abort()
            connecting.join(10)
        watch.let_go()
        assert ended, "it still waits"
