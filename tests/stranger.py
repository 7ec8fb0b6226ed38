"""Somebody who speaks ZMTP by hand to an ipc socket, as our own user or as another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: The user "nobody" of most systems; any that isn't ours will do.
NOBODY = 65534

#: Connects to the socket argv[1] as user argv[2] ("" for our own), greets, says that it is an argv[3] socket, sends one
#: message if it is let in, and prints the first word of the answer: READY, or ERROR with its code.
PROGRAM = r"""
import os, socket, sys
path, user, kind = sys.argv[1:]
if user:
    os.setgroups([]); os.setgid(int(user)); os.setuid(int(user))
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect(path)
peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
ready = b"\x05READY" + b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind.encode()
peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
answer = b""
while len(answer) < 66 or len(answer) < 66 + answer[65]:
    part = peer.recv(4096)
    if not part:
        break
    answer += part
command = answer[66:]
if command[1:6] == b"READY":
    peer.sendall(b"\x00\x05hello")
    print("READY")
else:
    print("ERROR", command[7:10].decode())
peer.close()
"""


def stranger(path: Path, *, user: int | None, kind: str = "PUSH") -> subprocess.Popen[str]:
    """The process, just started; its stdout is the answer. ``kind`` is the type of its socket."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), "" if user is None else str(user), kind],
        stdout=subprocess.PIPE,
        text=True,
    )


def needs_root() -> None:
    """Skips a test that has to become another user; where tests run as root, as in CI, it never skips."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
