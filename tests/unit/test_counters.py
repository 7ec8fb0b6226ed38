"""The counter page: exact for whoever reads it, alive or dead, and never in the way of the application."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.counters import (
    CHUNK_BYTES,
    DROPPED,
    EMITTED,
    SETTLED,
    SLOTS_PER_CHUNK,
    Counters,
    DeadPage,
    Meta,
    page_is_alive,
    read_page,
)
from logbus.errors import PageError
from logbus.levels import BUCKETS, bucket_of
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN, UNENCODABLE
from tests.collector_command import child_environment
from tests.eventually import eventually

PRODUCER = bytes(range(16))
META = Meta("host", 4711, "worker-1", "app", 1_700_000_000_000_000)


def word(reason: int, level: int) -> int:
    """Where the drops of a reason and a level are counted in a slot."""
    return DROPPED + reason * len(BUCKETS) + bucket_of(level)


def in_threads(count: int, action: Callable[[int], None]) -> None:
    """Runs an action in so many threads that are all alive at once, so that each has an ident of its own."""
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        action(number)
        barrier.wait()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_page_says_what_was_counted(tmp_path: Path) -> None:
    """Identity, meta data and every counter are read as they were written, while the producer lives."""
    page = Counters(tmp_path, PRODUCER, META)
    cell = page.cell()
    cell[EMITTED] += 5
    cell[SETTLED] += 4
    cell[word(HIGH_WATER_MARK, logging.DEBUG)] += 2
    cell[word(UNENCODABLE, logging.CRITICAL)] += 1
    page.sent = 1
    assert page.path is not None
    found = read_page(page.path)
    assert (found.producer, found.meta, found.alive, found.said_bye) == (PRODUCER, META, True, False)
    assert (found.totals.emitted, found.totals.settled, found.totals.sent) == (5, 4, 1)
    assert found.totals.drops() == [[HIGH_WATER_MARK, 1, 2], [UNENCODABLE, 5, 1]]
    assert found.totals.by_reason() == [2, 0, 1]
    assert found.totals == page.totals()
    page.close()


def test_threads_beyond_one_chunk_are_counted(tmp_path: Path) -> None:
    """Each thread has a slot; the page grows by chunks and no count is lost between them."""
    count = 3 * SLOTS_PER_CHUNK + 1
    page = Counters(tmp_path, PRODUCER, META)

    def emit(number: int) -> None:
        page.cell()[EMITTED] += number

    in_threads(count, emit)
    assert page.path is not None
    assert page.path.stat().st_size == CHUNK_BYTES * (1 + 4)
    assert read_page(page.path).totals.emitted == page.totals().emitted == sum(range(count))
    assert page.exact
    page.close()


def test_two_slots_of_one_thread_do_no_harm(tmp_path: Path) -> None:
    """A signal handler may ask for a slot while the thread is being given one; both count."""
    page = Counters(tmp_path, PRODUCER, META)
    first, second = page.cell(), page.cell()
    first[EMITTED] += 1
    second[EMITTED] += 2
    assert page.totals().emitted == 3
    assert page.cells[threading.get_ident()] is second
    page.close()


def test_a_page_is_dead_once_it_is_closed(tmp_path: Path) -> None:
    """Closing gives the lock up, and what was counted stays readable; counting on does no harm."""
    page = Counters(tmp_path, PRODUCER, META)
    cell = page.cell()
    assert page.path is not None
    assert page_is_alive(page.path) is True
    page.close()
    page.close()
    assert page_is_alive(page.path) is False
    cell[EMITTED] += 1
    assert read_page(page.path).totals.emitted == 1


def test_a_page_may_go_with_its_producer(tmp_path: Path) -> None:
    """With ``unlink`` nothing is left behind."""
    page = Counters(tmp_path, PRODUCER, META)
    assert page.path is not None
    page.close(unlink=True)
    assert page_is_alive(page.path) is None
    with pytest.raises(FileNotFoundError):
        read_page(page.path)


def test_reading_does_not_take_the_lock_away(tmp_path: Path) -> None:
    """Two readers never take each other for the living producer, and none disturbs a page that is being made."""
    page = Counters(tmp_path, PRODUCER, META)
    assert page.path is not None
    page.close()
    fd = os.open(page.path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    assert page_is_alive(page.path) is False
    os.close(fd)


def test_a_reader_does_not_keep_a_producer_from_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that looks between the making of the file and its lock is waited for."""
    looks: list[int] = []
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        if how & fcntl.LOCK_EX and len(looks) < 3:
            looks.append(fd)
            raise BlockingIOError
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    page = Counters(tmp_path, PRODUCER, META)
    monkeypatch.undo()
    assert page.exact
    assert page.path is not None
    assert page_is_alive(page.path)
    page.close()


