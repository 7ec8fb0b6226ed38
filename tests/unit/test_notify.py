"""What a service manager is told, over real datagram sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, directories: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A manager's socket, and the environment that names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"{directories}/notify"
        listening.settimeout(5)
        listening.bind(name if request.param == "path" else f"\0{name}")
        yield listening, {"NOTIFY_SOCKET": name if request.param == "path" else f"@{name}"}


def test_a_manager_hears_of_a_life(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """Ready with a line for people, reloading with the clock that systemd compares, ready again, stopping."""
    listening, environ = manager
    assert notify.ready("records ipc:///a\n\x1b", environ)
    assert listening.recv(4096) == b"READY=1\nSTATUS=records ipc:///a  "
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert notify.reloading(environ)
    first, second = listening.recv(4096).decode().splitlines()
    assert first == "RELOADING=1"
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
    assert notify.stopping(environ)
    assert listening.recv(4096).splitlines()[0] == b"STOPPING=1"


@pytest.mark.parametrize(
    "address", [None, "", "relative", "vsock:2:1", "/nonexistent/socket", "@nobody", "/" + "x" * 200]
)
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    """No variable, an address of another kind, nobody there: nothing is sent and nothing is raised."""
    assert not notify.ready("x", {} if address is None else {"NOTIFY_SOCKET": address})


def test_a_manager_that_does_not_listen_holds_nothing_up(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """When its queue is full the message is not sent."""
    _, environ = manager
    sent = 0
    while notify.stopping(environ):
        sent += 1
        assert sent < 100_000
    assert sent


def test_the_variable_is_that_of_this_process(
    manager: tuple[socket.socket, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at when there is something to say."""
    listening, environ = manager
    monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", environ["NOTIFY_SOCKET"])
    assert notify.stopping()
    assert listening.recv(4096)
