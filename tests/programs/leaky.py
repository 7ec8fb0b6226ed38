"""A worker that leads the real proxywhirl, httpx and httpcore through everything in which they log a credential.

Usage: ``python -m tests.programs.leaky WITNESS MARK DIRECTORY``. Each row has a secret of its own, :func:`secret`. A
witness sees the records as they are made, before logbus does, and its statement in WITNESS says for each row in how
many of them the secret stood in clear, and in which forms it may: a row that leaks nothing would prove nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from loguru import logger
from proxywhirl import Proxy, ProxyChain, ProxyWhirl, RetryPolicy, fetchers
from proxywhirl.api import core
from proxywhirl.cache import CacheConfig, CacheEntry, CacheManager
from proxywhirl.config import CLIConfig, ProxyConfig, decrypt_credentials
from pydantic import SecretStr

import logbus
from scripts.demo.proxy import basic

ROWS: dict[str, Callable[[Leak], Any]] = {}


def secret(row: str, mark: str) -> str:
    """The secret of a row: the mark that all have, and characters that have to be encoded in a URL."""
    return f"{mark}{row}p@{mark}/{mark}"


def row(function: Callable[[Leak], Any]) -> Callable[[Leak], Any]:
    """Adds a row under the name of its function."""
    ROWS[function.__name__] = function
    return function


class Leak:
    """What a row leaks, and where: a server on ``port`` that is target and proxy, and a ``directory`` for files."""

    def __init__(self, name: str, mark: str, port: int, directory: Path) -> None:
        self.secret = secret(name, mark)
        self.port = port
        self.directory = directory

    @property
    def url(self) -> str:
        """The server's URL with the secret as password."""
        return f"http://scout:{quote(self.secret, safe='')}@127.0.0.1:{self.port}"

    @property
    def raw_url(self) -> str:
        """The same as careless people write it: not encoded, and with a port that does not exist."""
        return f"http://scout:{self.secret}@127.0.0.1:99999"

    def proxy(self) -> Proxy:
        """The server as a proxy with the secret in its URL."""
        return Proxy(url=self.url, allow_local=True)

    def rotator(self, *proxies: Proxy) -> ProxyWhirl:
        """A rotator that never fetches public lists."""
        return ProxyWhirl(
            proxies=list(proxies) or [self.proxy()], bootstrap=False, retry_policy=RetryPolicy(max_attempts=1)
        )


@row
def chain(leak: Leak) -> None:
    """``rotator.sync`` logs the first proxy of a chain as ``entry_proxy``."""
    with leak.rotator() as rotator:
        rotator.add_chain(ProxyChain(name="hops", proxies=[leak.proxy(), leak.proxy()]))


@row
def cache(leak: Leak) -> None:
    """``cache.manager`` logs the URL of what it puts."""
    _manager(leak).put("key", _entry(leak.url, leak))


@row
def warming(leak: Leak) -> None:
    """``cache._warm_entry`` logs the error of an entry that is none, with its input."""
    now = datetime.now(UTC)
    entry: dict[str, object] = {
        "proxy_url": leak.raw_url,
        "username": "scout",
        "password": leak.secret,
        "source": leak.url,
    }
    _manager(leak)._warm_entry(entry, now, now + timedelta(hours=1), 3600)


@row
def target(leak: Leak) -> None:
    """``rotator``, httpx and httpcore log the target's URL, with userinfo and query."""
    query = f"api_key={quote(leak.secret, safe='')}&page=1"
    with leak.rotator() as rotator:
        rotator.get(f"{leak.url}/search?{query}")


@row
def cookie(leak: Leak) -> None:
    """The headers of a response, ``Set-Cookie`` among them, are logged by httpcore, cookie jars by applications."""
    with httpx.Client(headers={"Authorization": f"Bearer {quote(leak.secret)}"}) as client:
        response = client.get(f"http://127.0.0.1:{leak.port}/login", params={"session_id": quote(leak.secret, safe="")})
        logger.info("logged in: {} {!r}", client.cookies, response.headers)
        logger.info(f"sent {response.request.headers.raw}, got {dict(response.headers)}")


@row
def audit(leak: Leak) -> None:
    """``api.core`` logs the body of a request with the proxy's URL, and the request's headers where it fails."""
    asyncio.run(_post(leak, {"url": leak.url, "password": leak.secret}))
    asyncio.run(_post(leak, {"url": leak.raw_url, "nested": {"headers": {"Cookie": f"sid={leak.secret}"}}}))


@row
def add_proxy(leak: Leak) -> None:
    """``api.add_proxy`` logs pydantic's error, which quotes its input."""
    try:
        Proxy(url=leak.raw_url)
    except ValueError as error:
        vars(core)["logger"].error(f"Error adding proxy: {error}", exc_info=True)
        logging.getLogger("proxywhirl.api").exception("no such proxy")


@row
def decryption(leak: Leak) -> None:
    """``config.decrypt_credentials`` warns of what it can't decrypt."""
    proxy = ProxyConfig(url=leak.url, username=SecretStr("scout"), password=SecretStr(leak.secret))
    config = CLIConfig.model_validate({"proxies": [proxy]})
    logger.info("settings {!r}", decrypt_credentials(config))


