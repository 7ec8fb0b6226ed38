"""The doorkeeper: who may connect."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq

from logbus.bus import CONTROL_DOOR, PUBLISHER_DOOR, RECORDS_DOOR, command_socket, pull_socket, push_socket
from logbus.collectors import zap
from logbus.collectors.zap import ENDPOINT, TOLD_APART, Doorkeeper, Refusal, reason_against
from tests.eventually import eventually
from tests.stranger import NOBODY, needs_root, stranger


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A context of this test's own."""
    with zmq.Context() as context:
        yield context
        context.destroy(0)


@pytest.mark.parametrize("door", [RECORDS_DOOR, PUBLISHER_DOOR, CONTROL_DOOR])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"localhost:{os.geteuid()}:0:1", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        (f"localhost:{os.geteuid() + 1}:0:1", "other_user"),
        ("localhost:-1:0:1", "address"),
        ("localhost::0:1", "address"),
        ("10.0.0.1", "address"),
        ("::ffff:10.0.0.1", "address"),
        ("", "address"),
        ("localhost", "address"),
        (f"{os.geteuid()}:{os.geteuid()}", "address"),
    ],
)
def test_who_is_admitted(door: bytes, address: str, reason: str | None) -> None:
    """Our own user on ipc, loopback on tcp, and nobody whose address says neither."""
    assert reason_against(door, address) == reason


def test_an_allowed_user_may_log_and_never_command() -> None:
    """He gets in where records go and where the state comes from; the doors of control and of nothing stay closed."""
    alice = f"localhost:{os.geteuid() + 1}:0:1"
    allowed = {os.geteuid() + 1}
    assert reason_against(RECORDS_DOOR, alice, allowed) is None
    assert reason_against(PUBLISHER_DOOR, alice, allowed) is None
    assert reason_against(CONTROL_DOOR, alice, allowed) == "other_user"
    assert reason_against(b"elsewhere", "127.0.0.1", allowed) == "unknown_door"


@pytest.mark.parametrize("user", [None, NOBODY], ids=["own", "other"])
def test_the_kernel_vouches_for_the_user(
    context: zmq.Context[zmq.Socket[bytes]], directories: Path, user: int | None
) -> None:
    """Over a real socket our own user is let in and his message arrives; another is sent away and counted."""
    if user is not None:
        needs_root()
    directories.chmod(0o755)
    path = directories / "door"
    with closing(Doorkeeper(context)) as doorkeeper, pull_socket(context) as pull:
        pull.bind(f"ipc://{path}")
        path.chmod(0o777)
        process = stranger(path, user=user)

        def answered() -> bool:
            doorkeeper.answer()
            return process.poll() is not None

        eventually(answered, 20)
        answer, _ = process.communicate()
        if user is None:
            assert answer.split() == ["READY"]
            assert pull.poll(5000)
            assert pull.recv() == b"hello"
            assert not doorkeeper.refused
        else:
            assert answer.split() == ["ERROR", "400"]
            assert not pull.poll(50)
            assert doorkeeper.by_door() == {"records": {"other_user": 1}}


@pytest.mark.parametrize("allowed", [(), (NOBODY,)], ids=["nobody", "him"])
@pytest.mark.parametrize("make", [pull_socket, command_socket])
def test_the_doors_are_told_apart(
    context: zmq.Context[zmq.Socket[bytes]],
    directories: Path,
    make: Callable[[zmq.Context[zmq.Socket[bytes]]], zmq.Socket[bytes]],
    allowed: tuple[int, ...],
) -> None:
    """Over real sockets an allowed user gets to the record socket; to that of the commands nobody else ever does."""
    needs_root()
    directories.chmod(0o755)
    path = directories / "door"
    told: list[Refusal] = []
    with closing(Doorkeeper(context, allowed=allowed, tell=told.append)) as doorkeeper, make(context) as socket:
        socket.bind(f"ipc://{path}")
        path.chmod(0o777)
        process = stranger(path, user=NOBODY, kind="PUSH" if make is pull_socket else "DEALER")

        def answered() -> bool:
            doorkeeper.answer()
            return process.poll() is not None

        eventually(answered, 20)
        answer, _ = process.communicate()
        if allowed and make is pull_socket:
            assert answer.split() == ["READY"]
            assert not told
        else:
            assert answer.split() == ["ERROR", "400"]
            [refusal] = told
            door = "records" if make is pull_socket else "control"
            assert (refusal.door, refusal.uid, refusal.pid) == (door, NOBODY, process.pid)
            assert str(refusal) == (
                f"connection to the {door} socket refused: uid {NOBODY} (pid {process.pid}), other user"
            )


