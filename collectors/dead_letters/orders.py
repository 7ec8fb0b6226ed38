"""Orders about dead letters, as a collector takes them: list, replay, purge.

A page of the list is bounded, and says where the next one begins. A replay goes on until nothing is left, or the time
is over that the asker gives it; one at a time. Who may order what is not decided here
(:mod:`logbus.collectors.authority`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from math import inf
from typing import Any, Final, Protocol

from logbus.collectors.commands import Answer, Asker, Handler, Wait
from logbus.collectors.dead_letters.clerk import Clerk
from logbus.collectors.dead_letters.letter import Letter
from logbus.collectors.dead_letters.replay import Replay
from logbus.collectors.dead_letters.store import DeadLetters, Page
from logbus.collectors.writing.writer import Writer
from logbus.durations import MAX_S
from logbus.errors import ConfigurationError, ControlError

#: Letters of an answer, and bytes of their lines.
LIST_LETTERS: Final = 500
LIST_BYTES: Final = 1024 * 1024
#: Numbers in one order.
MAX_NUMBERS: Final = 1000
#: Seconds for which an answer waits at most, and where the asker does not say how long.
MAX_WAIT_S: Final = 86_400.0
WAIT_S: Final = 4.5


class Note(Protocol):
    """Makes a record of the collector's own."""

    def __call__(self, message: str, **fields: str | int) -> None:
        """One record, with these fields: an INFO."""


