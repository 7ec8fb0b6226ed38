"""The long-running form: up, ps, logs and down. Programs that crash are restarted by the supervisor."""

from __future__ import annotations

import time
from collections.abc import Mapping

from scripts.demo.follow import Follower
from scripts.demo.layout import WORKERS, Layout
from scripts.demo.run import ledger, ledger_at_rest, logbus, show
from scripts.demo.supervisor import POLL_SECONDS, DemoError, Supervisor, supervisorctl, tail

#: Requests a second of each worker: about 50 MB of log file an hour from the four together.
RATE = 1.0
#: Seconds until all workers must be known to the collector.
UP_SECONDS = 40.0
#: Lines of the console that ``logs`` begins with.
SHOWN_LINES = 40


def up(layout: Layout) -> int:
    """Starts the service and returns once every worker is known to the collector; 0, or 1 with the reason."""
    supervisor = Supervisor(layout)
    if supervisor.answers():
        print("already up: see `make ps`, `make logs`, `make down`")
        return 0
    environment = layout.environment(rate=RATE, restart=True)
    try:
        supervisor.start(environment, outlive=True)
        _wait_for_live_workers(environment, layout)
    except BaseException:
        supervisor.shutdown()
        raise
    print("up: one collector, four workers. See `make ps`, `make logs`, `make down`")
    return 0


def ps(layout: Layout) -> int:
    """Shows the programs and the ledger; 1 if something is not up, or does not balance."""
    if not Supervisor(layout).answers():
        print("not up: `make up` starts it")
        return 1
    environment = layout.environment()
    states = supervisorctl(environment, "status")
    print(flush=True)
    return 1 if logbus(environment, "status") or states else 0


def logs(layout: Layout) -> int:
    """Follows the collector's console until Ctrl-C."""
    console = Follower(layout.console)
    console.skip(SHOWN_LINES)
    while True:
        show(console)
        time.sleep(POLL_SECONDS)


def down(layout: Layout) -> int:
    """Stops workers, then collector, then services, and shows the final ledger; 1 if it does not balance."""
    supervisor = Supervisor(layout)
    if not supervisor.answers():
        supervisor.clear()
        print("not up")
        return 0
    code = 1
    try:
        environment = layout.environment()
        supervisor.stop_group("workers")
        ledger_at_rest(environment)
        code = logbus(environment, "status")
    finally:
        supervisor.shutdown()
    print("down")
    return 1 if code else 0


def _wait_for_live_workers(environment: Mapping[str, str], layout: Layout) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while True:
        try:
            rows = ledger(environment)["workers"]
        except DemoError:
            rows = []  # the collector is not up yet
        live = {row["worker"] for row in rows if row["state"] == "live"}
        if live.issuperset(WORKERS):
            return
        if time.monotonic() > deadline:
            missing = ", ".join(name for name in WORKERS if name not in live)
            outputs = "\n".join(f"{path.name}: {tail(path, 5)}" for path in sorted(layout.output.iterdir()))
            raise DemoError(f"expected four live workers within {UP_SECONDS:g} s, {missing} not seen\n{outputs}")
        time.sleep(POLL_SECONDS)
