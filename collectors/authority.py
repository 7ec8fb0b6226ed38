"""Who may change something, how often, and that nothing is done twice: a guard around the commands that change.

The kernel says who asks on ipc; only the collector's own user may. On tcp, which is loopback, nobody vouches for
anybody: such a command is done, and audited as its sender's own word.

Each such command carries a random ``id`` and the time ``at`` which it was given. A second one with the same id gets
the first one's answer, and nothing happens: a client may ask again, and a recorded message can't be played back. What
is older than the ids that are remembered is refused by its time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from logbus.collectors.audit import Audit, Author, what_of
from logbus.collectors.commands import Answer, Asker, Handler, Wait
from logbus.errors import ControlError, LogbusError

#: Commands a second in the long run, and at once.
RATE: Final = 20.0
BURST: Final = 50
#: Seconds by which the time of a command may differ from ours.
FRESH_S: Final = 60.0
#: Answers remembered: every command of the time in which it would be fresh, at that rate, is among them.
REMEMBERED: Final = 4096
#: Epoch seconds that no honest clock says; much bigger ones can't even be subtracted.
_NEVER_S: Final = 1e11
#: Characters of an id.
_ID_CHARS: Final = range(8, 65)


@dataclass(slots=True)
class _Done:
    """A command that came: what it was, its time, and what came of it."""

    digest: bytes
    at: float
    answer: Answer | Wait | LogbusError

    def again(self, digest: bytes) -> Answer | Wait:
        """The same answer for the same command. Raises what that raised; ControlError for another command."""
        if digest != self.digest:
            raise ControlError("expected an id that no other command has had")
        if isinstance(self.answer, LogbusError):
            raise self.answer
        return self.answer


class Authority:
    """Guards one collector's commands, by its name. ``version`` gives that of its levels, for the audit."""

    def __init__(self, name: str, audit: Audit, *, version: Callable[[], int]) -> None:
        self.name = name
        #: Commands refused, by reason.
        self.refused: Counter[str] = Counter()
        self._audit = audit
        self._version = version
        self._done: OrderedDict[str, _Done] = OrderedDict()
        self._tokens = float(BURST)
        self._filled_at = time.monotonic()

    def guard(self, handler: Handler) -> Handler:
        """The handler of a command that changes something, for those who may, audited."""

        def guarded(document: dict[str, Any], asker: Asker) -> Answer | Wait:
            author = Author.of(asker, document)
            try:
                with _reason("not_allowed"):
                    _check_author(author)
                with _reason("misdirected"):
                    self.check_name(document)
                with _reason("stale"):
                    ident = _check_fresh(document)
                digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
                if ident in self._done:
                    with _reason("replayed"):
                        return self._done[ident].again(digest)
                with _reason("too_many"):
                    self._check_rate()
                try:
                    answer = _remembering(handler(document, asker))
                except LogbusError as error:
                    self._remember(ident, _Done(digest, document["at"], error))
                    raise _RefusedError("invalid" if error.exit_code == 2 else "failed", error) from error
            except _RefusedError as refused:
                why = refused.error
                self.refused[refused.reason] += 1
                version = self._version()
                self._audit.refused(_command(document), author, what_of(document), error=str(why), version=version)
                raise why from None
            self._remember(ident, _Done(digest, document["at"], answer))
            self._audit.changed(_command(document), author, what_of(document), version=self._version())
            return answer

        return guarded

    def check_name(self, document: Mapping[str, Any]) -> None:
        """Nothing, if a command means this collector. Raises ControlError if it names another."""
        name = document.get("name")
        if name is not None and name != self.name:
            raise ControlError(f"expected collector {name!r}, found {self.name!r}")

    def _check_rate(self) -> None:
        now = time.monotonic()
        self._tokens = min(float(BURST), self._tokens + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._tokens < 1:
            raise ControlError(f"too many commands: expected at most {RATE:g} a second, and {BURST} at once")
        self._tokens -= 1

    def _remember(self, ident: str, done: _Done) -> None:
        self._done[ident] = done
        horizon = time.time() - FRESH_S
        while len(self._done) > REMEMBERED or next(iter(self._done.values())).at < horizon:
            self._done.popitem(last=False)
            if not self._done:
                return


class _RefusedError(Exception):
    """A refusal on its way out, and by what name it is counted."""

    def __init__(self, reason: str, error: LogbusError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


@contextmanager
def _reason(reason: str) -> Iterator[None]:
    try:
        yield
    except LogbusError as error:
        raise _RefusedError(reason, error) from error


def _command(document: Mapping[str, Any]) -> str:
    return str(document.get("command"))


def _check_author(author: Author) -> None:
    if author.uid is not None and author.uid != os.geteuid():
        raise ControlError(f"expected the collector's own user (uid {os.geteuid()}), found uid {author.uid}")


def _check_fresh(document: Mapping[str, Any]) -> str:
    ident, at = document.get("id"), document.get("at")
    if not isinstance(ident, str) or len(ident) not in _ID_CHARS:
        raise ControlError('expected an "id" of 8 to 64 characters, which no other command has')
    if not isinstance(at, (int, float)) or not 0 <= at < _NEVER_S:
        raise ControlError('expected as "at" the time of the command, in epoch seconds')
    age = time.time() - at
    if not -FRESH_S <= age <= FRESH_S:
        raise ControlError(f"expected a command of now, by {FRESH_S:g} s more or less; this one is {age:.0f} s old")
    return ident


def _remembering(answer: Answer | Wait) -> Answer | Wait:
    """A wait whose answer is made once, however many ask for it."""
    if not isinstance(answer, Wait):
        return answer
    wait = answer
    made: list[Answer] = []

    def once() -> Answer:
        if not made:
            made.append(wait.answer())
        return made[0]

    return Wait(wait.deadline, lambda: bool(made) or wait.ready(), once)
