"""The doorkeeper: who may connect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from logbus.bus import pull_socket
from logbus.collectors.zap import ENDPOINT, Doorkeeper, admits
from tests.eventually import eventually
from tests.stranger import NOBODY, needs_root, stranger


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A context of this test's own."""
    with zmq.Context() as context:
        yield context
        context.destroy(0)


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        (f"localhost:{os.geteuid()}:0:1", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        (f"localhost:{os.geteuid() + 1}:0:1", False),
        ("localhost:-1:0:1", False),
        ("localhost::0:1", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        ("localhost", False),
        (f"{os.geteuid()}:{os.geteuid()}", False),
    ],
)
def test_who_is_admitted(address: str, admitted: bool) -> None:
    """Our own user on ipc, loopback on tcp, and nobody whose address says neither."""
    assert admits(address) is admitted


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
            assert doorkeeper.refused == 0
        else:
            assert answer.split() == ["ERROR", "400"]
            assert not pull.poll(50)
            assert doorkeeper.refused == 1


def test_a_request_is_answered_to_its_asker(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """The answer repeats the version and the number of the request; one of another version is refused."""
    with closing(Doorkeeper(context)) as doorkeeper, context.socket(zmq.REQ) as asker:
        asker.connect(ENDPOINT)
        for version, code in ((b"1.0", b"200"), (b"2.0", b"400")):
            asker.send_multipart([version, b"77", b"logbus", b"127.0.0.1", b"", b"NULL"])
            doorkeeper.answer()
            assert asker.poll(5000)
            assert asker.recv_multipart()[:3] == [b"1.0", b"77", code]
        assert doorkeeper.refused == 1


def test_what_is_no_request_gets_no_answer(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A message with too few parts is left alone, and the next request is answered."""
    with closing(Doorkeeper(context)) as doorkeeper, context.socket(zmq.DEALER) as asker:
        asker.connect(ENDPOINT)
        asker.send_multipart([b"", b"1.0"])
        asker.send_multipart([b"", b"1.0", b"1", b"logbus", b"\xff\xfe", b"", b"NULL"])
        doorkeeper.answer()
        assert asker.poll(5000)
        assert asker.recv_multipart()[:4] == [b"", b"1.0", b"1", b"400"]
        assert not asker.poll(0)
