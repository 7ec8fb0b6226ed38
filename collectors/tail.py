"""Records as they pass, to whoever asked with ``logbus tail``, at a cost that is bounded whatever they do.

Theory of operation. A follower is a connection to the command socket that has said what it wants. After each turn
the batches, redacted and entered in the ledger by then, go past every follower; what he wants is encoded and sent
on the ROUTER without waiting, in messages of whole lines. Nothing is kept for him here: ZeroMQ holds a short queue,
and what does not fit is skipped and counted. So are records beyond his rate, those that come when the followers have
used up their share of the thread's time, and a line longer than a message. A connection that has gone is forgotten
when the next message meets it; one that is silent (a stopped process) loses its lease. A pattern (``--grep``) is not
looked for here but by the command itself: no pattern of anybody can slow the collector.

Without a follower all of it costs the collector one ``if`` a turn.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import zmq

from logbus.collectors.commands import Asker
from logbus.collectors.decode import Batch
from logbus.collectors.excerpt import Excerpt
from logbus.collectors.follower import Follower, Question
from logbus.collectors.format import lines as split_lines
from logbus.control import pack_message
from logbus.errors import ControlError

#: Followers at a time: each may fill a queue of its own (bus.COMMAND_QUEUE messages of MESSAGE_BYTES).
MAX_FOLLOWERS: Final = 16
#: Records a second for one follower, and at once after a quiet second.
RECORDS_PER_S: Final = 5_000
#: Seconds of the collector's thread in each second that all followers together may cost, and at once after a pause.
SHARE: Final = 0.1
#: Seconds after which a follower who has not renewed his lease is let go.
LEASE_S: Final = 15.0
#: Bytes of lines in one message; a longer line is skipped.
MESSAGE_BYTES: Final = 64 * 1024


class Tail:
    """The followers of a collector; true while there are any. All of it belongs to the collector's thread.

    ``name`` is the collector's; ``socket``, to be set before the first command is read, is that of the commands.
    """

    def __init__(self, name: str) -> None:
        self.socket: zmq.Socket[bytes]
        self._name = name
        self._followers: dict[bytes, Follower] = {}
        self._seconds = SHARE
        self._seconds_at = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._followers)

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Takes a follower in; his lines follow the answer. Raises ConfigurationError, ControlError (too many)."""
        question = Question.of(document)
        if len(self._followers) >= MAX_FOLLOWERS and asker.identity not in self._followers:
            for follower in list(self._followers.values()):
                self._send(follower)  # those who have gone are found out
            if len(self._followers) >= MAX_FOLLOWERS:
                raise ControlError(f"tail: at most {MAX_FOLLOWERS} may follow at a time")
        now = time.monotonic()
        self._followers[asker.identity] = Follower(
            asker.identity, question, now=now, deadline=now + LEASE_S, allowance=RECORDS_PER_S
        )
        return {"name": self._name, "pid": os.getpid()}

    def renew(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Renews a lease. Raises ControlError for who has none."""
        follower = self._followers.get(asker.identity)
        if follower is None:
            raise ControlError("tail: the lease has ended")
        follower.deadline = time.monotonic() + LEASE_S
        return {}

    def show(self, batches: Sequence[Batch]) -> None:
        """Sends each follower what he wants of these batches, which are only read."""
        now = time.monotonic()
        self._seconds = min(SHARE, self._seconds + (now - self._seconds_at) * SHARE)
        self._seconds_at = now
        for follower in list(self._followers.values()):
            earned = (now - follower.allowance_at) * RECORDS_PER_S
            follower.allowance = min(RECORDS_PER_S, follower.allowance + earned)
            follower.allowance_at = now
            found: list[bytes] = []
            for batch in batches:
                begun = time.thread_time()
                found += self._lines(follower, batch)
                self._seconds -= time.thread_time() - begun
            if found:
                begun = time.thread_time()
                self._send_lines(follower, found)
                self._seconds -= time.thread_time() - begun
        # Whoever came first is the last one in the next turn: where time is short, all get of it.
        first = next(iter(self._followers), None)
        if first is not None:
            self._followers[first] = self._followers.pop(first)

    def sweep(self) -> None:
        """Lets those go whose lease has ended, and tells the others what they have missed."""
        now = time.monotonic()
        for follower in list(self._followers.values()):
            if now >= follower.deadline:
                self._tell(follower, {"tail": "expired"})
                self._followers.pop(follower.identity, None)
            elif follower.told != (follower.slow, follower.beyond):
                self._send(follower)

    def drain(self) -> None:
        """Tells everybody that the collector drains; what still comes is shown."""
        for follower in list(self._followers.values()):
            self._tell(follower, {"tail": "draining"})

    def _lines(self, follower: Follower, batch: Batch) -> list[bytes]:
        """The lines of a batch for a follower, as far as his allowance and the time of all go."""
        candidates = follower.candidates(batch)
        if not candidates:
            return []
        if self._seconds <= 0 or follower.allowance < 1:
            follower.beyond += len(candidates)
            return []
        wanted = follower.wanted(batch, candidates)
        taken = wanted[: int(follower.allowance)]
        follower.beyond += len(wanted) - len(taken)
        if not taken:
            return []
        follower.allowance -= len(taken)
        records = [batch.records[index] for index in taken]
        part = Batch(batch.producer, batch.first_seq, batch.source, batch.sites, batch.threads, records, [])
        return split_lines(follower.formatter.encode(part))

    def _send_lines(self, follower: Follower, found: list[bytes]) -> None:
        """Sends lines until the queue is full; the rest is skipped."""
        shown = 0
        for message in _messages(found):
            if len(message[0]) > MESSAGE_BYTES:  # a line that is too long, alone
                follower.beyond += 1
            elif not self._send(follower, b"".join(message)):
                follower.slow += len(found) - shown
                return
            shown += len(message)

    def _send(self, follower: Follower, lines: bytes = b"") -> bool:
        """Whether a message went into the queue of a follower; one whose connection has gone is forgotten."""
        excerpt = Excerpt(follower.number, follower.slow, follower.beyond, lines)
        if not self._put(follower, excerpt.pack()):
            return False
        follower.number += 1
        follower.told = (excerpt.slow, excerpt.beyond)
        return True

    def _tell(self, follower: Follower, document: dict[str, Any]) -> None:
        self._put(follower, pack_message(document))

    def _put(self, follower: Follower, message: bytes) -> bool:
        try:
            self.socket.send_multipart([follower.identity, message], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # no such connection any more
            self._followers.pop(follower.identity, None)
            return False
        return True


def _messages(lines: Iterable[bytes]) -> Iterable[list[bytes]]:
    """The lines in order, as many together as a message takes; a longer one alone."""
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > MESSAGE_BYTES:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    if group:
        yield group
