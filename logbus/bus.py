"""Where things are, and how their sockets are set: endpoints, directories, ZeroMQ options.

Every socket of logbus is made here, so that the options measured to be right stand in one place: no ZMTP
heartbeats (they turned an 8 s stall into 8,800 lost records), no default LINGER (``term()`` hangs), short
queues (a bigger high-water mark is more silent loss when a collector dies), a ZAP domain on everything bound
(raw TCP junk reached the application without one).
"""

from __future__ import annotations

# Not `socket`, two milliseconds of every worker's start; and not late: a signal handler that drains in the middle of
# another one's import would find half of a module.
import _socket as network
import os
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple

import zmq

from logbus.control import MAX_ANSWER_BYTES, MAX_CONTROL_BYTES, PRODUCER_TOPIC, STATE_TOPIC, WELCOME_TOPIC
from logbus.errors import ConfigurationError, EndpointError
from logbus.wire import MAX_FRAME_BYTES

#: Messages (frames) in a worker's socket: the copy that counts is in the producer's buffer.
QUEUE_FRAMES: Final = 8
#: Messages of each worker in the collector's socket; it reads one more. With fewer, what a worker says last is lost
#: when it is killed: while frames gather, it is in the kernel, and libzmq takes nothing more from there then.
ARRIVED_FRAMES: Final = 6
#: Messages that wait for one peer of the command socket: a tail that was stopped holds so many of 64 KiB.
COMMAND_QUEUE: Final = 32
#: Bytes of the kernel's buffers on tcp; without them a stopped peer took 29,000 messages at a HWM of 1,000.
TCP_BUFFER_BYTES: Final = 16 * 1024
#: Milliseconds between attempts to connect, first and at most.
RECONNECT_MS: Final = 20
RECONNECT_MAX_MS: Final = 500
#: Bytes of a path that fit in sockaddr_un (108 with the terminating NUL), less room for ".pub".
MAX_IPC_PATH_BYTES: Final = 107
#: Seconds for a plain connect, which the kernel answers without the collector's help.
PROBE_S: Final = 0.1
#: The ZAP domains, one for each kind of bound socket, so that the doorkeeper knows at which door somebody knocks.
RECORDS_DOOR: Final = b"records"
PUBLISHER_DOOR: Final = b"publisher"
CONTROL_DOOR: Final = b"control"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def private_directory(path: Path) -> Path:
    """The directory, made with mode 0700 if it is not there.

    Raises ConfigurationError when it is not a directory or belongs to another user (never followed: a link that
    somebody else planted in a shared directory would give him our records).
    """
    try:
        for above in reversed(path.parents):
            if not above.exists():  # with a mode of its own: a daemon's umask may be 0
                above.mkdir(mode=0o755, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(_planted_or_real(path).st_mode):
            raise ConfigurationError([f"directory {path}: it is not a directory"])
        found = stranger(path, os.geteuid())
    except OSError as error:
        raise ConfigurationError([f"directory {path}: can't be made: {error.strerror}"]) from error
    if found is not None:
        raise ConfigurationError([f"directory {found[0]}: it belongs to uid {found[1]}, expected {os.geteuid()}"])
    return path


def stranger(path: Path, uid: int) -> tuple[Path, int] | None:
    """The directory that is not a user's, with the uid of its owner; None if all is well. Raises OSError.

    It is ``path`` itself, or one above it that stands in a directory like /tmp: there anybody can make the one that we
    are about to use, and change it under us later.
    """
    owner = _planted_or_real(path).st_uid
    if owner != uid:
        return path, owner
    for above in path.parents:
        if _is_shared(above.parent) and (owner := above.lstat().st_uid) not in (0, uid):
            return above, owner
    return None


def _planted_or_real(path: Path) -> os.stat_result:
    """What stands there; a link in a shared directory is not followed, for anybody may have planted it."""
    return path.lstat() if path.is_symlink() and _is_shared(path.parent) else path.stat()


def _is_shared(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_ISVTX)


def runtime_directory() -> Path:
    """Where sockets and counter pages are: ``LOGBUS_RUNTIME_DIR``, else under ``XDG_RUNTIME_DIR``, else in /tmp."""
    if given := os.environ.get("LOGBUS_RUNTIME_DIR"):
        return Path(given).absolute()
    if xdg := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(xdg).absolute() / "logbus"
    return Path(f"/tmp/logbus-{os.geteuid()}")  # noqa: S108 (0700, and its owner is checked before use)


def state_directory() -> Path:
    """Where the ledger is: ``LOGBUS_STATE_DIR``, else under ``XDG_STATE_HOME``, else ~/.local/state."""
    if given := os.environ.get("LOGBUS_STATE_DIR"):
        return Path(given).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base).absolute() if base else Path.home() / ".local" / "state") / "logbus"


