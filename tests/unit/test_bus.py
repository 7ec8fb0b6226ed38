"""Where things are: endpoints, directories, and sockets that are set as they were measured to be right."""

from __future__ import annotations

import os
import socket as network
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import zmq

from logbus import bus
from logbus.bus import Endpoint
from logbus.errors import ConfigurationError, EndpointError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ipc:///run/a/records", "ipc:///run/a/records"),
        ("ipc:///run/ä b", "ipc:///run/ä b"),
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"),
        ("tcp://localhost:5555/", "tcp://127.0.0.1:5555"),
        ("tcp://[::1]:65534", "tcp://[::1]:65534"),
    ],
)
def test_an_endpoint_is_shown_as_it_is_used(url: str, shown: str) -> None:
    """What is parsed is an endpoint again, and the same one."""
    endpoint = Endpoint.parse(url)
    assert endpoint.url == shown
    assert Endpoint.parse(endpoint.url) == endpoint


def test_a_relative_path_is_one_below_the_working_directory(monkeypatch: pytest.MonkeyPatch, directories: Path) -> None:
    """The endpoint stays where it was named when the process changes its directory."""
    monkeypatch.chdir(directories)
    assert Endpoint.parse("ipc://records").path == directories / "records"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "records",
        "/run/records",
        "ipc:",
        "ipc://",
        "ipc://@abstract",
        "ipc:///run/\0",
        "ipc:///run/\udcff",
        "ipc:///" + "x" * 103,
        "ipc:///" + "ä" * 52,
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65535",
        "tcp://127.0.0.1:http",
        "tcp://127.0.0.1:5555/path",
        "tcp://:5555",
        "tcp://[::1:5555",
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://example.com:5555",
        "inproc://records",
        "udp://127.0.0.1:5555",
    ],
)
def test_what_is_no_endpoint_is_refused_by_name(url: str) -> None:
    """The error shows the URL and says what was expected."""
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(url)
    assert caught.value.endpoint == url
    assert repr(url) in str(caught.value)


def test_the_longest_path_has_room_for_its_publisher(directories: Path) -> None:
    """A path that passes can be bound, and so can the one with ``.pub`` behind it."""
    longest = f"{directories}/".ljust(bus.MAX_IPC_PATH_BYTES - len(".pub"), "x")
    publisher = Endpoint.parse(f"ipc://{longest}").publisher
    assert publisher.path == Path(f"{longest}.pub")
    with zmq.Context() as context, bus.pull_socket(context) as first, bus.publisher_socket(context) as second:
        first.bind(f"ipc://{longest}")
        second.bind(publisher.url)
        assert publisher.path.is_socket()


def test_what_belongs_to_an_ipc_endpoint_lies_beside_it() -> None:
    """Publisher, pages and lock are named after the socket."""
    endpoint = Endpoint.parse("ipc:///run/a/records")
    assert endpoint.publisher.url == "ipc:///run/a/records.pub"
    assert endpoint.pages == Path("/run/a/records.pages")
    assert endpoint.lock == Path("/run/a/records.lock")


@pytest.mark.parametrize(
    ("url", "publisher", "stem"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556", "tcp-127.0.0.1-5555"),
        ("tcp://[::1]:5555", "tcp://[::1]:5556", "tcp-__1-5555"),
    ],
)
def test_what_belongs_to_a_tcp_endpoint_lies_in_the_runtime_directory(
    url: str, publisher: str, stem: str, directories: Path
) -> None:
    """A port has no directory of its own; its publisher is the next port."""
    endpoint = Endpoint.parse(url)
    assert endpoint.publisher.url == publisher
    assert endpoint.pages == directories / "runtime" / f"{stem}.pages"
    assert endpoint.lock == directories / "runtime" / f"{stem}.lock"


def test_the_records_endpoint_is_given_or_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, directories: Path
) -> None:
    """An argument comes before LOGBUS_ENDPOINT, and that before the runtime directory."""
    assert bus.records_endpoint().path == directories / "runtime" / "default" / "records"
    assert bus.records_endpoint(name="other").path == directories / "runtime" / "other" / "records"
    monkeypatch.setenv("LOGBUS_ENDPOINT", "tcp://127.0.0.1:5555")
    assert bus.records_endpoint().port == 5555
    assert bus.records_endpoint("tcp://127.0.0.1:6666").port == 6666