CHILD = """
import os, signal, sys
from pathlib import Path
from logbus.counters import EMITTED, SETTLED, Counters, Meta
page = Counters(Path(sys.argv[1]), bytes(range(16)), Meta("h", os.getpid(), "w", "a", 1))
cell = page.cell()
for _ in range(1000):
    cell[EMITTED] += 1
    cell[SETTLED] += 1
page.sent = 900
if sys.argv[2] == "bye":
    page.say_bye()
if sys.argv[2] == "fork" and os.fork() == 0:
    page.close()
    print(os.getpid(), flush=True)
    signal.pause()
if sys.argv[2] == "fork":
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(directory: Path, how: str) -> DeadPage:
    """The page of a process that counted 1,000 records and was killed."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(directory), how], env=child_environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    [path] = directory.glob("*.page")
    return read_page(path)


def test_a_killed_process_leaves_the_truth(tmp_path: Path) -> None:
    """After ``kill -9`` the page holds the last count, and its lock is free."""
    page = killed(tmp_path, "now")
    assert (page.alive, page.said_bye) == (False, False)
    assert (page.totals.emitted, page.totals.sent, page.totals.by_reason()) == (1000, 900, [0, 0, 0])


def test_after_a_bye_what_was_under_way_is_dropped_by_the_shutdown(tmp_path: Path) -> None:
    """A producer that has closed its book has nothing in flight, whatever calls were under way."""
    page = killed(tmp_path, "bye")
    assert page.said_bye
    assert page.totals.drops() == [[SHUTDOWN, bucket_of(logging.INFO), 100]]


def test_a_forked_child_does_not_keep_its_parents_page_alive(tmp_path: Path) -> None:
    """The child inherits maps of the page, and not the lock: a dead parent is seen to be dead."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), "fork"],
        env=child_environment(),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        child = int(process.stdout.readline())
        [path] = tmp_path.glob("*.page")
        assert page_is_alive(path) is True
        process.kill()
        process.wait()
        os.kill(child, 0)
        assert eventually(lambda: page_is_alive(path) is False)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_without_a_directory_counting_goes_on_in_memory(tmp_path: Path) -> None:
    """A page that can't be made is not exact, and everything else works."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "missing", tmp_path / "file"):
        page = Counters(directory, PRODUCER, META)
        assert (page.exact, page.path) == (False, None)
        in_threads(SLOTS_PER_CHUNK + 1, lambda _, page=page: page.cell().__setitem__(EMITTED, 1))  # type: ignore[misc]
        page.sent = 7
        page.say_bye()
        page.say_welcomed()
        totals = page.totals()
        assert (totals.emitted, totals.sent) == (SLOTS_PER_CHUNK + 1, 7)
        page.close(unlink=True)


def test_a_full_disk_leaves_no_half_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file can't be filled it is taken away again, and its descriptors are closed."""
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    before = len(os.listdir("/proc/self/fd"))
    page = Counters(tmp_path, PRODUCER, META)
    monkeypatch.undo()
    assert not page.exact
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before
    page.cell()[EMITTED] += 1
    assert page.totals().emitted == 1


