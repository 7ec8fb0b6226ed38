"""What a writer enters in the ledger, when the ledger itself fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logbus.collectors.ledger import Ledger
from logbus.collectors.rows import Intent
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing.books import Books
from logbus.errors import PageError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        yield ledger


@pytest.fixture
def books(ledger: Ledger) -> Books:
    """Books with ten records in memory and five in the spool."""
    sink = MemorySink("main")
    books = Books(ledger, sink, lambda text: None)
    books.enter(sink)
    with ledger.transaction() as change:
        books.row.offered, books.row.spooled = 15, 5
        books.row.accepted = 5
        assert books.accept(10, room=True)
        change.sink(books.row)
    return books


@pytest.mark.parametrize(
    "enter",
    [
        lambda books: books.move(4, 1),
        lambda books: books.shed(3),
        lambda books: books.end(6, 9, spooled=False, rejected=1, duplicated=2),
        lambda books: books.end(5, 9, spooled=True),
        lambda books: books.reject(6, 9, spooled=False),
        lambda books: books.fail_for_good("no", 6, 9, spooled=False),
    ],
)
def test_a_commit_that_fails_changes_nothing(
    ledger: Ledger, books: Books, enter: Callable[[Books], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the row nor what is queued: the law holds, and the same is entered when the ledger works again."""
    append = ledger._page.append

    def refuse(payload: bytes) -> None:
        raise PageError(ledger._page.path, "can't grow")

    monkeypatch.setattr(ledger._page, "append", refuse)
    with pytest.raises(PageError):
        enter(books)
    assert books.row.problems(books.queued) == []
    assert (books.queued, books.row.spooled, books.row.delivered) == (10, 5, 0)
    monkeypatch.setattr(ledger._page, "append", append)
    enter(books)
    assert books.row.problems(books.queued) == []
    assert books.queued + books.row.spooled < 15


def test_who_was_struck_off_enters_nothing(books: Books) -> None:
    """What its write has done is unknown, whatever it says when it comes back; what is left is dropped once."""
    assert books.begin(lambda delivered: Intent(4, delivered))
    assert books.strike(kept=False) == 4
    assert (books.row.unknown, books.queued, books.row.intent) == (4, 6, None)
    assert not books.end(4, 3, spooled=False)
    assert not books.fail("late", doubtful=4)
    assert not books.begin(lambda delivered: Intent(4, delivered))
    assert (books.row.delivered, books.row.duplicated, books.row.state) == (0, 0, "ok")
    assert books.close() == 6
    assert books.close() == 0
    assert books.row.problems(books.queued) == []


@pytest.mark.parametrize("end", [lambda books: books.strike(kept=False), lambda books: books.close()])
def test_what_is_in_doubt_is_entered_at_the_end_at_the_latest(
    ledger: Ledger, books: Books, end: Callable[[Books], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that could not be booked has said so, and no write comes after it."""

    def refuse(payload: bytes) -> None:
        raise PageError(ledger._page.path, "can't grow")

    with monkeypatch.context() as patch:
        patch.setattr(ledger._page, "append", refuse)
        with pytest.raises(PageError):
            books.fail("no answer", doubtful=3)
        assert books.row.duplicated == 0
    end(books)
    assert books.row.duplicated == 3
