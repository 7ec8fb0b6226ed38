"""The command socket, from both sides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import zmq

from logbus.bus import client_socket
from logbus.collectors.commands import TURN_COMMANDS, Answer, Asker, Commands, Wait
from logbus.control import MAX_CONTROL_BYTES, pack_message, unpack_message
from logbus.errors import ConfigurationError
from tests.eventually import eventually

ADDRESS = "inproc://control"
#: Seconds that a question of this desk waits.
PATIENCE_S = 30.0


class Desk:
    """Commands over a collector that answers what a test says."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.asked = 0
        self.answered = 0
        self.stopped = 0
        self.statuses = 0
        self.commands = Commands(
            self.context, {"status": self._status, "stop": self._stop, "refuse": self._refuse, "break": self._break}
        )
        self.commands.socket.bind(ADDRESS)

    def client(self) -> zmq.Socket[bytes]:
        """Somebody who asks."""
        socket = client_socket(self.context)
        socket.connect(ADDRESS)
        return socket

    def turn(self) -> None:
        """What the collector does in a turn."""
        self.commands.read()
        self.commands.settle()

    def read(self, asked: int) -> None:
        """Reads until so many status questions have come in all."""

        def come() -> bool:
            self.commands.read()
            return self.asked == asked

        eventually(come)

    def reply(self, socket: zmq.Socket[bytes]) -> dict[str, Any]:
        """The next answer, once it is there; the collector's loop runs meanwhile."""

        def come() -> bool:
            self.turn()
            return bool(socket.poll(0))

        eventually(come)
        return unpack_message(socket.recv())

    def _status(self, document: dict[str, Any], asker: Asker) -> Wait:
        self.asked += 1
        request = self.asked
        return Wait(time.monotonic() + PATIENCE_S, lambda: self.answered >= request, self._number)

    def _number(self) -> dict[str, Any]:
        self.statuses += 1
        return {"status": {"number": self.statuses}}

    def _refuse(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        raise ConfigurationError([f"level {document.get('level')!r}: expected a level"])

    def _break(self, document: dict[str, Any], asker: Asker) -> Answer | Wait:
        if document.get("meanwhile"):
            return Wait(time.monotonic() + PATIENCE_S, lambda: document["nothing"], lambda: document["nothing"])
        if document.get("later"):
            return Wait(time.monotonic(), lambda: True, lambda: document["nothing"])
        raise RecursionError("maximum recursion depth exceeded")

    def _stop(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        self.stopped += 1
        return {"name": "eu", "pid": 7}


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk."""
    desk = Desk()
    yield desk
    desk.commands.close()
    desk.context.destroy(0)


def test_a_status_waits_for_fresh_counters(desk: Desk) -> None:
    """It asks for MARKs and is answered when all have come, not before."""
    with desk.client() as client:
        client.send(pack_message({"command": "status"}))
        desk.read(1)
        desk.turn()
        assert desk.asked == 1
        assert not client.poll(20)
        desk.answered = 1
        assert desk.reply(client) == {"v": 1, "ok": True, "status": {"number": 1}}
        assert not desk.commands.waiting


def test_a_refusal_says_why(desk: Desk) -> None:
    """What a handler raises is the answer, with the exit code of its kind."""
    with desk.client() as client:
        client.send(pack_message({"command": "refuse", "level": "LOUD"}))
        answer = desk.reply(client)
    assert answer == {"v": 1, "ok": False, "error": "level 'LOUD': expected a level", "exit_code": 2}


@pytest.mark.parametrize(
    ("address", "uid", "pid"),
    [("localhost:1000:100:42", 1000, 42), ("127.0.0.1", None, None), ("", None, None), ("::1:2:3:4", None, None)],
)
def test_who_asks_is_what_the_kernel_says(address: str, uid: int | None, pid: int | None) -> None:
    """On ipc the address has uid and pid; nothing is made up on tcp."""
    asker = Asker.of(b"id", address)
    assert (asker.uid, asker.pid) == (uid, pid)


def test_a_status_does_not_wait_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that doesn't answer costs its time and no more."""
    monkeypatch.setattr(f"{__name__}.PATIENCE_S", 0.05)
    with desk.client() as client:
        began = time.monotonic()
        client.send(pack_message({"command": "status"}))
        assert desk.reply(client)["ok"] is True
        assert time.monotonic() - began >= 0.05


def test_questions_at_the_same_time_share_an_answer(desk: Desk) -> None:
    """The document is made once for all that are ready; each asker gets it."""
    clients = [desk.client() for _ in range(5)]
    for client in clients:
        client.send(pack_message({"command": "status"}))
    desk.read(5)
    desk.answered = 4
    assert [desk.reply(client)["status"] for client in clients[:4]] == [{"number": 1}] * 4
    assert not clients[4].poll(0)
    desk.answered = 5
    assert desk.reply(clients[4])["status"] == {"number": 2}
    for client in clients:
        client.close()


def test_stop_is_answered_and_done(desk: Desk) -> None:
    """The answer names who stops."""
    with desk.client() as client:
        client.send(pack_message({"command": "stop"}))
        assert desk.reply(client) == {"v": 1, "ok": True, "name": "eu", "pid": 7}
    assert desk.stopped == 1


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"status",
        b"[]",
        b'"stop"',
        b"\xff\xfe",
        b'{"command": "stop"}',
        b'{"v": 2, "command": "stop"}',
        b'{"v": 1, "command": "halt"}',
        b'{"v": 1, "command": ["stop"]}',
        b'{"v": 1, "command": null}',
        b'{"v": 1}',
        b'{"v": 1, "command": "\\ud800"}',
        b"[" * 100_000,
        b"9" * 5000,
        b" " * (MAX_CONTROL_BYTES + 1),
    ],
    ids=range(15),
)
def test_nonsense_is_answered_with_what_is_wrong(desk: Desk, message: bytes) -> None:
    """Whatever arrives, it stops nothing; its sender learns why, and the next command is read."""
    with desk.client() as client:
        client.send(message)
        answer = desk.reply(client)
        assert answer["ok"] is False
        assert isinstance(answer["error"], str)
        assert desk.stopped == 0
        client.send(pack_message({"command": "stop"}))
        assert desk.reply(client)["ok"] is True


