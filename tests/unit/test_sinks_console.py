"""The console sink: lines on a standard stream that may be slow, closed or full."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

from logbus.collectors.rows import Intent
from logbus.collectors.sinks import console as console_module
from logbus.collectors.sinks.console import ConsoleSink


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe whose writing end is stdout as far as the sink knows; the ends are the test's to close."""
    reading, writing = os.pipe()
    monkeypatch.setattr(console_module, "_DESCRIPTORS", {"stdout": writing, "stderr": -1})
    yield reading, writing
    for fd in (reading, writing):
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(fd)


def test_lines_go_out_whole(pipe: tuple[int, int]) -> None:
    """All bytes in their order, as one write."""
    sink = ConsoleSink("console", "stdout")
    sink.open()
    sink.write(b"one\ntwo\n")
    assert (sink.look(5), sink.trouble) == (sys.maxsize, None)
    sink.reopen()
    sink.write(b"three\n")
    sink.close()
    assert os.read(pipe[0], 100) == b"one\ntwo\nthree\n"
    os.fstat(pipe[1])  # the stream is not the sink's to close


def test_nobody_can_look_where_it_went() -> None:
    """An intent without a place: after a crash the write in hand is unknown."""
    sink = ConsoleSink("console", "stdout")
    assert not sink.checkable
    intent = sink.intent(3, 100, 40, ((b"p" * 16, 5, 3),))
    assert intent == Intent(3, 40, ((b"p" * 16, 5, 3),))


def test_a_stream_without_reader_is_an_error_that_left_nothing(pipe: tuple[int, int]) -> None:
    """EPIPE before the first byte: the write may be tried again."""
    sink = ConsoleSink("console", "stdout")
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        sink.write(b"one\n")
    assert sink.undo() is True


def test_a_closed_stream_is_an_error_that_left_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write says that there is no stream."""
    monkeypatch.setattr(console_module, "_DESCRIPTORS", {"stdout": -1, "stderr": -1})
    sink = ConsoleSink("console", "stderr")
    with pytest.raises(OSError, match="Bad file descriptor"):
        sink.write(b"one\n")
    assert sink.undo() is True


def test_a_full_device_is_an_error_that_left_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was redirected to a disk without room fails like any."""
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        monkeypatch.setattr(console_module, "_DESCRIPTORS", {"stdout": fd, "stderr": -1})
        sink = ConsoleSink("console", "stdout")
        with pytest.raises(OSError, match="No space left on device"):
            sink.write(b"one\n")
        assert sink.undo() is True
    finally:
        os.close(fd)


def test_half_a_write_can_not_be_taken_back(pipe: tuple[int, int]) -> None:
    """Some of it is on somebody's screen: nobody can tell how much of it was read."""
    sink = ConsoleSink("console", "stdout")
    os.set_blocking(pipe[1], False)
    with pytest.raises(BlockingIOError):
        sink.write(b"x" * 10_000_000)
    assert sink.undo() is False
    while True:
        os.set_blocking(pipe[0], False)
        try:
            os.read(pipe[0], 1 << 20)
        except BlockingIOError:
            break
    sink.write(b"one\n")
    with pytest.raises(BlockingIOError):
        sink.write(b"x" * 10_000_000)
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        sink.write(b"one\n")
    assert sink.undo() is True  # of this one nothing went out