def test_the_control_endpoint_follows_the_records(monkeypatch: pytest.MonkeyPatch, directories: Path) -> None:
    """An argument, LOGBUS_CONTROL, a sibling of an ipc record socket, the runtime directory: the first there is."""
    named, other = Endpoint.parse("ipc:///run/a/records"), Endpoint.parse("ipc:///run/a/x")
    assert bus.control_endpoint(records=named).url == "ipc:///run/a/control"
    assert bus.control_endpoint(records=other).url == "ipc:///run/a/x.control"
    of_tcp = bus.control_endpoint(records=Endpoint.parse("tcp://127.0.0.1:5555"), name="eu")
    assert of_tcp.path == directories / "runtime" / "eu" / "control"
    assert bus.control_endpoint().path == directories / "runtime" / "default" / "control"
    in_file = bus.control_endpoint(records=named, in_file="ipc:///run/f/control")
    assert in_file.url == "ipc:///run/f/control"
    monkeypatch.setenv("LOGBUS_CONTROL", "ipc:///run/b/control")
    assert bus.control_endpoint(records=named).url == "ipc:///run/b/control"
    assert bus.control_endpoint("ipc:///run/c/control", records=named).url == "ipc:///run/c/control"


def test_records_on_tcp_need_a_control_endpoint_that_is_said() -> None:
    """Nothing tells which collector is meant: the error says what to set, instead of asking the default one."""
    with pytest.raises(EndpointError, match="set LOGBUS_CONTROL"):
        bus.control_endpoint(records=Endpoint.parse("tcp://127.0.0.1:5555"))


