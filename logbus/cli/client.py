"""A command's side of the control socket: one question, one answer, one deadline.

A DEALER sends one part, the command; the collector's ROUTER answers with one part. Each question has a socket of
its own, so an answer that comes too late can't be taken for that of the next question. ZeroMQ would wait for a
socket that nobody has bound, without a word, until the deadline: so a plain ``connect`` asks the system first
whether anybody listens. It is refused at once on a socket file that a killed collector left behind. (Trying the
collector's flock instead would make a collector that starts at that moment believe that it has a rival.)
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import Any, Final

import zmq

from logbus.bus import Endpoint, client_socket
from logbus.control import pack_message, unpack_answer
from logbus.errors import ConfigurationError, ControlError, NoCollectorError, WireError

#: Seconds for the plain connect, which the kernel answers without the collector's help.
PROBE_TIMEOUT: Final = 0.5


def request(command: dict[str, Any], *, control: Endpoint, timeout: float) -> dict[str, Any]:
    """The collector's answer to a command, within ``timeout`` seconds.

    Raises NoCollectorError when none answers, ControlError when it refuses, with its exit code, or says what can't be
    read. The command gets what each one carries: a random id, the time, and who sends it.
    """
    command = {"id": os.urandom(16).hex(), "at": time.time(), "from": _sender(), **command}
    deadline = time.monotonic() + timeout
    _probe(control, timeout)
    context = zmq.Context()
    dealer = client_socket(context)
    try:
        dealer.connect(control.url)
        dealer.send(pack_message(command))
        if not dealer.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise NoCollectorError(control.url, timeout)
        answer = unpack_answer(dealer.recv(zmq.NOBLOCK))
    except WireError as error:
        raise ControlError(f"{control.url}: answer to {command.get('command')!r}: {error}") from error
    finally:
        dealer.close()
        context.term()
    if answer.get("ok") is not True:
        reason, exit_code = str(answer.get("error", "it does not say why")), answer.get("exit_code")
        if exit_code == ConfigurationError.exit_code:  # what was asked for is wrong: the reason says it all
            raise ControlError(reason, exit_code=exit_code)
        code = exit_code if isinstance(exit_code, int) and 0 < exit_code < 128 else ControlError.exit_code
        raise ControlError(f"{control.url}: the collector refused {command.get('command')!r}: {reason}", exit_code=code)
    return answer


def fetch_status(control: Endpoint, *, name: str | None, timeout: float) -> dict[str, Any]:
    """The status document of a collector (interface §6), which is the one called ``name`` if that is not None.

    Raises NoCollectorError; ControlError, also when another collector answers.
    """
    answer = request({"command": "status"}, control=control, timeout=timeout)
    document = answer.get("status")
    if not isinstance(document, dict) or not isinstance(document.get("collector"), dict):
        raise ControlError(f"{control.url}: expected a status document, found {type(document).__name__}")
    found = document["collector"].get("name")
    if name is not None and found != name:
        raise ControlError(f"{control.url}: expected collector {name!r}, found {found!r}")
    return document


def stop(control: Endpoint, *, name: str | None, timeout: float) -> dict[str, Any]:
    """The answer (``name``, ``pid``) of a collector that has been told to stop, once its process has gone.

    Raises NoCollectorError; ControlError when it refuses, or has not gone within ``timeout`` seconds in all.
    """
    deadline = time.monotonic() + timeout
    if name is not None:
        # LOGBUS_CONTROL may lead to another one than was named, and a stop can't be taken back.
        fetch_status(control, name=name, timeout=timeout)
    answer = request({"command": "stop"}, control=control, timeout=max(0.001, deadline - time.monotonic()))
    pid = answer.get("pid")
    if not isinstance(pid, int):
        raise ControlError(f"{control.url}: expected the pid of the stopping collector, found {pid!r}")
    if not _gone(pid, max(0.0, deadline - time.monotonic())):
        raise ControlError(f"collector {answer.get('name')!r} (pid {pid}) is still draining after {timeout:g} s")
    return answer


def _sender() -> dict[str, Any]:
    """Who we say we are: on tcp the collector has no better word for it."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.geteuid())
    return {"user": user, "host": socket.gethostname(), "pid": os.getpid()}


def _gone(pid: int, timeout: float) -> bool:
    """Whether the process has ended within the timeout in seconds; a zombie has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(process, select.POLLIN)
        return bool(poller.poll(timeout * 1000))
    finally:
        os.close(process)


def _probe(control: Endpoint, timeout: float) -> None:
    family = socket.AF_UNIX if control.path else socket.AF_INET6 if ":" in control.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.settimeout(min(timeout, PROBE_TIMEOUT))
        try:
            plain.connect(os.fspath(control.path) if control.path else (control.host, control.port))
        except PermissionError as error:
            raise ControlError(f"{control.url}: the collector belongs to another user") from error
        except (TimeoutError, BlockingIOError):
            # Its backlog is full: somebody has bound it, and the question waits for its turn until the deadline.
            return
        except OSError as error:
            raise NoCollectorError(control.url, timeout, reason="nobody listens there") from error
        if family == socket.AF_UNIX:
            # Who made the socket that listens, as the kernel knows: in a directory like /tmp it may be anybody.
            _, uid, _ = struct.unpack("3i", plain.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.geteuid():
                raise ControlError(f"{control.url}: the collector belongs to another user (uid {uid})")
