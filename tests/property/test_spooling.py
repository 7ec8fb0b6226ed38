"""A sink with a spool, killed at any step: what was delivered, what waits, and what the books say of both."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, strategies as st

from logbus.collectors.ledger import Ledger
from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.remote import RemoteSink
from logbus.collectors.spool.spool import Spool
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.keeper import Keeper
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED, SHUTDOWN
from tests.frames import producer

LINE = b"%06d " + b"x" * 300 + b"\n"
TERMS = Terms(
    max_records=5,
    max_bytes=1500,
    queue_bytes=6000,
    on_full="spool",
    initial_s=0.01,
    max_interval_s=0.01,
    breaker_failures=2,
    spool_bytes=1024 * 1024,
    dialect="lines",
)
#: What becomes of an attempt: everything has ended, or one record, or nothing, with and without a doubt.
OUTCOMES = ("all", "one", "again", "doubtful", "broken")
#: Every so many-th record is refused for good.
REFUSED = 5
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("give"), st.integers(1, 12)),
        st.tuples(st.just("attempt"), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("move"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("kill"), st.none()),
        st.tuples(st.just("kill soon"), st.integers(1, 6)),
    ),
    max_size=40,
)


class KilledError(BaseException):
    """The process has gone."""


class Server(RemoteSink):
    """The other side, and the way to it; it outlives the collectors."""

    type = "server"

    def __init__(self) -> None:
        super().__init__("remote")
        self.received: list[int] = []
        self.outcome = "all"
        self.live: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> Sent | None:
        """What the test says."""
        self.live()
        lines = data.splitlines(keepends=True)
        numbers = [int(line[:6]) for line in lines]
        if self.outcome in ("again", "broken"):
            raise OSError("refused") if self.outcome == "broken" else TryAgainError("busy", after_s=0.001)
        if self.outcome == "one":
            del lines[1:], numbers[1:]
        self.received += [number for number in numbers if number % REFUSED]
        self.live()
        if self.outcome == "doubtful":
            raise TryAgainError("no answer", doubtful=len(numbers))
        refused = [line for number, line in zip(numbers, lines, strict=True) if number % REFUSED == 0]
        return Sent(len(lines), tuple(Refusal(line, 1, "400") for line in refused))


class Life:
    """A collector's writer without its threads, from one start to the next, whose death may come at any step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = Server()
        self.server.live = self.live
        self.next = 0
        self.given = 0
        #: Records of a turn whose commit was cut short, perhaps.
        self.open = 0
        #: What has ever been on disk.
        self.stored: set[int] = set()
        self.buried: list[int] = []
        self.steps_left: int | None = None
        self.start()

    def live(self) -> None:
        """One step of the process; the last one, perhaps."""
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.steps_left = None
                raise KilledError

    def start(self) -> None:
        """Begins as a collector does."""
        self.ledger = Ledger.open(self.directory, name="t", slot_bytes=64 * 1024)
        self.spools = Spools(self.directory, lambda text: None)
        rows = self.ledger.sinks
        found = {name: self.spools.of(name).open(rows[name].acked).records for name in self.spools.names()}
        self.ledger.resolve_intents(found)
        if "remote" in rows:
            assert rows["remote"].offered in (self.given, self.given + self.open)  # nothing has appeared from nowhere
            self.given = rows["remote"].offered
        self.open = 0
        self.writer = Writer(
            self.server, self.ledger, complain=lambda text: None, terms=TERMS, spools=self.spools, bury=self.bury
        )
        self.writer._books.enter(self.server)
        self.writer._stock.open_spool(self.spools, lambda: True)
        self.law()

    def bury(self, name: str, refusals: Sequence[Refusal], dialect: str) -> None:
        """Keeps a dead letter."""
        self.live()
        self.buried += [int(refusal.lines[:6]) for refusal in refusals]
        self.live()

    @property
    def keeper(self) -> Keeper:
        """The writer's."""
        keeper = self.writer._stock.keeper
        assert keeper is not None
        return keeper

    def law(self) -> None:
        """What holds at any time."""
        assert self.writer.row.problems(self.writer.queued) == []
        assert self.writer.row.spooled == self.spools.of("remote").records

    def give(self, count: int) -> None:
        """A turn with so many records."""
        numbers = range(self.next, self.next + count)
        self.next += count
        self.open = count
        with self.ledger.transaction() as change:
            self.writer.row.offered += count
            assert self.writer.admit(count)
            change.sink(self.writer.row)
        self.given, self.open = self.given + count, 0
        levels = bytes([number % 6 for number in numbers])
        data = b"".join([LINE % number for number in numbers])
        self.writer.put(data, count, ((producer(1), numbers[0], count),), levels)

    def attempt(self, outcome: str) -> None:
        """One attempt."""
        self.server.outcome = outcome
        with contextlib.suppress(OSError, TryAgainError):
            self.writer._courier._attempt()

    def move(self) -> None:
        """Moves some of memory to disk."""
        self.keeper._move()

    def kill(self) -> None:
        """Ends without a word, and starts again."""
        self.close()
        self.start()

    def restart(self) -> None:
        """Ends well, and starts again: everything is in the spool."""
        self.keeper._ending = True
        while self.keeper._left():
            assert self.keeper._move()
        self.writer._close_books()
        assert self.writer.row.dropped[SHUTDOWN] == 0
        self.law()
        self.close()
        self.start()

    def close(self) -> None:
        """Gives up what the kernel gives up for a dead process."""
        spool = self.spools.of("remote")
        for segment in spool._lanes.segments.values():
            segment.close()
        spool._folder.close()
        self.ledger.close()


