"""What a real collector does with bytes that no producer would send: it counts them and goes on."""

from __future__ import annotations

import os
import random
import socket
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from logbus.wire import MAX_FRAME_BYTES, pack_frame, pack_payload
from tests.bad_frames import BROKEN, PARTS, REJECTED
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, mark_payload, producer, raw
from tests.integration.watch import free_port, lines_of, settled, status_of
from tests.stranger import NOBODY, needs_root, stranger

A = producer(1)


def test_every_kind_of_bad_frame(start_collector: StartCollector, tmp_path: Path) -> None:
    """Each is counted by its reason; after each a good record of another producer is delivered; the ledger balances."""
    collector = start_collector("--sink", "file:out.jsonl")
    good, bad = producer(7), producer(8)
    expected: Counter[str] = Counter()
    sent = rejected = 0
    with RawSender(collector.endpoint) as sender:
        for frame, reason in BROKEN.values():
            if len(frame) > MAX_FRAME_BYTES:
                continue  # the socket itself refuses it: see below
            sender.send(frame, data(good, sent, f"after {sent}"))
            expected[reason] += 1
            sent += 1
        for body, reason in REJECTED.values():
            sender.send(raw(bad, rejected, 1, body), data(good, sent, f"after {sent}"))
            expected[reason] += 1
            sent += 1
            rejected += 1
        for parts in PARTS:
            sender.send_parts(*parts)
            sender.send(data(good, sent, f"after {sent}"))
            expected["multipart"] += 1
            sent += 1
        absurd = mark_payload(sent=1)
        absurd[4] = 2**63
        sender.send(pack_frame(2, bad, 0, 0, pack_payload(absurd)))
        expected["payload"] += 1
        sender.send(mark(bad, sent=rejected, worker="bad", bye=True), mark(good, sent=sent, worker="good", bye=True))
        status = settled(
            collector, lambda status: len([row for row in status["workers"] if row["state"] == "gone"]) == 2
        )
    assert status["collector"]["bad_frames"] == dict(expected)
    rows = {row["worker"]: row for row in status["workers"]}
    assert (rows["good"]["collected"], rows["good"]["dropped"]) == (sent, {})
    assert (rows["bad"]["collected"], rows["bad"]["dropped"]) == (0, {"rejected": rejected})
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    found = [line["message"] for line in lines_of(tmp_path / "out.jsonl") if line["worker"] != "logbus"]
    assert found == [f"after {number}" for number in range(sent)]
    told = [line for line in lines_of(tmp_path / "out.jsonl") if line["worker"] == "logbus"]
    assert sum(line["extra"]["count"] for line in told if line["extra"]["reason"] == "rejected") == rejected


def test_an_oversized_message_costs_its_connection(start_collector: StartCollector, tmp_path: Path) -> None:
    """It is never held in memory; its sender connects again and is heard."""
    collector = start_collector("--sink", "file:out.jsonl")
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "before"))
        eventually(lambda: lines_of(tmp_path / "out.jsonl"))
        sender.send(bytes(MAX_FRAME_BYTES + 1))
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 1, "after"), mark(A, sent=2, bye=True))
        status = settled(collector, lambda status: status["total"]["collected"] == 2)
    assert status["collector"]["bad_frames"] == {}
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert [line["message"] for line in lines_of(tmp_path / "out.jsonl")] == ["before", "after"]


def test_a_gap_is_told_in_the_log(start_collector: StartCollector, tmp_path: Path) -> None:
    """Numbers that never come are collector_lost, and a record of worker "logbus" says so; duplicates are no lines."""
    collector = start_collector("--sink", "file:out.jsonl")
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "a", "b"), data(A, 0, "a", "b"), data(A, 5, "f"), mark(A, sent=8, bye=True))
        status = settled(collector, lambda status: status["workers"] and status["workers"][-1]["state"] == "gone")
    [row] = [row for row in status["workers"] if row["worker"] == "w1"]
    assert (row["emitted"], row["collected"], row["dropped"], row["duplicated"]) == (8, 3, {"collector_lost": 5}, 2)
    assert row["exact"]
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    lines = lines_of(tmp_path / "out.jsonl")
    assert [line["message"] for line in lines] == [
        "a",
        "b",
        "f",
        "3 records of w1 lost: collector lost",
        "2 records of w1 lost: collector lost",
    ]
    gap = lines[3]
    assert (gap["worker"], gap["level"], gap["component"]) == ("logbus", "WARNING", "logbus")
    assert gap["extra"] == {
        "event": "lost",
        "lost_worker": "w1",
        "reason": "collector_lost",
        "count": 3,
        "first_seq": 2,
    }


def test_drops_that_a_producer_reports_are_one_gap_record(start_collector: StartCollector, tmp_path: Path) -> None:
    """An entry in-band, where the records are missing, comes out as one line of worker "logbus"."""
    collector = start_collector("--sink", "file:out.jsonl")
    drops = [[0, 1, 37, 1_700_000_001_000_000, 1_700_000_003_000_000]]
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "before"), data(A, 1, "after", drops=drops))
        sender.send(mark(A, sent=2, drops=[[0, 1, 37]], bye=True))
        status = settled(collector, lambda status: status["workers"] and status["workers"][-1]["state"] == "gone")
    assert status["total"]["dropped"] == {"high_water_mark": 37}
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert [(line["worker"], line["message"]) for line in lines_of(tmp_path / "out.jsonl")] == [
        ("w1", "before"),
        ("w1", "after"),
        ("logbus", "37 DEBUG records of w1 dropped: high water mark, 22:13:21 to 22:13:23"),
    ]