@row
def validation(leak: Leak) -> None:
    """``fetchers`` logs the URL of a SOCKS proxy that it can't try."""
    fetchers.SOCKS_AVAILABLE = False  # as where the library for it is not installed
    asyncio.run(fetchers.ProxyValidator(timeout=2).validate({"url": leak.url.replace("http:", "socks5:")}))


@row
def values(leak: Leak) -> None:
    """Tracebacks of loguru show the values of variables by default; an application passes one on as a text."""
    shown = io.StringIO()
    handler = logger.add(shown, diagnose=True, backtrace=False)
    proxy = leak.proxy()
    try:
        proxy.url.missing  # type: ignore[attr-defined] # noqa: B018
    except AttributeError:
        logger.exception("no attribute of {}", proxy)
    logger.remove(handler)
    logging.getLogger("app").error(shown.getvalue())
    logging.getLogger("app").error("state", extra={"lines": shown.getvalue().splitlines(), "proxy": proxy})


@row
def embedded(leak: Leak) -> None:
    """A URL within a sentence, and one that no parser takes, pass upstream's own redaction."""
    logging.getLogger("app").warning("failed via %s and then via %s", leak.url, leak.raw_url)
    logger.warning("retry {} of {}", 2, leak.url, proxies={leak.url: {"url": leak.url, "raw": [leak.raw_url]}})
    with logbus.context(proxy_url=leak.url, previous=[leak.url]):
        logger.error("gave up on http://%s", leak.url)


@row
def dead(leak: Leak) -> None:
    """A request through a proxy that is not there: the rotator, its retries and the exception speak of it."""
    with leak.rotator(Proxy(url=leak.url.replace(f":{leak.port}", ":1"), allow_local=True)) as rotator:
        try:
            rotator.get(leak.url)
        except Exception as error:
            logger.opt(exception=True).error("gave up: {}", leak.url)
            raise_note = RuntimeError(f"via {leak.url}")
            raise_note.__cause__ = error
            raise_note.add_note(f"password={leak.secret}")
            logging.getLogger("app").error("failed", exc_info=raise_note)


def forms(row_secret: str) -> tuple[str, ...]:
    """Every form in which a secret of a row may stand in a log: plain, encoded once or twice, and in a Basic header."""
    encoded = quote(row_secret, safe="")
    credentials = basic("scout", row_secret).removeprefix("Basic ")
    return row_secret, encoded, encoded.lower(), quote(encoded, safe=""), quote(row_secret), credentials


class _Server(BaseHTTPRequestHandler):
    """Target and proxy: answers every request at once, and hands the secret of ``row`` out as a cookie."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if "session_id=" in self.path:
            self.send_header("Set-Cookie", f"session={self.path.partition('session_id=')[2]}; Path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the worker logs."""


def _entry(url: str, leak: Leak) -> CacheEntry:
    now = datetime.now(UTC)
    fields = {"key": "key", "proxy_url": url, "password": SecretStr(leak.secret), "source": url, "ttl_seconds": 3600}
    times = {"fetch_time": now, "last_accessed": now, "expires_at": now + timedelta(hours=1)}
    return CacheEntry.model_validate({**fields, **times})


def _manager(leak: Leak) -> CacheManager:
    where = leak.directory / "cache"
    return CacheManager(
        CacheConfig.model_validate({"l2_cache_dir": str(where), "l3_database_path": str(where / "l3.db")})
    )


async def _post(leak: Leak, body: dict[str, Any]) -> None:
    with leak.rotator() as rotator:
        core.app.dependency_overrides[core.get_rotator] = lambda: rotator
        transport = httpx.ASGITransport(app=core.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            await client.post("/api/v1/proxies", json=body, headers={"Cookie": f"sid={quote(leak.secret)}"})


class _Witness(logging.Handler):
    """Counts the records in which the mark stands in clear, by row, however they were made."""

    def __init__(self, mark: str) -> None:
        super().__init__(logging.DEBUG)
        self.found: Counter[str] = Counter()
        self.row = ""
        self._mark = mark[:6]  # errors of pydantic show the ends of a long input

    def emit(self, record: logging.LogRecord) -> None:
        self.look(f"{record.getMessage()} {record.__dict__!r} {record.exc_info!r}")

    def look(self, text: str) -> None:
        self.found[self.row] += self._mark in text


def main(witness: str, mark: str, directory: str) -> None:
    """Goes through all rows, and hands everything over."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    logger.remove()
    eyes = _Witness(mark)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(eyes)
    logger.add(
        lambda message: eyes.look(f"{message} {message.record!r}"), level="DEBUG", format="{message}", catch=False
    )
    logbus.configure(level="DEBUG", worker="leaky")
    problems: dict[str, str] = {}
    for eyes.row, function in ROWS.items():
        name = eyes.row
        try:
            with suppress(httpx.HTTPError):
                function(Leak(name, mark, server.server_address[1], Path(directory)))
        except Exception as error:
            problems[name] = repr(error)
    server.shutdown()
    server.server_close()
    stats = logbus.shutdown(10)
    statement = {
        "forms": {name: forms(secret(name, mark)) for name in ROWS},
        "found": {name: found for name, found in eyes.found.items() if found},
        "problems": problems,
        "emitted": stats.emitted,
        "dropped": dict(stats.dropped),
    }
    Path(witness).write_text(json.dumps(statement))


if __name__ == "__main__":
    main(*sys.argv[1:])
