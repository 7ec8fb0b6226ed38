"""The ledger: transactions, what survives, folding, and the document of ``logbus status``."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from logbus.collectors.book import LAYOUT
from logbus.collectors.ledger import Intent, Ledger, SinkRow, WorkerRow
from logbus.collectors.page import Page
from logbus.collectors.rows import OLDER
from logbus.errors import ConfigurationError, OwnedError, PageError
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK

A, B = b"a" * 16, b"b" * 16


def opened(directory: Path) -> Ledger:
    """The ledger of a test, with small slots so that generations change."""
    return Ledger.open(directory, name="tester", slot_bytes=2048)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The state directory of a collector."""
    return tmp_path / "state"


@pytest.fixture
def ledger(directory: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with closing(opened(directory)) as ledger:
        yield ledger


def collect(ledger: Ledger, row: WorkerRow, count: int) -> None:
    """A transaction that sets what was collected of a worker."""
    with ledger.transaction() as change:
        row.collected = count
        change.worker(row)


def worker(number: int = 0, *, state: str = "live", count: int = 10, seen: float = 100.0) -> WorkerRow:
    """A worker that has emitted ``count`` records, all of them collected."""
    row = WorkerRow((number + 1).to_bytes(16, "little"), f"w{number:03}", "h", number, "app", 1, state)  # type: ignore[arg-type]
    row.collected = count
    row.mark(seen, emitted=count, sent=count, buffered=0, dropped=[0, 0, 0])
    return row


def test_a_new_ledger_is_private_and_has_an_id(directory: Path, ledger: Ledger) -> None:
    """The directory is made for its owner alone, and the id is there from the start."""
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "ledger").stat().st_mode) == 0o600
    assert len(bytes.fromhex(ledger.id)) == 16
    assert (ledger.version, ledger.workers, ledger.sinks, ledger.quarantined, ledger.damage) == (0, {}, {}, None, None)


def test_rows_survive(directory: Path, ledger: Ledger) -> None:
    """The next collector finds the id, the version and every committed row."""
    row, sink = worker(1), SinkRow("main", "file", True, offered=3, intent=Intent(3, 0, ((A, 1, 3),), "/p", 1, 2, 3, 4))
    with ledger.transaction() as change:
        change.worker(row)
        change.sink(sink)
    assert ledger.next_version() == 1
    ledger.close()
    with closing(opened(directory)) as second:
        assert (second.id, second.version) == (ledger.id, 1)
        assert second.workers == {row.producer: row}
        assert second.sinks == {"main": sink}
        assert second.next_version() == 2


def test_two_ledgers_have_two_ids(tmp_path: Path) -> None:
    """Workers tell one history from another by its id."""
    with closing(opened(tmp_path / "a")) as first, closing(opened(tmp_path / "b")) as second:
        assert first.id != second.id


def test_rows_are_committed_as_they_are_at_the_end_of_the_block(directory: Path, ledger: Ledger) -> None:
    """It does not matter whether a row is named before it changes or after."""
    row = worker()
    with ledger.transaction() as change:
        change.worker(row)
        row.collected = 99
    ledger.close()
    with closing(opened(directory)) as second:
        assert second.workers[row.producer].collected == 99


def test_a_block_that_raises_changes_nothing(directory: Path, ledger: Ledger) -> None:
    """Every row is what it was, and the same object; a new row is out again; a forgotten one is back."""
    kept, other, sink = worker(1), worker(2, state="gone"), SinkRow("main", "file")
    with ledger.transaction() as change:
        change.worker(kept)
        change.worker(other)
        change.sink(sink)

    def fail() -> None:
        with ledger.transaction() as change:
            kept.collected, sink.offered = 999, 999
            change.worker(kept)
            change.sink(sink)
            change.worker(worker(3))
            change.sink(SinkRow("new", "console"))
            change.forget(other.producer)
            change.next_version()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (kept.collected, sink.offered, ledger.version) == (10, 0, 0)
    assert ledger.workers == {kept.producer: kept, other.producer: worker(2, state="gone")}
    assert ledger.workers[kept.producer] is kept
    assert ledger.sinks == {"main": sink}
    assert ledger.sinks["main"] is sink

    with ledger.transaction() as change:
        kept.collected += 1
        change.worker(kept)
    ledger.close()
    with closing(opened(directory)) as second:
        assert second.workers == {kept.producer: kept, other.producer: other}
        assert second.workers[kept.producer].collected == 11
        assert second.sinks == {"main": SinkRow("main", "file")}


