"""The pipe that wakes the sender: never full enough to wait for, never somebody else's descriptor."""

from __future__ import annotations

import os
import select

from logbus.producers.pipe import WakePipe


def readable(pipe: WakePipe) -> bool:
    """Whether a poll would end."""
    return bool(select.select([pipe.reading], [], [], 0)[0])


def test_a_byte_wakes_and_emptying_ends_it() -> None:
    """However often it was woken, one look empties it as far as a poll goes."""
    pipe = WakePipe()
    assert not readable(pipe)
    pipe.wake()
    pipe.wake()
    assert readable(pipe)
    pipe.empty()
    assert not readable(pipe)
    pipe.empty()
    pipe.close()


def test_a_full_pipe_keeps_nobody() -> None:
    """Nobody reads: the writer goes on all the same."""
    pipe = WakePipe()
    for _ in range(100_000):
        pipe.wake()
    pipe.close()


def test_a_closed_pipe_writes_to_nobody() -> None:
    """Its numbers may be another file's by then: nothing is written to them, and they are not closed again."""
    pipe = WakePipe()
    numbers = pipe.reading, pipe._writing
    pipe.close()
    others = [os.open(os.devnull, os.O_RDWR) for _ in numbers]
    pipe.wake()
    pipe.close()
    for fd in others:
        os.fstat(fd)
        os.close(fd)
