"""The command's side of the control socket, against a command socket with chosen answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.cli import client
from logbus.errors import ControlError, NoCollectorError
from tests.fake_collector import FakeCollector
from tests.stranger import needs_root

#: A status document as short as the client accepts.
STATUS: dict[str, Any] = {"ok": True, "status": {"collector": {"name": "default", "pid": 1}, "balanced": True}}
#: Seconds: far longer than any answer takes, and so a sign that a test waited for a deadline.
LONG = 30.0


@pytest.fixture
def control(directories: Path) -> Endpoint:
    """A control endpoint that nobody has bound yet."""
    return Endpoint.parse(f"ipc://{directories}/runtime/default/control")


def test_the_answer_of_the_collector_is_returned(control: Endpoint) -> None:
    """A command reaches the collector as one document, and its answer comes back."""
    with FakeCollector(control, lambda command: {"ok": True, "echo": command["x"]}) as fake:
        answer = client.request({"command": "status", "x": 7}, control=control, timeout=LONG)
    assert answer["echo"] == 7
    assert [command["command"] for command in fake.commands] == ["status"]


def test_tcp_works_like_ipc(free_port: int) -> None:
    """A collector on a loopback port is asked in the same way."""
    control = Endpoint.parse(f"tcp://127.0.0.1:{free_port}")
    with FakeCollector(control, lambda _: {"ok": True}):
        assert client.request({"command": "status"}, control=control, timeout=LONG)["ok"] is True


def test_a_refusal_is_an_error_with_the_collectors_reason(control: Endpoint) -> None:
    """An answer that is not ok raises ControlError, which repeats why."""
    with FakeCollector(control, lambda _: {"ok": False, "error": "no such command"}):
        with pytest.raises(ControlError, match="refused 'status': no such command"):
            client.request({"command": "status"}, control=control, timeout=LONG)


@pytest.mark.parametrize(("code", "expected"), [(None, 1), (1, 1), (3, 3), (0, 1), (-1, 1), (1000, 1), ("2", 1)])
def test_a_refusal_has_the_collectors_exit_code(control: Endpoint, code: object, expected: int) -> None:
    """One that is none, or is no failure, counts as 1."""
    with FakeCollector(control, lambda _: {"ok": False, "error": "no", "exit_code": code}):
        with pytest.raises(ControlError, match="refused 'status': no") as raised:
            client.request({"command": "status"}, control=control, timeout=LONG)
    assert raised.value.exit_code == expected


def test_a_mistake_is_refused_in_the_collectors_words_alone(control: Endpoint) -> None:
    """What was asked for is wrong: where the collector is does not matter."""
    with FakeCollector(control, lambda _: {"ok": False, "error": "level 'LOUD'", "exit_code": 2}):
        with pytest.raises(ControlError, match=r"\Alevel 'LOUD'\Z") as raised:
            client.request({"command": "set_level"}, control=control, timeout=LONG)
    assert raised.value.exit_code == 2


def test_each_command_can_be_told_from_its_repetition(control: Endpoint) -> None:
    """It has an id of its own, its time and its sender; a caller who repeats one gives its id himself."""
    with FakeCollector(control, lambda _: {"ok": True}) as fake:
        for _ in range(2):
            client.request({"command": "status"}, control=control, timeout=LONG)
        client.request({"command": "status", "id": "mine"}, control=control, timeout=LONG)
    one, two, three = fake.commands
    assert one["id"] != two["id"]
    assert len(one["id"]) >= 16
    assert abs(one["at"] - time.time()) < 60
    assert one["from"]["pid"] == os.getpid()
    assert three["id"] == "mine"


@pytest.mark.parametrize("answer", [b"junk", b"[]", b'{"v": 99, "ok": true}', b'{"v": 1}'])
def test_an_answer_that_is_none_is_an_error_of_the_collector(control: Endpoint, answer: bytes) -> None:
    """Bytes that are not an answer of this protocol raise ControlError, naming the endpoint."""
    with FakeCollector(control, lambda _: answer), pytest.raises(ControlError, match="control"):
        client.request({"command": "status"}, control=control, timeout=LONG)


def test_an_answer_may_be_long(control: Endpoint) -> None:
    """The status of thousands of workers is read whole: only commands are held to the limit of a command."""
    rows = [{"worker": "w" * 100}] * 20_000
    with FakeCollector(control, lambda _: {"ok": True, "rows": rows}):
        assert client.request({"command": "status"}, control=control, timeout=LONG)["rows"] == rows


def test_silence_ends_at_the_deadline(control: Endpoint) -> None:
    """A collector that listens and does not answer is given up after the timeout."""
    with FakeCollector(control, lambda _: None) as fake, pytest.raises(NoCollectorError, match=r"within 0\.2 s"):
        client.request({"command": "status"}, control=control, timeout=0.2)
    assert fake.commands, "the command had arrived"


def test_an_endpoint_without_a_socket_is_known_at_once(control: Endpoint) -> None:
    """Where no socket is, no deadline is waited for."""
    begun = time.monotonic()
    with pytest.raises(NoCollectorError, match="nobody listens there"):
        client.request({"command": "status"}, control=control, timeout=LONG)
    assert time.monotonic() - begun < LONG / 3


def test_the_socket_file_of_a_killed_collector_is_known_at_once(control: Endpoint) -> None:
    """A socket file with nobody behind it counts as no collector, long before the deadline."""
    assert control.path is not None
    control.path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(control.path))
    begun = time.monotonic()
    with pytest.raises(NoCollectorError, match="nobody listens there"):
        client.request({"command": "status"}, control=control, timeout=LONG)
    assert time.monotonic() - begun < LONG / 3


def test_a_port_that_nobody_has_bound_is_known_at_once(free_port: int) -> None:
    """On tcp a refused connection is enough."""
    control = Endpoint.parse(f"tcp://127.0.0.1:{free_port}")
    with pytest.raises(NoCollectorError, match="nobody listens there"):
        client.request({"command": "status"}, control=control, timeout=LONG)


def test_a_full_backlog_is_a_collector_that_is_busy(control: Endpoint) -> None:
    """A listener that takes no more connections is waited for, up to the deadline."""
    assert control.path is not None
    control.path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(control.path))
        busy.listen(0)
        waiting.connect(str(control.path))
        with pytest.raises(NoCollectorError, match=r"within 0\.3 s"):
            client.request({"command": "status"}, control=control, timeout=0.3)


@pytest.mark.parametrize("answer", [{"ok": True}, {"ok": True, "status": []}, {"ok": True, "status": {}}])
def test_a_status_without_its_document_is_an_error(control: Endpoint, answer: dict[str, Any]) -> None:
    """An answer to status that holds no status document raises ControlError."""
    with FakeCollector(control, lambda _: answer), pytest.raises(ControlError, match="expected a status document"):
        client.fetch_status(control, name=None, timeout=LONG)


def test_a_collector_of_another_name_is_not_the_one_that_was_meant(control: Endpoint) -> None:
    """Asked for by name, a status of another collector raises ControlError with both names."""
    with FakeCollector(control, lambda _: STATUS):
        assert client.fetch_status(control, name="default", timeout=LONG)["balanced"] is True
        with pytest.raises(ControlError, match="expected collector 'other', found 'default'"):
            client.fetch_status(control, name="other", timeout=LONG)


def test_stop_returns_when_the_process_has_gone(control: Endpoint) -> None:
    """The answer to stop is only half of it: the call returns once the named process has ended."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    stdin = process.stdin

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        stdin.close()
        return {"ok": True, "name": "default", "pid": process.pid}

    with process, FakeCollector(control, answer):
        assert client.stop(control, name=None, timeout=LONG)["pid"] == process.pid
        assert process.poll() is not None


