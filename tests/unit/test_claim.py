"""The right to bind an endpoint."""

from __future__ import annotations

import os
import socket as network
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from logbus.bus import Endpoint, command_socket, pull_socket
from logbus.collectors.allowed import Allowed
from logbus.collectors.claim import DESCRIPTORS, MIN_DESCRIPTORS, Claim
from logbus.collectors.lock import holder
from logbus.errors import ConfigurationError, EndpointError, OwnedError
from tests.collector_command import child_environment
from tests.stranger import NOBODY


@pytest.fixture
def socket() -> Iterator[zmq.Socket[bytes]]:
    """A socket to bind."""
    with zmq.Context() as context, pull_socket(context) as socket:
        yield socket


@pytest.fixture
def endpoint(directories: Path) -> Endpoint:
    """An ipc endpoint in a directory that does not exist yet."""
    return Endpoint.parse(f"ipc://{directories}/bus/records")


def test_the_second_claim_names_the_first(endpoint: Endpoint) -> None:
    """An endpoint that is claimed is refused with the name and pid of its owner, until he gives it up."""
    first = Claim(endpoint, name="first")
    with pytest.raises(OwnedError) as refused:
        Claim(endpoint, name="second")
    assert (refused.value.name, refused.value.pid, refused.value.exit_code) == ("first", os.getpid(), 3)
    assert endpoint.url in str(refused.value)
    first.release()
    Claim(endpoint, name="second").release()


