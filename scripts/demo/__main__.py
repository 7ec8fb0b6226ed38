"""``python -m scripts.demo run|up|ps|logs|down``: what the Makefile calls."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from logbus.bus import private_directory
from logbus.errors import LogbusError
from scripts.demo import leash, service
from scripts.demo.layout import CHECKOUT, Layout
from scripts.demo.run import run
from scripts.demo.supervisor import DemoError, Supervisor

#: Seconds of requests, so that `run` takes about 20 in all.
RUN_SECONDS = 12.0


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description="The real proxywhirl on logbus.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("run", "run once, compare every count, stop (about 20 seconds)"),
        ("up", "start as a service, restarted on crash"),
        ("ps", "show the service's programs and its ledger"),
        ("logs", "follow the service's console"),
        ("down", "stop the service and show its final ledger"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("--directory", type=Path, default=CHECKOUT, help="of .run/ and logs/ (the checkout)")
        if name == "run":
            command.add_argument("--seconds", type=float, default=RUN_SECONDS, help="seconds of requests (%(default)g)")
    options = parser.parse_args(arguments)
    root = options.directory.resolve()
    once, served = Layout(root / ".run" / "once"), Layout(root / ".run" / "service")
    try:
        if options.command == "ps":
            return service.ps(served)
        if options.command == "logs":
            return service.logs(served)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        with _alone(once.lock):
            if options.command == "up":
                Supervisor(once).clear()  # what a killed run has left would hold the log file
                return service.up(served)
            if options.command == "down":
                return service.down(served)
            if leash.living(served.alive):
                raise DemoError("the demo is up as a service and writes to the same log file: `make down` first")
            return run(once, root / "logs" / "proxywhirl.jsonl", options.seconds)
    except (DemoError, LogbusError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Nobody reads our output any more: a normal end for `logs | head`. Python's own flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if options.command == "logs" else 1


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Holds the lock against another run, up or down on the same directory. Raises DemoError when it is taken."""
    private_directory(lock.parent)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode() or "?"
        os.close(descriptor)
        raise DemoError(f"another demo command is at work in {lock.parent} (pid {owner})") from None
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