def junk(seed: int) -> bytes:
    """Bytes that a stranger may write to a port: noise, HTTP, and what looks like old versions of ZMTP."""
    chance = random.Random(seed)
    noise = chance.randbytes(chance.randrange(1, 400))
    return (
        noise,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x01\x00" + bytes([len(noise[:200]) + 1, 0]) + noise[:200],  # ZMTP 1.0: anonymous, then a frame
        b"\x01\x00\x06\x00hello" * 50,
        b"\xff" + bytes(8) + b"\x7f\x01\x07" + noise,  # ZMTP 2.0
        b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48) + noise,  # 3.0, then noise
        b"\x16\x03\x01" + noise,  # TLS
        b"\xff" * 300,
    )[seed % 8]


def test_junk_on_a_tcp_port_reaches_no_record(start_collector: StartCollector, tmp_path: Path) -> None:
    """Hundreds of connections that write anything: no record, no bad frame even, and workers are served meanwhile."""
    port = free_port()
    collector = start_collector("--sink", "file:out.jsonl", "--endpoint", f"tcp://127.0.0.1:{port}")
    control = Path(collector.control.removeprefix("ipc://"))
    with RawSender(collector.endpoint) as sender:
        for seed in range(400):
            if seed % 4 == 3:
                peer = socket.socket(socket.AF_UNIX)
                peer.connect(str(control))
            else:
                peer = socket.create_connection(("127.0.0.1", port))
            with closing(peer):
                try:
                    peer.sendall(junk(seed))
                except (BrokenPipeError, ConnectionResetError):  # it was thrown out before it was done
                    continue
            if seed % 40 == 0:
                sender.send(data(A, seed // 40, f"record {seed // 40}"))
        sender.send(mark(A, sent=10, bye=True))
        status = settled(collector, lambda status: status["total"]["emitted"] == 10)
    assert status["total"]["collected"] == 10
    assert status["collector"]["bad_frames"] == {}
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert [line["message"] for line in lines_of(tmp_path / "out.jsonl")] == [f"record {n}" for n in range(10)]


def test_many_connections_that_say_nothing(start_collector: StartCollector, tmp_path: Path) -> None:
    """Hundreds of open connections, more than a low limit of descriptors would bear: it was raised at the start."""
    collector = start_collector("--sink", "file:out.jsonl")
    path = collector.endpoint.removeprefix("ipc://")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    try:
        for peer in silent:
            peer.connect(path)
        with RawSender(collector.endpoint) as sender:
            sender.send(data(A, 0, "heard"), mark(A, sent=1, bye=True))
        settled(collector, lambda status: status["total"]["collected"] == 1)
    finally:
        for peer in silent:
            peer.close()
    assert collector.stop() == 0


def test_another_user_is_sent_away(start_collector: StartCollector, tmp_path: Path, directories: Path) -> None:
    """Should the directory ever be open, the kernel's word on the peer's uid decides; the refusal is counted."""
    needs_root()
    collector = start_collector("--sink", "file:out.jsonl")
    path = Path(collector.endpoint.removeprefix("ipc://"))
    for directory in (path.parent, *path.parent.parents):
        if directory == directories.parent:
            break
        directory.chmod(0o755)
    path.chmod(0o777)
    answer, _ = stranger(path, user=NOBODY).communicate(timeout=20)
    assert answer.split() == ["ERROR", "400"]
    answer, _ = stranger(path, user=None).communicate(timeout=20)
    assert answer.split() == ["READY"]
    status = settled(collector, lambda status: status["collector"]["bad_frames"])
    assert status["collector"]["refused_connections"] == 1
    assert status["collector"]["refused"] == {"records": {"other_user": 1}}
    assert status["collector"]["bad_frames"] == {"truncated": 1}  # our own user's "hello" is no frame
    assert [row["worker"] for row in status["workers"]] == ["logbus"]  # which says who was sent away
    assert collector.stop() == 0


def test_nonsense_on_the_control_socket(start_collector: StartCollector) -> None:
    """Neither what is no command nor what is no message ends or stops anything."""
    collector = start_collector("--sink", "console")
    for suffix in ("", ".pub"):
        path = collector.control.removeprefix("ipc://") + suffix
        for seed in range(50):
            with closing(socket.socket(socket.AF_UNIX)) as peer:
                peer.connect(path)
                try:
                    peer.sendall(junk(seed))
                except (BrokenPipeError, ConnectionResetError):
                    continue
    assert status_of(collector)["collector"]["pid"] == collector.process.pid
    assert collector.stop() == 0


@pytest.mark.parametrize("seed", range(3))
def test_noise_between_frames(start_collector: StartCollector, tmp_path: Path, seed: int) -> None:
    """Random bytes as messages, among those of an honest producer: every record of his, in order, and nothing else."""
    collector = start_collector("--sink", "file:out.jsonl")
    chance = random.Random(seed)
    with RawSender(collector.endpoint) as sender:
        for number in range(300):
            sender.send(
                os.urandom(chance.randrange(200)) if chance.random() < 0.5 else data(A, 0)[: chance.randrange(99)]
            )
            sender.send(data(A, number, f"{number}"))
        sender.send(mark(A, sent=300, bye=True))
        status = settled(collector, lambda status: status["total"]["emitted"] >= 300)
    assert status["balanced"], status["problems"]
    assert collector.stop() == 0
    assert [line["message"] for line in lines_of(tmp_path / "out.jsonl")] == [str(number) for number in range(300)]
