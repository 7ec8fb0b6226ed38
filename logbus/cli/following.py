"""A command's side of ``tail``: one connection to a collector over which lines come, for as long as both live.

It begins like any question (:mod:`logbus.cli.client`): the command, and an answer within a deadline. Then excerpts
come, and the lease is renewed every two seconds; a renewal that is answered also tells that the collector is alive
when nothing is logged. ZeroMQ would reconnect to the next collector without a word, which knows nothing of us: so its
monitor is listened to, and a connection that has ended is an end. One that never began is none: whoever asks a
collector that is dying may be closed before the handshake, and the question waits for the successor.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from logbus.bus import Endpoint, client_socket, is_bound
from logbus.collectors.excerpt import Excerpt
from logbus.control import pack_message, unpack_answer
from logbus.errors import ControlError, NoCollectorError, WireError

#: Seconds between renewals of the lease, which lasts for many of them.
RENEW_S: Final = 2.0
#: Messages that wait in this process for a slow terminal; more wait with the collector, which counts what it skips.
QUEUE: Final = 4


class LostError(Exception):
    """Raised when a connection has ended; it says how, for people."""


class Following:
    """A connection on which a collector has agreed to send lines; ``collector`` is its name and ``pid``.

    Raises NoCollectorError when none answers within ``timeout`` seconds, ControlError when it refuses, or is not
    the one called ``name`` (unless that is None).
    """

    def __init__(self, control: Endpoint, command: dict[str, Any], *, name: str | None, timeout: float) -> None:
        if not is_bound(control):
            raise NoCollectorError(control.url, timeout, reason="nobody listens there")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = client_socket(self._context)
        self._socket.set(zmq.RCVHWM, QUEUE)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._began = False
        #: Seconds of waiting since something was heard last; every renewal should be.
        self.unheard = 0.0
        try:
            self._socket.connect(control.url)
            self._socket.send(pack_message(command))
            if not self._socket.poll(int(timeout * 1000)):
                raise NoCollectorError(control.url, timeout)
            try:
                answer = unpack_answer(self._socket.recv(zmq.NOBLOCK))
            except WireError as error:
                raise ControlError(f"{control.url}: answer to 'tail': {error}") from error
            if answer.get("ok") is not True:
                code = answer.get("exit_code")
                raise ControlError(
                    f"{control.url}: the collector refused: {answer.get('error', 'it does not say why')}",
                    exit_code=code if type(code) is int else 1,
                )
            self.collector, self.pid = answer.get("name"), answer.get("pid")
            if name is not None and self.collector != name:
                raise ControlError(f"{control.url}: expected collector {name!r}, found {self.collector!r}")
        except BaseException:
            self.close()
            raise
        self._renewed_at = time.monotonic()
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def messages(self, timeout: float, *, output: int) -> Iterator[Excerpt | dict[str, Any]]:
        """What comes within ``timeout`` seconds: excerpts and notices of the collector. Renews the lease.

        Ends sooner when nobody reads the descriptor ``output`` any more. Raises LostError.
        """
        self.renew()
        self._poller.register(output, zmq.POLLERR)
        begun = time.monotonic()
        ready = dict(self._poller.poll(int(timeout * 1000)))
        # No more than was meant: this process may have been stopped in between.
        self.unheard = 0.0 if self._socket in ready else self.unheard + min(timeout, time.monotonic() - begun)
        if output in ready:
            raise BrokenPipeError
        for _ in range(QUEUE):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                if self._monitor in ready and self._has_ended():  # and everything that came before it has been read
                    raise LostError("the connection has ended") from None
                return
            try:
                excerpt = Excerpt.unpack(message)
                found: Excerpt | dict[str, Any] = unpack_answer(message) if excerpt is None else excerpt
            except WireError as error:
                raise LostError(f"it says what can't be read: {error}") from error
            if isinstance(found, Excerpt):
                yield found
            elif found.get("ok") is False or found.get("tail") == "expired":
                raise LostError("it did not hear from this command for a while, and sent nothing more")
            elif "tail" in found:
                yield found

    def _has_ended(self) -> bool:
        """Whether the monitor tells of the end of a connection that had begun."""
        while self._monitor.poll(0):
            if recv_monitor_message(self._monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._began = True
            elif self._began:
                return True
        return False

    def renew(self) -> None:
        """Renews the lease if it is time to; never waits."""
        now = time.monotonic()
        if now < self._renewed_at + RENEW_S:
            return
        self._renewed_at = now
        with contextlib.suppress(zmq.Again):  # it does not read
            self._socket.send(pack_message({"command": "tail_renew"}), zmq.NOBLOCK)

    def close(self) -> None:
        """Ends the connection, which the collector notices; idempotent."""
        if self._context.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()
