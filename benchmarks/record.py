"""The reference record: what every variant logs, from where, and how fast.

INFO, logger ``proxywhirl.rotator``, a message of about 90 characters with one argument, and five extra fields, of
which one is a URL with credentials: about 450 bytes as a line of JSON. There are ten call sites. No two records of a
batch have one request id, while the proxies repeat, as those of a pool do.
"""

from __future__ import annotations

import itertools
import json
import logging
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

LOGGER: Final = "proxywhirl.rotator"
#: Call sites in :func:`log_records`; it logs multiples of this.
SITES: Final = 10
#: Records of one burst of a paced run.
PACED_BURST: Final = 50
#: Records by which the floor is taken.
_FLOOR_RECORDS: Final = 2000
#: Proxies in the pool, and requests before their ids repeat: more than one frame holds records.
_PROXIES: Final = 64
_REQUESTS: Final = 4001

#: (proxy, request id, URL of the proxy) of each request, made beforehand: they are the application's cost.
_WORK: Final = [
    (
        f"proxy-{n % _PROXIES:02d}.example.net:8080",
        f"req-{n * 2654435761 % 2**32:08x}",
        f"http://user{n % _PROXIES:02d}:s3cr3t-{n % _PROXIES:02d}@proxy-{n % _PROXIES:02d}.example.net:8080",
    )
    for n in range(_REQUESTS)
]
#: The next request: its proxy, its id and the URL of its proxy.
next_request = itertools.cycle(_WORK).__next__


# fmt: off
def log_records(log: logging.Logger, count: int) -> None:
    """Logs ``count`` records (a multiple of SITES), flat out."""
    info, take = log.info, next_request
    op, how = "proxy_selection", "round_robin"
    for _ in range(count // SITES):
        proxy, rid, url = take()
        info("Selected proxy %s for the request: healthy, lowest latency of the pool", proxy,
             extra={"request_id": rid, "operation": op, "proxy_url": url, "strategy": how, "source": "rotator"})
        proxy, rid, url = take()
        info("Rotated to proxy %s after the one before it had answered twice with 429", proxy,
             extra={"request_id": rid, "operation": op, "proxy_url": url, "strategy": how, "source": "rotator"})
        proxy, rid, url = take()
        info("Connection to proxy %s was taken from the pool, 3 of 10 are in use now", proxy,
             extra={"request_id": rid, "operation": "connect", "proxy_url": url, "strategy": how, "source": "pool"})
        proxy, rid, url = take()
        info("Request through proxy %s completed with status 200 in 112 milliseconds", proxy,
             extra={"request_id": rid, "operation": "request", "proxy_url": url, "strategy": how, "source": "client"})
        proxy, rid, url = take()
        info("Health check of proxy %s passed, its weight was raised from 4 to 5 of 10", proxy,
             extra={"request_id": rid, "operation": "health", "proxy_url": url, "strategy": how, "source": "health"})
        proxy, rid, url = take()
        info("Circuit breaker of proxy %s was closed after five successes in sequence", proxy,
             extra={"request_id": rid, "operation": "breaker", "proxy_url": url, "strategy": how, "source": "breaker"})
        proxy, rid, url = take()
        info("Response through proxy %s went into the cache and expires in 300 seconds", proxy,
             extra={"request_id": rid, "operation": "cache", "proxy_url": url, "strategy": how, "source": "cache"})
        proxy, rid, url = take()
        info("Retry 1 of 3 through proxy %s starts in 250 milliseconds, with some jitter", proxy,
             extra={"request_id": rid, "operation": "retry", "proxy_url": url, "strategy": how, "source": "retry"})
        proxy, rid, url = take()
        info("Latency of proxy %s was measured: 87 milliseconds, the average is now 93", proxy,
             extra={"request_id": rid, "operation": "measure", "proxy_url": url, "strategy": how, "source": "metrics"})
        proxy, rid, url = take()
        info("Session 4711 sticks to proxy %s for another ten minutes of inactivity", proxy,
             extra={"request_id": rid, "operation": "session", "proxy_url": url, "strategy": how, "source": "session"})
# fmt: on


def log_paced(log: logging.Logger, count: int, rate: float) -> float:
    """Logs ``count`` records at ``rate`` a second, in bursts; the CPU seconds that the calls took in this thread.

    A burst that comes late is not skipped. ``count`` is a multiple of PACED_BURST.
    """
    spent = 0.0
    begun = time.monotonic()
    for done in range(0, count, PACED_BURST):
        ahead = begun + done / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        before = time.thread_time()
        log_records(log, PACED_BURST)
        spent += time.thread_time() - before
    return spent


def floor_seconds() -> float:
    """CPU seconds of one record with a null handler, here and now."""
    log = logging.Logger(LOGGER, logging.INFO)
    log.addHandler(logging.NullHandler())
    before = time.thread_time()
    log_records(log, _FLOOR_RECORDS)
    return (time.thread_time() - before) / _FLOOR_RECORDS


_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime"}


class JsonLine(logging.Formatter):
    """The formatter that people write: the fields of a logbus line as one JSON object, through ``json.dumps``."""

    _host = socket.gethostname()
    _dumps: Callable[[Any], str] = staticmethod(json.dumps)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "component": record.name.rpartition(".")[2],
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
            "process_id": record.process,
            "thread_name": record.threadName,
            "worker": record.processName,
            "host": self._host,
            "app_name": "benchmarks",
        }
        line.update({key: value for key, value in record.__dict__.items() if key not in _STANDARD})
        return self._dumps(line)
