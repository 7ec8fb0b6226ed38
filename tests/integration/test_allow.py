"""``[bus] allow`` with real users: who gets in where, what he can see, and what he can do to others."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.control import PRODUCER_TOPIC, State
from tests.collector_command import CollectorCommand, child_environment
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import lines_of, settled, status_of
from tests.stranger import NOBODY, needs_root

A, B = producer(1), producer(2)
#: A second user of most systems.
WWW_DATA = 33

#: Everything that the script will need is imported while we may still read it; then we are somebody else.
_BECOME = """
import json, logging, os, sys, time, tomllib
import zmq
import logbus, logbus.producers.configure, logbus.producers.handler, logbus.bus, logbus.cli.client
import tests.frames
from logbus.errors import *
{before}
os.setgroups({groups}); os.setgid({user}); os.setuid({user})
"""


class Other:
    """Runs scripts as another user, and ends those that the test leaves running."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, script: str, *, user: int = NOBODY, groups: tuple[int, ...] = (), before: str = "", **environment: str
    ) -> subprocess.Popen[str]:
        """The process, just started; ``groups`` are his beside his own one, ``before`` is run as ourselves."""
        code = _BECOME.format(user=user, groups=list(groups), before=before) + textwrap.dedent(script)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=child_environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, script: str, **options: Any) -> str:
        """What the script printed; options are those of :meth:`start`."""
        out, err = self.start(script, **options).communicate(timeout=60)
        assert not err, err
        return out


@pytest.fixture
def other(directories: Path, unmeasured: None) -> Iterator[Other]:
    """Another user, who can reach the runtime directory; coverage's files he can't."""
    needs_root()
    directories.chmod(0o755)
    other = Other()
    yield other
    for process in other.started:
        process.kill()
        process.communicate()


@pytest.fixture
def start(start_collector: StartCollector, tmp_path: Path, other: Other) -> Callable[..., CollectorCommand]:
    """A collector with a list of users, one file as its sink."""

    def start(*allow: str | int) -> CollectorCommand:
        (tmp_path / "allow.toml").write_text(f"[bus]\nallow = {json.dumps(allow)}\n")
        return start_collector("--sink", "file:out.jsonl", "--config", "allow.toml")

    return start


WORKER = """
logbus.configure(worker="theirs")
log = logging.getLogger("shop")
log.warning("hello")
print(json.dumps({"flushed": logbus.flush(10), "uid": os.getuid()}), flush=True)
sys.stdin.read()
"""


def logged(tmp_path: Path) -> list[str]:
    """What workers have logged so far, the collector itself left out."""
    return [line["message"] for line in lines_of(tmp_path / "out.jsonl") if line["worker"] != "logbus"]


def row_of(status: dict[str, Any], worker: str) -> dict[str, Any]:
    """The row of the one worker of that name."""
    [row] = [row for row in status["workers"] if row["worker"] == worker]
    found: dict[str, Any] = row
    return found


def modes(runtime: Path) -> dict[str, tuple[int, int]]:
    """Mode and group of everything in a collector's directory, by name."""
    paths = {"": runtime, **{path.name: path for path in runtime.iterdir()}}
    return {name: (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) for name, path in paths.items()}


def test_an_allowed_user_s_worker_logs(
    start: Callable[..., CollectorCommand], other: Other, tmp_path: Path, directories: Path
) -> None:
    """Its records arrive, its row is exact while it lives, and nothing but the two sockets is open to its group."""
    collector = start("nobody")
    open_ = modes(directories / "runtime" / "default")
    assert open_.pop("") == (0o710, NOBODY)
    assert open_.pop("records") == (0o660, NOBODY)
    assert open_.pop("control.pub") == (0o660, NOBODY)
    assert open_.pop("control.levels") == (0o640, NOBODY)
    assert all(not mode & 0o077 for mode, _ in open_.values()), open_
    assert open_["control"][0] == 0o600
    worker = other.start(WORKER, LOGBUS_ENDPOINT=collector.endpoint)
    assert worker.stdout is not None
    line = worker.stdout.readline()
    assert line, worker.communicate()
    assert json.loads(line) == {"flushed": True, "uid": NOBODY}
    eventually(lambda: logged(tmp_path) == ["hello"])
    status = status_of(collector)
    assert status["balanced"]
    assert (row_of(status, "theirs")["state"], row_of(status, "theirs")["collected"]) == ("live", 1)
    assert status["collector"]["refused"] == {}
    worker.communicate("", timeout=60)
    status = settled(collector, lambda status: row_of(status, "theirs")["state"] == "gone")
    assert row_of(status, "theirs")["emitted"] == row_of(status, "theirs")["collected"] == 1
    assert status["balanced"]


