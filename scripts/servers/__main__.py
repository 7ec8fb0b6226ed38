"""``python -m scripts.servers [bench|lock]``: what the Makefile calls."""

from __future__ import annotations

import argparse
import sys
import time

from scripts.servers.apt import AptError
from scripts.servers.install import install, relock
from scripts.servers.lock import LockError
from scripts.servers.place import BENCH


def main(arguments: list[str] | None = None) -> int:
    """Installs, or writes the lock anew; the exit code.

    An install that can't be done (no apt, no network) is one line and no failure: the tests that need the servers say
    so themselves, by failing in CI and by being skipped elsewhere, and the benchmarks name what they leave out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scripts.servers",
        description="rsyslog, syslog-ng and nginx for tests and benchmarks, in .servers/.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("install", "bench", "lock"),
        default="install",
        help="bench: with what only the benchmarks load into them; lock: write the locks anew (install)",
    )
    command = parser.parse_args(arguments).command
    begun = time.monotonic()
    try:
        if command == "lock":
            relock()
        else:
            install()
            if command == "bench":
                install(BENCH)
    except (AptError, LockError, OSError) as error:
        print(f"the servers are not there, or not all of them: {error}", file=sys.stderr)
        return 1 if command == "lock" else 0
    if command != "lock":
        print(f"installed the servers in {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
