"""What a service manager is told: ready, reloading, stopping, in the words of sd_notify(3).

A datagram on the socket that ``NOTIFY_SOCKET`` names, a path or an abstract name. Without that variable nobody wants
to know. A manager that does not listen, or is slow to, holds nothing up: the message is then not sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


def ready(status: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Says that workers can connect, at the start or after a reload; ``status`` is a line for people."""
    return _send(f"READY=1\nSTATUS={_line(status)}", environ)


def reloading(environ: Mapping[str, str] = os.environ) -> bool:
    """Says that a reload begins; :func:`ready` must follow, whatever comes of it."""
    return _send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", environ)


def stopping(environ: Mapping[str, str] = os.environ) -> bool:
    """Says that the drain has begun."""
    return _send("STOPPING=1\nSTATUS=draining", environ)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _send(message: str, environ: Mapping[str, str]) -> bool:
    """Whether the message has gone out."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            sender.connect(address)
            sender.send(message.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):  # gone, full, or a path too long for an address
        return False
    return True