def test_who_comes_on_the_list_later_gets_in_by_himself(
    context: zmq.Context[zmq.Socket[bytes]], directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was refused because its user was not on the list tries again, and need not be restarted."""
    me = os.geteuid()
    monkeypatch.setattr(zap, "os", SimpleNamespace(geteuid=lambda: me + 1))
    allowed = {me + 2}
    path = f"ipc://{directories}/door"
    with closing(Doorkeeper(context, allowed=allowed)) as doorkeeper, pull_socket(context) as pull:
        pull.set(zmq.HANDSHAKE_IVL, 100)  # milliseconds; 30 s by default
        pull.bind(path)
        with zmq.Context() as theirs, push_socket(theirs) as push:
            push.connect(path)
            push.send(b"hello")

            def refused() -> int:
                doorkeeper.answer()
                return doorkeeper.refused["records", "other_user"]

            eventually(refused)
            assert not pull.poll(0)
            allowed.add(me)

            def arrived() -> int:
                doorkeeper.answer()
                return int(pull.poll(0))

            eventually(arrived)
            assert pull.recv() == b"hello"


class Knocks:
    """Requests of a peer that was never there, through the real socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], doorkeeper: Doorkeeper) -> None:
        self.doorkeeper = doorkeeper
        self.socket = context.socket(zmq.REQ)
        self.socket.connect(ENDPOINT)

    def knock(self, address: str, door: bytes = CONTROL_DOOR) -> None:
        """One request, answered."""
        self.socket.send_multipart([b"1.0", b"1", door, address.encode(), b"", b"NULL"])

        def answered() -> int:
            self.doorkeeper.answer()
            return int(self.socket.poll(0))

        eventually(answered)
        self.socket.recv_multipart()


def test_a_flood_of_refusals_is_told_once_and_counted(
    context: zmq.Context[zmq.Socket[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is told at once, the next ones as a number when the minute is over, and then nothing more."""
    told: list[Refusal] = []
    clock = [1000.0]
    monkeypatch.setattr(zap, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with closing(Doorkeeper(context, tell=told.append)) as doorkeeper:
        knocks = Knocks(context, doorkeeper)
        try:
            for pid in range(5):
                knocks.knock(f"localhost:1:1:{pid + 1}")
            knocks.knock("localhost:2:2:9")
            assert [(refusal.uid, refusal.count) for refusal in told] == [(1, 1), (2, 1)]
            doorkeeper.tell_rest()
            assert len(told) == 2
            clock[0] += zap.TELL_INTERVAL_S
            doorkeeper.tell_rest()
            assert [(refusal.uid, refusal.pid, refusal.count) for refusal in told[2:]] == [(1, 5, 4)]
            assert "refused 4 times" in str(told[2])
            clock[0] += zap.TELL_INTERVAL_S
            doorkeeper.tell_rest()
            assert len(told) == 3
            assert doorkeeper.by_door() == {"control": {"other_user": 6}}
        finally:
            knocks.socket.close()


def test_what_is_remembered_of_refusals_is_bounded(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Users beyond a number are told as one."""
    told: list[Refusal] = []
    with closing(Doorkeeper(context, tell=told.append)) as doorkeeper:
        knocks = Knocks(context, doorkeeper)
        try:
            for uid in range(1, TOLD_APART + 20):
                knocks.knock(f"localhost:{uid}:1:1", RECORDS_DOOR)
        finally:
            knocks.socket.close()
        assert len(told) == TOLD_APART + 1
        assert doorkeeper.refused.total() == TOLD_APART + 19


def test_a_request_is_answered_to_its_asker(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """The answer repeats the version and the number of the request; one of another version is refused."""
    with closing(Doorkeeper(context)) as doorkeeper, context.socket(zmq.REQ) as asker:
        asker.connect(ENDPOINT)
        for version, code in ((b"1.0", b"200"), (b"2.0", b"400")):
            asker.send_multipart([version, b"77", RECORDS_DOOR, b"127.0.0.1", b"", b"NULL"])
            doorkeeper.answer()
            assert asker.poll(5000)
            assert asker.recv_multipart()[:3] == [b"1.0", b"77", code]
        assert doorkeeper.by_door() == {"records": {"protocol": 1}}


def test_what_is_no_request_gets_no_answer(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A message with too few parts is left alone, and the next request is answered."""
    with closing(Doorkeeper(context)) as doorkeeper, context.socket(zmq.DEALER) as asker:
        asker.connect(ENDPOINT)
        asker.send_multipart([b"", b"1.0"])
        asker.send_multipart([b"", b"1.0", b"1", RECORDS_DOOR, b"\xff\xfe", b"", b"NULL"])
        doorkeeper.answer()
        assert asker.poll(5000)
        assert asker.recv_multipart()[:4] == [b"", b"1.0", b"1", b"400"]
        assert not asker.poll(0)
