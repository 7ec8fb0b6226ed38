"""The process manager: starts supervisord on a run directory, asks it for states, and stops it, leaving nothing.

Spoken to by XML-RPC over its unix socket, as supervisorctl does.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbus.bus import private_directory
from scripts.demo import leash
from scripts.demo.layout import CHECKOUT, SUPERVISOR_CONFIGURATION, Layout

#: Seconds until supervisord must answer, and that it gets to stop everything (the sum of its stopwaitsecs).
START_SECONDS = 20.0
STOP_SECONDS = 90.0
#: Seconds between looks at something that is waited for.
POLL_SECONDS = 0.1
#: Seconds that processes of an earlier run get to end by themselves, then on SIGTERM.
PATIENCE_SECONDS = 12.0

#: States in which a program is on its way or up.
UP = frozenset({"STARTING", "RUNNING"})


class DemoError(Exception):
    """Raised when the demo can't go on; the message says what was expected and found."""


class Supervisor:
    """supervisord on one run directory; None of its programs is touched before :meth:`start`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str], *, outlive: bool) -> None:
        """Starts supervisord and with it every program. With ``outlive`` it stays when this process ends.

        What an earlier run left (processes, sockets, its scene) goes first. Raises DemoError.
        """
        layout = self._layout
        self.clear()
        for directory in (layout.directory, layout.alive, layout.output, layout.sockets):
            private_directory(directory)
        layout.scene.unlink(missing_ok=True)
        command = [sys.executable, "-m", "scripts.demo.leash", *(["--outlive"] if outlive else []), str(layout.alive)]
        command += ["supervisord", *_module("supervisord")]
        with (layout.output / "supervisord.out").open("wb") as output:
            # A session of its own: Ctrl-C is for the command, which then stops the programs in their order.
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"supervisord did not start:\n{tail(layout.output / 'supervisord.out')}")
            time.sleep(POLL_SECONDS)

    def answers(self) -> bool:
        """Whether a supervisord answers on the socket of the run directory."""
        try:
            self._call("getState")
        except DemoError:
            return False
        return True

    def processes(self) -> dict[str, dict[str, Any]]:
        """The programs by name: ``statename``, ``exitstatus``, ``pid``… Raises DemoError."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def stop_group(self, name: str, *, wait: bool = True) -> None:
        """Stops a program or a group, and returns once it has ended, or (``wait`` False) at once. Raises DemoError."""
        self._call("stopProcessGroup", name, wait)

    def shutdown(self) -> None:
        """Stops every program, workers first, then supervisord itself; returns when nothing of it lives any more."""
        try:
            if self.answers():
                self._call("shutdown")
                deadline = time.monotonic() + STOP_SECONDS
                while leash.living(self._layout.alive, "supervisord") and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
        except DemoError:
            pass  # it went away while it was asked; clear() sees to the rest
        self.clear()

    def clear(self) -> None:
        """Ends whatever still lives of the run directory, and removes its sockets. Raises DemoError.

        The workers' counter pages stay where they are: the next collector on the same ledger reads them.
        """
        layout = self._layout
        try:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_SECONDS)
            killed = leash.reap(layout.alive, patience=PATIENCE_SECONDS)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise DemoError(f"processes of the demo do not end: {error}") from error
        if killed:
            print(f"had to kill {', '.join(killed)}", file=sys.stderr)
        if layout.sockets.exists():
            for path in private_directory(layout.sockets).rglob("*"):
                if path.is_socket():
                    path.unlink()

    def _call(self, method: str, *arguments: object) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._layout.supervisor_socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            try:
                return getattr(server.supervisor, method)(*arguments)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise DemoError(f"supervisord: {method} failed: {error}") from error


def discard(directory: Path) -> None:
    """Removes a directory of the demo with all that is in it; raises ConfigurationError when it is not ours."""
    if directory.exists():
        shutil.rmtree(private_directory(directory))


def supervisorctl(environment: Mapping[str, str], *arguments: str) -> int:
    """The exit code of the real supervisorctl on the run directory of the environment; it prints to our output."""
    command = [*_module("supervisorctl"), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=dict(environment), check=False).returncode


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a file, or a note that there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({path}: {os.strerror(error.errno or 0)})"


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"supervisor.{name}", "-c", str(SUPERVISOR_CONFIGURATION)]