def check_name(name: str) -> str:
    """The name of a collector, as it may stand in a path. Raises ConfigurationError."""
    if not _NAME.match(name):
        raise ConfigurationError([f"name {name!r}: expected 1 to 64 of A-Z a-z 0-9 . _ - and a letter or digit first"])
    return name


class Endpoint(NamedTuple):
    """A checked endpoint: ``ipc`` with an absolute path, or ``tcp`` with a loopback host and a port."""

    url: str
    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """The endpoint of a URL, ``ipc://PATH`` or ``tcp://127.0.0.1:PORT``. Raises EndpointError."""
        if url.startswith("ipc://"):
            text = url[len("ipc://") :]
            if not text or text.startswith("@") or "\0" in text:
                raise EndpointError(url, "expected ipc:// and the path of a socket (abstract names let any user in)")
            text = os.path.expanduser(text)
            if text.startswith("~"):
                raise EndpointError(url, "expected ~/ or ~USER/ of a user who has a home directory")
            path = Path(text).absolute()
            if not _is_utf8(str(path)):
                raise EndpointError(url, "expected a path in UTF-8")
            if len(os.fsencode(path)) + len(".pub") > MAX_IPC_PATH_BYTES:
                raise EndpointError(
                    url, f"the path has more than {MAX_IPC_PATH_BYTES - 4} bytes, the limit of the system"
                )
            return cls(f"ipc://{path}", path=path)
        if url.startswith("tcp://"):
            from urllib.parse import urlsplit  # on ipc a worker needs neither it nor what it loads

            try:
                parts = urlsplit(url)
                host, port = parts.hostname or "", parts.port or 0
            except ValueError:
                host, port = "", 0
            if not host or not 0 < port < 65535 or url.rstrip("/").count("/") != 2:
                raise EndpointError(url, "expected tcp://HOST:PORT with a port from 1 to 65534")
            if host not in _LOOPBACK:
                raise EndpointError(url, "tcp beyond loopback needs CURVE keys, which are not available yet")
            host = "127.0.0.1" if host == "localhost" else host
            shown = f"[{host}]" if ":" in host else host
            return cls(f"tcp://{shown}:{port}", host=host, port=port)
        raise EndpointError(url, "expected ipc://PATH or tcp://127.0.0.1:PORT")

    @property
    def pages(self) -> Path:
        """The directory of the producers' counter pages: beside the socket, or in the runtime directory for tcp."""
        return self._beside(".pages")

    @property
    def lock(self) -> Path:
        """The file whose flock says that a collector owns this endpoint; it holds the owner's name and pid."""
        return self._beside(".lock")

    @property
    def levels(self) -> Path:
        """The file beside a control endpoint with the level rules in force, which a worker reads as it starts."""
        return self._beside(".levels")

    @property
    def publisher(self) -> Endpoint:
        """The PUB socket beside a control endpoint: ``PATH.pub`` on ipc, port + 1 on tcp."""
        if self.path is not None:
            return Endpoint(f"ipc://{self.path}.pub", path=self.path.with_name(f"{self.path.name}.pub"))
        return Endpoint.parse(f"tcp://{self.url.removeprefix('tcp://').rpartition(':')[0]}:{self.port + 1}")

    def _beside(self, suffix: str) -> Path:
        if self.path is not None:
            return self.path.with_name(self.path.name + suffix)
        host = self.host.replace(":", "_")
        return runtime_directory() / f"tcp-{host}-{self.port}{suffix}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def records_endpoint(endpoint: str | None = None, *, name: str = "default", in_file: str | None = None) -> Endpoint:
    """Where records go: the one given, else ``LOGBUS_ENDPOINT``, else that of a configuration file, else ``records``
    in the runtime directory. Raises EndpointError, with the name of the setting unless it is the one given.
    """
    named = _named(endpoint, "LOGBUS_ENDPOINT", in_file, "bus.endpoint")
    return named or Endpoint.parse(f"ipc://{runtime_directory() / check_name(name) / 'records'}")