def test_a_killed_worker_of_another_user_is_not_exact(start: Callable[..., CollectorCommand], other: Other) -> None:
    """It has no counter page that outlives it: its row says so, and the laws hold."""
    collector = start(NOBODY)
    worker = other.start(WORKER, LOGBUS_ENDPOINT=collector.endpoint)
    assert worker.stdout is not None
    assert worker.stdout.readline()
    eventually(lambda: row_of(status_of(collector), "theirs")["collected"] == 1)
    worker.kill()
    status = settled(collector, lambda status: row_of(status, "theirs")["state"] == "crashed")
    assert row_of(status, "theirs")["exact"] is False
    assert row_of(status, "theirs")["collected"] == 1
    assert status["balanced"]


def test_an_allowed_user_commands_nothing(start: Callable[..., CollectorCommand], other: Other) -> None:
    """The control socket does not even open to him; and opened by hand, its door does not."""
    collector = start("nobody")
    command = f"""
    control = logbus.bus.Endpoint.parse({collector.control!r})
    try:
        print(logbus.cli.client.request({{"command": "stop"}}, control=control, timeout=2))
    except LogbusError as error:
        print(type(error).__name__, error)
    """
    assert "belongs to another user" in other.run(command)
    Path(collector.control.removeprefix("ipc://")).chmod(0o666)
    assert "belongs to another user (uid" in other.run(command)
    # A client of his own that does not look whose socket it is.
    assert "NoCollectorError" in other.run("logbus.cli.client._probe = lambda *_: None\n" + textwrap.dedent(command))
    status = status_of(collector)
    assert status["collector"]["state"] == "serving"
    assert list(status["collector"]["refused"]) == ["control"]
    assert status["collector"]["refused"]["control"]["other_user"] == status["collector"]["refused_connections"] >= 1


def test_the_doctor_helps_an_allowed_user(start: Callable[..., CollectorCommand], other: Other) -> None:
    """He is told that commands are not his, and his round trip is tried all the same; a real record makes it."""
    doctor = """
    from logbus.cli.doctor import examine
    found = {finding.check: finding for finding in examine(control=None, name=None, timeout=3)}
    looked = ("collector", "level snapshot", "round trip")
    print(json.dumps({check: found[check].verdict for check in looked}), flush=True)
    os._exit(0)
    """
    # Once as ourselves first, so that all is loaded by the time we may not read it any more.
    before = "from logbus.cli.doctor import examine; list(examine(control=None, name=None, timeout=0.1))"
    collector = start("nobody")
    assert json.loads(other.run(doctor, before=before, LOGBUS_ENDPOINT=collector.endpoint)) == {
        "collector": "warning",
        "level snapshot": "ok",
        "round trip": "ok",
    }


def test_who_is_not_on_the_list_gets_nowhere(
    start: Callable[..., CollectorCommand], other: Other, tmp_path: Path, directories: Path
) -> None:
    """A user in the group and not on the list is refused at the door; that is counted, and a record says it, once."""
    collector = start("nobody")
    other.start(
        f"""
        context, sockets = zmq.Context(), []
        for _ in range(3):
            sockets.append(context.socket(zmq.PUSH))
            sockets[-1].connect({collector.endpoint!r})
        sys.stdin.read()
        os._exit(0)
        """,
        groups=(NOBODY,),
        user=WWW_DATA,
    )
    status = settled(collector, lambda status: status["collector"]["refused_connections"] >= 3)
    assert list(status["collector"]["refused"]) == ["records"]
    lines = eventually(
        lambda: [
            line for line in lines_of(tmp_path / "out.jsonl") if line["extra"].get("event") == "connection_refused"
        ]
    )
    assert len(lines) == 1
    assert f"uid {WWW_DATA}" in lines[0]["message"]
    audit = (directories / "state" / "default" / "audit.jsonl").read_text().splitlines()
    entries = [entry for entry in map(json.loads, audit) if entry["command"] == "connection_refused"]
    assert [(entry["uid"], entry["what"]["door"]) for entry in entries] == [(WWW_DATA, "records")]


