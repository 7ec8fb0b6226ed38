"""One worker of the demo: the real proxywhirl, logging through loguru and stdlib, and one call to ``logbus``.

``python -m scripts.demo.worker --kind sync|async --index N --rate R --directory DIR``. It goes on until SIGTERM, which
ends the requests first and then drains: what a thread logs while the process is being closed would be dropped, and
counted as that. At its end a worker leaves its statement.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

import logbus
from scripts.demo import leash
from scripts.demo.layout import Layout
from scripts.demo.scene import Scene
from scripts.demo.traffic import Traffic
from scripts.demo.witness import Statement, Witness

#: Seconds to wait for the services to listen, and for the records to be handed over at the end.
SCENE_SECONDS = 20.0
SHUTDOWN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Role:
    """What makes one worker different from the others."""

    strategy: str
    level: str = "INFO"
    careless: bool = False


ROLES = {
    "sync-1": Role("round-robin", careless=True),
    "sync-2": Role("random"),
    "async-1": Role("least-used", careless=True),
    "async-2": Role("weighted", level="DEBUG"),  # httpcore's DEBUG records hold the headers of every response
}


def work(worker: str, layout: Layout, rate: float) -> Statement:
    """Makes the worker's requests; what it has to testify once all of its records are handed over."""
    role = ROLES[worker]
    scene = Scene.wait(layout.scene, SCENE_SECONDS)
    level = logging.getLevelNamesMapping()[role.level]
    witness = Witness(level, scene.secrets())
    logging.getLogger().setLevel(level)
    logger.remove()  # loguru's own handler on stderr
    witness.attach()
    traffic = Traffic(scene, rate, strategy=role.strategy, careless=role.careless)
    signal.signal(signal.SIGTERM, lambda _number, _frame: traffic.stop())
    logbus.configure(worker=worker, level=role.level)
    if worker.startswith("async"):
        asyncio.run(traffic.run_async())
    else:
        traffic.run()
    gc.collect()  # a rotator's last words are in its destructor
    stats = logbus.shutdown(SHUTDOWN_SECONDS)
    return Statement(
        worker=worker,
        pid=os.getpid(),
        requests=traffic.requests,
        failed_requests=traffic.failed,
        ordinals=witness.ordinals,
        loguru_records=witness.loguru_records,
        stdlib_records=witness.stdlib_records,
        secret_records=witness.secret_records,
        logbus_emitted=stats.emitted,
        logbus_sent=stats.sent,
        logbus_dropped=dict(stats.dropped),
    )


def main() -> None:
    """Runs one worker to its end."""
    parser = argparse.ArgumentParser(prog="scripts.demo.worker", description=__doc__)
    parser.add_argument("--kind", choices=("sync", "async"), required=True, help="ProxyWhirl or AsyncProxyWhirl")
    parser.add_argument("--index", type=int, choices=(1, 2), required=True, help="which of the two of its kind")
    parser.add_argument("--rate", type=float, required=True, help="requests a second at most")
    parser.add_argument("--directory", type=Path, required=True, help="the run directory (see scripts/demo/layout.py)")
    options = parser.parse_args()
    layout = Layout(options.directory)
    worker = f"{options.kind}-{options.index}"
    leash.hold(layout.alive, worker)
    work(worker, layout, options.rate).save(layout.witnesses)


if __name__ == "__main__":
    main()
