"""The doorkeeper: ZAP (RFC 27) answers for every connection to this collector's sockets.

Without a ZAP domain raw TCP junk reaches the application as messages. On ipc the kernel vouches for the peer: its
address arrives as ``localhost:uid:gid:pid``. Our own user gets in everywhere; users that the configuration allows get
in where records go and where the state is published; nobody else gets in anywhere, root included. The domain of a
request is the door at which somebody knocks. On tcp (loopback only) there is no such word, so the address has to do.
https://rfc.zeromq.org/spec/27/

Who is refused is counted by door and reason, and told: the first time at once, what follows within a minute as one
number, so that whoever knocks in a flood fills no disk.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from typing import Final

import zmq

from logbus.bus import CONTROL_DOOR, PUBLISHER_DOOR, RECORDS_DOOR
from logbus.collectors.audit import Audit, Author
from logbus.collectors.commands import Asker

ENDPOINT: Final = "inproc://zeromq.zap.01"
#: Requests answered in one turn of the loop: whoever connects in a flood does not keep it from its records.
TURN_REQUESTS: Final = 64
#: Seconds between two words about refusals of the same user at the same door.
TELL_INTERVAL_S: Final = 60.0
#: Pairs of user and door that are kept apart; the rest are told as one.
TOLD_APART: Final = 64

#: Doors that are open to the users whom the configuration allows.
_OPEN_TO_ALLOWED: Final = frozenset({RECORDS_DOOR, PUBLISHER_DOOR})
_DOORS: Final = _OPEN_TO_ALLOWED | {CONTROL_DOOR}
_VERSION: Final = b"1.0"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::ffff:127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Connections refused: at which door, why, how many since the last word about it.

    ``uid`` and ``pid`` are those of the last one, as the kernel says; None where it says nothing (tcp).
    """

    door: str
    reason: str
    address: str
    uid: int | None
    pid: int | None
    count: int

    def __str__(self) -> str:
        who = f"uid {self.uid} (pid {self.pid})" if self.uid is not None else self.address or "an unknown peer"
        times = f" {self.count} times" if self.count > 1 else ""
        return f"connection to the {self.door} socket refused{times}: {who}, {self.reason.replace('_', ' ')}"

    def enter(self, audit: Audit, *, version: int) -> None:
        """Enters it in the audit, which makes a record of it too; ``version`` is that of the level rules."""
        author = Author.of(Asker(b"", self.uid, self.pid), {"from": {"host": self.address}})
        what = {"door": self.door, "reason": self.reason, "count": self.count}
        audit.refused("connection_refused", author, what, error=str(self), version=version)


@dataclass(slots=True)
class _Untold:
    """What is known of one user at one door since the last word about it."""

    next_at: float
    last: Refusal
    count: int = 0


class Doorkeeper:
    """Answers ZAP requests on the thread that polls ``socket``. Bind it before any other socket of the context.

    ``allowed`` are the uids that may log beside our own; ``tell`` hears of refusals.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        allowed: Collection[int] = (),
        tell: Callable[[Refusal], None] | None = None,
    ) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)
        #: Connections refused, by door and reason.
        self.refused: Counter[tuple[str, str]] = Counter()
        self._allowed = allowed
        self._tell = tell
        self._untold: dict[tuple[str, str], _Untold] = {}

    def answer(self) -> None:
        """Answers the requests that wait, up to a turn's worth."""
        for _ in range(TURN_REQUESTS):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) < 8:
                continue
            route, (version, request_id, door, address, *_rest) = parts[:2], parts[2:]
            peer = address.decode("utf-8", "replace")
            against = "protocol" if version != _VERSION else reason_against(door, peer, self._allowed)
            if against is not None:
                self._refuse(door, peer, against)
            code, text = (b"200", b"OK") if against is None else (b"400", b"this user is not admitted")
            if against == "other_user" and door in _OPEN_TO_ALLOWED and self._allowed:
                # Told 400, a worker's socket gives up for good, also when its user is on the list tomorrow. 300 leaves
                # it unanswered: it comes again when its handshake has timed out, after 30 s.
                code = b"300"
            self.socket.send_multipart([*route, _VERSION, request_id, code, text, b"", b""])

    def tell_rest(self) -> None:
        """Tells what was refused since the last word about it, where that was long enough ago. Cheap."""
        if not self._untold:
            return
        now = time.monotonic()
        for key, untold in list(self._untold.items()):
            if now < untold.next_at:
                continue
            if untold.count:
                self._say(untold, now)
            else:
                del self._untold[key]

    def by_door(self) -> dict[str, dict[str, int]]:
        """The connections refused, as the status has them: door → reason → count."""
        found: dict[str, dict[str, int]] = {}
        for (door, reason), count in sorted(self.refused.items()):
            found.setdefault(door, {})[reason] = count
        return found

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)

    def _refuse(self, domain: bytes, address: str, reason: str) -> None:
        door = domain.decode() if domain in _DOORS else "unknown"
        self.refused[door, reason] += 1
        if self._tell is None:
            return
        asker = Asker.of(b"", address)
        refusal = Refusal(door, reason, address[:64], asker.uid, asker.pid, 1)
        key = (door, address if asker.uid is None else str(asker.uid))
        if key not in self._untold and len(self._untold) >= TOLD_APART:
            key = ("", "")
        untold = self._untold.setdefault(key, _Untold(0.0, refusal))
        untold.last = refusal
        untold.count += 1
        now = time.monotonic()
        if now >= untold.next_at:
            self._say(untold, now)

    def _say(self, untold: _Untold, now: float) -> None:
        last, count = untold.last, untold.count
        untold.next_at, untold.count = now + TELL_INTERVAL_S, 0
        if self._tell is not None:
            self._tell(Refusal(last.door, last.reason, last.address, last.uid, last.pid, count))


def reason_against(door: bytes, address: str, allowed: Container[int] = ()) -> str | None:
    """Why a peer address is not admitted at a door, as the status counts it; None if it is."""
    if door not in _DOORS:
        return "unknown_door"
    if address in _LOOPBACK:
        return None
    uid = Asker.of(b"", address).uid
    if uid is None:
        return "address"
    if uid == os.geteuid() or (door in _OPEN_TO_ALLOWED and uid in allowed):
        return None
    return "other_user"