def test_a_disk_that_fills_later_costs_exactness_and_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that find no room in the file count in memory; the page says that it is not exact any more."""
    page = Counters(tmp_path, PRODUCER, META)
    page.cell()[EMITTED] += 1
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    in_threads(SLOTS_PER_CHUNK + 1, lambda _: page.cell().__setitem__(EMITTED, 1))
    monkeypatch.undo()
    assert not page.exact
    assert page.totals().emitted == SLOTS_PER_CHUNK + 2
    assert page.path is not None
    assert read_page(page.path).totals.emitted <= SLOTS_PER_CHUNK
    page.close()


def no_space(fd: int, offset: int, length: int) -> None:
    """What posix_fallocate does on a full disk."""
    raise OSError(28, "No space left on device")


def test_an_older_page_is_never_overwritten(tmp_path: Path) -> None:
    """A file or a link that stands in the page's place is left alone."""
    path = tmp_path / (PRODUCER.hex() + ".page")
    path.write_text("mine")
    assert not Counters(tmp_path, PRODUCER, META).exact
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(tmp_path / "target")
    assert not Counters(tmp_path, PRODUCER, META).exact
    assert not (tmp_path / "target").exists()


def test_long_names_are_cut_and_fit(tmp_path: Path) -> None:
    """Meta data of any length fits in the header page."""
    page = Counters(tmp_path, PRODUCER, Meta("𐍈" * 300, 1, "𐍈" * 300, "𐍈" * 300, (1 << 63) - 1))
    assert page.path is not None
    assert read_page(page.path).meta == Meta("𐍈" * 255, 1, "𐍈" * 255, "𐍈" * 255, (1 << 63) - 1)
    page.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 8])
def test_a_page_that_was_cut_is_no_page(tmp_path: Path, size: int) -> None:
    """Whatever the length of the file, what it lacks is not taken for zeros."""
    page = Counters(tmp_path, PRODUCER, META)
    page.close()
    assert page.path is not None
    os.truncate(page.path, size)
    with pytest.raises(PageError) as caught:
        read_page(page.path)
    assert caught.value.path == page.path


def test_what_is_no_page_is_refused(tmp_path: Path) -> None:
    """Other files, links and damaged meta data are an error with the path in it."""
    page = Counters(tmp_path, PRODUCER, META)
    page.close()
    assert page.path is not None
    whole = page.path.read_bytes()
    damaged = tmp_path / "damaged"
    for data in (
        bytes(2 * CHUNK_BYTES),
        b"X" + whole[1:],
        whole[:48] + b"\xc1" + whole[49:],
        whole[:40] + bytes(8) + whole[48:],
        whole[:40] + b"\xff" * 8 + whole[48:],
    ):
        damaged.write_bytes(data)
        with pytest.raises(PageError, match="damaged"):
            read_page(damaged)
    (tmp_path / "link").symlink_to(page.path)
    with pytest.raises(PageError):
        read_page(tmp_path / "link")
    with pytest.raises(PageError):
        read_page(tmp_path)
    assert page_is_alive(tmp_path / "link") is None


def test_a_page_that_is_dropped_is_closed(tmp_path: Path) -> None:
    """A producer's last reference gone, its maps go too; the file stays for the collector."""
    page = Counters(tmp_path, PRODUCER, META)
    page.cell()[EMITTED] += 1
    page.close()
    path = page.path
    del page
    gc.collect()
    assert path is not None
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert read_page(path).totals.emitted == 1


def test_unmapped_it_has_no_descriptor_left(tmp_path: Path) -> None:
    """Nor one that Python keeps for a map, and would close at some later time, when the number is somebody else's."""

    def ours() -> list[str]:
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        return [link for link in links if os.path.lexists(link) and str(tmp_path) in os.readlink(link)]

    counters = Counters(tmp_path, PRODUCER, META)
    cell = counters.cell()
    cell[EMITTED] += 1
    assert len(ours()) > 2
    counters.unmap()
    counters.unmap()
    assert ours() == []
    with pytest.raises(ValueError, match="released"):
        cell[EMITTED] += 1
    assert counters.path is not None
    assert read_page(counters.path).totals.emitted == 1
