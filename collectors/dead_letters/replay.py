"""Dead letters on their way back: offered to their sinks anew, in the order in which they were refused.

Filters and sampling have let their records in once, and are not asked again. Each sink has a course of its own, so that
one whose queue is full holds no other up. A course fills half of the queue at most: what is logged meanwhile needs room
too, and while a sink fails, or empties its spool, it waits. Letters leave the store once they have left memory, for the
sink or its spool: what a crash, or the end of the collector, takes from a queue is still a letter, and one that had
arrived may be sent twice. Refused again they are buried again, under new numbers, which this replay does not reach for.
What can't be sent stays where it is, with the reason: the line was written for what the sink was before a change of the
configuration, or there is no such sink any more.

The collector's thread goes on with it between two turns, and the clerk's reads and removes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from logbus.collectors.dead_letters.clerk import Clerk
from logbus.collectors.dead_letters.letter import Letter
from logbus.collectors.dead_letters.store import DeadLetters, Page
from logbus.collectors.writing.writer import Writer
from logbus.levels import BUCKETS

#: Letters and bytes of lines that are read at a time.
PAGE_LETTERS: Final = 1000
PAGE_BYTES: Final = 256 * 1024
#: Somebody has asked for these: where a queue gives records up, it gives up others first.
_LEVEL: Final = bytes([len(BUCKETS) - 1])

NO_SINK: Final = "the collector has no sink of this name"
NO_TIME: Final = "the sink was ended before it had taken them"
NO_LINE: Final = "the other side has not said which records it refuses"


class Replay:
    """One replay of all letters of some sinks, or of those ``numbers`` among them; for the collector's thread.

    ``writer_of`` gives the writer of a sink by its name, ``tell`` is given what goes wrong.
    """

    def __init__(
        self,
        store: DeadLetters,
        clerk: Clerk,
        writer_of: Callable[[str], Writer | None],
        *,
        sinks: Mapping[str, int],
        numbers: Collection[int] | None,
        tell: Callable[[str], None],
    ) -> None:
        self._chosen = sum(sinks.values()) if numbers is None else len(numbers)
        self._by_number = numbers is not None
        until = store.last
        self._courses = [
            _Course(store, clerk, sink, writer_of, numbers=numbers, until=until, tell=tell) for sink in sinks
        ]

    @property
    def sent(self) -> dict[str, int]:
        """How many letters are in the queues again, by the name of the sink."""
        return {course.sink: course.sent for course in self._courses if course.sent}

    def step(self) -> bool:
        """Goes as far as it can without waiting; whether that is the end. Raises OSError when they can't be read."""
        for course in self._courses:
            course.step()
        return all(course.ended for course in self._courses)

    def settle(self) -> bool:
        """Removes what has left memory; whether nothing of it is there any more that was sent."""
        for course in self._courses:
            course.settle()
        return not any(course.in_transit for course in self._courses)

    def document(self) -> dict[str, Any]:
        """What has come of it: letters ``replayed``, those ``kept`` and why, and those that ``remain`` to be sent.

        ``missing`` are numbers that no letter has.
        """
        kept = [
            {"sink": course.sink, "reason": reason, "letters": count}
            for course in self._courses
            for reason, count in course.kept.items()
        ]
        replayed = sum(self.sent.values())
        rest = max(0, self._chosen - replayed - sum(course.kept.total() for course in self._courses))
        over = all(course.ended for course in self._courses)
        return {
            "replayed": replayed,
            "sinks": self.sent,
            "kept": kept,
            "remaining": 0 if over else rest,
            "missing": rest if over and self._by_number else 0,
        }


