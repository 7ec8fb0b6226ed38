"""``python -m scripts.servers [lock]``: what the Makefile calls."""

from __future__ import annotations

import argparse
import sys
import time

from scripts.servers.apt import AptError
from scripts.servers.install import install, relock
from scripts.servers.lock import LockError


def main(arguments: list[str] | None = None) -> int:
    """Installs, or writes the lock anew; the exit code.

    An install that can't be done (no apt, no network) is one line and no failure: the tests that need the servers say
    so themselves, by failing in CI and by being skipped elsewhere.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scripts.servers", description="rsyslog, syslog-ng and nginx for the tests, in .servers/."
    )
    parser.add_argument("command", nargs="?", choices=("install", "lock"), default="install", help="(install)")
    command = parser.parse_args(arguments).command
    begun = time.monotonic()
    try:
        if command == "lock":
            relock()
        else:
            install()
    except (AptError, LockError, OSError) as error:
        print(f"the servers for tests are not there: {error}", file=sys.stderr)
        return 1 if command == "lock" else 0
    if command == "install":
        print(f"installed the servers for tests in {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