def control_endpoint(
    control: str | None = None,
    *,
    records: Endpoint | None = None,
    name: str | None = None,
    in_file: str | None = None,
) -> Endpoint:
    """Where commands go: the one given, else ``LOGBUS_CONTROL``, else that of a configuration file, else ``control``
    beside an ipc record socket, else in the runtime directory.

    Raises EndpointError; also for records on tcp when nothing says which collector is meant, neither a setting nor a
    ``name``: the default one of the runtime directory may be another.
    """
    if named := _named(control, "LOGBUS_CONTROL", in_file, "bus.control"):
        return named
    if records is not None and records.path is not None:
        stem = records.path.name
        sibling = "control" if stem == "records" else f"{stem}.control"
        return Endpoint.parse(f"ipc://{records.path.with_name(sibling)}")
    if records is not None and name is None:
        raise EndpointError(
            records.url,
            "on tcp the control endpoint must be said too: set LOGBUS_CONTROL to the one that the collector shows",
        )
    return Endpoint.parse(f"ipc://{runtime_directory() / check_name(name or 'default') / 'control'}")


def _named(given: str | None, variable: str, in_file: str | None, key: str) -> Endpoint | None:
    """The endpoint of the strongest source that has one, a wrong one reported by the name of its source."""
    if given:
        return Endpoint.parse(given)
    for url, setting in ((os.environ.get(variable), variable), (in_file, key)):
        if url:
            try:
                return Endpoint.parse(url)
            except EndpointError as error:
                raise EndpointError(url, error.expected, setting=setting) from error
    return None


def is_bound(endpoint: Endpoint) -> bool:
    """Whether somebody listens there: the kernel tells at once, for the socket file of a killed collector too."""
    family = network.AF_UNIX if endpoint.path else network.AF_INET6 if ":" in endpoint.host else network.AF_INET
    plain = None
    try:
        plain = network.socket(family, network.SOCK_STREAM)
        plain.settimeout(PROBE_S)
        plain.connect(os.fspath(endpoint.path) if endpoint.path else (endpoint.host, endpoint.port))
    except (TimeoutError, BlockingIOError):  # its backlog is full
        return True
    except OSError:
        return False
    finally:
        if plain is not None:
            plain.close()
    return True


def push_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A PUSH socket for records, not yet connected. It is used by one thread only."""
    socket = _socket(context, zmq.PUSH)
    socket.set(zmq.SNDHWM, QUEUE_FRAMES)
    socket.set(zmq.SNDBUF, TCP_BUFFER_BYTES)
    socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    return socket


def pull_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """The PULL socket of a collector, not yet bound."""
    socket = _socket(context, zmq.PULL)
    socket.set(zmq.RCVHWM, ARRIVED_FRAMES)
    socket.set(zmq.RCVBUF, TCP_BUFFER_BYTES)
    return _bound(socket, RECORDS_DOOR, MAX_FRAME_BYTES)


def subscriber_socket(context: zmq.Context[zmq.Socket[bytes]], producer: bytes) -> zmq.Socket[bytes]:
    """A SUB socket for control, subscribed to the state and to this producer's own topic, not yet connected."""
    socket = _socket(context, zmq.SUB)
    socket.set(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
    socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    socket.set(zmq.SUBSCRIBE, STATE_TOPIC)
    socket.set(zmq.SUBSCRIBE, WELCOME_TOPIC)
    socket.set(zmq.SUBSCRIBE, PRODUCER_TOPIC + producer)
    return socket


def publisher_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """The XPUB socket of a collector, not yet bound. Its thread must poll it, or no welcome message goes out."""
    socket = _socket(context, zmq.XPUB)
    socket.set(zmq.XPUB_VERBOSE, 1)
    return _bound(socket, PUBLISHER_DOOR, 4096)


def command_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """The ROUTER socket on which a collector answers commands, not yet bound.

    A message to a peer whose queue is full, or who has gone, is an error instead of a silent drop.
    """
    socket = _socket(context, zmq.ROUTER)
    socket.set(zmq.SNDHWM, COMMAND_QUEUE)
    socket.set(zmq.ROUTER_MANDATORY, 1)
    return _bound(socket, CONTROL_DOOR, MAX_CONTROL_BYTES)


def client_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """The DEALER socket of a command, not yet connected."""
    socket = _socket(context, zmq.DEALER)
    socket.set(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
    return socket


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IPV6, 1)  # both families: without it tcp://[::1] is "no such device"
    return socket


def _bound(socket: zmq.Socket[bytes], door: bytes, max_bytes: int) -> zmq.Socket[bytes]:
    socket.set(zmq.MAXMSGSIZE, max_bytes)
    socket.set(zmq.ZAP_DOMAIN, door)
    return socket