def test_a_message_of_several_parts_is_read_by_its_last(desk: Desk) -> None:
    """A REQ socket, which puts an empty part first, may ask too; no parts at all are an error."""
    with desk.context.socket(zmq.REQ) as client, desk.client() as other:
        client.connect(ADDRESS)
        client.send(pack_message({"command": "stop"}))
        other.send_multipart([b"a", b"b", pack_message({"command": "stop"})])
        assert desk.reply(other)["ok"] is True
    assert desk.stopped == 2


def test_a_turn_of_commands_has_an_end(desk: Desk) -> None:
    """A flood of commands does not keep the loop from its records."""
    with desk.client() as client:
        for _ in range(2 * TURN_COMMANDS):
            client.send(pack_message({"command": "stop"}))
        desk.commands.read()
        assert desk.stopped == TURN_COMMANDS
        desk.commands.read()
        assert desk.stopped == 2 * TURN_COMMANDS


def test_who_has_gone_is_not_answered(desk: Desk) -> None:
    """The answer to a client that left is dropped; the others get theirs."""
    with desk.client() as gone:
        gone.send(pack_message({"command": "status"}))
        desk.read(1)
    desk.answered = 9
    with desk.client() as client:
        client.send(pack_message({"command": "status"}))
        assert desk.reply(client)["ok"] is True


def test_the_end_answers_what_waits() -> None:
    """Whoever asked before the end gets the last status."""
    desk = Desk()
    with desk.client() as client:
        client.send(pack_message({"command": "status"}))
        desk.read(1)
        with closing(desk.commands):
            pass
        assert client.poll(5000)
        assert unpack_message(client.recv())["status"] == {"number": 1}
    desk.context.destroy(0)


@pytest.mark.parametrize(
    ("when", "error"),
    [("now", "RecursionError: maximum"), ("meanwhile", "KeyError: 'nothing'"), ("later", "KeyError: 'nothing'")],
)
def test_a_defect_refuses_one_command_and_ends_nothing(desk: Desk, when: str, error: str) -> None:
    """Whatever a handler, a look or the making of an answer raises: whoever asked is told, and the next is served."""
    with desk.client() as client:
        client.send(pack_message({"command": "break", when: True}))
        answer = desk.reply(client)
        assert (answer["ok"], answer["exit_code"]) == (False, 1)
        assert f"it failed with {error}" in answer["error"]
        client.send(pack_message({"command": "stop"}))
        assert desk.reply(client)["ok"] is True