def killing(life: Life) -> Iterator[Any]:
    """Makes each change of a disk two steps, before it and after it."""

    def around(where: Any, name: str) -> Any:
        change = getattr(where, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            life.live()
            found = change(*args, **options)
            life.live()
            return found

        return patch.object(where, name, wrapped)

    append = Spool.append

    def stored(spool: Spool, first: int, lines: Sequence[bytes], levels: bytes) -> list[int]:
        life.live()
        shed = append(spool, first, lines, levels)
        assert not any(shed)
        life.stored |= {int(line[:6]) for line in lines}
        life.live()
        return shed

    yield patch.object(Spool, "append", stored)
    yield around(Spool, "done")
    yield around(Ledger, "_commit")


@given(STEPS)
def test_a_collector_may_die_at_any_step(steps: list[tuple[str, Any]]) -> None:
    """The law holds, what was in the spool arrives, in order, and what is there twice was announced."""
    with (
        tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory,
        patch.object(Keeper, "start", lambda keeper: None),
        contextlib.ExitStack() as stack,
    ):
        life = Life(Path(directory))
        stack.callback(life.close)
        for patched in killing(life):
            stack.enter_context(patched)
        for step, detail in steps:
            try:
                match step:
                    case "give":
                        life.give(detail)
                    case "attempt":
                        life.attempt(detail)
                    case "kill soon":
                        life.steps_left = detail
                        continue
                    case _:
                        getattr(life, step)()
            except KilledError:
                life.kill()
            life.law()
        life.steps_left = None
        while life.writer._stock.waits:
            life.attempt("all")
        life.law()
        row, server = life.writer.row, life.server
        unique = list(dict.fromkeys(server.received))
        assert unique == sorted(unique)
        assert life.writer.queued == 0
        assert life.stored <= {*server.received, *life.buried}
        dropped = row.dropped[HIGH_WATER_MARK] + row.dropped[COLLECTOR_LOST] + row.dropped[REJECTED]
        assert row.offered == life.given == row.delivered + row.unknown + dropped
        assert row.delivered <= len(unique)
        assert len(server.received) - row.delivered <= row.unknown + row.duplicated
        assert row.dropped[REJECTED] <= len(set(life.buried))
        assert all(number % REFUSED == 0 for number in life.buried)
