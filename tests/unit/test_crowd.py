"""The size of a frame: what the workers of one collector share."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbus.counters import SUFFIX
from logbus.producers.crowd import COUNT_S, CROWD_BYTES, LEAST_BYTES, Crowd
from logbus.producers.pack import FRAME_BYTES
from tests.peer import Peer
from tests.producing import check_law, emit, make

MUCH = 100 * FRAME_BYTES


def _come(pages: Path, count: int) -> None:
    for number in range(count):
        (pages / f"{number:032x}{SUFFIX}").touch()


@pytest.mark.parametrize("workers", [0, 1, 60])
def test_few_workers_fill_their_frames(tmp_path: Path, workers: int) -> None:
    """Up to a crowd a frame has its full size."""
    _come(tmp_path, workers)
    assert Crowd(tmp_path).frame_bytes(MUCH) == FRAME_BYTES


@pytest.mark.parametrize("workers", [61, 200, 640])
def test_a_crowd_shares(tmp_path: Path, workers: int) -> None:
    """A frame of each takes no more together, however many they are; other files beside the pages don't count."""
    _come(tmp_path, workers)
    (tmp_path / "folded.lock").touch()
    found = Crowd(tmp_path).frame_bytes(MUCH)
    assert LEAST_BYTES <= found < FRAME_BYTES
    assert CROWD_BYTES - workers < found * workers <= CROWD_BYTES


def test_a_frame_never_gets_too_small(tmp_path: Path) -> None:
    """Beyond some hundred workers it stays what it is: each frame has its price."""
    _come(tmp_path, 2000)
    assert Crowd(tmp_path).frame_bytes(MUCH) == LEAST_BYTES


def test_it_counts_only_where_it_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits into the smallest frame is sent without a look, and a look is good for a while."""
    now = 1000.0
    monkeypatch.setattr("logbus.producers.crowd.time.monotonic", lambda: now)
    crowd = Crowd(tmp_path)
    assert crowd.frame_bytes(LEAST_BYTES) == FRAME_BYTES
    _come(tmp_path, 200)
    assert crowd.frame_bytes(MUCH) == CROWD_BYTES // 200
    _come(tmp_path, 400)
    now += 0.9 * COUNT_S
    assert crowd.frame_bytes(MUCH) == CROWD_BYTES // 200
    now += 0.2 * COUNT_S
    assert crowd.frame_bytes(MUCH) == CROWD_BYTES // 400


def test_a_directory_that_has_gone_is_no_crowd(tmp_path: Path) -> None:
    """Somebody cleans up /tmp: the worker goes on as if it were alone."""
    assert Crowd(tmp_path / "gone").frame_bytes(MUCH) == FRAME_BYTES


def test_a_worker_in_a_crowd_sends_smaller_frames(peer: Peer, directories: Path) -> None:
    """Its records are all there, in more frames than it would have made alone."""
    producer = make()
    emit(producer, "first")
    assert producer.flush(5)
    pages = next(directories.rglob(f"*{SUFFIX}")).parent
    _come(pages, 200)
    before = len(peer.arrivals.frames)
    records, length = 60, 4000
    for number in range(records):
        emit(producer, f"{number:0{length}}")
    assert producer.flush(5)
    assert [int(record.message) for record in peer.arrivals.records[1:]] == list(range(records))
    assert max(len(frame.records) for frame in peer.arrivals.frames[before:]) <= CROWD_BYTES // 200 // length
    check_law(producer)
