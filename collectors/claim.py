"""An endpoint is claimed before it is bound: ZeroMQ would silently take a live ipc path from its owner.

The claim is an flock on a file beside the socket, which the kernel gives up when its holder dies. Only then is the
path looked at: a socket is a dead collector's and may go, anything else is somebody's file and stays.

What is bound is ours alone, directory (0700) and socket (0600), unless the configuration allows other users
(:mod:`logbus.collectors.allowed`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import zmq

from logbus.bus import Endpoint, private_directory
from logbus.collectors.allowed import (
    DIRECTORY_MODE,
    PRIVATE_SOCKET_MODE,
    SOCKET_MODE,
    Allowed,
    close_to_others,
)
from logbus.collectors.lock import take_lock
from logbus.errors import EndpointError, OwnedError

#: File descriptors wanted: an ipc listener out of them aborts the process (202 raw connects at 128).
DESCRIPTORS: Final = 4096
#: Descriptors with which a collector does not start.
MIN_DESCRIPTORS: Final = 256


class Claim:
    """The right to bind an endpoint, held until :meth:`release`. Raises OwnedError when another collector has it.

    ``allowed`` may reach what lies beside it; ``urls`` (by what they are) are left in the lock file for whoever looks
    for collectors.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str,
        allowed: Allowed | None = None,
        urls: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._allowed = allowed
        self._sockets: list[Path] = []
        if allowed is not None and endpoint.path is None:
            raise EndpointError(endpoint.url, "bus.allow needs ipc: on tcp every user of this machine gets in")
        directory = private_directory(endpoint.lock.parent)
        try:
            self._fd = take_lock(endpoint.lock, what=f"endpoint {endpoint.url}", name=name, more=urls)
        except OwnedError:
            raise
        except OSError as error:
            raise EndpointError(endpoint.url, f"{endpoint.lock} can't be locked: {error.strerror}") from error
        if endpoint.path is not None:
            if allowed is None:
                close_to_others(directory)
            else:
                self._share(allowed, directory, DIRECTORY_MODE)

    def bind(self, socket: zmq.Socket[bytes], endpoint: Endpoint, *, to_allowed: bool = False) -> None:
        """Binds a socket to an endpoint that this claim covers; ``to_allowed``: one that other users may be let to.

        Raises EndpointError, OwnedError.
        """
        if endpoint.path is not None:
            try:
                info = endpoint.path.lstat()
            except FileNotFoundError:
                pass
            else:
                if not stat.S_ISSOCK(info.st_mode):
                    raise EndpointError(endpoint.url, "there is a file that is not a socket, and it stays")
        try:
            socket.bind(endpoint.url)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise OwnedError(f"endpoint {endpoint.url}", name=None, pid=None) from error
            raise EndpointError(endpoint.url, f"can't be bound: {error.strerror}") from error
        if endpoint.path is not None:
            self._sockets.append(endpoint.path)
            # For a moment it had the mode that the umask left; the doorkeeper has been there all the while.
            if to_allowed and self._allowed is not None:
                self._share(self._allowed, endpoint.path, SOCKET_MODE)
            else:
                endpoint.path.chmod(PRIVATE_SOCKET_MODE)

    def release(self) -> None:
        """Removes what was bound and gives the endpoint up; the sockets are closed by then."""
        for path in self._sockets:  # ZeroMQ leaves them behind
            with contextlib.suppress(OSError):
                if path.is_socket():
                    path.unlink()
        os.close(self._fd)

    def _share(self, allowed: Allowed, path: Path, mode: int) -> None:
        try:
            allowed.share(path, mode)
        except OSError as error:
            raise EndpointError(
                self.endpoint.url, f"{path} can't be given to group {allowed.gid}: {error.strerror}"
            ) from error


def raise_descriptor_limit() -> None:
    """Raises the soft limit of open files as far as is useful. Raises EndpointError where it is too low to be safe."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < MIN_DESCRIPTORS:
        raise EndpointError("ipc://", f"the limit of open files is {soft}: at least {MIN_DESCRIPTORS} are needed")