def test_an_allowed_user_does_not_speak_for_another(
    start: Callable[..., CollectorCommand], other: Other, tmp_path: Path
) -> None:
    """A frame or a BYE with the identity of somebody else's producer changes nothing, and is counted."""
    collector = start("nobody")
    with RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "mine"), mark(A, sent=1))
        eventually(lambda: logged(tmp_path) == ["mine"])
        other.start(
            f"""
            with tests.frames.RawSender({collector.endpoint!r}) as sender:
                sender.send(tests.frames.data({A!r}, 1, "forged"), tests.frames.mark({A!r}, sent=900, bye=True))
                sender.send(tests.frames.data({B!r}, 0, "theirs", worker="theirs"))
                sender.send(tests.frames.mark({B!r}, sent=1, worker="theirs"))
                sys.stdin.read()
            """
        )
        eventually(lambda: logged(tmp_path) == ["mine", "theirs"])
        status = status_of(collector)
        assert row_of(status, "w1")["collected"] == row_of(status, "w1")["emitted"] == 1
        assert row_of(status, "w1")["state"] == "live"
        assert status["collector"]["bad_frames"] == {"foreign": 2}
        sender.send(data(A, 1, "more"), mark(A, sent=2))
        eventually(lambda: logged(tmp_path) == ["mine", "theirs", "more"])


def test_what_an_allowed_user_can_listen_to(
    start: Callable[..., CollectorCommand], other: Other, tmp_path: Path
) -> None:
    """Subscribed to everything, he sees states and acknowledgements, and nothing of what others log."""
    collector = start("nobody")
    listener = other.start(
        f"""
        sub = zmq.Context().socket(zmq.SUB)
        sub.set(zmq.LINGER, 0)
        sub.set(zmq.SUBSCRIBE, b"")
        sub.connect({collector.control + ".pub"!r})
        print(sub.recv().hex(), flush=True)
        sys.stdin.readline()
        while sub.poll(200):
            print(sub.recv().hex(), flush=True)
        os._exit(0)
        """
    )
    assert listener.stdout is not None
    first = bytes.fromhex(listener.stdout.readline().strip())
    assert State.unpack(first).name == "default"
    mine = Other()
    worker = mine.start(
        """
        logbus.configure(worker="mine")
        logging.getLogger("shop").warning("the secret is 4711")
        print(logbus.flush(10), flush=True)
        """,
        user=0,
        LOGBUS_ENDPOINT=collector.endpoint,
    )
    assert worker.communicate(timeout=60)[0] == "True\n"
    eventually(lambda: logged(tmp_path) == ["the secret is 4711"])
    out, _ = listener.communicate("\n", timeout=60)
    heard = [bytes.fromhex(line) for line in out.split()]
    assert heard
    assert all(message[:1] in (b"S", b"W", PRODUCER_TOPIC) for message in heard)
    assert not any(b"4711" in message for message in heard)


def test_without_a_list_nobody_else_gets_in(start_collector: StartCollector, other: Other, directories: Path) -> None:
    """The directory stops him before any socket, also where an earlier list had opened it."""
    runtime = directories / "runtime" / "default"
    runtime.mkdir(parents=True)
    runtime.chmod(0o710)
    os.chown(runtime, 0, NOBODY)
    collector = start_collector("--sink", "console")
    assert modes(runtime)[""][0] == 0o700
    assert all(not mode & 0o077 for mode, _ in modes(runtime).values())
    out = other.run(
        f"""
        from logbus.bus import Endpoint, is_bound
        print(is_bound(Endpoint.parse({collector.endpoint!r})))
        """
    )
    assert out == "False\n"


def test_a_list_that_can_not_be_met_stops_the_start(
    start_collector: StartCollector, other: Other, tmp_path: Path
) -> None:
    """An unknown user and users without a group in common end it with 2, by name."""
    for allow, reason in (
        ("['nobody', 'no-such-user']", "no-such-user"),
        ("['nobody', 'www-data']", "nobody, www-data"),
    ):
        (tmp_path / "allow.toml").write_text(f"[bus]\nallow = {allow}\n")
        collector = start_collector("--sink", "console", "--config", "allow.toml", ready=False)
        assert collector.process.wait(20) == 2
        assert "bus.allow" in collector.stderr
        assert reason in collector.stderr


def test_a_directory_that_stops_them_is_said(
    start: Callable[..., CollectorCommand], other: Other, directories: Path
) -> None:
    """The collector starts, and names what its users can't pass."""
    directories.chmod(0o700)
    collector = start("nobody")
    assert f"nobody can't pass directory {directories} (mode 0700)" in collector.stderr
