"""Those who wait until what was logged before is in a collector's ledger: ``flush()``, in any thread.

A flush knows a ticket of the buffer's order; once everything before it has been sent, it knows the sequence number up
to which the collector has to acknowledge. The sender's thread settles them, other threads add them and wait.
"""

from __future__ import annotations

import contextlib

from logbus.os_threads import Event


class _Flush:
    """Somebody who waits; ``sent`` once everything before the ticket has been sent."""

    __slots__ = ("done", "sent", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.done = Event()
        self.sent: int | None = None


class Flushes:
    """Everybody who waits."""

    def __init__(self) -> None:
        self._waiting: list[_Flush] = []

    def begin(self, ticket: int) -> _Flush:
        """Somebody begins to wait for everything before a ticket; :meth:`wait` is next."""
        flush = _Flush(ticket)
        self._waiting.append(flush)
        return flush

    def wait(self, flush: _Flush, timeout: float) -> bool:
        """Waits for at most ``timeout`` seconds; False when that was not enough, and then nobody waits any more."""
        try:
            flush.done.wait(timeout)
        finally:  # whatever ends the wait: a signal handler, a timeout of gevent's
            with contextlib.suppress(ValueError):  # it has what it waited for
                self._waiting.remove(flush)
        return flush.done.is_set()

    @property
    def asking(self) -> bool:
        """Whether somebody only waits for an acknowledgement."""
        return any(flush.sent is not None for flush in self._waiting)

    def waiting(self) -> list[_Flush]:
        """Those who wait now. Look before the buffer: who comes later may have logged something after that."""
        return list(self._waiting)

    @staticmethod
    def all_sent(flushes: list[_Flush], sent: int) -> None:
        """Everything that was logged before these began has been sent, up to a sequence number."""
        for flush in flushes:
            flush.sent = sent if flush.sent is None else flush.sent

    def settle(self, *, passed: int, sent: int, acknowledged: int) -> None:
        """Ends the wait of those who have what they waited for; ``passed`` is the last ticket that was sent."""
        for flush in self.waiting():
            if flush.sent is None and passed > flush.ticket:
                flush.sent = sent
            if flush.sent is not None and acknowledged >= flush.sent:
                flush.done.set()
                with contextlib.suppress(ValueError):  # whoever waited has just given up
                    self._waiting.remove(flush)
