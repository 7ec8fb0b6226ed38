"""The operator of the demo: half-way DEBUG for every rotator, a look at what that shows, and back again."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from logbus.bus import Endpoint
from logbus.cli.client import fetch_status
from logbus.errors import LogbusError
from scripts.demo.layout import CHECKOUT, WORKERS, Layout
from scripts.demo.supervisor import DemoError

COMPONENT: Final = "rotator"
#: When the level is set, and when it is reset, as parts of the time in which requests are made.
SET_AT, RESET_AT = 0.4, 0.75
#: DEBUG records that are shown, and seconds to wait for them.
SHOWN: Final = 5
SHOW_SECONDS: Final = 10.0
_CONFIRMED = re.compile(r"^(\d+)/(\d+) workers confirmed in ", re.MULTILINE)


@dataclass(slots=True)
class Window:
    """When DEBUG was wanted: from before the command that set it to after the one that reset it (RFC 3339)."""

    begun: str = "~"  # after every time, until it begins
    ended: str = "~"

    def covers(self, timestamp: str) -> bool:
        """Whether a record of this time may be there because of it."""
        return self.begun <= timestamp <= self.ended


class Operator:
    """Does its two things when their time has come; :meth:`look` is called again and again."""

    def __init__(self, layout: Layout, environment: Mapping[str, str], seconds: float) -> None:
        self.window = Window()
        self._control = Endpoint.parse(f"ipc://{layout.sockets / 'default' / 'control'}")
        self._environment = environment
        self._seconds = seconds
        self._working: float | None = None

    @property
    def done(self) -> bool:
        """Whether it has done its two things, and the time is over."""
        return self.window.ended != "~" and self._passed() >= self._seconds

    def look(self) -> None:
        """Sets or resets the level if it is time, counted from when all workers are there. Raises DemoError."""
        if self.window.ended != "~":
            return
        if self._working is None:
            if not self._all_there():
                return
            self._working = time.monotonic()
        passed = self._passed()
        if self.window.begun == "~" and passed >= SET_AT * self._seconds:
            self.window.begun = _now()
            self._confirm("set-level", "DEBUG", "--component", COMPONENT)
            self._show()
        elif self.window.begun != "~" and passed >= RESET_AT * self._seconds:
            self._confirm("reset-level", "--component", COMPONENT)
            self.window.ended = _now()

    def _passed(self) -> float:
        """Seconds since all workers were there."""
        return 0.0 if self._working is None else time.monotonic() - self._working

    def _all_there(self) -> bool:
        try:
            status = fetch_status(self._control, name=None, timeout=1.0)
        except LogbusError:
            return False
        return {row["worker"] for row in status["workers"] if row["state"] == "live"} >= set(WORKERS)

    def _confirm(self, *arguments: str) -> None:
        """Runs a command that every worker must confirm."""
        print(f"\n$ logbus {' '.join(arguments)}", flush=True)
        done = self._logbus(*arguments)
        print(f"{done.stdout}{done.stderr}", flush=True)
        found = _CONFIRMED.search(done.stdout)
        if done.returncode or found is None or set(found.groups()) != {str(len(WORKERS))}:
            raise DemoError(f"expected logbus {arguments[0]} to be confirmed by {len(WORKERS)} workers")

    def _show(self) -> None:
        """Shows the next DEBUG records, as ``logbus tail`` has them."""
        arguments = ("tail", "--component", COMPONENT, "--grep", " DEBUG ", "-n", str(SHOWN))
        print(f"$ logbus {' '.join(arguments)}", flush=True)
        try:
            done = self._logbus(*arguments)
        except subprocess.TimeoutExpired:
            raise DemoError(f"expected {SHOWN} DEBUG records of {COMPONENT} within {SHOW_SECONDS:g} s") from None
        print(f"{done.stdout}{done.stderr}", flush=True)
        if done.returncode or len(done.stdout.splitlines()) != SHOWN:
            raise DemoError(f"expected logbus tail to show {SHOWN} DEBUG records of {COMPONENT}")

    def _logbus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "logbus", *arguments]
        return subprocess.run(
            command,
            cwd=CHECKOUT,
            env=dict(self._environment),
            check=False,
            capture_output=True,
            text=True,
            timeout=SHOW_SECONDS,
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
