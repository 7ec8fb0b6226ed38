"""Where a run of the demo keeps its files: one directory per mode under ``.run/``, and a short one for its sockets."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: The checkout: the programs of the demo are imported from here.
CHECKOUT = Path(__file__).resolve().parents[2]
#: The supervisor's configuration, and the collector's: for a run, whose one log file is read at its end, and for the
#: service, which rotates it.
SUPERVISOR_CONFIGURATION = CHECKOUT / "scripts" / "supervisord.conf"
COLLECTOR_CONFIGURATION = CHECKOUT / "scripts" / "demo" / "logbus.toml"
SERVICE_CONFIGURATION = CHECKOUT / "scripts" / "demo" / "service.toml"
#: The four workers, by the names that they have in the supervisor and in the ledger.
WORKERS = ("sync-1", "sync-2", "async-1", "async-2")
#: Bytes of the path of a socket directory: what the systems allow (104 on some, with the NUL), less the longest
#: name in it (the supervisor binds ``supervisor.sock.PID`` first, logbus ``default/control.pub``).
MAX_SOCKET_DIRECTORY_BYTES = 103 - 26

#: What the demo's programs see of the caller's environment: proxywhirl reads names like TIMEOUT or LOG_LEVEL, httpx
#: HTTP_PROXY, logbus LOGBUS_*, and none of them shall change what the demo does.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LD_LIBRARY_PATH", "NO_COLOR")


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one run directory. Nothing is made here."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Locked by the command that is at work on this directory."""
        return self.directory / "lock"

    @property
    def alive(self) -> Path:
        """One locked file per living process (scripts/demo/leash.py)."""
        return self.directory / "alive"

    @property
    def scene(self) -> Path:
        """Ports and secrets, written by the services."""
        return self.directory / "scene.json"

    @property
    def witnesses(self) -> Path:
        """What each worker counted for itself."""
        return self.directory / "witness"

    @property
    def state(self) -> Path:
        """The collector's ledger."""
        return self.directory / "state"

    @property
    def output(self) -> Path:
        """What each program printed; ``collector.out`` is logbus's console sink."""
        return self.directory / "output"

    @property
    def console(self) -> Path:
        """The collector's standard output."""
        return self.output / "collector.out"

    @property
    def sockets(self) -> Path:
        """The directory of all sockets: in the run directory, or a private one elsewhere if that path is too long."""
        own = self.directory / "sockets"
        if len(os.fsencode(own)) <= MAX_SOCKET_DIRECTORY_BYTES:
            return own
        name = f"logbus-demo-{os.geteuid()}-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}"
        elsewhere = Path(tempfile.gettempdir()) / name
        if len(os.fsencode(elsewhere)) <= MAX_SOCKET_DIRECTORY_BYTES:
            return elsewhere
        return Path("/tmp") / name  # 0700, and its owner is checked before use

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor answers."""
        return self.sockets / "supervisor.sock"

    def environment(self, *, rate: float = 1, restart: bool = False) -> dict[str, str]:
        """What scripts/supervisord.conf and the programs that it starts read from their environment.

        ``rate`` is how many requests each worker makes a second; ``restart`` is for the service.
        """
        kept = {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith("COVERAGE_")}
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            kept["FORCE_COLOR"] = "1"  # the collector writes to a file, which ends up on this terminal
        return {
            **kept,
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "LOGBUS_RUNTIME_DIR": str(self.sockets),
            "LOGBUS_STATE_DIR": str(self.state),
            "DEMO_PYTHON": sys.executable,
            "DEMO_ROOT": str(self.directory.parents[1]),
            "DEMO_DIRECTORY": str(self.directory),
            "DEMO_SOCKETS": str(self.sockets),
            "DEMO_CONFIGURATION": str(SERVICE_CONFIGURATION if restart else COLLECTOR_CONFIGURATION),
            "DEMO_RATE": f"{rate:g}",
            "DEMO_RESTART": "true" if restart else "false",
            "DEMO_RETRIES": "5" if restart else "0",
        }
