"""Every record of a proxied request, and where it has gone: the real proxywhirl, in threads and in tasks, offline.

One command shows it all::

    python structured_logging_demo.py [FILE]

It starts proxies on this machine (loopback.py, beside it) and a collector of its own, whatever else you have running.
The records are in FILE, or in a temporary one. The exit code is 0 if all that is promised has been found true.

What an application has to write stands between the two lines below. The rest asks for prices, as a shop does that
keeps an eye on another, and then looks at what has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxywhirl import AsyncProxyWhirl, Proxy, ProxyWhirl, RetryPolicy
from proxywhirl.exceptions import ProxyWhirlError

import logbus
import logbus.integrations.proxywhirl

# ----------------------------------------------------------------------------------------------------------------------
# Two calls, where the application starts. proxywhirl remains as it is installed: it is wrapped while it runs.


def start_logging() -> None:
    """Makes this process a worker, and proxywhirl tell what it does."""
    logbus.configure(app_name="shop")
    logbus.integrations.proxywhirl.install()


# ----------------------------------------------------------------------------------------------------------------------

log = logging.getLogger("shop.prices")

#: Requests that are made in threads, and in tasks.
ITEMS = 12
#: What careless programs put into URLs, and what must not be found in a log.
API_KEY = secrets.token_hex(16)
PASSWORD = secrets.token_hex(16)


def pool(*urls: str) -> dict[str, Any]:
    """The settings of a rotator."""
    return {
        "proxies": [Proxy(url=url, allow_local=True) for url in urls],
        "strategy": "round-robin",
        "retry_policy": RetryPolicy(max_attempts=3, base_delay=0.05),
        "bootstrap": False,  # an empty pool would fetch public lists
    }


@contextlib.contextmanager
def failure_logged() -> Iterator[None]:
    """Logs what a request fails with. The exception is data: type, message, traceback and causes."""
    try:
        yield
    except ProxyWhirlError:
        log.exception("no price")


def in_threads(urls: list[str]) -> None:
    """Four threads. Each proxied request has an id of its own, from its first record to its last, retries included."""
    with ProxyWhirl(**pool(*urls)) as rotator:

        def ask(item: int) -> None:
            with logbus.context(item=item), failure_logged():
                # Some are answered with 503 first: "busy", try again.
                rotator.get(f"http://shop.example/{'items' if item % 3 else 'busy'}/{item}?api_key={API_KEY}")

        # carrying(): what is in force here, the job, is so in the threads too.
        with logbus.context(job="threads"), logbus.carrying(ThreadPoolExecutor(4)) as executor:
            list(executor.map(ask, range(ITEMS)))


async def in_tasks(urls: list[str]) -> None:
    """Tasks, all at once. Here the application says what a request is, and its own records have the id as well."""
    async with AsyncProxyWhirl(**pool(*urls)) as rotator:

        async def ask(item: int) -> None:
            with logbus.request_scope(operation="price_check", item=item), failure_logged():
                answer = await rotator.get(f"http://shop:{PASSWORD}@shop.example/items/{item}")
                log.info("the price is %d", answer.json()["price"])

        with logbus.context(job="tasks"):
            await asyncio.gather(*(ask(item) for item in range(ITEMS)))


def in_trouble(dead: str) -> None:
    """A request that fails, with an id that somebody else has given it."""
    with ProxyWhirl(**pool(dead)) as rotator:
        with logbus.request_scope("order-17", operation="checkout", job="trouble"), failure_logged():
            rotator.get("http://shop.example/items/17")


def in_detail(url: str) -> None:
    """A request while somebody wants to know more of one library: the level changes in the running process."""
    logbus.flush(60)  # until the collector, which we have just started, has all that was logged so far
    with ProxyWhirl(**pool(url)) as rotator:
        command("set-level", "DEBUG", "--component", "httpcore", "--for", "1m")
        with logbus.context(job="detail"):
            rotator.get("http://shop.example/items/1")
        command("reset-level", "--component", "httpcore")


def main() -> int:
    """The exit code."""
    with surroundings() as (urls, file):
        start_logging()
        in_threads(urls)
        asyncio.run(in_tasks(urls))
        in_trouble(urls[-1])
        in_detail(urls[0])
        logbus.shutdown()  # the drain that the end of a process is by itself; here there is something left to do
        balanced = command("status")
        command("collector", "stop")
        output = file.read_text()
    lines = [json.loads(line) for line in output.splitlines()]
    show_request(lines, "order-17")
    complete = show_fields(lines)
    credentials = urlsplit(urls[1]).password or ""
    found = sum(output.count(secret) for secret in (API_KEY, PASSWORD, credentials))
    debug = [line.get("extra", {}).get("job", "none") for line in lines if line["level"] == "DEBUG"]
    logged = logbus.stats().emitted
    arrived = sum(line["process_id"] == os.getpid() for line in lines)
    print(f"\nRecords at DEBUG: {len(debug)}, of job {' and '.join(sorted(set(debug)))}")
    print(f"Records of this process: {logged} logged, {arrived} arrived; secrets in them: {found}")
    return 0 if balanced and complete and set(debug) == {"detail"} and arrived == logged and found == 0 else 1


def show_request(lines: list[dict[str, Any]], request_id: str) -> None:
    """Prints the records of a request, in their order."""
    print(f"\nAll of request {request_id}:")
    for line in lines:
        if line.get("request_id") == request_id:
            print(json.dumps(line))


def show_fields(lines: list[dict[str, Any]]) -> bool:
    """Prints how many of the records of proxied requests have their fields; whether all do."""
    # Which are these? All of the libraries in a context of ours, whether they know of requests or not.
    records = [
        {**line, **line["extra"]}
        for line in lines
        if "job" in line.get("extra", {}) and line["logger"].startswith(("proxywhirl", "httpx", "httpcore"))
    ]
    selected: set[str] = set()
    after_selection = []
    for record in records:
        if record.get("event") == "proxy_selected":
            selected.add(record.get("request_id", ""))
        if record.get("request_id") in selected:
            after_selection.append(record)
    print("\nRecords of proxied requests, and after their selection of a proxy, that carry")
    complete = True
    for field in ("request_id", "operation", "strategy", "proxy_id", "proxy_url", "source"):
        these = after_selection if field in ("proxy_id", "proxy_url", "source") else records
        have = sum(bool(record.get(field)) for record in these)
        print(f"  {field:<12}{have} of {len(these)}")
        complete = complete and 0 < have == len(these)
    return complete


@contextlib.contextmanager
def surroundings() -> Iterator[tuple[list[str], Path]]:
    """URLs of proxies (an open one, one with a password, a dead one), and the file that the collector writes."""
    with tempfile.TemporaryDirectory(prefix="logbus-") as folder, contextlib.ExitStack() as running:
        os.environ.update(LOGBUS_RUNTIME_DIR=f"{folder}/run", LOGBUS_STATE_DIR=f"{folder}/state")

        def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
            process = subprocess.Popen([sys.executable, *arguments], text=True, **options)
            running.callback(process.wait)
            running.callback(process.terminate)
            return process

        file = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/records.jsonl").absolute()
        start("-m", "logbus", "collector", "start", "--sink", f"file:{file}")
        servers = start(str(Path(__file__).with_name("loopback.py")), stdout=subprocess.PIPE)
        assert servers.stdout is not None
        with servers.stdout as urls:
            yield urls.readline().split(), file


def command(*arguments: str) -> bool:
    """Runs a command, as you would in another terminal; whether it says that all is well."""
    print(f"\n$ logbus {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", "logbus", *arguments], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