def test_stop_accepts_a_process_that_has_gone_already(control: Endpoint) -> None:
    """A collector that ends before anybody looks has stopped all the same."""
    with subprocess.Popen(["true"]) as process:
        pass
    with FakeCollector(control, lambda _: {"ok": True, "name": "default", "pid": process.pid}):
        client.stop(control, name=None, timeout=LONG)


def test_stop_says_when_the_process_does_not_go(control: Endpoint) -> None:
    """A collector that still drains at the deadline raises ControlError with its name and pid."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        with FakeCollector(control, lambda _: {"ok": True, "name": "slow", "pid": process.pid}):
            with pytest.raises(ControlError, match=rf"'slow' \(pid {process.pid}\) is still draining after 0\.2 s"):
                client.stop(control, name=None, timeout=0.2)


def test_stop_without_a_pid_is_an_error(control: Endpoint) -> None:
    """Without a pid nobody can tell when the collector has gone, and the error says that it is missing."""
    with FakeCollector(control, lambda _: {"ok": True}), pytest.raises(ControlError, match="expected the pid"):
        client.stop(control, name=None, timeout=LONG)


def test_stop_by_name_never_stops_another_one(control: Endpoint) -> None:
    """With a name that the collector does not have, no stop is sent."""
    with FakeCollector(control, lambda _: STATUS) as fake:
        with pytest.raises(ControlError, match="expected collector 'other'"):
            client.stop(control, name="other", timeout=LONG)
    assert [command["command"] for command in fake.commands] == ["status"]


@pytest.fixture
def free_port() -> int:
    """A loopback port that is free, and whose neighbour is of no interest."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


LISTENER = """
import os, socket, sys
os.setgid(65534), os.setuid(65534)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
server.listen()
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_users_socket_is_not_asked(directories: Path) -> None:
    """In a directory like /tmp anybody may listen where a collector of ours would: he is not told what we want."""
    needs_root()
    directories.chmod(0o777)
    path = directories / "control"
    listener = [sys.executable, "-c", LISTENER, str(path)]
    with subprocess.Popen(listener, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(ControlError, match=r"belongs to another user \(uid 65534\)"):
            client.request({"command": "status"}, control=Endpoint.parse(f"ipc://{path}"), timeout=5.0)
        process.stdin.close()
    path.unlink()