@pytest.mark.parametrize("variable", ["LOGBUS_ENDPOINT", "LOGBUS_CONTROL"])
def test_a_wrong_url_is_reported_by_the_name_of_its_source(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Variable or key of the file: whoever wrote it finds it. One that was given is its caller's to name."""
    look = bus.records_endpoint if variable == "LOGBUS_ENDPOINT" else bus.control_endpoint
    key = f"bus.{variable.removeprefix('LOGBUS_').lower()}"
    with pytest.raises(EndpointError, match=rf"{key} 'udp://x': expected ipc://PATH"):
        look(in_file="udp://x")
    monkeypatch.setenv(variable, "udp://y")
    with pytest.raises(EndpointError, match=rf"{variable} 'udp://y': expected ipc://PATH") as caught:
        look(in_file="udp://x")
    assert caught.value.setting == variable
    with pytest.raises(EndpointError, match="endpoint 'udp://z'"):
        look("udp://z")


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configuration file is read by no shell; one of nobody's is refused and not a directory of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Endpoint.parse("ipc://~/s").path == tmp_path / "s"
    with pytest.raises(EndpointError, match="a user who has a home directory"):
        Endpoint.parse("ipc://~nobody-of-that-name/s")


@pytest.mark.parametrize("name", ["default", "A", "a.b-c_1", "x" * 64])
def test_a_name_may_stand_in_a_path(name: str) -> None:
    """Letters, digits, dots, dashes and underscores make a name."""
    assert bus.check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "x" * 65, "a\n", "ä"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """No name leaves its directory, or hides in it."""
    with pytest.raises(ConfigurationError, match="expected 1 to 64"):
        bus.check_name(name)


def test_the_directories_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LOGBUS_… comes before XDG_…, and that before a directory of the user's own."""
    monkeypatch.setenv("LOGBUS_RUNTIME_DIR", "/a")
    monkeypatch.setenv("LOGBUS_STATE_DIR", "/b")
    assert (bus.runtime_directory(), bus.state_directory()) == (Path("/a"), Path("/b"))
    monkeypatch.delenv("LOGBUS_RUNTIME_DIR")
    monkeypatch.delenv("LOGBUS_STATE_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "/d")
    assert (bus.runtime_directory(), bus.state_directory()) == (Path("/c/logbus"), Path("/d/logbus"))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert bus.runtime_directory() == Path(f"/tmp/logbus-{os.geteuid()}")
    assert bus.state_directory() == tmp_path / ".local" / "state" / "logbus"


def test_a_private_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """It is 0700 whatever the umask, what is made above it is writable by nobody else, and it may be there already."""
    before = os.umask(0)
    try:
        path = bus.private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert bus.private_directory(path) == path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_private_directory_is_not_below_somebody_elses_in_a_shared_one(tmp_path: Path) -> None:
    """Whoever made the directory above it, where anybody can make one, could change it under us."""
    shared = tmp_path / "shared"
    (shared / "theirs" / "ours").mkdir(parents=True)
    shared.chmod(0o1777)
    os.chown(shared / "theirs", 65534, 65534)
    with pytest.raises(ConfigurationError, match=r"shared/theirs: it belongs to uid 65534, expected 0"):
        bus.private_directory(shared / "theirs" / "ours")


def test_a_private_directory_is_not_a_file_or_somebody_elses(tmp_path: Path) -> None:
    """What stands in its place is named in the error."""
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(ConfigurationError, match=str(path)):
            bus.private_directory(path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(theirs, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to uid 12345"):
        bus.private_directory(theirs)


def test_a_link_in_a_shared_directory_is_not_followed(tmp_path: Path) -> None:
    """In a sticky directory, such as /tmp, anybody may have planted it; elsewhere it is the owner's wish."""
    (tmp_path / "real").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    for place in (tmp_path, tmp_path / "shared"):
        (place / "link").symlink_to(tmp_path / "real")
    assert bus.private_directory(tmp_path / "link") == tmp_path / "link"
    with pytest.raises(ConfigurationError, match="not a directory"):
        bus.private_directory(tmp_path / "shared" / "link")


Make = Callable[["zmq.Context[zmq.Socket[bytes]]"], "zmq.Socket[bytes]"]


@pytest.mark.parametrize(
    "make",
    [
        bus.push_socket,
        bus.pull_socket,
        lambda context: bus.subscriber_socket(context, bytes(16)),
        bus.publisher_socket,
        bus.command_socket,
        bus.client_socket,
    ],
)
def test_no_socket_lingers_or_has_heartbeats(make: Make) -> None:
    """The default LINGER hangs at exit, and heartbeats lost 8,800 records in an 8 s stall."""
    with zmq.Context() as context, make(context) as socket:
        assert socket.get(zmq.LINGER) == 0
        assert socket.get(zmq.HEARTBEAT_IVL) == 0


@pytest.mark.parametrize(
    ("make", "door"),
    [
        (bus.pull_socket, bus.RECORDS_DOOR),
        (bus.publisher_socket, bus.PUBLISHER_DOOR),
        (bus.command_socket, bus.CONTROL_DOOR),
    ],
)
def test_whatever_is_bound_is_guarded(make: Make, door: bytes) -> None:
    """Without a ZAP domain raw TCP junk arrives as messages; without a limit one message takes the memory."""
    with zmq.Context() as context, make(context) as socket:
        assert socket.get(zmq.ZAP_DOMAIN) == door
        assert 0 < int(socket.get(zmq.MAXMSGSIZE)) <= 1024 * 1024


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_records_travel_over_loopback(host: str) -> None:
    """An endpoint that is accepted can be bound and reached, in both families."""
    family = network.AF_INET6 if "[" in host else network.AF_INET
    try:
        with network.socket(family) as probe:
            probe.bind((host.strip("[]"), 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip(f"this machine has no {host}")
    url = Endpoint.parse(f"tcp://{host}:{port}").url
    with zmq.Context() as context, bus.pull_socket(context) as pull, bus.push_socket(context) as push:
        pull.bind(url)
        push.connect(url)
        push.send(b"frame")
        assert pull.poll(10_000)
        assert pull.recv() == b"frame"


def test_who_listens_can_be_asked(tmp_path: Path) -> None:
    """The kernel tells at once; the file that a killed collector left behind is nobody, and so is a file."""
    at = Endpoint.parse(f"ipc://{tmp_path}/s")
    assert not bus.is_bound(at)
    with network.socket(network.AF_UNIX) as listening:
        listening.bind(str(at.path))
        listening.listen(0)
        assert [bus.is_bound(at) for _ in range(3)] == [True] * 3  # with a full backlog, too
    assert not bus.is_bound(at)
    with network.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        tcp = Endpoint.parse(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        assert not bus.is_bound(tcp)
        listening.listen()
        assert bus.is_bound(tcp)


def test_who_listens_can_be_asked_in_the_middle_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that drains may find a socket module that has only begun to be loaded."""
    listening = network.socket(network.AF_UNIX)
    monkeypatch.setitem(sys.modules, "socket", ModuleType("socket"))
    with listening:
        listening.bind(f"{tmp_path}/s")
        listening.listen()
        assert bus.is_bound(Endpoint.parse(f"ipc://{tmp_path}/s"))