def test_a_commit_that_fails_changes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the page refuses, the rows go back to what it holds, and the next transaction finds the lock free."""
    row = worker()
    with ledger.transaction() as change:
        change.worker(row)

    def refuse(page: Page, payload: bytes) -> None:
        raise PageError(page.path, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Page, "append", refuse)
        with pytest.raises(PageError, match="no"):
            collect(ledger, row, 999)
    assert row.collected == 10
    collect(ledger, row, 11)
    assert ledger.workers[row.producer].collected == 11


def test_a_value_that_can_not_be_stored_changes_nothing(ledger: Ledger) -> None:
    """A count beyond 64 bits is refused at the commit, as a whole."""
    with pytest.raises(OverflowError):
        collect(ledger, worker(), 1 << 64)
    assert ledger.workers == {}


def test_a_block_that_touches_nothing_writes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty transaction costs no entry, and nothing of an earlier one is written again."""
    with ledger.transaction() as change:
        change.worker(worker())
        change.sink(SinkRow("main", "file"))
    entries: list[bytes] = []
    monkeypatch.setattr(Page, "append", lambda page, payload: entries.append(payload))
    with ledger.transaction():
        pass
    assert entries == []
    with ledger.transaction() as change:
        change.sink(ledger.sinks["main"])
    assert len(entries) == 1
    assert b"w000" not in entries[0]


def test_a_row_that_was_forgotten_may_come_back(directory: Path, ledger: Ledger) -> None:
    """Forgetting counts once: neither in a later transaction nor within its own does it take a newer row away."""
    first, second = worker(1), worker(2)
    for row in (first, second):
        collect(ledger, row, 1)
    with ledger.transaction() as change:
        change.forget(first.producer)
        change.forget(second.producer)
        change.worker(second)
    assert ledger.workers == {second.producer: second}
    collect(ledger, first, 2)
    collect(ledger, second, 3)
    with ledger.transaction() as change:
        change.worker(first)
        change.forget(first.producer)
    ledger.close()
    with closing(opened(directory)) as after:
        assert after.workers == {second.producer: second}


