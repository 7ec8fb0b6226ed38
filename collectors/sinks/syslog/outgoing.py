"""What the kernel knows about bytes that have left and not arrived."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Final

_INT: Final = struct.Struct("i")


def unread(sock: socket.socket) -> int:
    """Over TCP, the bytes that the other machine's kernel has not acknowledged (``SIOCOUTQ``).

    On a Unix socket, the memory of what its reader has not read; 0 for one that has died, too.
    """
    found: int = _INT.unpack(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return found