class _Course:
    """The letters of one sink."""

    def __init__(
        self,
        store: DeadLetters,
        clerk: Clerk,
        sink: str,
        writer_of: Callable[[str], Writer | None],
        *,
        numbers: Collection[int] | None,
        until: int,
        tell: Callable[[str], None],
    ) -> None:
        self.sink = sink
        self.sent = 0
        self.kept: Counter[str] = Counter()
        self._read_all = False
        #: What was sent and is in memory, oldest first: its writer, what that is asked for, and the letters' numbers.
        self._transit: deque[tuple[Writer, int, frozenset[int]]] = deque()
        self._store = store
        self._clerk = clerk
        self._writer_of = writer_of
        self._numbers = numbers
        self._until = until
        self._tell = tell
        self._after = 0
        self._task: Future[Page] | None = None
        self._letters: list[Letter] = []

    @property
    def in_transit(self) -> bool:
        """Whether something that was sent is in memory."""
        return bool(self._transit)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to be done."""
        return self._read_all and not self._transit

    def step(self) -> None:
        """Goes on until it has to wait."""
        while not self._read_all and (self._letters or self._read()):
            if not self._send():
                break
        self.settle()

    def settle(self) -> None:
        """Removes the letters that have left memory; those that never will stay."""
        while self._transit:
            writer, mark, numbers = self._transit[0]
            ended = writer.ended
            if writer.passed(mark):
                self._clerk.do(partial(self._remove, numbers))
            elif ended:
                self.sent -= len(numbers)
                self.kept[NO_TIME] += len(numbers)
            else:
                return
            self._transit.popleft()

    def _read(self) -> bool:
        """Takes the next letters in, if they have come; asks for them where nobody has."""
        if self._task is None:
            self._task = self._clerk.do(self._page)
        if not self._task.done():
            return False
        page, self._task = self._task.result(), None
        self._letters = page.letters
        self._read_all = not page.letters
        if page.letters:
            self._after = page.letters[-1].number
        return not self._read_all

    def _page(self) -> Page:
        return self._store.page(
            sink=self.sink,
            numbers=self._numbers,
            after=self._after,
            until=self._until,
            max_letters=PAGE_LETTERS,
            max_bytes=PAGE_BYTES,
        )

    def _send(self) -> bool:
        """Offers as many of the letters as there is room for. False when it has to wait for that."""
        writer = self._writer_of(self.sink)
        able: list[Letter] = []
        for letter in self._letters:
            if (reason := _obstacle(letter, writer)) is None:
                able.append(letter)
            else:
                self.kept[reason] += 1
        self._letters = able
        if writer is None or not able:
            return True
        if not writer.takes_more:
            return False
        room, count = writer.room - writer.terms.queue_bytes // 2, 0
        while count < len(able) and (room := room - len(able[count].line) - 1) >= 0:
            count += 1
        if not count and writer.queued:
            return False
        chosen, self._letters = able[: max(1, count)], able[max(1, count) :]
        _offer(writer, chosen)
        self.sent += len(chosen)
        self._transit.append((writer, writer.mark, frozenset(letter.number for letter in chosen)))
        return True

    def _remove(self, numbers: Collection[int]) -> None:
        try:
            self._store.remove(numbers)
        except OSError as error:
            text = f"{len(numbers)} that were replayed can't be removed, and would be again: {error.strerror}"
            self._tell(f"dead letters: {text}")


def _obstacle(letter: Letter, writer: Writer | None) -> str | None:
    """Why a letter can't be sent to the sink of this writer; None when it can."""
    if writer is None:
        return NO_SINK
    if letter.dialect != writer.terms.dialect:
        return f"it was written as {letter.dialect!r}, and the sink takes {writer.terms.dialect!r} now"
    return None if letter.line else NO_LINE


def _offer(writer: Writer, letters: list[Letter]) -> None:
    """Enters the records of letters, for which there is room, as newly offered, and puts them into the queue."""
    with writer.transaction() as change:
        writer.row.offered += len(letters)
        admitted = writer.admit(len(letters))
        change.sink(writer.row)
    if admitted:
        data = b"".join([letter.line + b"\n" for letter in letters])
        writer.put(data, len(letters), (), _LEVEL * len(letters) if writer.terms.by_level else b"")