def test_the_directory_is_for_its_owner_only(endpoint: Endpoint) -> None:
    """A directory that a claim makes has mode 0700, whatever the umask."""
    umask = os.umask(0)
    try:
        Claim(endpoint, name="c").release()
    finally:
        os.umask(umask)
    assert endpoint.path is not None
    assert stat.S_IMODE(endpoint.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(endpoint.lock.stat().st_mode) == 0o600


def test_sockets_are_for_their_owner_only(endpoint: Endpoint, socket: zmq.Socket[bytes]) -> None:
    """A socket that was bound has mode 0600, whatever the umask, and whatever an earlier list of users had opened."""
    assert endpoint.path is not None
    endpoint.path.parent.mkdir(mode=0o710)
    endpoint.path.parent.chmod(0o710)
    umask = os.umask(0)
    try:
        claim = Claim(endpoint, name="c")
        claim.bind(socket, endpoint, to_allowed=True)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(endpoint.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(endpoint.path.parent.stat().st_mode) == 0o700
    socket.unbind(endpoint.url)
    claim.release()


def test_allowed_users_get_to_what_they_need(endpoint: Endpoint, socket: zmq.Socket[bytes]) -> None:
    """Their group may pass the directory and connect to the sockets that are theirs too, and to no other."""
    allowed = Allowed((), NOBODY if os.geteuid() == 0 else os.getegid())
    assert endpoint.path is not None
    claim = Claim(endpoint, name="c", allowed=allowed)
    control = Endpoint.parse(f"ipc://{endpoint.path.with_name('control')}")
    with zmq.Context() as context, command_socket(context) as commands:
        claim.bind(socket, endpoint, to_allowed=True)
        claim.bind(commands, control)
        assert control.path is not None
        modes = [
            (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid)
            for path in (endpoint.path.parent, endpoint.path, control.path, endpoint.lock)
        ]
        mine = os.getegid()
        assert modes == [(0o710, allowed.gid), (0o660, allowed.gid), (0o600, mine), (0o600, mine)]
        commands.unbind(control.url)
    socket.unbind(endpoint.url)
    claim.release()


def test_a_list_of_users_needs_ipc(directories: Path) -> None:
    """On tcp everybody on this machine gets in: a list that promises otherwise is refused."""
    with pytest.raises(EndpointError, match=r"bus\.allow needs ipc"):
        Claim(Endpoint.parse("tcp://127.0.0.1:5555"), name="c", allowed=Allowed((), os.getegid()))


def test_a_lock_says_where_its_collector_is(endpoint: Endpoint) -> None:
    """Whoever looks for collectors finds the URLs beside name and pid."""
    claim = Claim(endpoint, name="c", urls={"endpoint": endpoint.url})
    assert holder(endpoint.lock) == (True, {"endpoint": endpoint.url, "name": "c", "pid": os.getpid()})
    claim.release()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link"])
def test_what_is_not_a_socket_stays(
    endpoint: Endpoint, socket: zmq.Socket[bytes], directories: Path, kind: str
) -> None:
    """ZeroMQ would unlink a file that stands at the path of an endpoint: it is refused and left as it is."""
    assert endpoint.path is not None
    endpoint.path.parent.mkdir(mode=0o700)
    target = directories / "target"
    if kind == "file":
        endpoint.path.write_text("precious")
    elif kind == "directory":
        endpoint.path.mkdir()
    else:
        endpoint.path.symlink_to(target)
        if kind == "link":
            target.write_text("precious")
    before = endpoint.path.lstat()
    claim = Claim(endpoint, name="c")
    with pytest.raises(EndpointError, match="a file that is not a socket, and it stays"):
        claim.bind(socket, endpoint)
    claim.release()
    assert endpoint.path.lstat() == before
    if kind == "file":
        assert endpoint.path.read_text() == "precious"


def test_the_socket_of_a_dead_collector_is_replaced(endpoint: Endpoint, socket: zmq.Socket[bytes]) -> None:
    """A socket at the path is nobody's once the claim is ours."""
    assert endpoint.path is not None
    endpoint.path.parent.mkdir(mode=0o700)
    with closing(network.socket(network.AF_UNIX)) as dead:
        dead.bind(str(endpoint.path))
    claim = Claim(endpoint, name="c")
    claim.bind(socket, endpoint)
    with closing(network.socket(network.AF_UNIX)) as client:
        client.connect(str(endpoint.path))  # refused on the dead one's
    socket.unbind(endpoint.url)
    claim.release()
    assert not endpoint.path.exists()


def test_only_what_was_bound_is_removed(endpoint: Endpoint, socket: zmq.Socket[bytes]) -> None:
    """A file that somebody put in the place of the socket is not taken for it."""
    assert endpoint.path is not None
    claim = Claim(endpoint, name="c")
    claim.bind(socket, endpoint)
    endpoint.path.unlink()
    endpoint.path.write_text("precious")
    socket.unbind(endpoint.url)
    claim.release()
    assert endpoint.path.read_text() == "precious"


def test_a_port_in_use_belongs_to_another_process(socket: zmq.Socket[bytes]) -> None:
    """A tcp port that is bound without a claim is owned by somebody who can't be named."""
    with closing(network.create_server(("127.0.0.1", 0))) as other:
        endpoint = Endpoint.parse(f"tcp://127.0.0.1:{other.getsockname()[1]}")
        claim = Claim(endpoint, name="c")
        with pytest.raises(OwnedError, match="is owned by another process"):
            claim.bind(socket, endpoint)
        claim.release()


def test_a_lock_that_can_not_be_had_is_an_error_of_the_endpoint(endpoint: Endpoint, directories: Path) -> None:
    """A link where the lock file should be is not followed, and said to be the trouble."""
    endpoint.lock.parent.mkdir(mode=0o700)
    endpoint.lock.symlink_to(directories / "elsewhere")
    with pytest.raises(EndpointError, match="can't be locked"):
        Claim(endpoint, name="c")
    assert not (directories / "elsewhere").exists()


def test_a_directory_that_can_not_be_had_is_said(directories: Path) -> None:
    """A file where the directory should be is a mistake in the configuration."""
    (directories / "bus").write_text("")
    with pytest.raises(ConfigurationError, match=r"can't be made"):
        Claim(Endpoint.parse(f"ipc://{directories}/bus/records"), name="c")


@pytest.mark.parametrize(
    ("soft", "hard", "outcome"),
    [
        (64, 100, "refused"),
        (MIN_DESCRIPTORS - 1, MIN_DESCRIPTORS - 1, "refused"),
        (64, MIN_DESCRIPTORS, str(MIN_DESCRIPTORS)),
        (64, DESCRIPTORS + 1, str(DESCRIPTORS)),
        (DESCRIPTORS + 1, DESCRIPTORS + 1, str(DESCRIPTORS + 1)),
    ],
)
def test_the_limit_of_descriptors(soft: int, hard: int, outcome: str) -> None:
    """The soft limit is raised as far as is wanted and allowed, never lowered, and too low a one is refused."""
    program = (
        "import resource, sys\n"
        "from logbus.collectors.claim import raise_descriptor_limit\n"
        "from logbus.errors import EndpointError\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "try:\n    raise_descriptor_limit()\n"
        "except EndpointError as error:\n    sys.exit(str(error))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True)
    if outcome == "refused":
        assert done.returncode == 1
        assert f"at least {MIN_DESCRIPTORS} are needed" in done.stderr
    else:
        assert (done.stdout.strip(), done.returncode) == (outcome, 0), done.stderr