def test_threads_commit_one_after_the_other(directory: Path, ledger: Ledger) -> None:
    """The receive thread and the sinks' writers share the ledger and lose no count to one another."""
    row = worker(count=0)
    sinks = [SinkRow(f"s{number}", "console") for number in range(4)]

    def commit(sink: SinkRow) -> None:
        for _ in range(200):
            with ledger.transaction() as change:
                row.collected += 1
                sink.delivered += 1
                change.worker(row)
                change.sink(sink)

    threads = [threading.Thread(target=commit, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    with closing(opened(directory)) as second:
        assert second.workers[row.producer].collected == 800
        assert [sink.delivered for sink in second.sinks.values()] == [200] * 4


def test_a_ledger_has_one_owner(directory: Path, ledger: Ledger) -> None:
    """A second collector is told who has it."""
    with pytest.raises(OwnedError, match="collector 'tester'"):
        opened(directory)


def test_a_closed_ledger_takes_nothing(directory: Path, ledger: Ledger) -> None:
    """A late writer thread gets an error and does not disturb the next owner, nor its own rows."""
    row = worker()
    with ledger.transaction() as change:
        change.worker(row)
    ledger.close()
    with closing(opened(directory)) as second:
        with pytest.raises(PageError, match="is closed"):
            collect(ledger, row, row.collected)
        assert ledger.workers == {row.producer: row}
        second.next_version()


def test_a_directory_that_is_not_one_is_a_configuration_error(tmp_path: Path) -> None:
    """A wrong state directory is the user's to put right."""
    (tmp_path / "state").touch()
    with pytest.raises(ConfigurationError, match="state"):
        opened(tmp_path / "state")


def test_a_page_that_can_not_be_opened_leaves_the_lock_free(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed does not stand in the way of the next."""
    ledger.close()

    def fail(page: Page) -> None:
        raise PageError(page.path, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Page, "compact", fail)
        with pytest.raises(PageError):
            opened(directory)
    opened(directory).close()


def test_entries_of_another_version_are_put_aside(directory: Path) -> None:
    """A sound page with contents that this version can't read begins a new history, under another id."""
    directory.mkdir()
    foreign = msgpack.packb([99, "old id", 5, [], []])
    with closing(Page.open(directory / "ledger", name="t", snapshot=lambda: foreign)) as page:
        page.compact()
    with closing(opened(directory)) as ledger:
        assert ledger.quarantined == directory / "ledger.corrupt-1"
        assert ledger.damage == (
            f"holds entries that this version can't read: ValueError: expected layout {LAYOUT}, found 99"
        )
        assert (ledger.version, ledger.workers) == (0, {})
        assert ledger.id != "old id"


def test_a_page_that_lost_entries_is_another_history(directory: Path, ledger: Ledger) -> None:
    """Rows are an earlier state, and say so; the id changes, since a version might be given out twice."""
    with ledger.transaction() as change:
        change.worker(worker())
    ledger.next_version()
    ledger.close()
    path = directory / "ledger"
    image = bytearray(path.read_bytes())
    last = image.rfind(msgpack.packb([1, [], [], []]))
    assert last > 0
    image[last] ^= 1
    path.write_bytes(image)
    with closing(opened(directory)) as second:
        assert second.damage
        assert second.quarantined is None
        assert second.id != ledger.id
        assert [row.exact for row in second.workers.values()] == [False]
        second_id = second.id
    with closing(opened(directory)) as third:
        assert third.damage is None
        assert third.id == second_id
        assert [row.exact for row in third.workers.values()] == [False]


def test_the_oldest_that_have_gone_become_one_row(directory: Path, ledger: Ledger) -> None:
    """History is bounded and nothing is forgotten: the counts of the folded stand in one row, which is kept."""
    with ledger.transaction() as change:
        for number in range(8):
            row = worker(number, state="gone" if number % 2 else "crashed", count=number, seen=100.0 - number)
            row.dropped[HIGH_WATER_MARK] = 1
            row.emitted += 1
            row.exact = number != 7
            change.worker(row)
        change.worker(worker(50, seen=1.0))
    before = ledger.total()

    assert ledger.fold(keep=5) == 3
    assert ledger.fold(keep=5) == 0
    older = ledger.workers[OLDER]
    assert sorted(row.worker for row in ledger.workers.values()) == [
        "(older)", "w000", "w001", "w002", "w003", "w004", "w050"
    ]  # fmt: skip
    assert (older.emitted, older.collected, older.dropped[HIGH_WATER_MARK]) == (5 + 6 + 7 + 3, 5 + 6 + 7, 3)
    assert (older.state, older.exact, older.law(), older.mark_at) == ("gone", False, True, 95.0)
    assert ledger.total() == before

    assert ledger.fold(keep=2) == 3
    assert ledger.workers[OLDER] is older
    assert ledger.total() == before
    ledger.close()
    with closing(opened(directory)) as second:
        assert second.workers == ledger.workers
        assert second.total() == before


def test_a_start_folds(directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that was left with too many rows is bounded when it is opened."""
    with ledger.transaction() as change:
        for number in range(520):
            change.worker(worker(number + 1, state="gone", seen=float(number)))
    before = ledger.total()
    ledger.close()
    with closing(opened(directory)) as second:
        assert len(second.workers) == 512 + 1
        assert second.workers[OLDER].emitted == 80
        assert second.total() == before


def test_the_document_of_status(ledger: Ledger) -> None:
    """Workers by name, the total, the sinks, and that it balances."""
    late, early = worker(2), worker(1)
    late.duplicated, late.exact = 3, False
    late.mark(100.0, emitted=15, sent=12, buffered=1, dropped=[2, 0, 0])
    with ledger.transaction() as change:
        change.worker(late)
        change.worker(early)
        change.sink(SinkRow("main", "file", True, offered=20, accepted=20, delivered=15))
        change.sink(SinkRow("old", "console", state="removed", offered=4, filtered=4))
    document = ledger.status_document({"main": 5})
    assert [row["worker"] for row in document["workers"]] == ["w001", "w002"]
    assert document["total"] == {
        "emitted": 25,
        "sent": 22,
        "collected": 20,
        "dropped": {"high_water_mark": 2},
        "in_flight": 3,
        "unknown": 0,
        "duplicated": 3,
        "exact": False,
    }
    assert [(sink["name"], sink["queued"]) for sink in document["sinks"]] == [("main", 5), ("old", 0)]
    assert (document["balanced"], document["problems"]) == (True, [])


def test_a_ledger_that_does_not_balance_says_where(ledger: Ledger) -> None:
    """Each law that fails, of workers and of sinks, is one sentence."""
    wrong = worker(1)
    wrong.emitted += 1
    with ledger.transaction() as change:
        change.worker(wrong)
        change.sink(SinkRow("main", "file", offered=2, accepted=2, delivered=1))
    document = ledger.status_document({})
    assert document["balanced"] is False
    assert [problem.split(":")[0] for problem in document["problems"]] == ["worker w001 (pid 1)", "sink main"]


def test_the_queues_are_asked_while_no_transaction_is_open(ledger: Ledger) -> None:
    """A queue that is counted inside transactions is exact in the document, however fast it moves."""
    sink = SinkRow("main", "file")
    queue = {"main": 0}
    end = threading.Event()

    def move() -> None:
        while not end.is_set():
            with ledger.transaction() as change:
                sink.offered += 2
                queue["main"] += 2
                change.sink(sink)
            with ledger.transaction() as change:
                queue["main"] -= 1
                sink.delivered += 1
                change.sink(sink)

    with ledger.transaction() as change:
        change.sink(sink)
    thread = threading.Thread(target=move)
    thread.start()
    try:
        for _ in range(300):
            assert ledger.status_document(lambda: queue)["problems"] == []
    finally:
        end.set()
        thread.join()
    assert sink.delivered


def test_unfinished_records_are_resolved_and_committed(directory: Path, ledger: Ledger, tmp_path: Path) -> None:
    """At a restart each sink with something at stake has a result, its law holds, and the next start finds nothing."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    info = path.stat()
    intent = Intent(2, 0, ((A, 1, 2),), str(path), info.st_ino, info.st_dev, 0, 8)
    with ledger.transaction() as change:
        change.sink(SinkRow("main", "file", True, offered=3, accepted=3, intent=intent))
        change.sink(SinkRow("screen", "console", offered=3, accepted=3, intent=Intent(1, 0)))
        change.sink(SinkRow("idle", "console", offered=3, accepted=3, delivered=3))
    ledger.close()
    with closing(opened(directory)) as second:
        results = {result.sink: result for result in second.resolve_intents()}
        assert sorted(results) == ["main", "screen"]
        assert (results["main"].delivered, results["main"].lost, results["main"].cut_bytes) == (1, 2, 2)
        assert (results["screen"].unknown, results["screen"].lost) == (1, 2)
        assert second.status_document({})["balanced"]
    with closing(opened(directory)) as third:
        assert third.resolve_intents() == []
        assert third.sinks["main"].dropped[COLLECTOR_LOST] == 2
        assert third.status_document({})["balanced"]
    assert path.read_bytes() == b"one\n"


def test_spools_are_counted_at_a_restart(directory: Path, ledger: Ledger) -> None:
    """What stands in a sink's spool is spooled, and one that nobody has a row for gets one, for a sink that is gone."""
    with ledger.transaction() as change:
        change.sink(SinkRow("far", "http", offered=9, accepted=9, delivered=2, spooled=4))
    ledger.close()
    spooled = {"far": 6, "orphan": 3, "empty": 0}
    with closing(opened(directory)) as second:
        found = {result.sink: (result.lost, result.spooled) for result in second.resolve_intents(spooled)}
        assert found == {"far": (1, 6), "orphan": (0, 3)}
    with closing(opened(directory)) as third:
        assert third.resolve_intents(spooled) == []
        orphan = third.sinks["orphan"]
        assert (orphan.state, orphan.offered, orphan.spooled) == ("removed", 3, 3)
        assert "empty" not in third.sinks
        assert third.status_document({})["balanced"]


def test_a_sync_reaches_the_page(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durable modes ask the disk, and get its answer."""
    ledger.sync()

    def fail(page: Page) -> None:
        raise PageError(page.path, "can't be synced")

    monkeypatch.setattr(Page, "sync", fail)
    with pytest.raises(PageError, match="synced"):
        ledger.sync()