class DeadLetterOrders:
    """Takes orders on the collector's thread.

    ``writer_of`` gives the writer of a sink by its name. ``name`` is the collector's. ``mask`` masks a reason by the
    rules in force, ``note`` makes a record of what was done, and ``tell`` is given what goes wrong.
    """

    def __init__(
        self,
        store: DeadLetters,
        writer_of: Callable[[str], Writer | None],
        *,
        name: str,
        mask: Callable[[str, Any], Any],
        note: Note,
        tell: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clerk = Clerk()
        self._name = name
        self._writer_of = writer_of
        self._mask = mask
        self._note = note
        self._tell = tell
        #: The last one, and whether somebody waits for its end.
        self._replay: Replay | None = None
        self._replaying = False

    def asked(self) -> dict[str, Handler]:
        """The commands that change nothing, by name."""
        return {"dead_letters": self._list}

    def ordered(self) -> dict[str, Handler]:
        """Those that do."""
        return {"dead_letters_replay": self._begin_replay, "dead_letters_purge": self._purge}

    def close(self) -> None:
        """Ends what is under way."""
        self._settle()
        self._clerk.close()

    def _list(self, document: dict[str, Any], asker: Asker) -> Wait:
        """Letters, the newest first: of a ``sink``, ``below`` a number, ``limit`` of them, with ``full`` lines."""
        if document.get("name") not in (None, self._name):
            raise ControlError(f"expected collector {document['name']!r}, found {self._name!r}")
        self._settle()
        below, full, deadline = _number(document, "below"), document.get("full") is True, _deadline(document)
        task = self._clerk.do(
            partial(
                self._store.page,
                sink=_sink(document),
                until=inf if below is None else below - 1,
                newest=True,
                max_letters=min(_number(document, "limit") or LIST_LETTERS, LIST_LETTERS),
                max_bytes=LIST_BYTES,
            )
        )

        def answer(page: Page) -> Answer:
            letters = [self._shown(letter, full=full) for letter in page.letters]
            return {
                "letters": letters,
                "more": page.more,
                "sinks": dict(self._store.counts),
                "store": self._store.document(),
            }

        return Wait(deadline, task.done, lambda: answer(_result(task)))

    def _purge(self, document: dict[str, Any], asker: Asker) -> Wait:
        """Removes letters: by ``ids``, or of a ``sink``, or ``older_than`` so many seconds, or all with ``all``."""
        sink, numbers = _sink(document), _numbers(document)
        seconds, deadline = _seconds(document, "older_than"), _deadline(document)
        self._settle()
        if numbers is not None:
            task = self._clerk.do(partial(self._store.remove, numbers))
        elif sink is None and seconds is None and document.get("all") is not True:
            raise ConfigurationError(["expected a sink, ids, an age, or all"])
        else:
            before = inf if seconds is None else time.time() - seconds
            task = self._clerk.do(partial(self._store.purge, sink=sink, before=before))

        def answer() -> Answer:
            purged = _result(task)
            missing = len(numbers) - purged if numbers is not None else 0
            return {"purged": purged, "missing": missing, "remaining": sum(self._store.counts.values())}

        return Wait(deadline, task.done, answer)

    def _begin_replay(self, document: dict[str, Any], asker: Asker) -> Wait:
        """Offers letters to their sinks anew: by ``ids``, or of a ``sink``, or all with ``all``."""
        sink, numbers, deadline = _sink(document), _numbers(document), _deadline(document)
        if sink is None and numbers is None and document.get("all") is not True:
            raise ConfigurationError(["expected a sink, ids, or all"])
        if self._replaying:
            raise ControlError("another replay is under way: wait until it has ended")
        if not self._settle():
            raise ControlError("letters of the last replay are still in the queues of their sinks: wait for these")
        counts = self._store.counts
        sinks = counts if sink is None else {sink: counts[sink]} if sink in counts else {}
        replay = Replay(self._store, self._clerk, self._writer_of, sinks=sinks, numbers=numbers, tell=self._tell)
        failure: list[Exception] = []

        def step() -> bool:
            try:
                return replay.step()
            except Exception as error:  # of the disk, or a defect, which is no reason to stop collecting
                failure.append(error)
                return True

        def answer() -> Answer:
            self._replaying = False
            for name, count in replay.sent.items():
                text = f"{count:,} dead letters of sink {name!r} are offered to it again"
                self._note(text, event="dead_letters_replayed", sink=name, count=count)
            if failure:
                raise _unreadable(failure[0]) if isinstance(failure[0], OSError) else failure[0]
            return replay.document()

        self._replay, self._replaying = replay, True
        return Wait(deadline, step, answer)

    def _settle(self) -> bool:
        """Removes the letters of the last replay that have left memory; whether none of them is there any more."""
        return self._replay is None or self._replay.settle()

    def _shown(self, letter: Letter, *, full: bool) -> dict[str, Any]:
        # Its secrets are masked by the rules of its time, and now by those in force.
        return letter._replace(reason=self._mask("", letter.reason)).document(full=full)


def _result(task: Future[Any]) -> Any:
    """What the clerk has done. Raises ControlError when that did not work, or is not done yet."""
    if not task.done():
        raise ControlError("the disk with the dead letters takes its time: what was asked for may yet be done")
    try:
        return task.result()
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> ControlError:
    return ControlError(f"the dead letters can't be read or changed: {error.strerror}")


def _deadline(document: dict[str, Any]) -> float:
    """When the asker wants his answer, in monotonic seconds."""
    seconds = _seconds(document, "wait_seconds")
    return time.monotonic() + (WAIT_S if seconds is None else min(seconds, MAX_WAIT_S))


def _sink(document: dict[str, Any]) -> str | None:
    sink = document.get("sink")
    if sink is not None and not isinstance(sink, str):
        raise ConfigurationError([f"sink {sink!r}: expected the name of a sink"])
    return sink


def _number(document: dict[str, Any], key: str) -> int | None:
    number = document.get(key)
    if number is not None and (type(number) is not int or number < 1):
        raise ConfigurationError([f"{key} {number!r}: expected a number from 1 on"])
    return number


def _numbers(document: dict[str, Any]) -> frozenset[int] | None:
    numbers = document.get("ids")
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not all(type(number) is int and number > 0 for number in numbers):
        raise ConfigurationError(["ids: expected numbers of dead letters"])
    if not 0 < len(numbers) <= MAX_NUMBERS:
        raise ConfigurationError([f"ids: expected 1 to {MAX_NUMBERS} numbers, found {len(numbers)}"])
    return frozenset(numbers)


def _seconds(document: dict[str, Any], key: str) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= MAX_S:
        raise ConfigurationError([f"{key} {value!r}: expected seconds"])
    return float(value)
